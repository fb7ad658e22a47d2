//! Templates that operators fill in: for a message, in place of letters, or as what an agent falls back to.

use super::super::error::Problem;
use super::super::state::HttpState;
use super::bounds::Faults;
use super::templates::LANGUAGES_MAX;
use crate::domain::agent::FALLBACK_WORDS;
use crate::domain::outbound::MessageBody;
use crate::domain::template::{TEMPLATE_LANGUAGE_CHARACTERS_MAX, TEMPLATE_NAME_CHARACTERS_MAX, TemplateUse};
use crate::templates::{contract, fitting};

/// The most bytes of JSON that a filled-in template may have: a body of 1,024 characters, its header and buttons fit.
const TEMPLATE_USE_BYTES_MAX: usize = 16_384;
/// What a message might say, to see whether a fallback template fits.
const SAMPLE_WORDS: &str = "Hello.";

/// Whether a filled-in template keeps its bounds; it stands in `field`.
pub(super) fn check_template_use(faults: &mut Faults, field: &str, template: &TemplateUse) {
    faults.check_id(&format!("{field}.name"), &template.name, TEMPLATE_NAME_CHARACTERS_MAX);
    faults.check_id(&format!("{field}.language"), &template.language, TEMPLATE_LANGUAGE_CHARACTERS_MAX);
    let json = serde_json::to_string(template).unwrap_or_default();
    let size = json.len();
    if size > TEMPLATE_USE_BYTES_MAX {
        faults.add(field, format!("has {size} bytes of JSON; at most {TEMPLATE_USE_BYTES_MAX} are allowed"));
    }
    // As JSON writes U+0000.
    if json.contains("\\u0000") {
        faults.add(field, "holds the character U+0000, which cannot be stored; remove it");
    }
}

/// The message that a template makes. Without an account no templates are known, and it goes as it is.
pub(super) async fn fitting_message(
    state: &HttpState,
    faults: &mut Faults,
    template: TemplateUse,
) -> Result<Option<MessageBody>, Problem> {
    let Some(waba_id) = state.templates.waba_id() else {
        return Ok(Some(MessageBody::Template { template: Box::new(template), text: None }));
    };
    let known = state.store.templates_named(waba_id, &template.name, LANGUAGES_MAX).await?;
    match fitting::message(known.iter().map(|row| &row.record.template), template) {
        Ok(message) => Ok(Some(message)),
        Err(wrong) => {
            wrong.into_iter().for_each(|fault| faults.add(format!("template.{}", fault.field), fault.sentence));
            Ok(None)
        }
    }
}

/// Whether an agent may fall back to this template: where the account's templates are known, it must be there and fit. Whether it
/// is approved is asked when it is sent: one that is paused for some hours must not keep people from changing the agent.
pub(super) async fn check_fallback(
    state: &HttpState,
    faults: &mut Faults,
    template: &TemplateUse,
) -> Result<(), Problem> {
    check_template_use(faults, "fallback_template", template);
    let Some(waba_id) = state.templates.waba_id() else { return Ok(()) };
    let known = state.store.templates_named(waba_id, &template.name, LANGUAGES_MAX).await?;
    let known: Vec<_> = known.iter().map(|row| &row.record.template).collect();
    let Some(found) = known.iter().find(|known| known.language == template.language) else {
        let languages: Vec<&str> = known.iter().map(|known| known.language.as_str()).collect();
        match languages.is_empty() {
            true => faults.add(
                "fallback_template.name",
                "is no template that the account has: GET /admin/templates lists them, POST /admin/templates/sync fetches \
                 them anew",
            ),
            false => {
                let languages = languages.join(", ");
                faults.add("fallback_template.language", format!("is none of the template's languages: {languages}"));
            }
        }
        return Ok(());
    };
    let mut filled = template.clone();
    filled.body.iter_mut().for_each(|value| value.text = value.text.replace(FALLBACK_WORDS, SAMPLE_WORDS));
    for fault in contract::faults(found, &filled) {
        faults.add(format!("fallback_template.{}", fault.field), format!("does not fit. {}", fault.sentence));
    }
    Ok(())
}
