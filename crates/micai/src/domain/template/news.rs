//! What WhatsApp says about templates, and what of it somebody must hear of.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{ParameterFormat, Template, TemplateCategory, TemplateQuality, TemplateStatus};
use crate::domain::alert::{AlertKind, NewAlert, Severity};

/// A template as WhatsApp lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateRecord {
    /// What is known of it.
    pub template: Template,
    /// WhatsApp's own description of its parts, which `template.parts` was read from.
    pub components: Value,
}

/// A template that an operator wants made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTemplate {
    /// Its name.
    pub name: String,
    /// Its language.
    pub language: String,
    /// What it is to count as; WhatsApp may decide otherwise.
    pub category: TemplateCategory,
    /// Whether its variables have names or numbers.
    pub parameter_format: ParameterFormat,
    /// Its parts with their examples, as WhatsApp wants them.
    pub components: Value,
}

/// A webhook about a template.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateNews {
    /// The account whose template it is.
    pub waba_id: String,
    /// WhatsApp's id of the template.
    pub provider_template_id: Option<String>,
    /// Its name.
    pub name: String,
    /// Its language.
    pub language: String,
    /// When it happened, if the webhook says so credibly.
    pub occurred_at: Option<Timestamp>,
    /// What happened.
    pub change: TemplateChange,
}

/// What changed about a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateChange {
    /// Where it stands.
    Status {
        /// Its status now.
        status: TemplateStatus,
        /// Why, in WhatsApp's words.
        reason: Option<String>,
        /// Its category, where the webhook says so.
        category: Option<TemplateCategory>,
    },
    /// What people think of it.
    Quality {
        /// Its quality now.
        quality: TemplateQuality,
    },
    /// Its words: the next sync reads them.
    Components,
    /// What it counts as.
    Category {
        /// Its category now.
        category: TemplateCategory,
    },
    /// What it will count as soon.
    CategoryAnnounced {
        /// Its category then.
        category: TemplateCategory,
    },
}

/// Alerts that a change raises and ends.
#[derive(Debug, Default, PartialEq)]
pub struct AlertMoves {
    /// To be raised.
    pub raised: Vec<NewAlert>,
    /// Over: kind and subject.
    pub cleared: Vec<(AlertKind, String)>,
}

impl AlertMoves {
    /// Adds what somebody must hear of: a price that rises, a template that can no longer be sent, a quality that falls.
    pub fn note_change(&mut self, before: &Template, after: &Template) {
        if before.category.is_cheaper_than(after.category) {
            let (from, to) = (before.category.as_str(), after.category.as_str());
            let sentence = format!(
                "WhatsApp moved the template {} in {} from {from} to {to}: each message with it costs more now. Ask for a \
                 review in WhatsApp Manager, or send another template.",
                after.name, after.language
            );
            self.raise(AlertKind::TemplateCategoryChanged, Severity::Warning, before, after, &sentence);
        }
        if before.status != after.status {
            self.note_status(before, after);
        }
        let quality = match (before.quality, after.quality) {
            (TemplateQuality::Green | TemplateQuality::Unknown, TemplateQuality::Yellow) => Some(Severity::Notice),
            (before, TemplateQuality::Red) if before != TemplateQuality::Red => Some(Severity::Warning),
            _ => None,
        };
        if let Some(severity) = quality {
            let sentence = format!(
                "The quality of the template {} in {} fell to {}: people block or report it. WhatsApp pauses templates \
                 that go on like this; send it to fewer people, or change its words.",
                after.name,
                after.language,
                after.quality.as_str()
            );
            self.raise(AlertKind::TemplateQualityChanged, severity, before, after, &sentence);
        }
    }

    fn note_status(&mut self, before: &Template, after: &Template) {
        use TemplateStatus::{Approved, Deleted, Disabled, Paused, PendingDeletion, Rejected};
        let (name, language) = (&after.name, &after.language);
        let why = after.status_reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let stopped = |status| matches!(status, Paused | Disabled);
        if stopped(before.status) && matches!(after.status, Approved | Deleted) {
            self.cleared.push((AlertKind::TemplatePaused, subject(after)));
        }
        match after.status {
            Paused => {
                let sentence = format!(
                    "WhatsApp paused the template {name} in {language}{why}: nothing is sent with it until WhatsApp lets it \
                     go on, after three to six hours."
                );
                self.raise(AlertKind::TemplatePaused, Severity::Warning, before, after, &sentence);
            }
            Disabled => {
                let sentence = format!(
                    "WhatsApp disabled the template {name} in {language}{why} for good: make a new one with other words."
                );
                self.raise(AlertKind::TemplatePaused, Severity::Critical, before, after, &sentence);
            }
            Rejected => {
                let sentence = format!(
                    "WhatsApp rejected the template {name} in {language}{why}: change it and hand it in again."
                );
                self.raise(AlertKind::TemplateStatusChanged, Severity::Warning, before, after, &sentence);
            }
            Deleted | PendingDeletion if before.status.may_be_sent() => {
                let sentence = format!(
                    "The template {name} in {language} was deleted at WhatsApp: nothing is sent with it any more. Its name \
                     can be used again after 30 days."
                );
                self.raise(AlertKind::TemplateStatusChanged, Severity::Warning, before, after, &sentence);
            }
            status if before.status.may_be_sent() => {
                let sentence = format!(
                    "The template {name} in {language} is {} at WhatsApp{why}: nothing is sent with it while that lasts.",
                    status.as_str()
                );
                self.raise(AlertKind::TemplateStatusChanged, Severity::Warning, before, after, &sentence);
            }
            _ => {}
        }
    }

    /// Adds a category that WhatsApp announces, if messages will cost more then.
    pub fn note_announcement(&mut self, template: &Template, announced: TemplateCategory) {
        if template.category.is_cheaper_than(announced) {
            let (from, to) = (template.category.as_str(), announced.as_str());
            let sentence = format!(
                "WhatsApp will move the template {} in {} from {from} to {to}, usually within a day: each message with it \
                 will cost more then. Ask for a review in WhatsApp Manager, or send another template.",
                template.name, template.language
            );
            let after = Template { category: announced, ..template.clone() };
            self.raise(AlertKind::TemplateCategoryChanged, Severity::Warning, template, &after, &sentence);
        }
    }

    fn raise(&mut self, kind: AlertKind, severity: Severity, before: &Template, after: &Template, sentence: &str) {
        let evidence = json!({
            "template": { "name": after.name, "language": after.language },
            "changes": difference(before, after),
        });
        self.raised.push(NewAlert::new(kind, severity, &subject(after), sentence, evidence));
    }
}

/// What alerts about a template have as their subject.
pub fn subject(template: &Template) -> String {
    let plain = format!("{}/{}", template.name, template.language);
    // Cut as an alert cuts it, so that it is found again.
    NewAlert::new(AlertKind::TemplatePaused, Severity::Notice, &plain, "", Value::Null).subject().to_owned()
}

/// What differs, each with what it was and what it is.
pub fn difference(before: &Template, after: &Template) -> Value {
    let mut changes = Map::new();
    let mut note = |field: &str, before: Value, after: Value| {
        if before != after {
            changes.insert(field.to_owned(), json!({ "before": before, "after": after }));
        }
    };
    note("category", json!(before.category), json!(after.category));
    note("status", json!(before.status), json!(after.status));
    note("status_reason", json!(before.status_reason), json!(after.status_reason));
    note("quality", json!(before.quality), json!(after.quality));
    note("parameter_format", json!(before.parameter_format), json!(after.parameter_format));
    note("header", json!(before.parts.header), json!(after.parts.header));
    note("body", json!(before.parts.body), json!(after.parts.body));
    note("footer", json!(before.parts.footer), json!(after.parts.footer));
    note("buttons", json!(before.parts.buttons), json!(after.parts.buttons));
    Value::Object(changes)
}

#[cfg(test)]
mod tests {
    use super::super::TemplateParts;
    use super::*;

    fn template() -> Template {
        Template {
            name: "reminder".to_owned(),
            language: "en_US".to_owned(),
            provider_template_id: None,
            status: TemplateStatus::Approved,
            status_reason: None,
            category: TemplateCategory::Utility,
            quality: TemplateQuality::Unknown,
            parameter_format: ParameterFormat::Positional,
            parts: TemplateParts::default(),
        }
    }

    #[test]
    fn what_somebody_must_hear_of_raises_an_alert_and_the_rest_does_not() {
        use TemplateStatus::{Approved, Archived, Deleted, Disabled, Flagged, Paused, Pending, Rejected};
        let with = |status| Template { status, ..template() };
        for (before, after, raised, cleared) in [
            (with(Approved), with(Paused), Some(AlertKind::TemplatePaused), false),
            (with(Pending), with(Disabled), Some(AlertKind::TemplatePaused), false),
            (with(Paused), with(Approved), None, true),
            (with(Paused), with(Deleted), None, true),
            (with(Pending), with(Approved), None, false),
            (with(Pending), with(Rejected), Some(AlertKind::TemplateStatusChanged), false),
            (with(Approved), with(Flagged), Some(AlertKind::TemplateStatusChanged), false),
            (with(Approved), with(Deleted), Some(AlertKind::TemplateStatusChanged), false),
            (with(Rejected), with(Archived), None, false),
        ] {
            let mut moves = AlertMoves::default();
            moves.note_change(&before, &after);
            assert_eq!(moves.raised.first().map(NewAlert::kind), raised, "{:?} {:?}", before.status, after.status);
            assert_eq!(!moves.cleared.is_empty(), cleared, "{:?} {:?}", before.status, after.status);
        }
    }

    #[test]
    fn a_dearer_category_is_told_with_what_changed_and_a_cheaper_one_is_not() {
        let marketing = Template { category: TemplateCategory::Marketing, ..template() };
        let mut moves = AlertMoves::default();
        moves.note_change(&template(), &marketing);
        moves.note_change(&marketing, &template());
        assert_eq!(moves.raised.len(), 1);
        let alert = &moves.raised[0];
        assert_eq!((alert.kind(), alert.subject()), (AlertKind::TemplateCategoryChanged, "reminder/en_US"));
        assert_eq!(alert.evidence()["changes"], json!({ "category": { "before": "utility", "after": "marketing" } }));
        let mut announced = AlertMoves::default();
        announced.note_announcement(&template(), TemplateCategory::Marketing);
        announced.note_announcement(&marketing, TemplateCategory::Utility);
        assert_eq!(announced.raised.len(), 1);
        assert!(announced.raised[0].sentence().contains("will move"));
    }

    #[test]
    fn only_a_quality_that_falls_is_told() {
        use TemplateQuality::{Green, Red, Unknown, Yellow};
        for (before, after, told) in [
            (Green, Yellow, true),
            (Unknown, Yellow, true),
            (Yellow, Red, true),
            (Red, Red, false),
            (Red, Yellow, false),
            (Yellow, Green, false),
        ] {
            let mut moves = AlertMoves::default();
            let with = |quality| Template { quality, ..template() };
            moves.note_change(&with(before), &with(after));
            assert_eq!(!moves.raised.is_empty(), told, "{before:?} {after:?}");
        }
    }
}
