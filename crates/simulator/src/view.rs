//! The shapes of the control API: what it takes and what it shows. JSON names are the field names.

mod faults;
mod inbound;
mod logs;

pub use faults::{FaultKind, FaultOn, FaultSpec};
pub use inbound::{InboundKind, InboundSpec};
pub use logs::{AcceptedView, DeliveryState, DeliveryView, GraphRequestView};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which identifiers a user has and shows to the business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhoneKind {
    /// A phone number and nothing else: webhooks as they were before business-scoped user ids.
    Phone,
    /// A phone number and a business-scoped user id (BSUID), both shown.
    PhoneAndBsuid,
    /// A username hides the phone number: only the BSUID is shown. The case everyone forgets, hence the default.
    Username,
    /// As [`PhoneKind::Username`], and enrolled with a parent BSUID. With a phone and no username the phone is shown.
    ParentBsuid,
}

/// A simulated person to add. Everything left out is made up from the seed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhoneSpec {
    /// The profile's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which identifiers are shown; default `username`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<PhoneKind>,
    /// The phone number, digits with country code; for `username` the hidden one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// The username; only phones with a BSUID may have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

/// A simulated person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhoneView {
    /// The simulator's own id, for example `phone-3`.
    pub id: String,
    /// The profile's name.
    pub name: String,
    /// Which identifiers it has.
    pub kind: PhoneKind,
    /// Its number, also where webhooks hide it.
    pub phone: String,
    /// Whether webhooks show the number at this moment.
    pub phone_shown: bool,
    /// The username, if adopted.
    pub username: Option<String>,
    /// The BSUID, absent for `phone`.
    pub user_id: Option<String>,
    /// The parent BSUID, only for `parent_bsuid`.
    pub parent_user_id: Option<String>,
    /// End of the 24-hour window, Unix seconds of the simulator's clock; absent if never written.
    pub window_until: Option<i64>,
    /// Whether the business is shown as typing.
    pub typing: bool,
    /// Bubbles of the business that were delivered and not read.
    pub unread: usize,
    /// The newest bubble as one line of text.
    pub last_line: Option<String>,
    /// When the newest bubble was made, Unix seconds of the simulator's clock.
    pub last_at: Option<i64>,
}

/// Who wrote a bubble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// The simulated person.
    User,
    /// The business, through the Graph API.
    Business,
}

/// How far a bubble has come. Only grows, except that `failed` replaces `accepted` and `sent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BubbleStatus {
    /// By the business: taken by the Graph API. By the user: its webhook is not acknowledged yet.
    Accepted,
    /// By the business: left for the phone.
    Sent,
    /// By the business: on the phone. By the user: its webhook was answered 200.
    Delivered,
    /// The other side has read it.
    Read,
    /// The user has played the business's voice note.
    Played,
    /// It did not arrive; `error` says why.
    Failed,
}

/// Why a message failed, as in the webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureView {
    /// Meta's code.
    pub code: u32,
    /// Its title.
    pub title: String,
    /// The sentence that explains.
    pub details: String,
}

/// A reaction on a bubble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReactionView {
    /// Who reacted.
    pub from: Author,
    /// The emoji.
    pub emoji: String,
}

/// A media file that a bubble shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaView {
    /// The media id; absent where the business sent a link.
    pub id: Option<String>,
    /// Where a page finds it: `/sim/media/{id}` or the business's link.
    pub url: String,
    /// The MIME type where known.
    pub mime_type: Option<String>,
    /// A document's name.
    pub filename: Option<String>,
    /// Whether it is a voice note.
    pub voice: bool,
}

/// What a button does when tapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum ButtonView {
    /// Answers with `{"type":"button_reply","message_id":…,"id":…}`.
    Reply {
        /// The id to answer with.
        id: String,
        /// The label.
        title: String,
    },
    /// A template's quick reply: answers with `{"type":"template_button","message_id":…,"index":…}`.
    QuickReply {
        /// Its place among the template's buttons.
        index: usize,
        /// The label.
        title: String,
    },
    /// Opens a page.
    Url {
        /// The label.
        title: String,
        /// The address.
        url: String,
    },
    /// Asks for a place: answer with `{"type":"location",…,"reply_to":…}`.
    SendLocation,
    /// Asks for the number: answer with `{"type":"share_phone","message_id":…}`.
    ShareContact {
        /// The label.
        title: String,
    },
    /// Anything else, shown and without effect (call, copy code).
    Other {
        /// The label.
        title: String,
    },
}

/// One row of a list: answer with `{"type":"list_reply","message_id":…,"id":…}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowView {
    /// The title of its section.
    pub section: Option<String>,
    /// The id to answer with.
    pub id: String,
    /// The label.
    pub title: String,
    /// The line below.
    pub description: Option<String>,
}

/// A bubble in a chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BubbleView {
    /// The message's id (wamid).
    pub id: String,
    /// The phone in whose chat it is.
    pub phone_id: String,
    /// Who wrote it.
    pub author: Author,
    /// The message's type as on the wire: `text`, `image`, `interactive`, `template`, `system`…
    pub kind: String,
    /// When, Unix seconds of the simulator's clock.
    pub at: i64,
    /// What a person reads: body, caption, rendered template, place; empty where there is no text.
    pub text: String,
    /// A header's text.
    pub header: Option<String>,
    /// A footer's text.
    pub footer: Option<String>,
    /// Picture, sound, film, document or sticker, also of a header.
    pub media: Option<MediaView>,
    /// Buttons in order.
    pub buttons: Vec<ButtonView>,
    /// The label that opens the list, if it is a list.
    pub list_button: Option<String>,
    /// Rows of a list in order.
    pub rows: Vec<RowView>,
    /// The message that it answers.
    pub reply_to: Option<String>,
    /// How far it has come.
    pub status: BubbleStatus,
    /// Why it failed.
    pub error: Option<FailureView>,
    /// Reactions on it, at most one of each side.
    pub reactions: Vec<ReactionView>,
    /// Whether the user edited it.
    pub edited: bool,
    /// Whether the user took it back.
    pub revoked: bool,
    /// The message as sent (by the business) or as in the webhook (by the user).
    pub content: Value,
}

/// The clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockView {
    /// Unix seconds.
    pub now: i64,
    /// How far it is ahead of real time, in seconds.
    pub ahead_seconds: i64,
}

/// A move of the clock: one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockMove {
    /// Moves by so many seconds; negative goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advance_seconds: Option<i64>,
    /// Sets to this Unix second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<i64>,
}

/// Who the business is and how things stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateView {
    /// The simulator's base URL.
    pub url: String,
    /// Where webhooks go.
    pub webhook_url: Option<String>,
    /// The business phone number's id.
    pub phone_number_id: String,
    /// The business account's id.
    pub waba_id: String,
    /// The business number, digits.
    pub display_phone_number: String,
    /// The business's name.
    pub verified_name: String,
    /// The clock.
    pub clock: ClockView,
    /// Whether phones read by themselves.
    pub auto_read: bool,
    /// Whether pace is enforced.
    pub enforce_pace: bool,
    /// All phones, oldest first.
    pub phones: Vec<PhoneView>,
    /// Templates by name, language and status.
    pub templates: Vec<TemplateView>,
    /// Webhooks not acknowledged yet.
    pub deliveries_pending: usize,
    /// Faults to come.
    pub faults: Vec<FaultSpec>,
}

/// A message template in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its language code.
    pub language: String,
    /// `UTILITY`, `MARKETING` or `AUTHENTICATION`.
    pub category: String,
    /// `APPROVED`, `PENDING`, `REJECTED`, `PAUSED` or `DISABLED`.
    pub status: String,
    /// `GREEN`, `YELLOW`, `RED` or `UNKNOWN`.
    pub quality: String,
}

/// What `/sim/events` streams. The SSE event name is the tag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum SimEvent {
    /// A new bubble.
    BubbleAdded {
        /// The bubble.
        bubble: BubbleView,
    },
    /// A bubble changed in anything: status, reactions, edit.
    BubbleChanged {
        /// The bubble as it is now.
        bubble: BubbleView,
    },
    /// A bubble has come further.
    Status {
        /// The chat.
        phone_id: String,
        /// The bubble.
        id: String,
        /// How far.
        status: BubbleStatus,
        /// Why it failed.
        error: Option<FailureView>,
    },
    /// The business began or stopped typing.
    Typing {
        /// The chat.
        phone_id: String,
        /// Whether it is typing now.
        on: bool,
    },
    /// Something went wrong that a person should see.
    Failure {
        /// The chat, where there is one.
        phone_id: Option<String>,
        /// `send` (the Graph API refused), `status` (a message failed) or `webhook` (not acknowledged).
        source: String,
        /// Meta's code or the HTTP status, where there is one.
        code: Option<u32>,
        /// One sentence.
        message: String,
    },
    /// A phone was added or changed (name, number, ids, unread).
    Phone {
        /// The phone as it is now.
        phone: PhoneView,
    },
    /// A phone was removed.
    PhoneRemoved {
        /// Its id.
        phone_id: String,
    },
    /// The clock was moved.
    Clock {
        /// The clock.
        clock: ClockView,
    },
    /// Everything was forgotten: load the state again.
    Reset,
    /// The listener was too slow and missed events: load the state again.
    Lagged {
        /// How many were missed.
        missed: u64,
    },
}

/// Why the control API refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// There is no such phone, bubble, file, template: look at the state first.
    #[error("{0}")]
    NotFound(String),
    /// The request makes no sense as it is: correct it.
    #[error("{0}")]
    Invalid(String),
    /// A bound is reached: remove something or reset.
    #[error("{0}")]
    Full(String),
}
