//! What an inbound message says: one variant a kind.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ApiError;
use crate::identity::IdentitySet;

/// The content of a message. A known kind whose own object is missing or lacks what makes it usable (a media id, a
/// coordinate) is [`Content::Unknown`] with that kind; the raw message is always there to look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "content", rename_all = "snake_case")]
pub enum Content {
    /// Text; may be empty.
    Text {
        /// The words.
        body: String,
    },
    /// A picture.
    Image(Media),
    /// A video.
    Video(Media),
    /// Sound.
    Audio {
        /// The file.
        media: Media,
        /// True if it was recorded in the app (a voice note), false for an attached file.
        voice: bool,
    },
    /// A file.
    Document {
        /// The file.
        media: Media,
        /// Its name on the sender's device. Not to be trusted as a path.
        filename: Option<String>,
    },
    /// A sticker.
    Sticker {
        /// The file, `image/webp`.
        media: Media,
        /// True if it moves.
        animated: bool,
    },
    /// A place.
    Location(Location),
    /// Contact cards.
    Contacts(Vec<ContactCard>),
    /// The user calls the business. Comes in a field of its own, `calls`, with the id of the call in place of a message's;
    /// counts for the customer service window also if nobody answers.
    Call,
    /// An answer to an interactive message.
    Interactive(InteractiveReply),
    /// A tap on the quick reply of a template. Its `context` may be absent.
    Button {
        /// The payload the template was sent with.
        payload: Option<String>,
        /// The label of the button.
        text: Option<String>,
    },
    /// A reaction to a message.
    Reaction {
        /// The message reacted to.
        message_id: String,
        /// The emoji; `None` means that an earlier reaction was taken back (it arrives empty or missing).
        emoji: Option<String>,
    },
    /// A shopping basket.
    Order(Order),
    /// WhatsApp tells something about the user; there is nothing to answer.
    System(SystemEvent),
    /// An earlier message was changed.
    Edit {
        /// The message that was changed.
        original_message_id: String,
        /// What it says now.
        content: Box<Content>,
    },
    /// An earlier message was deleted. May arrive before that message.
    Revoke {
        /// The message that was deleted.
        original_message_id: String,
    },
    /// Legacy: the user opened the chat for the first time.
    RequestWelcome,
    /// A kind that WhatsApp does not hand on, such as a poll.
    Unsupported {
        /// `unsupported.type` where given, otherwise the type of the message.
        kind: String,
        /// Usually one error with code 131051.
        errors: Vec<ApiError>,
    },
    /// A kind this crate does not know, or a known kind without its content.
    Unknown {
        /// The `type` of the message; empty if it has none.
        kind: String,
    },
}

impl Content {
    /// The words a person wrote or tapped: body, caption, label of a button or title of a list row. Of an edit, its new
    /// words.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { body } => Some(body),
            Self::Image(media) | Self::Video(media) | Self::Document { media, .. } => media.caption.as_deref(),
            Self::Button { text, .. } => text.as_deref(),
            Self::Interactive(InteractiveReply::Button { title, .. } | InteractiveReply::List { title, .. }) => {
                Some(title)
            }
            Self::Interactive(InteractiveReply::Flow { body, .. }) => body.as_deref(),
            Self::Order(order) => order.text.as_deref(),
            Self::Edit { content, .. } => content.text(),
            _ => None,
        }
    }

    /// The kind as WhatsApp spells it in `type`.
    pub fn kind(&self) -> &str {
        match self {
            Self::Text { .. } => "text",
            Self::Image(_) => "image",
            Self::Video(_) => "video",
            Self::Audio { .. } => "audio",
            Self::Document { .. } => "document",
            Self::Sticker { .. } => "sticker",
            Self::Location(_) => "location",
            Self::Contacts(_) => "contacts",
            Self::Call => "call",
            Self::Interactive(_) => "interactive",
            Self::Button { .. } => "button",
            Self::Reaction { .. } => "reaction",
            Self::Order(_) => "order",
            Self::System(_) => "system",
            Self::Edit { .. } => "edit",
            Self::Revoke { .. } => "revoke",
            Self::RequestWelcome => "request_welcome",
            Self::Unsupported { .. } => "unsupported",
            Self::Unknown { kind } => kind,
        }
    }

    /// The file of a media message.
    pub fn media(&self) -> Option<&Media> {
        match self {
            Self::Image(media) | Self::Video(media) => Some(media),
            Self::Audio { media, .. } | Self::Document { media, .. } | Self::Sticker { media, .. } => Some(media),
            _ => None,
        }
    }
}

/// A file on WhatsApp's servers. The id lives seven days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// The id to look the file up by.
    pub id: String,
    /// MIME type with parameters, such as `audio/ogg; codecs=opus`.
    pub mime_type: Option<String>,
    /// Digest of the file, base64.
    pub sha256: Option<String>,
    /// Words beside the file.
    pub caption: Option<String>,
    /// A direct address, good for five minutes; it needs the bearer token.
    pub url: Option<String>,
}

/// A place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Location {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// Name of the place.
    pub name: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// Its web page.
    pub url: Option<String>,
}

/// A contact card. Even the name and the numbers may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContactCard {
    /// `name.formatted_name`, or what can be put together from its parts.
    pub name: Option<String>,
    /// Phone numbers as written on the card.
    pub phones: Vec<ContactPhone>,
    /// E-mail addresses.
    pub emails: Vec<String>,
    /// `org.company`.
    pub company: Option<String>,
    /// `contact_request` (answer to a contact-info request) or `other` (forwarded: no proof that it is the sender's
    /// own).
    pub origin: Option<String>,
    /// The card as vCard text.
    pub vcard: Option<String>,
}

/// A phone number on a contact card.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContactPhone {
    /// The number as written.
    pub phone: Option<String>,
    /// `CELL`, `WORK` and the like.
    pub kind: Option<String>,
    /// The names of the WhatsApp user behind it, where given.
    pub user: IdentitySet,
}

/// An answer to an interactive message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum InteractiveReply {
    /// A reply button was tapped.
    Button {
        /// Id of the button, as we sent it.
        id: String,
        /// Its label.
        title: String,
    },
    /// A row of a list was chosen.
    List {
        /// Id of the row, as we sent it.
        id: String,
        /// Its title.
        title: String,
        /// Its description.
        description: Option<String>,
    },
    /// A flow (or an address form) was filled in.
    Flow {
        /// `flow`, or the name of the form.
        name: Option<String>,
        /// What the chat shows, such as "Sent".
        body: Option<String>,
        /// The answers: JSON in a string. `flow_token` may be absent in it.
        response_json: String,
    },
    /// The user allowed or refused calls.
    CallPermission {
        /// `accept` or `reject`.
        response: Option<String>,
        /// End of the permission in Unix seconds; `None` if it is permanent.
        expiration_timestamp_seconds: Option<i64>,
        /// `user_action` or `automatic`.
        response_source: Option<String>,
    },
    /// The message came without its `interactive` object; the reason stands in [`super::ValueError`] beside it.
    Missing,
    /// A kind of answer this crate does not know.
    Unknown {
        /// `interactive.type`; empty if absent.
        kind: String,
    },
}

impl InteractiveReply {
    /// The answers of a flow as JSON; `None` for other replies and where the string is not JSON.
    pub fn response(&self) -> Option<Value> {
        match self {
            Self::Flow { response_json, .. } => serde_json::from_str(response_json).ok(),
            _ => None,
        }
    }
}

/// A shopping basket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The catalogue.
    pub catalog_id: Option<String>,
    /// Words beside the order.
    pub text: Option<String>,
    /// What was ordered.
    pub items: Vec<OrderItem>,
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderItem {
    /// The product.
    pub product_retailer_id: Option<String>,
    /// How many.
    pub quantity: Option<i64>,
    /// Price of one, in units of the currency.
    pub item_price: Option<f64>,
    /// ISO 4217 code.
    pub currency: Option<String>,
}

/// WhatsApp tells that a user's names or keys have changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemEvent {
    /// What changed.
    pub kind: SystemKind,
    /// The names until now. The old BSUID of events before August 2026 is taken out of the text of `body`.
    pub previous: IdentitySet,
    /// The names from now on; a name that is absent need not have ceased.
    pub current: IdentitySet,
    /// The sentence the chat shows.
    pub body: Option<String>,
    /// Hash of the new identity key ([`SystemKind::IdentityChanged`]).
    pub identity_hash: Option<String>,
}

/// What a [`SystemEvent`] is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemKind {
    /// The user has a new phone number (and with it a new BSUID).
    NumberChanged,
    /// The user has a new BSUID; no phone number may be shown.
    UserIdChanged,
    /// The user's identity key has changed.
    IdentityChanged,
    /// Something else; `system.type`, empty if absent.
    Other(String),
}
