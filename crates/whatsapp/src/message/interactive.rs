//! The parts of interactive messages: header, buttons, lists.

use serde::{Deserialize, Serialize};

use super::limits::{
    BODY_CHARACTERS_MAX, BUTTON_ID_CHARACTERS_MAX, BUTTON_TITLE_CHARACTERS_MAX, BUTTONS_MAX, FILENAME_CHARACTERS_MAX,
    FOOTER_CHARACTERS_MAX, HEADER_CHARACTERS_MAX, LIST_ROWS_MAX, LIST_SECTIONS_MAX, LimitError,
    ROW_DESCRIPTION_CHARACTERS_MAX, ROW_ID_CHARACTERS_MAX, ROW_TITLE_CHARACTERS_MAX, SECTION_TITLE_CHARACTERS_MAX,
    check_count, check_optional, check_text, check_unique,
};
use super::media::MediaSource;

/// What stands above an interactive body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Header {
    /// A text.
    Text(String),
    /// A picture.
    Image(MediaSource),
    /// A video.
    Video(MediaSource),
    /// A file.
    Document {
        /// Where it is.
        media: MediaSource,
        /// The name to show.
        filename: Option<String>,
    },
}

/// A reply button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyButton {
    id: String,
    title: String,
}

impl ReplyButton {
    /// A button with the id that comes back when it is tapped, and its label.
    pub fn new(id: impl Into<String>, title: impl Into<String>) -> Result<Self, LimitError> {
        let button = Self { id: id.into(), title: title.into() };
        button.check()?;
        Ok(button)
    }

    /// What comes back when it is tapped.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The label.
    pub fn title(&self) -> &str {
        &self.title
    }

    fn check(&self) -> Result<(), LimitError> {
        // Ids may have spaces inside, but Meta refuses them at the ends.
        check_text("button id", &self.id, BUTTON_ID_CHARACTERS_MAX)?;
        check_trimmed("button id", &self.id)?;
        check_text("button title", &self.title, BUTTON_TITLE_CHARACTERS_MAX)
    }
}

/// A section of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListSection {
    title: Option<String>,
    rows: Vec<ListRow>,
}

impl ListSection {
    /// A section with its rows; the title may be left out if it is the only one.
    pub fn new(title: Option<String>, rows: Vec<ListRow>) -> Result<Self, LimitError> {
        let section = Self { title, rows };
        section.check()?;
        Ok(section)
    }

    /// The title.
    pub fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// The rows.
    pub fn rows(&self) -> &[ListRow] {
        &self.rows
    }

    fn check(&self) -> Result<(), LimitError> {
        check_optional("section title", self.title.as_deref(), SECTION_TITLE_CHARACTERS_MAX)?;
        check_count("list rows", self.rows.len(), LIST_ROWS_MAX)?;
        self.rows.iter().try_for_each(ListRow::check)
    }
}

/// A row of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRow {
    id: String,
    title: String,
    description: Option<String>,
}

impl ListRow {
    /// A row with the id that comes back when it is chosen, its title and a smaller line below.
    pub fn new(
        id: impl Into<String>,
        title: impl Into<String>,
        description: Option<String>,
    ) -> Result<Self, LimitError> {
        let row = Self { id: id.into(), title: title.into(), description };
        row.check()?;
        Ok(row)
    }

    /// What comes back when it is chosen.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The smaller line below.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    fn check(&self) -> Result<(), LimitError> {
        check_text("row id", &self.id, ROW_ID_CHARACTERS_MAX)?;
        check_trimmed("row id", &self.id)?;
        check_text("row title", &self.title, ROW_TITLE_CHARACTERS_MAX)?;
        check_optional("row description", self.description.as_deref(), ROW_DESCRIPTION_CHARACTERS_MAX)
    }
}

/// Checks what buttons, lists and links have in common.
pub(crate) fn check_frame(header: Option<&Header>, body: &str, footer: Option<&str>) -> Result<(), LimitError> {
    match header {
        None => {}
        Some(Header::Text(text)) => check_text("header text", text, HEADER_CHARACTERS_MAX)?,
        Some(Header::Image(media) | Header::Video(media)) => media.check()?,
        Some(Header::Document { media, filename }) => {
            media.check()?;
            check_optional("file name", filename.as_deref(), FILENAME_CHARACTERS_MAX)?;
        }
    }
    check_text("interactive body", body, BODY_CHARACTERS_MAX)?;
    check_optional("footer", footer, FOOTER_CHARACTERS_MAX)
}

pub(crate) fn check_buttons(buttons: &[ReplyButton]) -> Result<(), LimitError> {
    check_count("reply buttons", buttons.len(), BUTTONS_MAX)?;
    buttons.iter().try_for_each(ReplyButton::check)?;
    check_unique("button title", buttons.iter().map(|button| button.title.as_str()))?;
    check_unique("button id", buttons.iter().map(|button| button.id.as_str()))
}

pub(crate) fn check_list(header: Option<&Header>, button: &str, sections: &[ListSection]) -> Result<(), LimitError> {
    if header.is_some_and(|header| !matches!(header, Header::Text(_))) {
        return Err(LimitError::Invalid { field: "header", reason: "a list takes a text header only" });
    }
    check_text("list button", button, BUTTON_TITLE_CHARACTERS_MAX)?;
    check_count("list sections", sections.len(), LIST_SECTIONS_MAX)?;
    sections.iter().try_for_each(ListSection::check)?;
    let rows = || sections.iter().flat_map(|section| &section.rows);
    check_count("list rows", rows().count(), LIST_ROWS_MAX)?;
    check_unique("row id", rows().map(|row| row.id.as_str()))?;
    if sections.len() > 1 && sections.iter().any(|section| section.title.is_none()) {
        return Err(LimitError::Empty { field: "section title" });
    }
    Ok(())
}

fn check_trimmed(field: &'static str, id: &str) -> Result<(), LimitError> {
    if id.trim() == id {
        return Ok(());
    }
    Err(LimitError::Invalid { field, reason: "it starts or ends with white space" })
}
