//! Message templates: what WhatsApp knows of them, and what one message fills in.

pub mod news;
mod parts;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use parts::{TemplateButton, TemplateHeader, TemplateParts, variables};

/// The most characters of a template's name.
pub const TEMPLATE_NAME_CHARACTERS_MAX: usize = 512;
/// The most characters of a language code.
pub const TEMPLATE_LANGUAGE_CHARACTERS_MAX: usize = 16;

/// A template in one language, as WhatsApp knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// Its language, such as `pt_BR`.
    pub language: String,
    /// WhatsApp's id of it.
    pub provider_template_id: Option<String>,
    /// Whether it may be sent.
    pub status: TemplateStatus,
    /// Why it has that status, in WhatsApp's words.
    pub status_reason: Option<String>,
    /// What it counts as: the price follows from it.
    pub category: TemplateCategory,
    /// What the people who got it think of it.
    pub quality: TemplateQuality,
    /// Whether its variables have names or numbers.
    pub parameter_format: ParameterFormat,
    /// What it consists of.
    pub parts: TemplateParts,
}

/// Where a template stands in WhatsApp's review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TemplateStatus {
    /// May be sent; no other one may.
    Approved,
    /// Under review.
    Pending,
    /// Refused by the review.
    Rejected,
    /// Stopped for some hours, for its quality.
    Paused,
    /// Stopped for good.
    Disabled,
    /// Its refusal is being looked at again.
    InAppeal,
    /// It is being deleted.
    PendingDeletion,
    /// It is gone.
    Deleted,
    /// The account has too many.
    LimitExceeded,
    /// Put away because nobody used it.
    Archived,
    /// Taken back from there.
    Unarchived,
    /// It cannot be changed.
    Locked,
    /// It is close to being paused.
    Flagged,
    /// A word that this program does not know.
    Unknown,
}

impl TemplateStatus {
    /// Every status.
    pub const ALL: [Self; 14] = [
        Self::Approved,
        Self::Pending,
        Self::Rejected,
        Self::Paused,
        Self::Disabled,
        Self::InAppeal,
        Self::PendingDeletion,
        Self::Deleted,
        Self::LimitExceeded,
        Self::Archived,
        Self::Unarchived,
        Self::Locked,
        Self::Flagged,
        Self::Unknown,
    ];

    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Pending => "pending",
            Self::Rejected => "rejected",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
            Self::InAppeal => "in_appeal",
            Self::PendingDeletion => "pending_deletion",
            Self::Deleted => "deleted",
            Self::LimitExceeded => "limit_exceeded",
            Self::Archived => "archived",
            Self::Unarchived => "unarchived",
            Self::Locked => "locked",
            Self::Flagged => "flagged",
            Self::Unknown => "unknown",
        }
    }

    /// The status that a word of WhatsApp's or of the database's means.
    pub fn read(word: &str) -> Self {
        // An event rather than a state: the template may be sent again.
        if word.eq_ignore_ascii_case("reinstated") {
            return Self::Approved;
        }
        Self::ALL.into_iter().find(|status| word.eq_ignore_ascii_case(status.as_str())).unwrap_or(Self::Unknown)
    }

    /// Whether WhatsApp takes messages with it.
    pub fn may_be_sent(self) -> bool {
        self == Self::Approved
    }
}

/// What a template counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TemplateCategory {
    /// About something that the person has asked for or bought.
    Utility,
    /// Codes to sign in with.
    Authentication,
    /// Everything that wants to sell.
    Marketing,
    /// A word that this program does not know.
    Unknown,
}

impl TemplateCategory {
    /// Every category.
    pub const ALL: [Self; 4] = [Self::Utility, Self::Authentication, Self::Marketing, Self::Unknown];

    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Utility => "utility",
            Self::Authentication => "authentication",
            Self::Marketing => "marketing",
            Self::Unknown => "unknown",
        }
    }

    /// The category that a word of WhatsApp's or of the database's means.
    pub fn read(word: &str) -> Self {
        Self::ALL.into_iter().find(|one| word.eq_ignore_ascii_case(one.as_str())).unwrap_or(Self::Unknown)
    }

    /// Whether messages cost more in `next` than in this category. In each market marketing is the dearest; authentication
    /// costs at least what utility does. Of unknown categories nothing is said.
    pub fn is_cheaper_than(self, next: Self) -> bool {
        match (self.price_rank(), next.price_rank()) {
            (Some(before), Some(after)) => before < after,
            _ => false,
        }
    }

    fn price_rank(self) -> Option<u8> {
        match self {
            Self::Utility => Some(0),
            Self::Authentication => Some(1),
            Self::Marketing => Some(2),
            Self::Unknown => None,
        }
    }
}

/// How the people who got a template took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TemplateQuality {
    /// Well.
    Green,
    /// Some blocked or reported it.
    Yellow,
    /// Many did: it may be paused soon.
    Red,
    /// Not known yet.
    Unknown,
}

impl TemplateQuality {
    /// Every quality.
    pub const ALL: [Self; 4] = [Self::Green, Self::Yellow, Self::Red, Self::Unknown];

    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Red => "red",
            Self::Unknown => "unknown",
        }
    }

    /// The quality that a word of WhatsApp's or of the database's means.
    pub fn read(word: &str) -> Self {
        Self::ALL.into_iter().find(|one| word.eq_ignore_ascii_case(one.as_str())).unwrap_or(Self::Unknown)
    }
}

/// How a template's variables are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParameterFormat {
    /// By number: `{{1}}`.
    Positional,
    /// By name: `{{first_name}}`.
    Named,
}

impl ParameterFormat {
    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Positional => "positional",
            Self::Named => "named",
        }
    }

    /// The format that a word of WhatsApp's or of the database's means; positional unless it says otherwise.
    pub fn read(word: &str) -> Self {
        if word.eq_ignore_ascii_case("named") { Self::Named } else { Self::Positional }
    }
}

/// A template to send: which one, in which language, with what filled in. As it stands in requests and in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateUse {
    /// The template's name.
    #[schema(example = "order_ready")]
    pub name: String,
    /// Its language.
    #[schema(example = "pt_BR")]
    pub language: String,
    /// What stands in the header, where it has something to fill in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderValue>,
    /// The values of the body's variables: in their order, or each with its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub body: Vec<TextValue>,
    /// What the buttons need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<ButtonValue>,
}

impl TemplateUse {
    /// A template without anything filled in.
    pub fn plain(name: impl Into<String>, language: impl Into<String>) -> Self {
        Self { name: name.into(), language: language.into(), header: None, body: Vec::new(), buttons: Vec::new() }
    }
}

/// The value of one variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TextValue {
    /// The variable's name, in templates that name them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The value.
    pub text: String,
}

impl TextValue {
    /// A value by its place.
    pub fn numbered(text: impl Into<String>) -> Self {
        Self { name: None, text: text.into() }
    }

    /// A value by its name.
    pub fn named(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: Some(name.into()), text: text.into() }
    }
}

/// What fills a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum HeaderValue {
    /// The value of its one variable.
    Text {
        /// The variable's name, in templates that name them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// The value.
        text: String,
    },
    /// A picture.
    Image {
        /// Where it is.
        media: MediaReference,
    },
    /// A video.
    Video {
        /// Where it is.
        media: MediaReference,
    },
    /// A file.
    Document {
        /// Where it is.
        media: MediaReference,
        /// The name to show.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filename: Option<String>,
    },
    /// A place.
    Location {
        /// Where.
        place: Place,
    },
}

impl HeaderValue {
    /// The name of its kind, as in WhatsApp's header formats but in small letters.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Image { .. } => "image",
            Self::Video { .. } => "video",
            Self::Document { .. } => "document",
            Self::Location { .. } => "location",
        }
    }
}

/// A file that WhatsApp has or can fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MediaReference {
    /// The id of an upload.
    Id(String),
    /// An http or https address.
    Link(String),
}

/// A place on a map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

// JSON, where all of them come from, has no number that differs from itself.
impl Eq for Place {}

/// What one button needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ButtonValue {
    /// A quick reply. Without one, its label comes back when it is tapped.
    QuickReply {
        /// The button's place, from 0.
        index: u8,
        /// What comes back when it is tapped.
        payload: String,
    },
    /// The end of a link, or the code of a button that copies or fills in a one-time code.
    Url {
        /// The button's place, from 0.
        index: u8,
        /// What stands in place of `{{1}}` in its address.
        suffix: String,
    },
    /// A button that copies a coupon code.
    CopyCode {
        /// The button's place, from 0.
        index: u8,
        /// The code.
        code: String,
    },
    /// A button that opens a flow.
    Flow {
        /// The button's place, from 0.
        index: u8,
        /// A token of ours that comes back with the answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flow_token: Option<String>,
    },
}

impl ButtonValue {
    /// The button's place, from 0.
    pub fn index(&self) -> u8 {
        match self {
            Self::QuickReply { index, .. }
            | Self::Url { index, .. }
            | Self::CopyCode { index, .. }
            | Self::Flow { index, .. } => *index,
        }
    }

    /// The name of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::QuickReply { .. } => "quick_reply",
            Self::Url { .. } => "url",
            Self::CopyCode { .. } => "copy_code",
            Self::Flow { .. } => "flow",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn whatsapps_words_are_read_in_any_case_and_unknown_ones_are_never_sent() {
        for (word, status) in [
            ("APPROVED", TemplateStatus::Approved),
            ("approved", TemplateStatus::Approved),
            ("REINSTATED", TemplateStatus::Approved),
            ("PENDING_DELETION", TemplateStatus::PendingDeletion),
            ("FLAGGED", TemplateStatus::Flagged),
            ("SOMETHING_NEW", TemplateStatus::Unknown),
            ("", TemplateStatus::Unknown),
        ] {
            assert_eq!(TemplateStatus::read(word), status, "{word}");
        }
        assert_eq!(TemplateStatus::ALL.into_iter().filter(|status| status.may_be_sent()).count(), 1);
        for status in TemplateStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
    }

    #[test]
    fn a_category_that_costs_more_is_told_from_one_that_does_not() {
        use TemplateCategory::{Authentication, Marketing, Unknown, Utility};
        for (before, after, dearer) in [
            (Utility, Marketing, true),
            (Authentication, Marketing, true),
            (Utility, Authentication, true),
            (Marketing, Utility, false),
            (Utility, Utility, false),
            (Unknown, Marketing, false),
            (Utility, Unknown, false),
        ] {
            assert_eq!(before.is_cheaper_than(after), dearer, "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_use_reads_back_as_it_was_written_and_refuses_what_it_does_not_know() {
        let text = serde_json::json!({
            "name": "order_ready", "language": "pt_BR",
            "header": { "type": "image", "media": { "link": "https://example.com/a.png" } },
            "body": [{ "name": "first", "text": "Ana" }],
            "buttons": [{ "type": "quick_reply", "index": 0, "payload": "yes" }],
        });
        let read: TemplateUse = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), text);
        for wrong in [
            serde_json::json!({ "name": "a", "language": "en", "bdy": [] }),
            serde_json::json!({ "name": "a", "language": "en", "body": [{ "text": "a", "nme": "b" }] }),
            serde_json::json!({ "name": "a", "language": "en", "header": { "type": "text", "text": "a", "media": 1 } }),
        ] {
            assert!(serde_json::from_value::<TemplateUse>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
