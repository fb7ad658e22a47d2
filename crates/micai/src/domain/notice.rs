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
}

impl NoticeKind {
    /// The name in the database and in the body of a notice.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HandoverRequested => "handover_requested",
            Self::HandoverEnded => "handover_ended",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::HandoverRequested, Self::HandoverEnded].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A notice that is due, with what it says. Name and address are read when it is sent and kept nowhere: a person who is forgotten
/// meanwhile stays forgotten.
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
    /// The conversation that it is about.
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
