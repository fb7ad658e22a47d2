//! Which template goes out in place of plain words while the window is closed. Pure.

use std::sync::Arc;

use jiff::Timestamp;

use super::book::Snapshot;
use super::contract;
use crate::domain::pause::{PauseKey, PauseScope};
use crate::domain::template::{Template, TemplateUse};
use crate::store::PauseSnapshot;

/// The templates that may stand in for a message, the best first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes<'a> {
    /// The message's own.
    pub own: Option<&'a TemplateUse>,
    /// What its agent falls back to.
    pub agent: Option<&'a TemplateUse>,
    /// What the whole installation falls back to.
    pub installation: Option<&'a TemplateUse>,
    /// The language to fall back to where a template is not there in its own.
    pub language: Option<&'a str>,
    /// What is paused at some instant, where paused templates are passed over.
    pub paused: Option<(&'a PauseSnapshot, Timestamp)>,
}

impl Wishes<'_> {
    fn is_paused(&self, template: &Template) -> bool {
        let keys = || {
            [
                PauseKey::new(PauseScope::Template, &template.name),
                PauseKey::template(&template.name, &template.language),
            ]
        };
        self.paused.is_some_and(|(pauses, at)| pauses.first(keys(), at).is_some())
    }
}

/// Whose wish was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The message's own.
    Own,
    /// The agent's fallback.
    Agent,
    /// The installation's.
    Installation,
}

impl Wish {
    /// As the beginning of a sentence.
    fn words(self) -> &'static str {
        match self {
            Self::Own => "The message's own template",
            Self::Agent => "The agent's fallback template",
            Self::Installation => "The configured fallback template",
        }
    }
}

/// A template that may be sent and fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Whose wish it was.
    pub wish: Wish,
    /// The template.
    pub template: Arc<Template>,
    /// What to send: the wish, in the language that was found.
    pub filled: TemplateUse,
}

/// No template will do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoChoice {
    /// A sentence for each wish: why not that one.
    pub reasons: Vec<String>,
}

/// The first wish that WhatsApp would take: approved, in its language or one to fall back to (`pt_BR`, then `pt`, then the
/// configured one), with all that it needs filled in.
///
/// # Errors
/// [`NoChoice`] with a reason for each wish.
pub fn choose(templates: &Snapshot, wishes: &Wishes<'_>) -> Result<Choice, NoChoice> {
    let mut none = NoChoice::default();
    let listed = [(Wish::Own, wishes.own), (Wish::Agent, wishes.agent), (Wish::Installation, wishes.installation)];
    for (wish, filled) in listed {
        let Some(filled) = filled else { continue };
        match find(templates, filled, wishes) {
            Ok(template) => {
                let filled = TemplateUse { language: template.language.clone(), ..filled.clone() };
                return Ok(Choice { wish, template, filled });
            }
            Err(reason) => none.reasons.push(format!("{}, {}, {reason}.", wish.words(), filled.name)),
        }
    }
    if none.reasons.is_empty() {
        none.reasons.push("No template stands in for this message: neither it nor its agent names one.".to_owned());
    }
    Err(none)
}

/// The template in the first language that will do; else what stood in the way, as the end of a sentence.
fn find(templates: &Snapshot, filled: &TemplateUse, wishes: &Wishes<'_>) -> Result<Arc<Template>, String> {
    let fallback = wishes.language;
    let mut reason = None;
    for language in languages(&filled.language, fallback) {
        let Some(template) = templates.find(&filled.name, language) else { continue };
        if !template.status.may_be_sent() {
            reason.get_or_insert_with(|| format!("is {} in {language}", template.status.as_str()));
            continue;
        }
        if wishes.is_paused(template) {
            reason.get_or_insert_with(|| format!("is paused in {language}"));
            continue;
        }
        match contract::faults(template, filled).first() {
            None => return Ok(template.clone()),
            Some(fault) => {
                let sentence = fault.sentence.trim_end_matches('.');
                reason.get_or_insert_with(|| format!("does not fit in {language}: {sentence}"));
            }
        }
    }
    Err(reason.unwrap_or_else(|| {
        let tried: Vec<&str> = languages(&filled.language, fallback).collect();
        format!("is not there in {}", tried.join(" or "))
    }))
}

/// The languages to try, each once.
fn languages<'a>(own: &'a str, fallback: Option<&'a str>) -> impl Iterator<Item = &'a str> {
    let base = own.split(['_', '-']).next().filter(|base| *base != own);
    let fallback = fallback.filter(move |language| *language != own && Some(*language) != base);
    [Some(own), base, fallback].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::contract::tests::template;
    use super::*;
    use crate::domain::template::{TemplateStatus, TextValue};

    fn book(rows: &[(&str, &str, TemplateStatus)]) -> Snapshot {
        let templates = rows.iter().map(|(name, language, status)| Template {
            name: (*name).to_owned(),
            language: (*language).to_owned(),
            status: *status,
            ..template("Hi {{1}}, all is well today.")
        });
        Snapshot::new(1, templates.collect())
    }

    fn filled(name: &str, language: &str) -> TemplateUse {
        TemplateUse { body: vec![TextValue::numbered("Ana")], ..TemplateUse::plain(name, language) }
    }

    #[test]
    fn the_first_wish_that_may_be_sent_and_fits_is_followed() {
        use TemplateStatus::{Approved, Paused};
        let book = book(&[
            ("own", "pt_BR", Paused),
            ("agents", "pt", Approved),
            ("default", "en_US", Approved),
            ("both", "pt_BR", Paused),
            ("both", "pt", Approved),
        ]);
        let (own, agents, default) = (filled("own", "pt_BR"), filled("agents", "pt_BR"), filled("default", "fr"));
        let (both, unfilled) = (filled("both", "pt_BR"), TemplateUse::plain("agents", "pt"));
        let wishes =
            |own, agent, installation| Wishes { own, agent, installation, language: Some("en_US"), paused: None };
        for (wishes, expected) in [
            (wishes(Some(&own), Some(&agents), Some(&default)), Some((Wish::Agent, "pt"))),
            (wishes(Some(&own), None, Some(&default)), Some((Wish::Installation, "en_US"))),
            (wishes(Some(&both), None, None), Some((Wish::Own, "pt"))),
            (wishes(None, Some(&unfilled), Some(&default)), Some((Wish::Installation, "en_US"))),
            (wishes(Some(&own), None, None), None),
            (wishes(None, None, None), None),
        ] {
            let chosen = choose(&book, &wishes);
            let found = chosen.as_ref().ok().map(|choice| (choice.wish, choice.filled.language.as_str()));
            assert_eq!(found, expected, "{wishes:?}");
            assert!(chosen.as_ref().ok().is_none_or(|choice| choice.template.status.may_be_sent()));
        }
    }

    #[test]
    fn without_a_choice_each_wish_has_its_reason() {
        let book = book(&[("own", "pt_BR", TemplateStatus::Paused), ("agents", "pt", TemplateStatus::Approved)]);
        let (own, agents, missing) =
            (filled("own", "pt_BR"), TemplateUse::plain("agents", "pt"), filled("missing", "pt_BR"));
        let wishes = Wishes {
            own: Some(&own),
            agent: Some(&agents),
            installation: Some(&missing),
            language: Some("en"),
            paused: None,
        };
        let none = choose(&book, &wishes).unwrap_err();
        assert_eq!(
            none.reasons,
            [
                "The message's own template, own, is paused in pt_BR.",
                "The agent's fallback template, agents, does not fit in pt: Parameter 1 of the body is missing: it has 1 \
                 variable.",
                "The configured fallback template, missing, is not there in pt_BR or pt or en.",
            ]
        );
        assert_eq!(choose(&book, &Wishes::default()).unwrap_err().reasons.len(), 1);
    }

    #[test]
    fn languages_fall_back_from_the_country_to_the_language_to_the_configured_one() {
        for (own, fallback, expected) in [
            ("pt_BR", Some("en_US"), vec!["pt_BR", "pt", "en_US"]),
            ("pt", Some("en_US"), vec!["pt", "en_US"]),
            ("en_US", Some("en_US"), vec!["en_US", "en"]),
            ("en_US", Some("en"), vec!["en_US", "en"]),
            ("de", None, vec!["de"]),
        ] {
            assert_eq!(languages(own, fallback).collect::<Vec<_>>(), expected);
        }
    }
}
