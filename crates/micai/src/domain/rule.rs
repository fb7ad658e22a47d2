//! Trigger rules: what a message must say for an agent to give a certain answer.

use serde::{Deserialize, Serialize};

use super::agent::AgentId;

/// The most characters a rule id may have.
pub const RULE_ID_CHARACTERS_MAX: usize = 128;
/// The most characters one keyword, exact text or prefix may have, as written.
pub const KEYWORD_CHARACTERS_MAX: usize = 200;
/// The most characters a regular expression may have.
pub const PATTERN_CHARACTERS_MAX: usize = 1_000;
/// The most keywords (or exact texts) one rule may list.
pub const KEYWORDS_PER_RULE_MAX: usize = 10_000;
/// The most regular expressions one rule may list.
pub const PATTERNS_PER_RULE_MAX: usize = 20;
/// The most rules one agent may have.
pub const RULES_PER_AGENT_MAX: usize = 20_000;
/// The most keywords, exact texts and prefixes all rules of one agent may have together.
pub const KEYWORDS_PER_AGENT_MAX: usize = 200_000;
/// The most bytes that those may have together once normalised: it bounds the memory of the compiled rules.
pub const KEYWORD_BYTES_PER_AGENT_MAX: usize = 8 * 1024 * 1024;
/// The most regular expressions all rules of one agent may have together: each is tried on its own.
pub const PATTERNS_PER_AGENT_MAX: usize = 100;
/// The most characters of a reply: WhatsApp's limit of a text body.
pub const REPLY_CHARACTERS_MAX: usize = 4_096;
/// Priorities lie within plus and minus this; lower runs first.
pub const PRIORITY_MAX: i32 = 1_000_000;

/// How a rule looks at the normalised text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// One of the keywords stands anywhere in the text.
    Keyword,
    /// The text begins with the prefix.
    Prefix,
    /// The whole text equals one of the keywords.
    Exact,
    /// One of the keywords, read as regular expressions, matches somewhere in the text.
    Regex,
    /// Fired by time, never by a text.
    Scheduled,
}

/// What a matching rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleAction {
    /// Answer with the rule's `reply_text`.
    ReplyText,
    /// Answer with the weather.
    CallWeather,
    /// Do what the words say about reminders.
    CallReminder,
}

/// One trigger rule of one agent. Within an agent the enabled rules are asked by ascending `priority`, then
/// by ascending `id`, and the first that matches wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Chosen by the operator; unique over all agents.
    pub id: String,
    /// The agent that the rule belongs to.
    pub agent_id: AgentId,
    /// How the rule looks at the text.
    pub kind: RuleKind,
    /// A disabled rule never matches.
    pub enabled: bool,
    /// Lower runs first.
    pub priority: i32,
    /// Keywords, exact texts or regular expressions, as written (not normalised).
    pub keywords: Vec<String>,
    /// Keywords only count where they begin and end at Unicode word boundaries.
    pub whole_word: bool,
    /// The beginning that a `prefix` rule asks for, as written (not normalised).
    pub prefix: Option<String>,
    /// What happens on a match.
    pub action: RuleAction,
    /// The answer of `reply_text`.
    pub reply_text: String,
}
