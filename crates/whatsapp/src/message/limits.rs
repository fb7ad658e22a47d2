//! The limits of outbound messages, by Meta's OpenAPI description and public SDKs, and the error that names a broken
//! one.

use thiserror::Error;
use url::Url;

/// Most characters of a text message.
pub const TEXT_CHARACTERS_MAX: usize = 4096;
/// Most characters of an interactive body. (Lists are said to take 4096; unconfirmed, so not used.)
pub const BODY_CHARACTERS_MAX: usize = 1024;
/// Most characters of a header text.
pub const HEADER_CHARACTERS_MAX: usize = 60;
/// Most characters of a footer.
pub const FOOTER_CHARACTERS_MAX: usize = 60;
/// Most characters of the caption of a file.
pub const CAPTION_CHARACTERS_MAX: usize = 1024;
/// Most reply buttons.
pub const BUTTONS_MAX: usize = 3;
/// Most characters of the label of a button: reply, list, link.
pub const BUTTON_TITLE_CHARACTERS_MAX: usize = 20;
/// Most characters of the id of a reply button.
pub const BUTTON_ID_CHARACTERS_MAX: usize = 256;
/// Most sections of a list.
pub const LIST_SECTIONS_MAX: usize = 10;
/// Most rows of a list, all sections together.
pub const LIST_ROWS_MAX: usize = 10;
/// Most characters of the title of a section.
pub const SECTION_TITLE_CHARACTERS_MAX: usize = 24;
/// Most characters of the title of a row.
pub const ROW_TITLE_CHARACTERS_MAX: usize = 24;
/// Most characters of the id of a row.
pub const ROW_ID_CHARACTERS_MAX: usize = 200;
/// Most characters of the description of a row.
pub const ROW_DESCRIPTION_CHARACTERS_MAX: usize = 72;
/// Most characters of an address, in buttons and media.
pub const URL_CHARACTERS_MAX: usize = 2000;
/// Most characters of `biz_opaque_callback_data`.
pub const CALLBACK_DATA_CHARACTERS_MAX: usize = 512;
/// Most characters of the name of a template.
pub const TEMPLATE_NAME_CHARACTERS_MAX: usize = 512;
/// Most buttons of a template.
pub const TEMPLATE_BUTTONS_MAX: usize = 10;
/// Most characters of a coupon code.
pub const COUPON_CHARACTERS_MAX: usize = 15;
/// Most characters of a language code; the longest in use have five (`pt_BR`), script tags are longer.
pub const LANGUAGE_CHARACTERS_MAX: usize = 16;
/// Most characters of a message id or a media id. Ours to keep rows bounded; real ids have about a hundred.
pub const MESSAGE_ID_CHARACTERS_MAX: usize = 512;
/// Most characters of a file name. Ours: file systems stop at 255.
pub const FILENAME_CHARACTERS_MAX: usize = 240;
/// Most UTF-16 units of an emoji; families with skin tones have about 20. Ours.
pub const EMOJI_CHARACTERS_MAX: usize = 40;

/// A limit that content breaks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LimitError {
    /// Too many characters (UTF-16 units, see [`text_length`]).
    #[error("{field} has {actual} characters, the limit is {limit}")]
    TooLong {
        /// What is too long.
        field: &'static str,
        /// Most characters.
        limit: usize,
        /// Its characters.
        actual: usize,
    },
    /// Too many of something.
    #[error("there are {actual} {field}, the limit is {limit}")]
    TooMany {
        /// What there are too many of.
        field: &'static str,
        /// Most of them.
        limit: usize,
        /// How many there are.
        actual: usize,
    },
    /// Nothing, or only white space, where something is needed.
    #[error("{field} must not be empty")]
    Empty {
        /// What is empty.
        field: &'static str,
    },
    /// The same value twice where it has to be unique.
    #[error("{field} {value:?} is used twice")]
    Duplicate {
        /// What has to be unique.
        field: &'static str,
        /// The value.
        value: String,
    },
    /// A wrong form.
    #[error("{field} is not valid: {reason}")]
    Invalid {
        /// What is wrong.
        field: &'static str,
        /// Why.
        reason: &'static str,
    },
}

impl LimitError {
    /// What breaks the limit, such as "button title".
    pub fn field(&self) -> &'static str {
        match self {
            Self::TooLong { field, .. } | Self::TooMany { field, .. } | Self::Empty { field } => field,
            Self::Duplicate { field, .. } | Self::Invalid { field, .. } => field,
        }
    }

    /// The limit, where it is a number.
    pub fn limit(&self) -> Option<usize> {
        match self {
            Self::TooLong { limit, .. } | Self::TooMany { limit, .. } => Some(*limit),
            _ => None,
        }
    }
}

/// The length that limits are compared with: UTF-16 units, never fewer than code points.
pub fn text_length(text: &str) -> usize {
    text.encode_utf16().count()
}

pub(crate) fn check_text(field: &'static str, text: &str, limit: usize) -> Result<(), LimitError> {
    if text.trim().is_empty() {
        return Err(LimitError::Empty { field });
    }
    let actual = text_length(text);
    if actual > limit { Err(LimitError::TooLong { field, limit, actual }) } else { Ok(()) }
}

pub(crate) fn check_optional(field: &'static str, text: Option<&str>, limit: usize) -> Result<(), LimitError> {
    text.map_or(Ok(()), |text| check_text(field, text, limit))
}

/// An id is text without white space or control characters.
pub(crate) fn check_id(field: &'static str, id: &str, limit: usize) -> Result<(), LimitError> {
    check_text(field, id, limit)?;
    if id.chars().any(|character| character.is_control() || character.is_whitespace()) {
        return Err(LimitError::Invalid { field, reason: "it has white space in it" });
    }
    Ok(())
}

pub(crate) fn check_count(field: &'static str, actual: usize, limit: usize) -> Result<(), LimitError> {
    match actual {
        0 => Err(LimitError::Empty { field }),
        _ if actual > limit => Err(LimitError::TooMany { field, limit, actual }),
        _ => Ok(()),
    }
}

pub(crate) fn check_unique<'a>(field: &'static str, values: impl Iterator<Item = &'a str>) -> Result<(), LimitError> {
    let mut seen = std::collections::HashSet::new();
    for value in values {
        if !seen.insert(value) {
            return Err(LimitError::Duplicate { field, value: value.to_owned() });
        }
    }
    Ok(())
}

pub(crate) fn check_url(field: &'static str, text: &str) -> Result<(), LimitError> {
    check_text(field, text, URL_CHARACTERS_MAX)?;
    let web = Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if web { Ok(()) } else { Err(LimitError::Invalid { field, reason: "it is not an http or https address" }) }
}
