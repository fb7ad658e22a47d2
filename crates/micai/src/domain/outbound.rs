//! The send ledger: what goes out, in which state, and what became of it.

use std::fmt::Display;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::agent::AgentId;
use super::choice::Choice;
use super::contact::Address;
use super::free_entry::FreeEntry;
use super::pause::PauseKey;
use super::spend::Charge;
use super::template::TemplateUse;
use crate::ids::{ContactId, ConversationId, OutboundId, TurnId};

/// The most characters of plain words.
pub const TEXT_CHARACTERS_MAX: usize = 4_096;
/// The mark of words that were cut to fit.
const CUT_MARK: char = '…';

/// Where a send stands. Only the sender moves a row out of `queued` (or a status that proves an earlier attempt was
/// accepted), only a status or the sender out of `sending`, only a status, its deadline or a person out of `unknown`, only a
/// person (or a status that proves acceptance) out of `failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendState {
    /// Waits for its turn, or for its next attempt.
    Queued,
    /// The intent is written; the call may be under way.
    Sending,
    /// WhatsApp accepted it.
    Sent,
    /// It reached the phone.
    Delivered,
    /// It was read.
    Read,
    /// It was played (voice notes).
    Played,
    /// Waits until something changes, such as the window opening.
    Held,
    /// Outbound is switched off: kept, with the exact request, never sent.
    Suppressed,
    /// It may or may not have gone out.
    Unknown,
    /// It will not go out: a dead letter with its reason.
    Failed,
    /// It must not go out, such as to somebody who said STOP.
    Cancelled,
}

impl SendState {
    /// Every state.
    pub const ALL: [Self; 11] = [
        Self::Queued,
        Self::Sending,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Played,
        Self::Held,
        Self::Suppressed,
        Self::Unknown,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
            Self::Held => "held",
            Self::Suppressed => "suppressed",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether the send stands in its conversation's line: it is to go out, is going, or may have gone.
    pub fn is_in_line(self) -> bool {
        matches!(self, Self::Queued | Self::Sending | Self::Unknown)
    }
}

/// What WhatsApp reports about a message it accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// Accepted and on its way.
    Sent,
    /// On the phone.
    Delivered,
    /// Seen.
    Read,
    /// Voice note played.
    Played,
    /// Accepted, but not delivered.
    Failed,
}

impl DeliveryStatus {
    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        self.state().as_str()
    }

    /// The state of a ledger row that this status leads to.
    pub fn state(self) -> SendState {
        match self {
            Self::Sent => SendState::Sent,
            Self::Delivered => SendState::Delivered,
            Self::Read => SendState::Read,
            Self::Played => SendState::Played,
            Self::Failed => SendState::Failed,
        }
    }

    /// The status moves a row only while the row's rank on the ladder (nothing 0, sent 1, delivered 2, read 3,
    /// played 4) is below this: statuses overtake each other, and `failed` cannot undo a delivery.
    pub fn applies_below_rank(self) -> i32 {
        match self {
            Self::Sent => 1,
            Self::Delivered | Self::Failed => 2,
            Self::Read => 3,
            Self::Played => 4,
        }
    }
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MessageBody {
    /// Plain words, at most 4,096 characters.
    Text {
        /// The words.
        text: String,
    },
    /// A template that WhatsApp has approved: may be sent outside the window, too.
    Template {
        /// Which one, with what filled in.
        template: Box<TemplateUse>,
        /// What it says, as far as that was known when it was written: for people who read along.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// Words with a list to choose from; made by [`MessageBody::list`], which keeps its bounds.
    List {
        /// The words.
        text: String,
        /// What opens the list.
        button: String,
        /// What there is to choose.
        rows: Vec<Choice>,
    },
    /// Words with buttons below them; made by [`MessageBody::buttons`], which keeps its bounds.
    Buttons {
        /// The words.
        text: String,
        /// What there is to tap.
        buttons: Vec<Choice>,
    },
    /// Nothing any more: the person was forgotten.
    Erased,
    /// Words with a button by which the person shares where they are.
    LocationRequest {
        /// The words.
        text: String,
    },
}

impl MessageBody {
    /// The name of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Template { .. } => "template",
            Self::List { .. } => "list",
            Self::Buttons { .. } => "buttons",
            Self::LocationRequest { .. } => "location_request",
            Self::Erased => "erased",
        }
    }

    /// The words that the person reads, as far as they are known.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text }
            | Self::List { text, .. }
            | Self::Buttons { text, .. }
            | Self::LocationRequest { text } => Some(text),
            Self::Template { text, .. } => text.as_deref(),
            Self::Erased => None,
        }
    }

    /// The template that it is.
    pub fn template(&self) -> Option<&TemplateUse> {
        match self {
            Self::Text { .. }
            | Self::List { .. }
            | Self::Buttons { .. }
            | Self::LocationRequest { .. }
            | Self::Erased => None,
            Self::Template { template, .. } => Some(template),
        }
    }
}

/// Why a send did not work, in words that a person can act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendError {
    /// WhatsApp's error code, where there is one.
    pub code: Option<i64>,
    /// A stable word for the cause: `window_closed`, `opted_out`, `timeout`, `refused`, …
    pub reason: String,
    /// What happened and what to do.
    pub detail: String,
}

/// What WhatsApp says a message costs. The amount is not in the webhook, only the bracket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Whether it is charged.
    pub billable: Option<bool>,
    /// `PMP` or `CBP`.
    pub model: Option<String>,
    /// `regular`, `free_customer_service` or `free_entry_point`.
    pub kind: Option<String>,
    /// `service`, `utility`, `marketing`, …
    pub category: Option<String>,
    /// What that comes to by our price table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<Charge>,
}

impl SendError {
    /// What WhatsApp said, as a sentence, and what to do about it.
    pub fn told(said: impl Display, advice: Option<&str>) -> String {
        let said = said.to_string();
        let end = if said.ends_with(['.', '!', '?', '…', '。']) { "" } else { "." };
        let advice = advice.map(|advice| format!(" {advice}")).unwrap_or_default();
        format!("{said}{end}{advice}")
    }
}

/// A message that a turn wants sent: intent, not yet a call.
#[derive(Debug, Clone, PartialEq)]
pub struct NewOutbound {
    /// Its row.
    pub id: OutboundId,
    /// Unique over all sends; a repeated turn cannot send twice.
    pub idempotency_key: String,
    /// Where it goes.
    pub to: Address,
    /// What it says.
    pub body: MessageBody,
    /// The inbound message that it answers, by WhatsApp's id.
    pub answers_provider_message_id: Option<String>,
    /// Confirms an opt-out, and so goes out although the contact is opted out.
    pub ignores_opt_out: bool,
}

/// A row of the send ledger, with what policy must know at the moment of sending.
#[derive(Debug, Clone, PartialEq)]
pub struct SendCandidate {
    /// Its row.
    pub id: OutboundId,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// Whom it is for.
    pub contact_id: ContactId,
    /// The agent whose words they are; none for what no agent said.
    pub agent_id: Option<AgentId>,
    /// The number it goes out from.
    pub phone_number_id: String,
    /// Where it goes.
    pub to: Address,
    /// What it says.
    pub body: MessageBody,
    /// What it may cost, in millionths; filled in by the sender and kept with the intent.
    pub estimate_micros: Option<i64>,
    /// Attempts made so far.
    pub attempts: i32,
    /// How many of them belong to the life before a replay: a retry is judged by the others.
    pub attempts_before: i32,
    /// Goes out although the contact is opted out.
    pub ignores_opt_out: bool,
    /// When the first attempt began; none yet where it is absent.
    pub tried_since: Option<Timestamp>,
    /// WhatsApp refused it as plain words: the window is closed, whatever we think.
    pub needs_template: bool,
    /// The template that says the same outside the window.
    pub template: Option<TemplateUse>,
    /// When the person last wrote: what the window is counted from.
    pub last_inbound_at: Option<Timestamp>,
    /// Since when the person wants nothing from us.
    pub opted_out_at: Option<Timestamp>,
    /// Since when the person wants no marketing from us.
    pub marketing_stopped_at: Option<Timestamp>,
    /// Since when the person is blocked.
    pub blocked_at: Option<Timestamp>,
    /// Whether everything to the person is free for some days.
    pub free_entry: FreeEntry,
}

impl SendCandidate {
    /// A candidate of nobody, for previews.
    pub fn blank() -> Self {
        Self {
            id: OutboundId(uuid::Uuid::nil()),
            conversation_id: ConversationId(uuid::Uuid::nil()),
            contact_id: ContactId(uuid::Uuid::nil()),
            agent_id: None,
            phone_number_id: String::new(),
            to: Address { kind: super::contact::AddressKind::Phone, value: String::new() },
            body: MessageBody::Text { text: String::new() },
            estimate_micros: None,
            attempts: 0,
            attempts_before: 0,
            ignores_opt_out: false,
            tried_since: None,
            needs_template: false,
            template: None,
            last_inbound_at: None,
            opted_out_at: None,
            marketing_stopped_at: None,
            blocked_at: None,
            free_entry: FreeEntry::default(),
        }
    }
}

/// A queued row that this version cannot read: perhaps another one can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableSend {
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// Its row.
    pub id: OutboundId,
    /// How often it was found so before.
    pub tries: i32,
    /// What cannot be read.
    pub detail: String,
}

/// What is next in a conversation's outbox.
#[derive(Debug, Clone, PartialEq)]
pub enum NextSend {
    /// Nothing is waiting.
    Nothing,
    /// The first in line must wait until then: a retry date, or an unknown send that may still be settled.
    WaitUntil(Timestamp),
    /// The first in line is being sent by somebody.
    Busy,
    /// This one is due.
    Due(Box<SendCandidate>),
    /// The first in line cannot be read.
    Unreadable(UnreadableSend),
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum AttemptOutcome {
    /// WhatsApp accepted it under this id.
    Accepted {
        /// WhatsApp's id of the message.
        provider_message_id: String,
    },
    /// Refused for now: again at that time.
    RetryAt {
        /// When.
        not_before: Timestamp,
        /// Whether it uses up one of the message's attempts.
        is_counted: bool,
        /// Why it was refused.
        error: SendError,
    },
    /// Refused because the window is closed: only a template can say it.
    NeedsTemplate {
        /// Why.
        error: SendError,
    },
    /// Refused until what it is about is no longer paused.
    Paused {
        /// Why.
        error: SendError,
        /// What is paused.
        pause: PauseKey,
    },
    /// Refused for good.
    Failed {
        /// Why.
        error: SendError,
    },
    /// Nobody can say whether it went out.
    Unknown {
        /// What happened.
        error: SendError,
    },
}

/// The settled end of attempt number `attempt` of a send.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// The row's conversation.
    pub conversation_id: ConversationId,
    /// The row.
    pub outbound_id: OutboundId,
    /// Which attempt; counted from 1.
    pub attempt: i32,
    /// When it began.
    pub begun_at: Timestamp,
    /// HTTP status of the answer, where there was one.
    pub http_status: Option<i32>,
    /// What came of it.
    pub outcome: AttemptOutcome,
    /// What it says again from now on, where a template stood in for it and was refused as one.
    pub restored: Option<MessageBody>,
}

/// What policy decided instead of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// Wait until something changes.
    Hold(SendError),
    /// Wait until the person writes, if they have not done so since they last wrote as far as was known.
    HoldForWindow(SendError, Option<Timestamp>),
    /// Wait until this is no longer paused.
    Pause(PauseKey, SendError),
    /// It cannot go out: a dead letter.
    Fail(SendError),
    /// Outbound is off; the request that would have gone out is kept.
    Suppress {
        /// The exact request.
        request: serde_json::Value,
    },
    /// It must not go out.
    Cancel(SendError),
}

/// The turn and position that a reply came from, as its idempotency key.
pub fn reply_key(turn: TurnId, position: usize) -> String {
    format!("reply:{turn}:{position}")
}

/// The idempotency key of a message that a person sends, from the key that they gave.
pub fn operator_key(key: uuid::Uuid) -> String {
    format!("operator:{key}")
}

/// What goes into WhatsApp's callback field (at most 512 characters) and comes back in every status: it finds the
/// ledger row even when the answer to the call was lost.
pub fn callback_data(conversation: ConversationId, outbound: OutboundId) -> String {
    format!("{}/{}", conversation.0.simple(), outbound.0.simple())
}

/// Reads [`callback_data`]; `None` for what somebody else wrote.
pub fn parse_callback_data(data: &str) -> Option<(ConversationId, OutboundId)> {
    let (conversation, outbound) = data.split_once('/')?;
    Some((ConversationId(conversation.parse().ok()?), OutboundId(outbound.parse().ok()?)))
}

/// Cuts a text so that it and the mark fit. WhatsApp does not say how it counts: UTF-16 units are the larger count.
pub fn cut(text: &str, characters_max: usize) -> String {
    if length(text) <= characters_max {
        return text.to_owned();
    }
    let mut room = characters_max.saturating_sub(CUT_MARK.len_utf16());
    let mut cut: String = text
        .chars()
        .take_while(|character| {
            let fits = character.len_utf16() <= room;
            room = room.saturating_sub(character.len_utf16());
            fits
        })
        .collect();
    cut.push(CUT_MARK);
    cut
}

/// How long WhatsApp may count a text.
pub fn length(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}
