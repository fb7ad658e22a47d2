//! Control words: what a person can ask of the conversation itself, whoever answers in it.

use serde::{Deserialize, Serialize};

/// What a person asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlWish {
    /// What can you do?
    Help,
    /// Who else is here?
    Agents,
    /// Let another agent answer.
    Switch,
    /// What will you remind me of?
    Reminders,
    /// Say nothing more.
    Pause,
    /// Speak again.
    Resume,
    /// Forget me.
    Forget,
    /// Forget me: yes, I am sure.
    Erase,
    /// Do not forget me after all.
    Keep,
    /// Let me talk to a person.
    Human,
    /// Let the agent answer again.
    Back,
}

impl ControlWish {
    /// The name in traces and in files of control words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Help => "help",
            Self::Agents => "agents",
            Self::Switch => "switch",
            Self::Reminders => "reminders",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Forget => "forget",
            Self::Erase => "erase",
            Self::Keep => "keep",
            Self::Human => "human",
            Self::Back => "back",
        }
    }
}
