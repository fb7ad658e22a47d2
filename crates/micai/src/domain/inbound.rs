//! What comes in: messages, delivery statuses and everything else a webhook carries.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::contact::{Address, IdentityChange, Person};
use super::news::{AccountNews, OurNumber};
use super::outbound::{DeliveryStatus, Price, SendError};
use super::pause::PauseScope;
use super::template::news::TemplateNews;
use super::weather::SharedLocation;
use crate::ids::{ConversationId, InboundId, OutboundId};

/// Where an inbound message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InboundState {
    /// Waits for a turn.
    Pending,
    /// A turn has seen it.
    Done,
    /// Too old to be answered as if it were fresh.
    Stale,
    /// Kept for the record; calls for no answer (reactions, system notes, group messages).
    Noted,
    /// Every attempt to take a turn over it failed; a person must look.
    Dead,
}

impl InboundState {
    const ALL: [Self; 5] = [Self::Pending, Self::Done, Self::Stale, Self::Noted, Self::Dead];

    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Stale => "stale",
            Self::Noted => "noted",
            Self::Dead => "dead",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// What a turn has to know about the nature of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageNature {
    /// Something a person wrote, recorded or attached.
    Words,
    /// A tap on a button or a list row that we sent.
    Tap,
    /// New words for an earlier message.
    Edit,
    /// The person took an earlier message back.
    Revoke,
    /// Nobody wrote it: a schedule asks the agent, and its answer goes to the person.
    Schedule,
}

impl MessageNature {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Tap => "tap",
            Self::Edit => "edit",
            Self::Revoke => "revoke",
            Self::Schedule => "schedule",
        }
    }

    /// Whether the person's window opens by it. Whether edits and revocations open it is not documented.
    pub fn opens_window(self) -> bool {
        matches!(self, Self::Words | Self::Tap)
    }

    /// The nature of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Words, Self::Tap, Self::Edit, Self::Revoke, Self::Schedule]
            .into_iter()
            .find(|nature| nature.as_str() == name)
    }
}

/// A message as it arrived, before the database knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewInbound {
    /// Our number, as WhatsApp names it.
    pub phone_number_id: String,
    /// WhatsApp's id of the message (wamid).
    pub provider_message_id: String,
    /// Who sent it.
    pub person: Person,
    /// The identifier that it came from: where an answer goes.
    pub reply_to: Address,
    /// WhatsApp's word for its type.
    pub kind: String,
    /// What it means for a turn.
    pub nature: MessageNature,
    /// Its words, where it has any: body, caption, or the title of what was tapped.
    pub text: Option<String>,
    /// The earlier message that an edit, a revocation or a reaction speaks of.
    pub target_provider_message_id: Option<String>,
    /// The message as it came, for everything not broken out above.
    pub payload: serde_json::Value,
    /// When the person sent it, if the webhook says so credibly.
    pub sent_at: Option<Timestamp>,
    /// `Pending` for what a turn must see, `Noted` for the rest.
    pub state: InboundState,
    /// Whether it opens WhatsApp's 24-hour window.
    pub opens_window: bool,
    /// Whether the person came through an advertisement.
    pub is_referred: bool,
    /// An identity change that it reports.
    pub identity_change: Option<IdentityChange>,
}

/// A delivery status as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct NewStatus {
    /// Our number, as WhatsApp names it.
    pub phone_number_id: String,
    /// WhatsApp's id of the message it speaks of.
    pub provider_message_id: String,
    /// The ledger row that our callback data names, where it came back.
    pub callback: Option<(ConversationId, OutboundId)>,
    /// What happened.
    pub status: DeliveryStatus,
    /// To whom, where the status says so; tells apart the members of a group.
    pub recipient: String,
    /// The person it was for, as far as the status tells.
    pub person: Person,
    /// When it happened, if the webhook says so credibly.
    pub occurred_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<SendError>,
    /// What follows from a failure.
    pub after: AfterFailure,
    /// What WhatsApp charges.
    pub price: Option<Price>,
}

/// What follows for a message that WhatsApp had taken and that failed after all: the same as if it had been refused at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AfterFailure {
    /// It stays dead: a letter.
    #[default]
    Letter,
    /// Only the window was closed: a template can still say it.
    Template,
    /// It goes again then, if it has attempts left.
    Later {
        /// When.
        not_before: Timestamp,
        /// The attempts of one message.
        attempts_max: i32,
    },
    /// Something else is stopped, too.
    Stop {
        /// How far that reaches.
        scope: PauseScope,
        /// The number or country; empty where there is only one, and for a template: the ledger knows which.
        subject: String,
        /// Whether the message goes when that is over; otherwise it is a letter.
        waits: bool,
    },
}

/// A part of a webhook that is kept as it came: account news, other fields, and what could not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEvent {
    /// The webhook field, or `unreadable`.
    pub kind: String,
    /// The account it concerns, where the webhook says so.
    pub waba_id: Option<String>,
    /// Why it is kept raw.
    pub reason: Option<String>,
    /// The JSON as it came.
    pub raw: String,
}

/// A person's wish about messages, reported by WhatsApp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPreference {
    /// Who.
    pub person: Person,
    /// Whether they want no marketing from us any more.
    pub marketing_stopped: bool,
    /// What WhatsApp said about it.
    pub evidence: serde_json::Value,
    /// When they chose so, if the webhook says so credibly.
    pub occurred_at: Option<Timestamp>,
}

/// All that one webhook asks us to remember.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WebhookFacts {
    /// Messages, in the order in which they stand.
    pub messages: Vec<NewInbound>,
    /// Statuses, in the order in which they stand.
    pub statuses: Vec<NewStatus>,
    /// Wishes.
    pub preferences: Vec<NewPreference>,
    /// Changes of templates, which stand in `raw_events`, too.
    pub templates: Vec<TemplateNews>,
    /// News of the account and of numbers, which stand in `raw_events`, too.
    pub account: Vec<AccountNews>,
    /// Numbers of ours that this process has not met before.
    pub numbers: Vec<OurNumber>,
    /// The rest.
    pub raw_events: Vec<RawEvent>,
}

impl WebhookFacts {
    /// How many rows this will touch, roughly: what batches are bounded by.
    pub fn item_count(&self) -> usize {
        self.messages.len()
            + self.statuses.len()
            + self.preferences.len()
            + self.templates.len()
            + self.account.len()
            + self.numbers.len()
            + self.raw_events.len()
    }

    /// Whether they may change what is paused.
    pub fn may_pause(&self) -> bool {
        let stops = |status: &NewStatus| matches!(status.after, AfterFailure::Stop { .. });
        !self.account.is_empty() || !self.templates.is_empty() || self.statuses.iter().any(stops)
    }
}

/// A message that waits, as a turn sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingMessage {
    /// Its row.
    pub id: InboundId,
    /// WhatsApp's id.
    pub provider_message_id: String,
    /// WhatsApp's word for its type.
    pub kind: String,
    /// What it means for a turn.
    pub nature: MessageNature,
    /// Its words.
    pub text: Option<String>,
    /// What the button or row that was tapped carries.
    pub tapped: Option<String>,
    /// Where the person says they are, or points to.
    pub location: Option<SharedLocation>,
    /// The message an edit or revocation speaks of.
    pub target_provider_message_id: Option<String>,
    /// Where an answer goes.
    pub reply_to: Address,
    /// When the person sent it; the time of arrival where the webhook did not say.
    pub sent_at: Timestamp,
    /// When it reached us.
    pub received_at: Timestamp,
    /// The person has taken it back meanwhile.
    pub revoked: bool,
    /// The person has put other words in its place meanwhile.
    pub edited: bool,
    /// How many turns over it have failed.
    pub failures: i32,
}
