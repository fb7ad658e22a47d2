//! Alerts: what somebody must look at. One is open for each kind and subject; raised again, it counts.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::evidence::{bounded, bounded_text};

/// The most characters of an alert's subject.
pub const ALERT_SUBJECT_CHARACTERS_MAX: usize = 256;
/// The most characters of an alert's sentence.
pub const ALERT_SENTENCE_CHARACTERS_MAX: usize = 1_000;
/// The most bytes of an alert's evidence.
pub const ALERT_EVIDENCE_BYTES_MAX: usize = 8_192;

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// WhatsApp restricts the whole account: nothing is sent.
    AccountPaused,
    /// WhatsApp restricts one of our numbers: nothing is sent from it.
    NumberPaused,
    /// WhatsApp warns of what will stop the account.
    AccountWarning,
    /// WhatsApp warns of what may stop one of our numbers, such as a low quality.
    NumberWarning,
    /// A template is paused or disabled: nothing is sent with it.
    TemplatePaused,
    /// WhatsApp takes no messages for a country.
    CountryPaused,
    /// WhatsApp no longer takes our access token.
    TokenRejected,
    /// The Graph API does not answer: sends wait.
    GraphOutage,
    /// Sends whose fate nothing settles: a person has to decide.
    UnknownSends,
    /// WhatsApp moved a template to another category, which may change what it costs.
    TemplateCategoryChanged,
    /// WhatsApp approved, rejected or removed a template.
    TemplateStatusChanged,
    /// People react badly to a template.
    TemplateQualityChanged,
    /// The list of templates could not be fetched.
    TemplateSyncFailed,
    /// Most of a budget is spent.
    BudgetWarning,
    /// A budget is spent: sends are refused.
    BudgetExceeded,
    /// Somebody wants to talk to a person. Subject: the conversation.
    HandoverRequested,
    /// The operator's own system does not take notices.
    OperatorWebhookFailed,
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Notice,
    /// Something will stop unless somebody acts.
    Warning,
    /// Something has stopped.
    Critical,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [Self; 17] = [
        Self::AccountPaused,
        Self::NumberPaused,
        Self::AccountWarning,
        Self::NumberWarning,
        Self::TemplatePaused,
        Self::CountryPaused,
        Self::TokenRejected,
        Self::GraphOutage,
        Self::UnknownSends,
        Self::TemplateCategoryChanged,
        Self::TemplateStatusChanged,
        Self::TemplateQualityChanged,
        Self::TemplateSyncFailed,
        Self::BudgetWarning,
        Self::BudgetExceeded,
        Self::HandoverRequested,
        Self::OperatorWebhookFailed,
    ];

    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccountPaused => "account_paused",
            Self::NumberPaused => "number_paused",
            Self::AccountWarning => "account_warning",
            Self::NumberWarning => "number_warning",
            Self::TemplatePaused => "template_paused",
            Self::CountryPaused => "country_paused",
            Self::TokenRejected => "token_rejected",
            Self::GraphOutage => "graph_outage",
            Self::UnknownSends => "unknown_sends",
            Self::TemplateCategoryChanged => "template_category_changed",
            Self::TemplateStatusChanged => "template_status_changed",
            Self::TemplateQualityChanged => "template_quality_changed",
            Self::TemplateSyncFailed => "template_sync_failed",
            Self::BudgetWarning => "budget_warning",
            Self::BudgetExceeded => "budget_exceeded",
            Self::HandoverRequested => "handover_requested",
            Self::OperatorWebhookFailed => "operator_webhook_failed",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether it reports an event, which is over once somebody has seen it. The others report a condition: they stay open
    /// until the platform sees that it has ended.
    pub fn is_event(self) -> bool {
        matches!(
            self,
            Self::AccountWarning
                | Self::NumberWarning
                | Self::TemplateCategoryChanged
                | Self::TemplateStatusChanged
                | Self::TemplateQualityChanged
        )
    }
}

impl Severity {
    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// An alert to be raised. Made by [`NewAlert::new`], which bounds it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAlert {
    kind: AlertKind,
    severity: Severity,
    subject: String,
    sentence: String,
    evidence: Value,
}

impl NewAlert {
    /// An alert about `subject` (a number, a template, an agent's id; empty for the whole installation). `sentence` says in
    /// plain words what happened and what to do; what it rests on is `evidence`. All of it is cut to its bounds, and none
    /// of it may hold a secret.
    #[must_use]
    pub fn new(kind: AlertKind, severity: Severity, subject: &str, sentence: &str, evidence: Value) -> Self {
        Self {
            kind,
            severity,
            subject: bounded_text(subject, ALERT_SUBJECT_CHARACTERS_MAX),
            sentence: bounded_text(sentence, ALERT_SENTENCE_CHARACTERS_MAX),
            evidence: bounded(evidence, ALERT_EVIDENCE_BYTES_MAX),
        }
    }

    /// What it is about.
    pub fn kind(&self) -> AlertKind {
        self.kind
    }

    /// How much it matters.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The number, template, agent … that it concerns.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What happened and what to do.
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// What the sentence rests on.
    pub fn evidence(&self) -> &Value {
        &self.evidence
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_lead_back_to_their_kinds() {
        for kind in AlertKind::ALL {
            assert_eq!(AlertKind::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).ok(), Some(json!(kind.as_str())));
        }
        assert_eq!(AlertKind::parse("surprise"), None);
    }

    #[test]
    fn an_alert_keeps_its_bounds() {
        let long = "x".repeat(10_000);
        let alert = NewAlert::new(AlertKind::TemplatePaused, Severity::Warning, &long, &long, json!({ "all": long }));
        assert_eq!(alert.subject().chars().count(), ALERT_SUBJECT_CHARACTERS_MAX);
        assert_eq!(alert.sentence().chars().count(), ALERT_SENTENCE_CHARACTERS_MAX);
        assert!(alert.evidence().to_string().len() <= ALERT_EVIDENCE_BYTES_MAX);
    }
}
