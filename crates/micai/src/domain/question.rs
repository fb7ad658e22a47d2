//! What an agent has asked and waits to hear: kept with the conversation, so that the next message can be the answer.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::weather::WeatherDay;

/// How long an answer to a question is waited for, in seconds. After that the same words mean what they always mean.
pub const QUESTION_SECONDS: i64 = 600;

/// A question that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenQuestion {
    /// What was asked.
    pub question: Question,
    /// From when on it is forgotten.
    pub expires_at: Timestamp,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "snake_case")]
pub enum Question {
    /// The weather: where? A place in words or a shared location answers it.
    WeatherPlace {
        /// For which day.
        day: WeatherDay,
    },
    /// A reminder: when, or of what?
    ReminderTime {
        /// What the person wrote.
        sentence: String,
    },
    /// A reminder: where is the person, so that their local time is known?
    ReminderZone {
        /// What the person wrote; empty where no reminder waits for the answer.
        sentence: String,
        /// What they answered to an earlier question about it.
        answer: Option<String>,
    },
}

impl OpenQuestion {
    /// A question that is asked now.
    pub fn asked(question: Question, now: Timestamp) -> Self {
        Self { question, expires_at: now + SignedDuration::from_secs(QUESTION_SECONDS) }
    }

    /// Whether an answer that was given then still counts.
    pub fn is_open(&self, at: Timestamp) -> bool {
        at < self.expires_at
    }
}
