//! What an error of the Cloud API means for the message: Meta's codes mapped to one [`Verdict`].
//!
//! The code decides, not the HTTP status and not the title (Meta's own advice). One question comes first: may the
//! message have gone out although we saw an error? A coded answer proves that it was not accepted, except for the two
//! codes that stand for "something broke in here" (131000, 131016): those, time-outs and lost answers are
//! [`Verdict::Unknown`] and must be reconciled with status webhooks before anything is sent again.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json;

mod table;

pub use table::{ERROR_FACTS, ErrorFact, describe};

/// What to do with a message after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Not accepted; send again with exponential back-off and jitter.
    Retry,
    /// Not accepted; send again after a longer time.
    Later {
        /// Seconds to wait at least, where Meta or experience names a figure.
        after_seconds: Option<u64>,
    },
    /// Not accepted: the customer service window is closed, only an approved template may be sent.
    NeedsTemplate,
    /// This message will never be accepted as it is.
    Never,
    /// Not accepted, and nothing else in this scope will be until somebody or something lifts the block.
    Pause(PauseScope),
    /// The token or a permission is at fault: stop sending for this account and tell a person.
    Auth,
    /// It may have been accepted. Reconcile before sending again.
    Unknown,
}

impl Verdict {
    /// True if the error proves that WhatsApp did not take the message, so that a repeat cannot say it twice.
    pub fn proves_not_accepted(self) -> bool {
        self != Self::Unknown
    }
}

/// How far a pause reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseScope {
    /// Everything sent from this business phone number.
    Number,
    /// Everything sent from this WhatsApp Business account.
    Account,
    /// Templates of this account (its other messages go on).
    AccountTemplates,
    /// This one template.
    Template,
    /// Recipients of this country.
    Country,
    /// This one recipient.
    User,
    /// Calls.
    Calls,
    /// This one flow.
    Flow,
    /// Management calls (templates, numbers, subscriptions), not messages.
    Management,
}

impl PauseScope {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Account => "account",
            Self::AccountTemplates => "account_templates",
            Self::Template => "template",
            Self::Country => "country",
            Self::User => "user",
            Self::Calls => "calls",
            Self::Flow => "flow",
            Self::Management => "management",
        }
    }
}

/// One error as Meta reports it: in the answer to a request, or inside a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// The code that decides; [`ApiError::NO_CODE`] if there was none.
    pub code: i64,
    /// `error_subcode`, gone since version 16 of the API.
    pub subcode: Option<i64>,
    /// `type`, such as `OAuthException`.
    pub kind: Option<String>,
    /// `title`, in webhooks only.
    pub title: Option<String>,
    /// `message`.
    pub message: Option<String>,
    /// `error_data.details` (or `error_data` itself where it is a string): the sentence that says what was wrong.
    pub details: Option<String>,
    /// `is_transient`.
    pub is_transient: Option<bool>,
    /// Meta's trace id, for their support.
    pub fbtrace_id: Option<String>,
    /// Link to the documentation of the error.
    pub href: Option<String>,
    /// `error_user_title`: a heading meant for people.
    pub user_title: Option<String>,
    /// `error_user_msg`: a sentence meant for people.
    pub user_message: Option<String>,
}

impl ApiError {
    /// Stands for a missing code. Meta's own codes are not negative, and 0 means "cannot authenticate".
    pub const NO_CODE: i64 = -1;

    /// Reads one error object, from a webhook's `errors[]` or from the `error` of an answer. Nothing in it is required.
    pub fn from_value(value: &Value) -> Self {
        let details = match value.get("error_data") {
            Some(data @ Value::Object(_)) => json::text(data, "details"),
            Some(Value::String(_)) => json::text(value, "error_data"),
            _ => json::text(value, "details"),
        };
        Self {
            code: json::integer(value, "code").unwrap_or(Self::NO_CODE),
            subcode: json::integer(value, "error_subcode"),
            kind: json::text(value, "type"),
            title: json::text(value, "title"),
            message: json::text(value, "message"),
            details,
            is_transient: json::flag(value, "is_transient"),
            fbtrace_id: json::text(value, "fbtrace_id"),
            href: json::text(value, "href"),
            user_title: json::text(value, "error_user_title"),
            user_message: json::text(value, "error_user_msg"),
        }
    }

    /// Reads the body of an answer, `{"error":{…}}`. `None` if it is not such an object.
    pub fn from_response(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        json::object(&value, "error").map(Self::from_value)
    }

    /// Reads a list of errors, as it stands in webhooks; what is not an object in it is passed over.
    pub(crate) fn list(parent: &Value, key: &str) -> Vec<Self> {
        json::list(parent, key).iter().filter(|item| item.is_object()).map(Self::from_value).collect()
    }

    /// What the error means where it is the answer to a request. See [`verdict`].
    pub fn verdict(&self) -> Verdict {
        verdict(self.code, self.is_transient.unwrap_or(false))
    }

    /// What the error means where it came in a `failed` status. See [`failed_status_verdict`].
    pub fn failed_status_verdict(&self) -> Verdict {
        failed_status_verdict(self.code, self.is_transient.unwrap_or(false))
    }

    /// What is known about the code.
    pub fn fact(&self) -> Option<&'static ErrorFact> {
        describe(self.code)
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sentence = self.details.as_deref().or(self.message.as_deref()).or(self.title.as_deref());
        let sentence = sentence.or_else(|| self.fact().map(|fact| fact.name)).unwrap_or("no message");
        match self.code {
            Self::NO_CODE => write!(f, "error without a code: {sentence}"),
            code => write!(f, "error {code}: {sentence}"),
        }
    }
}

impl std::error::Error for ApiError {}

/// What a code means where it is the answer to a request, by the table [`ERROR_FACTS`]. An unlisted code is
/// [`Verdict::Retry`] if Meta marks it as transient, otherwise [`Verdict::Never`] (and worth an alert).
pub fn verdict(code: i64, is_transient: bool) -> Verdict {
    match describe(code) {
        Some(fact) => fact.verdict,
        None if is_transient => Verdict::Retry,
        None => Verdict::Never,
    }
}

/// What a code means where it came in a `failed` status: the message was accepted and then died, so nothing is unknown
/// any more, and what would be [`Verdict::Unknown`] in an answer is [`Verdict::Retry`] here.
pub fn failed_status_verdict(code: i64, is_transient: bool) -> Verdict {
    match verdict(code, is_transient) {
        Verdict::Unknown => Verdict::Retry,
        decided => decided,
    }
}

/// What an error with this verdict stops beside its message, until somebody or something lifts the block. The throughput of a
/// number is none of it: it is there again in a moment.
pub fn stops(code: i64, verdict: Verdict) -> Option<PauseScope> {
    match verdict {
        Verdict::Auth => Some(PauseScope::Account),
        Verdict::Pause(scope) => Some(scope),
        _ => describe(code).and_then(|fact| fact.also_pause).filter(|scope| *scope != PauseScope::Number),
    }
}

#[cfg(test)]
mod tests;
