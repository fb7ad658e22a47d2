//! What a turn may know about the person beside their messages. Read from the store only when a message needs it.

use jiff::Timestamp;

use super::agent::AgentId;
use super::schedule::Reminders;
use crate::ids::ContactId;

/// Agents that a person can choose from: as many as a list in WhatsApp has rows.
pub const AGENT_CHOICES_MAX: usize = 10;

/// What is known about a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonFacts {
    /// Who.
    pub contact_id: ContactId,
    /// Their phone number, in digits, where it is known.
    pub phone: Option<String>,
    /// The time zone that they live in, as an IANA name, where it is known.
    pub zone: Option<String>,
    /// When they last wrote: WhatsApp's window is counted from then.
    pub last_inbound_at: Option<Timestamp>,
    /// Their own reminders, where a message needs them.
    pub reminders: Option<Reminders>,
    /// The agents that people can choose, at most [`AGENT_CHOICES_MAX`], by id.
    pub agents: Vec<AgentChoice>,
}

/// An agent to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentChoice {
    /// Its id.
    pub id: AgentId,
    /// Its name for people; its id where it has none.
    pub name: String,
    /// What it is for.
    pub purpose: String,
}
