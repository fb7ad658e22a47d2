//! Turns: what an agent made of the messages that waited.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::agent::AgentId;
use super::consent::{ConsentChange, ConsentSource};
use super::control::ControlWish;
use super::conversation::{ModeChange, ModeState};
use super::erasure::ErasureWish;
use super::inbound::{InboundState, PendingMessage};
use super::notice::NoticeKind;
use super::outbound::NewOutbound;
use super::question::OpenQuestion;
use super::schedule::NewSchedule;
use super::tool::{ToolDenial, ToolTrace};
use crate::ids::{ContactId, ConversationId, InboundId, ScheduleId, TurnId};

/// A conversation under lease: the holder of the highest token is the only one whose `finish` counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Whose it is.
    pub contact_id: ContactId,
    /// Fencing token: grows with every claim.
    pub lease_token: i64,
    /// Who speaks for the business, as it was last set.
    pub mode: ModeState,
    /// Since when the person wants nothing from us.
    pub opted_out_at: Option<Timestamp>,
    /// How the person said that they want no marketing from us, if they did.
    pub marketing_stopped_by: Option<ConsentSource>,
    /// Since when the person is blocked.
    pub blocked_at: Option<Timestamp>,
    /// The agent that answers.
    pub agent_id: AgentId,
    /// The version of that agent and its rules that holds now.
    pub agent_version: i64,
    /// What was asked last in this conversation, as long as an answer counts.
    pub question: Option<OpenQuestion>,
    /// What waits, oldest first.
    pub pending: Vec<PendingMessage>,
    /// What waits as well and cannot be read.
    pub unreadable: Vec<UnreadableMessage>,
}

impl Claim {
    /// Whether the person wrote or tapped, and not only a schedule asked.
    pub fn opens_window(&self) -> bool {
        self.pending.iter().any(|message| message.nature.opens_window())
    }
}

/// A message that waits and of which this program cannot make sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableMessage {
    /// Its row.
    pub id: InboundId,
    /// What cannot be read.
    pub detail: String,
}

/// The most characters of what a failed turn says.
const TURN_ERROR_CHARACTERS_MAX: usize = 1_000;

/// Why a turn failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnError {
    /// A stable word: `unreadable`, `turn_refused`, `turn_panicked`, `agent_unreadable`, `reminders_unreadable` or `turn_failed`.
    pub reason: String,
    /// What happened.
    pub detail: String,
}

impl TurnError {
    /// A reason and what happened, which is cut to its bound.
    pub fn new(reason: &str, detail: &str) -> Self {
        let detail = detail.chars().filter(|letter| *letter != '\0').take(TURN_ERROR_CHARACTERS_MAX).collect();
        Self { reason: reason.to_owned(), detail }
    }
}

/// A change that a turn asks for beside its replies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The person wants to hear from us, or does not any more.
    Consent {
        /// What changes.
        change: ConsentChange,
        /// The message that said so, by WhatsApp's id: its answer confirms the change, and is dropped if there was none.
        provider_message_id: String,
    },
    /// The person took this message back: its words go.
    EraseWords {
        /// WhatsApp's id of the message.
        provider_message_id: String,
    },
    /// The person of the conversation gets a schedule. One of that id that is there already stays as it is.
    CreateSchedule(Box<NewSchedule>),
    /// The person gives up a schedule of theirs that has not come to its end.
    CancelSchedule {
        /// Which.
        schedule_id: ScheduleId,
    },
    /// The person puts off a schedule of theirs: it is due then, also if it was due for the last time before, and goes on from
    /// there by its calendar.
    SnoozeSchedule {
        /// Which.
        schedule_id: ScheduleId,
        /// Until when.
        until: Timestamp,
    },
    /// The person lives in this time zone, an IANA name.
    SetZone {
        /// Which.
        zone: String,
    },
    /// What the agent waits to hear in this conversation from now on; nothing takes an earlier question back.
    Ask(Option<OpenQuestion>),
    /// A tool was called that the agent does not list: it did not run, and that is written down.
    ToolDenied(ToolDenial),
    /// Somebody else speaks in the conversation from now on.
    Mode(ModeChange),
    /// The operator's own system is told.
    Tell(NoticeKind),
    /// Another agent answers the person from now on, wherever they write.
    BindAgent {
        /// Which.
        agent_id: AgentId,
    },
    /// The person is forgotten.
    Forget(Box<ErasureWish>),
}

impl Effect {
    /// Whether it changes when something is due.
    pub fn is_about_schedules(&self) -> bool {
        matches!(self, Self::CreateSchedule(_) | Self::CancelSchedule { .. } | Self::SnoozeSchedule { .. })
    }
}

/// How a turn judged one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageTrace {
    /// The message.
    pub inbound_id: InboundId,
    /// What the turn decided.
    #[serde(flatten)]
    pub decision: Decision,
    /// The tools that were called for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolTrace>,
}

/// What a turn decided about one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// A rule matched.
    Rule {
        /// Its id.
        rule_id: String,
        /// What matched.
        matched: String,
    },
    /// A control word.
    Control {
        /// What it asks for.
        wish: ControlWish,
    },
    /// No rule matched, and the words ask for something that this tool does.
    Tool {
        /// Its name.
        tool: String,
    },
    /// No rule matched: the fallback reply.
    Fallback,
    /// The invoke prefix is required and missing.
    NotInvoked,
    /// It has no words to match.
    NoWords,
    /// Too old, and the agent ignores what is stale.
    Stale,
    /// The person has opted out.
    OptedOut,
    /// A word that stops us.
    OptOut,
    /// A word that lets us speak again.
    OptIn,
    /// A word that stops marketing.
    MarketingStop,
    /// The person is blocked.
    Blocked,
    /// A person answers in this conversation, or nobody does.
    NotBot,
    /// Taken back by the person.
    Revoked,
    /// Other words took its place.
    ReplacedByEdit,
    /// The turn over it kept failing.
    GivenUp {
        /// The last failure.
        error: String,
    },
}

/// All that a turn did, for people to read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnTrace {
    /// One entry a message.
    pub messages: Vec<MessageTrace>,
}

/// A finished turn: committed at once, or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedTurn {
    /// The turn.
    pub id: TurnId,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// Whose it is.
    pub contact_id: ContactId,
    /// The fencing token of the claim.
    pub lease_token: i64,
    /// Who answered.
    pub agent_id: AgentId,
    /// In which version.
    pub agent_version: i64,
    /// When the claim was taken.
    pub started_at: Timestamp,
    /// When the turn was done.
    pub finished_at: Timestamp,
    /// Whether the person wrote or tapped, which opens the window: what was held for it goes then. A schedule's question opens none.
    pub opens_window: bool,
    /// Where each message stands now.
    pub messages: Vec<(InboundId, InboundState)>,
    /// What to send, in order.
    pub replies: Vec<NewOutbound>,
    /// What else to change.
    pub effects: Vec<Effect>,
    /// Why.
    pub trace: TurnTrace,
}

/// Whether a finish counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishOutcome {
    /// Committed.
    Finished {
        /// More messages wait in the conversation.
        more_pending: bool,
        /// Something that was held until the window opens may go now.
        released: bool,
    },
    /// Somebody else holds the conversation by now: nothing was written.
    Fenced,
}
