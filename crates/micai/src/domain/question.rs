//! What an agent has asked and waits to hear: kept with the conversation, so that the next message can be the answer.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::weather::WeatherDay;

/// How long an answer to a question is waited for, in seconds. After that the same words mean what they always mean.
pub const QUESTION_SECONDS: i64 = 600;

/// The most messages that lead to one question.
const QUESTION_MESSAGES_MAX: usize = 8;

/// A question that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenQuestion {
    /// What was asked.
    pub question: Question,
    /// From when on it is forgotten.
    pub expires_at: Timestamp,
    /// The messages that led to it, by WhatsApp's ids: whoever takes one of them back takes the question back, and with it the
    /// words that it holds.
    #[serde(default)]
    pub asked_by: Vec<String>,
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
    /// A question that is asked now because of this message.
    pub fn asked(question: Question, now: Timestamp, provider_message_id: &str) -> Self {
        let expires_at = now + SignedDuration::from_secs(QUESTION_SECONDS);
        Self { question, expires_at, asked_by: vec![provider_message_id.to_owned()] }
    }

    /// The same where its message answered an earlier question, whose words it may hold. Nothing at the bound: who gives no
    /// answer so often begins anew.
    pub fn after(mut self, earlier: &Self) -> Option<Self> {
        self.asked_by.splice(0..0, earlier.asked_by.iter().cloned());
        (self.asked_by.len() <= QUESTION_MESSAGES_MAX).then_some(self)
    }

    /// Whether an answer that was given then still counts.
    pub fn is_open(&self, at: Timestamp) -> bool {
        at < self.expires_at
    }
}
