//! Erasures: what is known of a person goes, and what remains is what sending rightly needs.

use serde::{Deserialize, Serialize};

use super::contact::Address;
use super::outbound::SendError;
use crate::ids::InboundId;

/// A person's wish to be forgotten, said in a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureWish {
    /// The message that says so: what came in after it is a new start.
    pub through: InboundId,
    /// Where the receipt goes.
    pub to: Address,
    /// What it says; `{receipt}`, `{time}` and `{messages}` are filled in.
    pub receipt: String,
}

/// Who asked for an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErasureAsker {
    /// The person themselves.
    Person,
    /// An operator.
    Operator,
}

impl ErasureAsker {
    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Operator => "operator",
        }
    }
}

/// What an erasure has erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct ErasureCounts {
    /// Messages that came in.
    pub inbound: i64,
    /// Messages that went out, or were to.
    pub outbound: i64,
    /// Turns, with what they said about the person's words.
    pub turns: i64,
    /// Reminders and other schedules.
    pub schedules: i64,
    /// Webhooks that were kept as they came and name the person.
    pub webhook_events: i64,
}

/// Why a message to somebody who was forgotten is not sent.
#[must_use]
pub fn erased_error() -> SendError {
    SendError {
        code: None,
        reason: "erased".to_owned(),
        detail: "The person was forgotten while this waited: its words are gone.".to_owned(),
    }
}
