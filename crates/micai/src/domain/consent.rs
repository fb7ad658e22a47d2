//! Consent: whether a person wants to hear from us, how that was said, and when.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::evidence::bounded;
use super::outbound::SendError;

/// The most bytes of the evidence of a change.
pub const CONSENT_EVIDENCE_BYTES_MAX: usize = 4_096;
/// WhatsApp's code for "this person wants no marketing from you".
pub const MARKETING_STOPPED_CODE: i64 = 131_050;

/// What a wish concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentCategory {
    /// Every message.
    All,
    /// What wants to sell.
    Marketing,
}

impl ConsentCategory {
    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Marketing => "marketing",
        }
    }
}

/// How a wish became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentSource {
    /// The person wrote a word for it.
    Word,
    /// The person tapped a button for it.
    Button,
    /// The person chose it in WhatsApp (`user_preferences`).
    Preference,
    /// WhatsApp refused a message for it (131050).
    Refusal,
    /// An operator noted it.
    Operator,
    /// Two contacts turned out to be one person.
    Merge,
}

impl ConsentSource {
    const ALL: [Self; 6] = [Self::Word, Self::Button, Self::Preference, Self::Refusal, Self::Operator, Self::Merge];

    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Word => "word",
            Self::Button => "button",
            Self::Preference => "preference",
            Self::Refusal => "refusal",
            Self::Operator => "operator",
            Self::Merge => "merge",
        }
    }

    /// The source of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == name)
    }

    /// Whether START undoes a stop that came this way. One that stands at WhatsApp is undone there: it would go on refusing.
    pub fn is_undone_by_start(self) -> bool {
        !matches!(self, Self::Preference | Self::Refusal)
    }
}

/// A change of what a person wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentChange {
    /// What it concerns.
    pub category: ConsentCategory,
    /// Whether they want no more of it; else they want it again.
    pub stopped: bool,
    /// How it became known.
    pub source: ConsentSource,
    /// What it rests on.
    evidence: Value,
}

impl ConsentChange {
    /// A change with what it rests on, which is left out where it is too large.
    #[must_use]
    pub fn new(category: ConsentCategory, stopped: bool, source: ConsentSource, evidence: Value) -> Self {
        Self { category, stopped, source, evidence: bounded(evidence, CONSENT_EVIDENCE_BYTES_MAX) }
    }

    /// WhatsApp refused a marketing message because the person wants none.
    #[must_use]
    pub fn refused(outbound_id: impl std::fmt::Display) -> Self {
        let evidence = json!({ "code": MARKETING_STOPPED_CODE, "outbound_id": outbound_id.to_string() });
        Self::new(ConsentCategory::Marketing, true, ConsentSource::Refusal, evidence)
    }

    /// What it rests on.
    pub fn evidence(&self) -> &Value {
        &self.evidence
    }
}

/// Why nothing is sent to somebody who is blocked.
#[must_use]
pub fn blocked_error() -> SendError {
    error("blocked", "The contact is blocked: nothing is sent to them until an operator lifts the block.")
}

/// Why nothing is sent to somebody who said STOP.
#[must_use]
pub fn opted_out_error() -> SendError {
    error("opted_out", "The person has written STOP and hears nothing from us until they write START.")
}

/// Why no marketing is sent to somebody who stopped it.
#[must_use]
pub fn marketing_stopped_error() -> SendError {
    error(
        "marketing_stopped",
        "The person wants no marketing from us: send them what they asked for or bought, in a utility template.",
    )
}

fn error(reason: &str, detail: &str) -> SendError {
    SendError { code: None, reason: reason.to_owned(), detail: detail.to_owned() }
}
