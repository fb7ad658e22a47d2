//! Messages to send: every kind with its limits, checked when it is built.
//!
//! Lengths are counted in UTF-16 units ([`text_length`]): Meta does not say whether it counts code points or UTF-16
//! units, and no text has fewer of the latter. An emoji therefore counts as two or more.
//!
//! ```
//! use whatsapp::message::{LimitError, OutboundContent, OutboundMessage, ReplyButton};
//! use whatsapp::{Identity, Recipient};
//!
//! let content = OutboundContent::buttons("Shall I book it?", vec![ReplyButton::new("yes", "Yes")?])?;
//! let recipient = Recipient::User(Identity::parse("BR.88123")?);
//! let message = OutboundMessage::new(recipient, content).with_callback_data("turn:42/1")?;
//! assert_eq!(message.to_json()["recipient"], "BR.88123");
//!
//! let refused = ReplyButton::new("yes", "Yes, please book it for me").unwrap_err();
//! assert_eq!(refused.to_string(), "button title has 26 characters, the limit is 20");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod interactive;
mod limits;
mod media;
mod receipt;
mod template;
mod wire;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use crate::identity::{Identity, Recipient};

pub use interactive::{Header, ListRow, ListSection, ReplyButton};
pub use limits::{
    BODY_CHARACTERS_MAX, BUTTON_ID_CHARACTERS_MAX, BUTTON_TITLE_CHARACTERS_MAX, BUTTONS_MAX,
    CALLBACK_DATA_CHARACTERS_MAX, CAPTION_CHARACTERS_MAX, FILENAME_CHARACTERS_MAX, FOOTER_CHARACTERS_MAX,
    HEADER_CHARACTERS_MAX, LIST_ROWS_MAX, LIST_SECTIONS_MAX, LimitError, MESSAGE_ID_CHARACTERS_MAX,
    ROW_DESCRIPTION_CHARACTERS_MAX, ROW_ID_CHARACTERS_MAX, ROW_TITLE_CHARACTERS_MAX, SECTION_TITLE_CHARACTERS_MAX,
    TEMPLATE_BUTTONS_MAX, TEMPLATE_NAME_CHARACTERS_MAX, TEXT_CHARACTERS_MAX, URL_CHARACTERS_MAX, text_length,
};
pub use media::MediaSource;
pub use receipt::ReadReceipt;
pub use template::{Template, TemplateButton, TemplateComponent, TemplateParameter};

use limits::{check_id, check_optional, check_text};

/// One message to one recipient.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboundMessage {
    /// Where it goes.
    pub recipient: Recipient,
    /// What it says.
    pub content: OutboundContent,
    /// The message it answers, shown as a quotation. Left out of reactions, which cannot carry one.
    pub reply_to: Option<String>,
    /// Echoed in every status of this message; the only way to recognise a message whose answer was lost. At most
    /// [`CALLBACK_DATA_CHARACTERS_MAX`] characters.
    pub callback_data: Option<String>,
}

impl OutboundMessage {
    /// A message that answers nothing in particular.
    pub fn new(recipient: impl Into<Recipient>, content: OutboundContent) -> Self {
        Self { recipient: recipient.into(), content, reply_to: None, callback_data: None }
    }

    /// Quotes the message with this id.
    pub fn with_reply_to(mut self, message_id: impl Into<String>) -> Result<Self, LimitError> {
        let message_id = message_id.into();
        check_id("id of the message answered", &message_id, MESSAGE_ID_CHARACTERS_MAX)?;
        self.reply_to = Some(message_id);
        Ok(self)
    }

    /// Sets what is echoed in the statuses.
    pub fn with_callback_data(mut self, data: impl Into<String>) -> Result<Self, LimitError> {
        let data = data.into();
        check_text("callback data", &data, CALLBACK_DATA_CHARACTERS_MAX)?;
        self.callback_data = Some(data);
        Ok(self)
    }

    /// The body of the request, exactly as it goes over the wire.
    pub fn to_json(&self) -> Value {
        let mut body = wire::content_json(&self.content);
        body["messaging_product"] = json!("whatsapp");
        body["recipient_type"] = json!(match self.recipient {
            Recipient::User(_) => "individual",
            Recipient::Group(_) => "group",
        });
        let key = match &self.recipient {
            Recipient::User(Identity::Phone(_)) | Recipient::Group(_) => "to",
            Recipient::User(Identity::Bsuid(_) | Identity::ParentBsuid(_)) => "recipient",
        };
        body[key] = json!(self.recipient.as_str());
        let quotable = !matches!(self.content, OutboundContent::Reaction { .. });
        if let Some(message_id) = self.reply_to.as_ref().filter(|_| quotable) {
            body["context"] = json!({ "message_id": message_id });
        }
        if let Some(data) = &self.callback_data {
            body["biz_opaque_callback_data"] = json!(data);
        }
        body
    }
}

/// The same as [`OutboundMessage::to_json`].
impl Serialize for OutboundMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

/// What a message says. Build it with the functions of the same names: they check the limits. The variants can be read
/// but not put together outside of this crate.
///
/// It serializes to a form of its own, for storing (the wire body is [`OutboundMessage::to_json`]). Reading back does
/// not check limits again: what was stored stays readable when a limit changes. Use [`OutboundContent::check`] for
/// content that somebody else wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OutboundContent {
    /// Text.
    #[non_exhaustive]
    Text {
        /// The words.
        body: String,
        /// Show a preview of the first link.
        #[serde(default)]
        preview_url: bool,
    },
    /// An approved template.
    #[non_exhaustive]
    Template {
        /// The template with its parameters.
        template: Template,
    },
    /// Text with one to three buttons.
    #[non_exhaustive]
    Buttons {
        /// Above the text.
        header: Option<Header>,
        /// The text.
        body: String,
        /// Below the text.
        footer: Option<String>,
        /// The buttons.
        buttons: Vec<ReplyButton>,
    },
    /// Text with a list to choose from.
    #[non_exhaustive]
    List {
        /// Above the text; lists take a text only.
        header: Option<Header>,
        /// The text.
        body: String,
        /// Below the text.
        footer: Option<String>,
        /// Label of the button that opens the list.
        button: String,
        /// The list.
        sections: Vec<ListSection>,
    },
    /// Text with a link on a button.
    #[non_exhaustive]
    CtaUrl {
        /// Above the text.
        header: Option<Header>,
        /// The text.
        body: String,
        /// Below the text.
        footer: Option<String>,
        /// Label of the button.
        label: String,
        /// Where it leads.
        url: String,
    },
    /// A question for the user's location.
    #[non_exhaustive]
    LocationRequest {
        /// The text.
        body: String,
    },
    /// A question for the user's phone number.
    #[non_exhaustive]
    ContactInfoRequest {
        /// The text.
        body: String,
    },
    /// A picture.
    #[non_exhaustive]
    Image {
        /// Where it is.
        media: MediaSource,
        /// Words below it.
        caption: Option<String>,
    },
    /// A video.
    #[non_exhaustive]
    Video {
        /// Where it is.
        media: MediaSource,
        /// Words below it.
        caption: Option<String>,
    },
    /// Sound as a file.
    #[non_exhaustive]
    Audio {
        /// Where it is.
        media: MediaSource,
    },
    /// A voice note. It has to be Ogg with Opus, mono; up to 512 KB it plays at once.
    #[non_exhaustive]
    Voice {
        /// Where it is.
        media: MediaSource,
    },
    /// A file.
    #[non_exhaustive]
    Document {
        /// Where it is.
        media: MediaSource,
        /// Words below it.
        caption: Option<String>,
        /// The name to show.
        filename: Option<String>,
    },
    /// A sticker.
    #[non_exhaustive]
    Sticker {
        /// Where it is.
        media: MediaSource,
    },
    /// A reaction to a message of the user.
    #[non_exhaustive]
    Reaction {
        /// The message.
        message_id: String,
        /// The emoji; `None` takes an earlier reaction back.
        emoji: Option<String>,
    },
}

impl OutboundContent {
    /// Text of 1 to [`TEXT_CHARACTERS_MAX`] characters, without a link preview.
    pub fn text(body: impl Into<String>) -> Result<Self, LimitError> {
        Self::Text { body: body.into(), preview_url: false }.checked()
    }

    /// Like [`OutboundContent::text`], with a preview of the first link in it.
    pub fn text_with_preview(body: impl Into<String>) -> Result<Self, LimitError> {
        Self::Text { body: body.into(), preview_url: true }.checked()
    }

    /// A template.
    pub fn template(template: Template) -> Result<Self, LimitError> {
        Self::Template { template }.checked()
    }

    /// Text with one to three reply buttons, whose ids and titles must differ.
    pub fn buttons(body: impl Into<String>, buttons: Vec<ReplyButton>) -> Result<Self, LimitError> {
        Self::Buttons { header: None, body: body.into(), footer: None, buttons }.checked()
    }

    /// Text with a list of up to ten rows altogether; several sections need titles.
    pub fn list(
        body: impl Into<String>,
        button: impl Into<String>,
        sections: Vec<ListSection>,
    ) -> Result<Self, LimitError> {
        Self::List { header: None, body: body.into(), footer: None, button: button.into(), sections }.checked()
    }

    /// Text with a link on a button.
    pub fn cta_url(
        body: impl Into<String>,
        label: impl Into<String>,
        url: impl Into<String>,
    ) -> Result<Self, LimitError> {
        Self::CtaUrl { header: None, body: body.into(), footer: None, label: label.into(), url: url.into() }.checked()
    }

    /// A question for the user's location.
    pub fn location_request(body: impl Into<String>) -> Result<Self, LimitError> {
        Self::LocationRequest { body: body.into() }.checked()
    }

    /// A question for the user's phone number. The answer is a contact card with the origin `contact_request`.
    pub fn contact_info_request(body: impl Into<String>) -> Result<Self, LimitError> {
        Self::ContactInfoRequest { body: body.into() }.checked()
    }

    /// A picture (JPEG or PNG, up to 5 MB).
    pub fn image(media: MediaSource, caption: Option<String>) -> Result<Self, LimitError> {
        Self::Image { media, caption }.checked()
    }

    /// A video (MP4 or 3GPP, up to 16 MB).
    pub fn video(media: MediaSource, caption: Option<String>) -> Result<Self, LimitError> {
        Self::Video { media, caption }.checked()
    }

    /// Sound as a file (up to 16 MB).
    pub fn audio(media: MediaSource) -> Result<Self, LimitError> {
        Self::Audio { media }.checked()
    }

    /// A voice note.
    pub fn voice(media: MediaSource) -> Result<Self, LimitError> {
        Self::Voice { media }.checked()
    }

    /// A file (up to 100 MB).
    pub fn document(media: MediaSource, caption: Option<String>, filename: Option<String>) -> Result<Self, LimitError> {
        Self::Document { media, caption, filename }.checked()
    }

    /// A sticker (WebP, up to 100 KB, animated 500 KB).
    pub fn sticker(media: MediaSource) -> Result<Self, LimitError> {
        Self::Sticker { media }.checked()
    }

    /// A reaction; `None` takes an earlier one back.
    pub fn reaction(message_id: impl Into<String>, emoji: Option<String>) -> Result<Self, LimitError> {
        let emoji = emoji.filter(|emoji| !emoji.is_empty());
        Self::Reaction { message_id: message_id.into(), emoji }.checked()
    }

    /// Puts a header above buttons, a list or a link; other kinds have none. A list takes a text header only.
    pub fn with_header(mut self, new: Header) -> Result<Self, LimitError> {
        match &mut self {
            Self::Buttons { header, .. } | Self::List { header, .. } | Self::CtaUrl { header, .. } => {
                *header = Some(new);
            }
            _ => {
                return Err(LimitError::Invalid { field: "header", reason: "this kind of message has none" });
            }
        }
        self.checked()
    }

    /// Puts a footer below buttons, a list or a link; other kinds have none.
    pub fn with_footer(mut self, new: impl Into<String>) -> Result<Self, LimitError> {
        match &mut self {
            Self::Buttons { footer, .. } | Self::List { footer, .. } | Self::CtaUrl { footer, .. } => {
                *footer = Some(new.into());
            }
            _ => {
                return Err(LimitError::Invalid { field: "footer", reason: "this kind of message has none" });
            }
        }
        self.checked()
    }

    /// Checks every limit again.
    pub fn check(&self) -> Result<(), LimitError> {
        match self {
            Self::Text { body, .. } => check_text("text body", body, TEXT_CHARACTERS_MAX),
            Self::Template { template } => template.check(),
            Self::Buttons { header, body, footer, buttons } => {
                interactive::check_frame(header.as_ref(), body, footer.as_deref())?;
                interactive::check_buttons(buttons)
            }
            Self::List { header, body, footer, button, sections } => {
                interactive::check_frame(header.as_ref(), body, footer.as_deref())?;
                interactive::check_list(header.as_ref(), button, sections)
            }
            Self::CtaUrl { header, body, footer, label, url } => {
                interactive::check_frame(header.as_ref(), body, footer.as_deref())?;
                check_text("link button label", label, BUTTON_TITLE_CHARACTERS_MAX)?;
                limits::check_url("link", url)
            }
            Self::LocationRequest { body } | Self::ContactInfoRequest { body } => {
                check_text("interactive body", body, BODY_CHARACTERS_MAX)
            }
            Self::Image { media, caption } | Self::Video { media, caption } => {
                media.check()?;
                check_optional("caption", caption.as_deref(), CAPTION_CHARACTERS_MAX)
            }
            Self::Audio { media } | Self::Voice { media } | Self::Sticker { media } => media.check(),
            Self::Document { media, caption, filename } => {
                media.check()?;
                check_optional("caption", caption.as_deref(), CAPTION_CHARACTERS_MAX)?;
                check_optional("file name", filename.as_deref(), FILENAME_CHARACTERS_MAX)
            }
            Self::Reaction { message_id, emoji } => {
                check_id("id of the message reacted to", message_id, MESSAGE_ID_CHARACTERS_MAX)?;
                check_optional("emoji", emoji.as_deref(), limits::EMOJI_CHARACTERS_MAX)
            }
        }
    }

    fn checked(self) -> Result<Self, LimitError> {
        self.check()?;
        Ok(self)
    }

    /// The kind in one word: `text`, `template`, `buttons`, `list`, `cta_url`, `location_request`,
    /// `contact_info_request`, `image`, `video`, `audio`, `voice`, `document`, `sticker`, `reaction`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Template { .. } => "template",
            Self::Buttons { .. } => "buttons",
            Self::List { .. } => "list",
            Self::CtaUrl { .. } => "cta_url",
            Self::LocationRequest { .. } => "location_request",
            Self::ContactInfoRequest { .. } => "contact_info_request",
            Self::Image { .. } => "image",
            Self::Video { .. } => "video",
            Self::Audio { .. } => "audio",
            Self::Voice { .. } => "voice",
            Self::Document { .. } => "document",
            Self::Sticker { .. } => "sticker",
            Self::Reaction { .. } => "reaction",
        }
    }

    /// The words to show in a list of messages: body or caption, the name of a template, the emoji of a reaction.
    pub fn summary(&self) -> Option<&str> {
        match self {
            Self::Text { body, .. } | Self::Buttons { body, .. } | Self::List { body, .. } => Some(body),
            Self::CtaUrl { body, .. } | Self::LocationRequest { body } | Self::ContactInfoRequest { body } => {
                Some(body)
            }
            Self::Template { template } => Some(template.name()),
            Self::Image { caption, .. } | Self::Video { caption, .. } => caption.as_deref(),
            Self::Document { caption, filename, .. } => caption.as_deref().or(filename.as_deref()),
            Self::Reaction { emoji, .. } => emoji.as_deref(),
            Self::Audio { .. } | Self::Voice { .. } | Self::Sticker { .. } => None,
        }
    }

    /// True for a template: the only kind that may be sent outside of the customer service window.
    pub fn is_template(&self) -> bool {
        matches!(self, Self::Template { .. })
    }
}

#[cfg(test)]
mod tests;
