//! Notices: what the operator's own system is told of, such as that somebody wants to talk to a person.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How often a notice is tried; then it is given up, and an alert says so.
pub const NOTICE_ATTEMPTS_MAX: i32 = 12;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// Somebody wants to talk to a person.
    HandoverRequested,
    /// The agent answers again: the person said so, or the time was over.
    HandoverEnded,
    /// An alert was raised: a budget is spent, a number is restricted, …
    AlertRaised,
}

impl NoticeKind {
    /// The name in the database and in the body of a notice.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HandoverRequested => "handover_requested",
            Self::HandoverEnded => "handover_ended",
            Self::AlertRaised => "alert_raised",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::HandoverRequested, Self::HandoverEnded, Self::AlertRaised].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A notice that is due, with what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueNotice {
    /// Its id: the same however often it is sent.
    pub id: Uuid,
    /// What happened.
    pub kind: NoticeKind,
    /// When.
    pub raised_at: Timestamp,
    /// Attempts made, this one included.
    pub attempts: i32,
    /// What it is about.
    pub about: NoticeSubject,
}

/// What a notice is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum NoticeSubject {
    /// Somebody's conversation.
    Conversation(NoticeConversation),
    /// An alert.
    Alert {
        /// Which one.
        alert: NoticeAlert,
    },
}

/// The conversation that a notice is about. Name and address are read when it is sent and kept nowhere: a person who is forgotten
/// meanwhile stays forgotten. Names are part of the contract: see docs/control-words.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NoticeConversation {
    /// The conversation.
    pub conversation_id: Uuid,
    /// Whose it is.
    pub contact_id: Uuid,
    /// Our number in it.
    pub phone_number_id: String,
    /// Who answered until then.
    pub agent_id: String,
    /// The person's profile name.
    pub name: Option<String>,
    /// Where they last wrote from.
    pub address: Option<String>,
    /// How long a person is in charge.
    pub mode_until: Option<Timestamp>,
}

/// The alert that a notice is about, as it is when the notice is sent. Names are part of the contract, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NoticeAlert {
    /// What kind it is of: `budget_exceeded`, …
    pub kind: String,
    /// The number, template, budget … that it concerns; empty for the whole installation.
    pub subject: String,
    /// `notice`, `warning` or `critical`.
    pub severity: String,
    /// What happened and what to do.
    pub sentence: String,
}

impl DueNotice {
    /// The conversation that it is about.
    pub fn conversation_id(&self) -> Option<Uuid> {
        match &self.about {
            NoticeSubject::Conversation(conversation) => Some(conversation.conversation_id),
            NoticeSubject::Alert { .. } => None,
        }
    }
}
