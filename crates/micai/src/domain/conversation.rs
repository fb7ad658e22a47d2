//! Conversations: a contact on one of our numbers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::outbound::SendError;

/// Who speaks for the business in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationMode {
    /// The agent answers.
    Bot,
    /// A person answers; the agent is silent.
    Human,
    /// Nobody answers.
    Paused,
}

impl ConversationMode {
    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bot => "bot",
            Self::Human => "human",
            Self::Paused => "paused",
        }
    }

    /// The mode of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Bot, Self::Human, Self::Paused].into_iter().find(|mode| mode.as_str() == name)
    }
}

/// Whose word put a conversation into its mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModeSetter {
    /// The person's: a control word.
    Person,
    /// An operator's.
    Operator,
    /// Nobody's: its time was over.
    Time,
}

impl ModeSetter {
    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Operator => "operator",
            Self::Time => "time",
        }
    }

    /// The setter of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Person, Self::Operator, Self::Time].into_iter().find(|setter| setter.as_str() == name)
    }
}

/// The mode of a conversation as it was last set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeState {
    /// Who speaks.
    pub mode: ConversationMode,
    /// From then on the agent answers again. No process has to run for that: whoever looks compares.
    pub until: Option<Timestamp>,
    /// Who set it; nobody where it was never set.
    pub set_by: Option<ModeSetter>,
}

impl ModeState {
    /// As every conversation begins.
    pub const BOT: Self = Self { mode: ConversationMode::Bot, until: None, set_by: None };

    /// Who speaks at that time.
    pub fn at(self, now: Timestamp) -> ConversationMode {
        if self.is_over(now) { ConversationMode::Bot } else { self.mode }
    }

    /// Whether its time is over and nobody has written that down.
    pub fn is_over(self, now: Timestamp) -> bool {
        self.mode != ConversationMode::Bot && self.until.is_some_and(|until| until <= now)
    }
}

/// A change of who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeChange {
    /// Who speaks from now on.
    pub to: ConversationMode,
    /// From then on the agent answers again.
    pub until: Option<Timestamp>,
    /// Whose word it is.
    pub by: ModeSetter,
}

impl ModeChange {
    /// How the conversation stands after it.
    pub fn state(self) -> ModeState {
        ModeState { mode: self.to, until: self.until, set_by: Some(self.by) }
    }
}

/// Why what the agent had said does not go out any more once an operator has put the conversation into that mode.
#[must_use]
pub fn silenced_error(mode: ConversationMode) -> SendError {
    let what = match mode {
        ConversationMode::Paused => "An operator paused the conversation",
        ConversationMode::Human | ConversationMode::Bot => "A person took the conversation over",
    };
    let detail =
        format!("{what} before this was sent. Nothing is wrong; if it is still to be said, send it as a message.");
    SendError { code: None, reason: "handed_over".to_owned(), detail }
}

/// How conversations are handed to people in an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandoverRules {
    /// How long a person is in charge after the last word of one.
    pub seconds: i64,
    /// Whether the operator's own system is told at once.
    pub is_told: bool,
}
