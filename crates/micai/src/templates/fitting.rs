//! A message made from a template that is known: only one that may be sent, and only with values that fit. Pure.

use super::contract;
use super::fault::TemplateFault;
use super::render::render;
use crate::domain::outbound::MessageBody;
use crate::domain::template::{Template, TemplateUse};

/// The message that `filled` makes of one of the languages of its template, with its words for those who read along.
///
/// # Errors
/// What is wrong: no such language, not approved, or values that do not fit.
pub fn message<'a>(
    known: impl IntoIterator<Item = &'a Template>,
    filled: TemplateUse,
) -> Result<MessageBody, Vec<TemplateFault>> {
    let one = |field: &str, sentence: String| Err(vec![TemplateFault::new(field, sentence)]);
    let known: Vec<&Template> = known.into_iter().filter(|template| template.name == filled.name).collect();
    let Some(template) = known.iter().find(|template| template.language == filled.language) else {
        let languages: Vec<&str> = known.iter().map(|template| template.language.as_str()).collect();
        return match languages.is_empty() {
            true => one("name", "No template of this name is known: a sync fetches them anew.".to_owned()),
            false => one("language", format!("The template has no such language: it has {}.", languages.join(", "))),
        };
    };
    if !template.status.may_be_sent() {
        let status = template.status.as_str();
        return one("name", format!("The template is {status}: only an approved one may be sent."));
    }
    let faults = contract::faults(template, &filled);
    if !faults.is_empty() {
        return Err(faults);
    }
    let text = Some(render(template, &filled).text());
    Ok(MessageBody::Template { template: Box::new(filled), text })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::template::{
        ParameterFormat, TemplateCategory, TemplateParts, TemplateQuality, TemplateStatus, TextValue,
    };

    fn template(status: TemplateStatus) -> Template {
        let components = serde_json::json!([{ "type": "BODY", "text": "Hi {{1}}, it is ready." }]);
        Template {
            name: "ready".to_owned(),
            language: "en_US".to_owned(),
            provider_template_id: None,
            status,
            status_reason: None,
            category: TemplateCategory::Utility,
            quality: TemplateQuality::Unknown,
            parameter_format: ParameterFormat::Positional,
            parts: TemplateParts::read(&components),
        }
    }

    #[test]
    fn only_what_is_approved_and_fits_becomes_a_message() {
        let filled = |name: &str, language: &str, values: &[&str]| TemplateUse {
            body: values.iter().map(|value| TextValue::numbered(*value)).collect(),
            ..TemplateUse::plain(name, language)
        };
        for (status, name, language, values, fault) in [
            (TemplateStatus::Approved, "gone", "en_US", &["Ana"][..], "No template of this name"),
            (TemplateStatus::Approved, "ready", "pt_BR", &["Ana"], "it has en_US"),
            (TemplateStatus::Paused, "ready", "en_US", &["Ana"], "only an approved one"),
            (TemplateStatus::Approved, "ready", "en_US", &[], "is missing"),
        ] {
            let faults = message([&template(status)], filled(name, language, values)).unwrap_err();
            assert!(faults[0].sentence.contains(fault), "{faults:?}");
        }
        let made = message([&template(TemplateStatus::Approved)], filled("ready", "en_US", &["Ana"])).unwrap();
        assert_eq!(made.text(), Some("Hi Ana, it is ready."));
    }
}
