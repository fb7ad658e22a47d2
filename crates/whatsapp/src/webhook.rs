//! Webhook bodies to events: tolerant by construction.
//!
//! A body is `entry[] → changes[] → value → messages[] / statuses[] / errors[] …`; all levels are arrays and all are
//! walked through. Each level is split into keys and unparsed values, and only the leaves are parsed, so one bad item
//! never affects its neighbours: it becomes [`Event::Unreadable`] with its raw text. Unknown fields become
//! [`Event::Other`], unknown message types [`Content::Unknown`]. Of a repeated key the last one counts. Bytes that are
//! not UTF-8 are replaced by U+FFFD. U+0000 inside strings is passed on; databases may need it replaced.
//!
//! ```
//! use whatsapp::webhook::{self, Content, Event};
//!
//! let body = br#"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{
//!   "metadata":{"display_phone_number":"15550001111","phone_number_id":"900001"},
//!   "contacts":[{"profile":{"name":"Ana"},"user_id":"BR.88123"}],
//!   "messages":[{"id":"wamid.A1","from_user_id":"BR.88123","timestamp":"1790000000","type":"text",
//!                "text":{"body":"oi"}}]}}]}]}"#;
//! let webhook = webhook::parse(body)?;
//! let Event::Message(message) = &webhook.events[0] else { panic!("not a message") };
//! assert_eq!(message.content, Content::Text { body: "oi".into() });
//! assert_eq!(message.sender.name.as_deref(), Some("Ana"));
//! # Ok::<(), webhook::ParseError>(())
//! ```

mod account;
mod content;
mod envelope;
mod inbound;
mod raw;
mod read_content;
mod status;

use serde_json::value::RawValue;
use thiserror::Error;

use crate::error::ApiError;

pub use account::{
    AccountChange, AccountUpdate, PreferenceChange, Restriction, TemplateChange, TemplateUpdate, UserPreference,
    UserPreferenceUpdate,
};
pub use content::{
    ContactCard, ContactPhone, Content, InteractiveReply, Location, Media, Order, OrderItem, SystemEvent, SystemKind,
};
pub use envelope::parse;
pub use inbound::{Context, Echo, InboundMessage, Referral, ReferredProduct, Sender};
pub use status::{Conversation, DeliveryStatus, Pricing, StatusUpdate};

/// Everything one webhook body brought.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// `whatsapp_business_account` for everything this crate understands; empty if absent. Not checked here.
    pub object: String,
    /// The events in the order of the body.
    pub events: Vec<Event>,
    /// True if the body had bytes that are not UTF-8, which were replaced by U+FFFD.
    pub utf8_repaired: bool,
}

/// The body as a whole is unreadable; nothing in it can be saved. Answer 400.
#[derive(Debug, Error)]
pub enum ParseError {
    /// Not JSON: cut off, or something else.
    #[error("the body is not JSON: {reason} (line {line}, column {column})")]
    NotJson {
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault in bytes, from 1.
        column: usize,
        /// What the parser expected.
        reason: String,
    },
    /// JSON, but not an object.
    #[error("the body is JSON, but not an object")]
    NotAnObject,
}

/// One thing that happened. Every variant keeps the raw JSON of its item.
#[derive(Debug, Clone)]
pub enum Event {
    /// A user wrote (or WhatsApp speaks about the user: see [`Content::System`]).
    Message(Box<InboundMessage>),
    /// A message of ours moved on, or failed.
    Status(Box<StatusUpdate>),
    /// An error that belongs to no item.
    ValueError(Box<ValueError>),
    /// A template changed its status, quality, components or category.
    Template(Box<TemplateUpdate>),
    /// Something about the account, its limits or its numbers.
    Account(Box<AccountUpdate>),
    /// A user stopped or resumed marketing messages.
    UserPreference(Box<UserPreferenceUpdate>),
    /// A person wrote from the Business app on the same number.
    Echo(Box<Echo>),
    /// A conversation that somebody else is answering. Never answer it.
    Standby(Box<PassiveChange>),
    /// A chunk of old conversations. Never answer it.
    History(Box<PassiveChange>),
    /// A field this crate does not know, or knows to be of no use to a conversation.
    Other(Box<OtherChange>),
    /// Something that could not be read. Store it; its neighbours are unharmed.
    Unreadable(Box<Unreadable>),
}

impl Event {
    /// The kind of event in one word, for counters: `message`, `status`, `value_error`, `template`, `account`,
    /// `user_preference`, `echo`, `standby`, `history`, `other`, `unreadable`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Message(_) => "message",
            Self::Status(_) => "status",
            Self::ValueError(_) => "value_error",
            Self::Template(_) => "template",
            Self::Account(_) => "account",
            Self::UserPreference(_) => "user_preference",
            Self::Echo(_) => "echo",
            Self::Standby(_) => "standby",
            Self::History(_) => "history",
            Self::Other(_) => "other",
            Self::Unreadable(_) => "unreadable",
        }
    }

    /// The JSON the event was read from, exactly as it came.
    pub fn raw(&self) -> &RawValue {
        match self {
            Self::Message(message) => &message.raw,
            Self::Status(status) => &status.raw,
            Self::ValueError(error) => &error.raw,
            Self::Template(update) => &update.raw,
            Self::Account(update) => &update.raw,
            Self::UserPreference(update) => &update.raw,
            Self::Echo(echo) => &echo.raw,
            Self::Standby(change) | Self::History(change) => &change.raw,
            Self::Other(change) => &change.raw,
            Self::Unreadable(unreadable) => &unreadable.raw,
        }
    }

    /// The WhatsApp Business account the event belongs to, if the entry said so.
    pub fn waba_id(&self) -> Option<&str> {
        let id = match self {
            Self::Message(message) => &message.waba_id,
            Self::Status(status) => &status.waba_id,
            Self::ValueError(error) => &error.waba_id,
            Self::Template(update) => &update.waba_id,
            Self::Account(update) => &update.waba_id,
            Self::UserPreference(update) => &update.waba_id,
            Self::Echo(echo) => &echo.waba_id,
            Self::Standby(change) | Self::History(change) => &change.waba_id,
            Self::Other(change) => &change.waba_id,
            Self::Unreadable(unreadable) => return unreadable.waba_id.as_deref(),
        };
        (!id.is_empty()).then_some(id)
    }
}

/// An error that stands beside the items of a change, such as the reason why an interactive message has no content.
#[derive(Debug, Clone)]
pub struct ValueError {
    /// Id of the entry; empty if absent.
    pub waba_id: String,
    /// Id of the business phone number; empty if absent.
    pub phone_number_id: String,
    /// The error.
    pub error: ApiError,
    /// The error as it came.
    pub raw: Box<RawValue>,
}

/// A change that is recognised and must not be answered; its inner layout is not documented.
#[derive(Debug, Clone)]
pub struct PassiveChange {
    /// Id of the entry; empty if absent.
    pub waba_id: String,
    /// Id of the business phone number; empty if absent.
    pub phone_number_id: String,
    /// The value of the change as it came.
    pub raw: Box<RawValue>,
}

/// A change of a field that is not typed here.
#[derive(Debug, Clone)]
pub struct OtherChange {
    /// Id of the entry; empty if absent.
    pub waba_id: String,
    /// The field; empty if absent.
    pub field: String,
    /// The value of the change as it came (the whole change if it has none).
    pub raw: Box<RawValue>,
}

/// A piece of a body that could not be read.
#[derive(Debug, Clone)]
pub struct Unreadable {
    /// Id of the entry, where it could be read.
    pub waba_id: Option<String>,
    /// The field of the change, where it could be read.
    pub field: Option<String>,
    /// What and where, such as "message: number out of range at line 1 column 80".
    pub reason: String,
    /// The piece as it came.
    pub raw: Box<RawValue>,
}
