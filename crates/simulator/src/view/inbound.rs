//! What a person does on the phone.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a person does on the phone: a tagged message plus what any message may carry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InboundSpec {
    /// The message itself.
    #[serde(flatten)]
    pub kind: InboundKind,
    /// The message that it answers (`context`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Whether it was forwarded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forwarded: bool,
    /// Whether it was forwarded often.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frequently_forwarded: bool,
    /// A click-to-WhatsApp referral, as in the webhook; opens the free entry point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referral: Option<Value>,
}

impl From<InboundKind> for InboundSpec {
    fn from(kind: InboundKind) -> Self {
        Self { kind, reply_to: None, forwarded: false, frequently_forwarded: false, referral: None }
    }
}

/// The messages a person can send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum InboundKind {
    /// Plain text.
    Text {
        /// The words.
        text: String,
    },
    /// A picture.
    Image {
        /// An uploaded file.
        media_id: String,
        /// Words below it.
        #[serde(default)]
        caption: Option<String>,
    },
    /// A film.
    Video {
        /// An uploaded file.
        media_id: String,
        /// Words below it.
        #[serde(default)]
        caption: Option<String>,
    },
    /// A sound file that was attached (`voice: false`).
    Audio {
        /// An uploaded file.
        media_id: String,
    },
    /// A recorded voice note (`voice: true`).
    Voice {
        /// An uploaded file.
        media_id: String,
    },
    /// A document.
    Document {
        /// An uploaded file.
        media_id: String,
        /// Words below it.
        #[serde(default)]
        caption: Option<String>,
        /// Its name; default the name it was uploaded with.
        #[serde(default)]
        filename: Option<String>,
    },
    /// A sticker.
    Sticker {
        /// An uploaded file.
        media_id: String,
        /// Whether it moves.
        #[serde(default)]
        animated: bool,
    },
    /// A place.
    Location {
        /// Degrees north.
        latitude: f64,
        /// Degrees east.
        longitude: f64,
        /// What it is called.
        #[serde(default)]
        name: Option<String>,
        /// Its address.
        #[serde(default)]
        address: Option<String>,
    },
    /// Contact cards.
    Contacts {
        /// Cards as on the wire.
        contacts: Vec<Value>,
    },
    /// The answer to a request for the phone number (`origin: contact_request`).
    SharePhone {
        /// The request's bubble.
        #[serde(default)]
        message_id: Option<String>,
    },
    /// A tap on a reply button.
    ButtonReply {
        /// The bubble with the button.
        message_id: String,
        /// The button's id.
        id: String,
    },
    /// A choice from a list.
    ListReply {
        /// The bubble with the list.
        message_id: String,
        /// The row's id.
        id: String,
    },
    /// A tap on a template's quick reply.
    TemplateButton {
        /// The template's bubble.
        message_id: String,
        /// The button's place among the template's buttons.
        index: usize,
        /// Leaves `context` out, as Meta sometimes does.
        #[serde(default)]
        without_context: bool,
    },
    /// A completed flow.
    FlowReply {
        /// The bubble that it answers.
        #[serde(default)]
        message_id: Option<String>,
        /// What the flow gathered; sent as a JSON string.
        response: Value,
    },
    /// A reaction; without `emoji` (or with an empty one) its removal.
    Reaction {
        /// The bubble.
        message_id: String,
        /// The emoji.
        #[serde(default)]
        emoji: Option<String>,
    },
    /// An order from a catalogue.
    Order {
        /// The catalogue.
        catalog_id: String,
        /// Words with it.
        #[serde(default)]
        text: String,
        /// Items as on the wire.
        product_items: Vec<Value>,
    },
    /// A change of an earlier text.
    Edit {
        /// The person's own bubble.
        message_id: String,
        /// The new words.
        text: String,
    },
    /// Takes an earlier message back.
    Revoke {
        /// The person's own bubble.
        message_id: String,
    },
    /// The person moves to another number, and so gets another BSUID (`user_changed_number`).
    NumberChange {
        /// The new number, digits; default a made-up one.
        #[serde(default)]
        phone: Option<String>,
    },
    /// The BSUID changes and no phone is shown (`user_changed_user_id`).
    UserIdChange,
    /// A kind that the Cloud API does not carry (131051).
    Unsupported {
        /// What it was, for example `poll`.
        #[serde(default)]
        unsupported_type: Option<String>,
    },
    /// The legacy first opening of a chat.
    RequestWelcome,
    /// Any message: missing `id`, `timestamp` and identifiers are filled in, the rest goes out as is.
    Raw {
        /// The item of `messages[]`.
        message: Value,
    },
}
