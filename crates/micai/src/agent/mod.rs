//! What an agent says: a function of the messages, the rules and what tools find. Sends and stores nothing.

mod answer;
pub mod consent;
pub mod control;
pub mod reminders;
pub mod tools;
pub mod triggers;
pub mod turn;
mod words_file;

use crate::domain::agent::{AgentId, AgentSettings};
use crate::domain::rule::Rule;
use triggers::{RuleError, TriggerSet};

/// An agent ready to take turns: its settings and its rules, compiled.
pub struct CompiledAgent {
    /// Its id.
    pub id: AgentId,
    /// The version of settings and rules.
    pub version: i64,
    /// What the operator decided.
    pub settings: AgentSettings,
    /// Its rules.
    pub triggers: TriggerSet,
}

impl CompiledAgent {
    /// Compiles an agent's rules.
    ///
    /// # Errors
    /// [`RuleError`] for rules that should not have been saved.
    pub fn new(id: AgentId, version: i64, settings: AgentSettings, rules: &[Rule]) -> Result<Self, RuleError> {
        Ok(Self { id, version, settings, triggers: TriggerSet::compile(rules)? })
    }
}
