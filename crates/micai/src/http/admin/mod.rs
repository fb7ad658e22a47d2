//! The operator's interface: JSON, one resource a file. The key is asked for in front of all of it.

pub(super) mod agents;
pub(super) mod alerts;
pub(super) mod audit;
pub(super) mod bind;
mod bounds;
pub(super) mod budgets;
pub(super) mod contacts;
pub(super) mod conversations;
pub(super) mod erasures;
pub(super) mod events;
pub(super) mod handover;
pub(super) mod letters;
pub(super) mod messages;
pub(super) mod outbound;
mod page;
pub(super) mod pauses;
pub(super) mod rules;
mod schedule_body;
pub(super) mod schedules;
pub(super) mod spend;
mod template_use;
pub(super) mod templates;
pub(super) mod tools;
pub(super) mod try_agent;
