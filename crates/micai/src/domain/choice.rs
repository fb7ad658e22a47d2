//! Things to tap in a message: rows of a list, buttons. Made so that they fit WhatsApp's bounds.

use serde::{Deserialize, Serialize};

use super::outbound::{MessageBody, cut};

/// Rows of one list.
pub const LIST_ROWS_MAX: usize = 10;
/// Buttons of one message.
pub const BUTTONS_MAX: usize = 3;
/// Characters of the words above a list or buttons.
pub const CHOICE_TEXT_CHARACTERS_MAX: usize = 1_024;
/// Characters of what comes back when something is tapped. A list's row takes 200, a button 256.
pub const CHOICE_ID_CHARACTERS_MAX: usize = 200;
const ROW_TITLE_CHARACTERS_MAX: usize = 24;
const ROW_DESCRIPTION_CHARACTERS_MAX: usize = 72;
const BUTTON_TITLE_CHARACTERS_MAX: usize = 20;

/// Something to tap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What comes back when it is tapped; the person does not see it.
    pub id: String,
    /// What it says.
    pub title: String,
    /// The smaller line below a row. Buttons have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Choice {
    /// Something to tap without a smaller line.
    pub fn new(id: impl Into<String>, title: impl Into<String>) -> Self {
        Self { id: id.into(), title: title.into(), description: None }
    }

    /// With a smaller line; none where it is empty.
    #[must_use]
    pub fn described(mut self, description: &str) -> Self {
        self.description = Some(description.to_owned()).filter(|line| !line.is_empty());
        self
    }

    fn fits(&self) -> bool {
        !self.title.trim().is_empty()
            && !self.id.is_empty()
            && self.id.trim() == self.id
            && self.id.encode_utf16().count() <= CHOICE_ID_CHARACTERS_MAX
    }
}

impl MessageBody {
    /// Words with a list to choose from, opened by `button`. Texts are cut to their bounds; what has no title, an id that is too
    /// long or one that came before is left out, and so is what is over [`LIST_ROWS_MAX`]. Without any row: plain words.
    pub fn list(text: &str, button: &str, rows: impl IntoIterator<Item = Choice>) -> Self {
        let cut_row = |row: Choice| Choice {
            title: cut(&row.title, ROW_TITLE_CHARACTERS_MAX),
            description: row.description.map(|line| cut(&line, ROW_DESCRIPTION_CHARACTERS_MAX)),
            id: row.id,
        };
        let rows = distinct(rows, LIST_ROWS_MAX, cut_row);
        let text = cut(text, CHOICE_TEXT_CHARACTERS_MAX);
        match rows.is_empty() {
            true => Self::Text { text },
            false => Self::List { text, button: cut(button, BUTTON_TITLE_CHARACTERS_MAX), rows },
        }
    }

    /// Words with buttons, in the same manner; at most [`BUTTONS_MAX`].
    pub fn buttons(text: &str, buttons: impl IntoIterator<Item = Choice>) -> Self {
        let cut_button =
            |one: Choice| Choice { title: cut(&one.title, BUTTON_TITLE_CHARACTERS_MAX), description: None, ..one };
        let mut buttons = distinct(buttons, BUTTONS_MAX, cut_button);
        let mut titles: Vec<String> = Vec::new();
        // WhatsApp refuses two buttons that say the same.
        buttons.retain(|one| {
            let is_new = !titles.contains(&one.title);
            titles.push(one.title.clone());
            is_new
        });
        let text = cut(text, CHOICE_TEXT_CHARACTERS_MAX);
        if buttons.is_empty() { Self::Text { text } } else { Self::Buttons { text, buttons } }
    }

    /// The same with words in front of its own.
    #[must_use]
    pub fn prefixed(mut self, prefix: &str) -> Self {
        let (text, characters_max) = match &mut self {
            Self::Text { text } => (text, super::outbound::TEXT_CHARACTERS_MAX),
            Self::List { text, .. } | Self::Buttons { text, .. } | Self::LocationRequest { text } => {
                (text, CHOICE_TEXT_CHARACTERS_MAX)
            }
            Self::Template { .. } | Self::Erased => return self,
        };
        *text = cut(&format!("{prefix}{text}"), characters_max);
        self
    }
}

impl MessageBody {
    /// The same with a line below its own words, where it is plain words.
    #[must_use]
    pub fn appended(mut self, line: &str) -> Self {
        if let Self::Text { text } = &mut self {
            *text = cut(&format!("{text}\n{line}"), super::outbound::TEXT_CHARACTERS_MAX);
        }
        self
    }
}

fn distinct(
    choices: impl IntoIterator<Item = Choice>,
    choices_max: usize,
    cut: impl Fn(Choice) -> Choice,
) -> Vec<Choice> {
    let mut kept: Vec<Choice> = Vec::new();
    for choice in choices.into_iter().filter(Choice::fits) {
        if kept.len() < choices_max && !kept.iter().any(|known| known.id == choice.id) {
            kept.push(cut(choice));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_buttons_fit_whatever_goes_in() {
        let rows = (0..30)
            .map(|number| Choice::new(format!("row/{}", number % 15), "x".repeat(200)).described(&"y".repeat(200)));
        let MessageBody::List { rows, button, .. } = MessageBody::list("Which?", &"b".repeat(50), rows) else {
            panic!()
        };
        assert_eq!((rows.len(), button.chars().count()), (LIST_ROWS_MAX, BUTTON_TITLE_CHARACTERS_MAX));
        assert!(rows.iter().all(|row| row.title.chars().count() == ROW_TITLE_CHARACTERS_MAX));
        let twice = [Choice::new("a", "Yes"), Choice::new("b", "Yes"), Choice::new("c", " "), Choice::new(" d", "No")];
        let MessageBody::Buttons { buttons, .. } = MessageBody::buttons("Sure?", twice) else { panic!() };
        assert_eq!(buttons, [Choice::new("a", "Yes")]);
        assert_eq!(MessageBody::list("Nothing", "Open", []), MessageBody::Text { text: "Nothing".to_owned() });
        let late = MessageBody::buttons("Sure?", [Choice::new("a", "Yes")]).prefixed("Sorry. ");
        assert_eq!(late.text(), Some("Sorry. Sure?"));
    }
}
