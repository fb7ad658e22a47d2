//! Conversations: a contact on one of our numbers.

use serde::{Deserialize, Serialize};

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
