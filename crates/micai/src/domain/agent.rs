//! Agents: who answers, under which bounds.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::template::TemplateUse;
use super::tool::ToolName;

/// The agent that answers where no other is bound.
pub const DEFAULT_AGENT_ID: &str = "default-agent";
/// What that agent calls itself until an operator gives it a name: people see it in help and among the agents to choose from.
const DEFAULT_AGENT_NAME: &str = "Assistant";
/// The most characters an agent id may have.
pub const AGENT_ID_CHARACTERS_MAX: usize = 128;
/// How old a message may be, in seconds, before it counts as stale: after an outage WhatsApp replays days.
pub const STALE_AFTER_SECONDS_DEFAULT: i64 = 6 * 60 * 60;

/// The word in the body of a fallback template that stands for what the message says.
pub const FALLBACK_WORDS: &str = "{text}";
/// The shortest and longest time, in seconds, that an agent may give a status to settle an unknown send: ten seconds and a day.
pub const UNKNOWN_DEADLINE_SECONDS_MIN: i64 = 10;
/// See [`UNKNOWN_DEADLINE_SECONDS_MIN`].
pub const UNKNOWN_DEADLINE_SECONDS_MAX: i64 = 86_400;

/// The operator's name for an agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentId(pub String);

impl AgentId {
    /// The id of the agent that answers where no other is bound.
    pub fn default_agent() -> Self {
        Self(DEFAULT_AGENT_ID.to_owned())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the agent is called until an operator says how.
    pub fn first_name(&self) -> &str {
        if self.0 == DEFAULT_AGENT_ID { DEFAULT_AGENT_NAME } else { &self.0 }
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an agent does with a message that waited longer than its stale limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StalePolicy {
    /// Keep it, mark it, say nothing.
    Ignore,
    /// Answer it, with an apology in front, as long as WhatsApp's window is open.
    Apologise,
}

/// What becomes of an agent's sends of unknown fate that nothing settles in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownPolicy {
    /// Once more, when statuses of later sends show that the line is open.
    ResendOnce,
    /// Left to a person.
    Park,
}

/// What an operator decides about an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentSettings {
    /// For people.
    pub name: String,
    /// What the agent is for: WhatsApp wants a declared purpose.
    pub purpose: String,
    /// How it speaks.
    pub persona: String,
    /// What it says when no rule matches; `{text}` stands for what was written. `None` for the platform's own words.
    pub fallback_reply: Option<String>,
    /// Messages older than this are stale.
    pub stale_after_seconds: i64,
    /// What becomes of stale messages.
    pub stale_policy: StalePolicy,
    /// What goes out in place of plain words outside the window; [`FALLBACK_WORDS`] in its body stands for the words. `None`: as
    /// the installation does.
    pub fallback_template: Option<TemplateUse>,
    /// How long a status has to settle an unknown send. `None`: as the installation does.
    pub unknown_deadline_seconds: Option<i64>,
    /// What becomes of unknown sends after that. `None`: as the installation does.
    pub unknown_policy: Option<UnknownPolicy>,
    /// The tools that it may use, each once, by name. Nothing else runs, whoever asks for it.
    pub tools: Vec<ToolName>,
    /// Whether people can choose it: in the list of agents, and by its name.
    pub listed: bool,
    /// What it answers to a call for help, in place of what the platform knows; how to reach a person stands below it.
    pub help_reply: Option<String>,
    /// What it says when a person is asked for, in place of the platform's own words.
    pub handover_reply: Option<String>,
}

impl AgentSettings {
    /// Whether the agent may use a tool.
    pub fn may_use(&self, tool: ToolName) -> bool {
        self.tools.contains(&tool)
    }
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            purpose: String::new(),
            persona: String::new(),
            fallback_reply: None,
            stale_after_seconds: STALE_AFTER_SECONDS_DEFAULT,
            stale_policy: StalePolicy::Apologise,
            fallback_template: None,
            unknown_deadline_seconds: None,
            unknown_policy: None,
            tools: Vec::new(),
            listed: false,
            help_reply: None,
            handover_reply: None,
        }
    }
}
