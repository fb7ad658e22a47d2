//! A delivery status as a fact of ours, with what follows when it tells of a failure. Pure.

use jiff::SignedDuration;
use whatsapp::identity::IdentitySet;
use whatsapp::webhook::{DeliveryStatus as WireStatus, StatusUpdate};
use whatsapp::{ApiError, Verdict};

use super::convert::{MESSAGE_ID_CHARACTERS_MAX, Terms, WORD_CHARACTERS_MAX, believable, clean};
use crate::domain::contact::Person;
use crate::domain::inbound::{AfterFailure, NewStatus};
use crate::domain::outbound::{DeliveryStatus, Price, SendError, parse_callback_data};
use crate::domain::pause::PauseScope;

/// Characters of what went wrong.
const DETAIL_CHARACTERS_MAX: usize = 2_000;

/// A status; else why it cannot be one.
pub(super) fn read(status: &StatusUpdate, terms: &Terms<'_>) -> Result<NewStatus, String> {
    if status.message_id.is_empty() || status.message_id.chars().count() > MESSAGE_ID_CHARACTERS_MAX {
        return Err(format!("a message id must have 1 to {MESSAGE_ID_CHARACTERS_MAX} characters"));
    }
    let known = match &status.status {
        WireStatus::Sent => DeliveryStatus::Sent,
        WireStatus::Delivered => DeliveryStatus::Delivered,
        WireStatus::Read => DeliveryStatus::Read,
        WireStatus::Played => DeliveryStatus::Played,
        WireStatus::Failed => DeliveryStatus::Failed,
        WireStatus::Other(word) => return Err(format!("the status {:?} is not known", clean(word, 64))),
    };
    let identities = IdentitySet {
        phone: status.recipient_phone.clone(),
        bsuid: status.recipient_bsuid.clone(),
        parent_bsuid: status.recipient_parent_bsuid.clone(),
    };
    let group = status.recipient_group.as_ref();
    let recipient = status
        .recipient()
        .map(|identity| identity.as_str().to_owned())
        .or_else(|| group.map(|group| group.as_str().to_owned()))
        .unwrap_or_default();
    Ok(NewStatus {
        phone_number_id: clean(&status.phone_number_id, WORD_CHARACTERS_MAX),
        provider_message_id: clean(&status.message_id, MESSAGE_ID_CHARACTERS_MAX),
        callback: status.biz_opaque_callback_data.as_deref().and_then(parse_callback_data),
        status: known,
        recipient: clean(&recipient, WORD_CHARACTERS_MAX),
        person: Person {
            phone: identities.phone.as_ref().map(|phone| phone.as_str().to_owned()),
            bsuid: identities.bsuid.as_ref().map(|bsuid| clean(bsuid.as_str(), WORD_CHARACTERS_MAX)),
            ..Person::default()
        },
        occurred_at: believable(status.timestamp_seconds, terms.now),
        error: (known == DeliveryStatus::Failed).then(|| failure(status)),
        after: match status.errors.first().filter(|_| known == DeliveryStatus::Failed) {
            Some(error) => after(error, &status.phone_number_id, terms),
            None => AfterFailure::Letter,
        },
        price: status.pricing.as_ref().map(|pricing| Price {
            billable: pricing.billable,
            model: pricing.pricing_model.as_deref().map(|word| clean(word, WORD_CHARACTERS_MAX)),
            kind: pricing.kind.as_deref().map(|word| clean(word, WORD_CHARACTERS_MAX)),
            category: pricing.category.as_deref().map(|word| clean(word, WORD_CHARACTERS_MAX)),
            charge: None,
        }),
    })
}

fn failure(status: &StatusUpdate) -> SendError {
    let Some(error) = status.errors.first() else {
        return SendError {
            code: None,
            reason: "failed_after_acceptance".to_owned(),
            detail: "WhatsApp accepted the message and then reported that it failed, without saying why.".to_owned(),
        };
    };
    let advice = error.fact().map(|fact| fact.advice);
    SendError {
        code: Some(error.code),
        reason: "failed_after_acceptance".to_owned(),
        detail: clean(&SendError::told(error, advice), DETAIL_CHARACTERS_MAX),
    }
}

/// What follows from a failure: the same as if WhatsApp had refused the message at once, as far as a policy of WhatsApp's is the
/// reason. What it cannot explain is not repeated by itself, since it had the message already.
fn after(error: &ApiError, phone_number_id: &str, terms: &Terms<'_>) -> AfterFailure {
    let verdict = error.failed_status_verdict();
    match verdict {
        Verdict::NeedsTemplate => return AfterFailure::Template,
        Verdict::Later { after_seconds: Some(seconds) } => {
            let wait = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            let Ok(not_before) = terms.now.checked_add(wait) else { return AfterFailure::Letter };
            return AfterFailure::Later { not_before, attempts_max: terms.attempts_max };
        }
        _ => {}
    }
    let stopped = whatsapp::error::stops(error.code, verdict).and_then(|reach| PauseScope::parse(reach.as_str()));
    let Some(scope) = stopped else { return AfterFailure::Letter };
    let subject = if scope == PauseScope::Number { clean(phone_number_id, WORD_CHARACTERS_MAX) } else { String::new() };
    AfterFailure::Stop { scope, subject, waits: matches!(verdict, Verdict::Pause(_) | Verdict::Auth) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_failed_status_takes_the_road_of_the_refusal() {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let terms = Terms { now, attempts_max: 8, account: None };
        let stop = |scope, subject: &str, waits| AfterFailure::Stop { scope, subject: subject.to_owned(), waits };
        let later =
            |seconds| AfterFailure::Later { not_before: now + SignedDuration::from_secs(seconds), attempts_max: 8 };
        for (code, expected) in [
            (131_047, AfterFailure::Template),
            (131_049, later(24 * 3_600)),
            (131_048, stop(PauseScope::Number, "900001", true)),
            (131_031, stop(PauseScope::Account, "", true)),
            (131_042, stop(PauseScope::Account, "", true)),
            (190, stop(PauseScope::Account, "", true)),
            (131_064, stop(PauseScope::AccountTemplates, "", true)),
            (130_497, stop(PauseScope::Country, "", true)),
            (132_001, stop(PauseScope::Template, "", true)),
            (132_015, stop(PauseScope::Template, "", true)),
            (132_016, stop(PauseScope::Template, "", false)),
            (130_429, AfterFailure::Letter),
            (131_000, AfterFailure::Letter),
            (131_026, AfterFailure::Letter),
            (131_044, AfterFailure::Letter),
            (131_050, AfterFailure::Letter),
            (999_999, AfterFailure::Letter),
        ] {
            let error = ApiError::from_value(&json!({ "code": code }));
            assert_eq!(after(&error, "900001", &terms), expected, "{code}");
        }
    }

    #[test]
    fn what_whatsapp_says_ends_in_one_full_stop() {
        for (said, expected) in [
            ("It is late.", "error 131026: It is late. Wait."),
            ("It is late", "error 131026: It is late. Wait."),
            ("Is it late?", "error 131026: Is it late? Wait."),
        ] {
            let error = ApiError::from_value(&json!({ "code": 131_026, "error_data": { "details": said } }));
            assert_eq!(SendError::told(&error, Some("Wait.")), expected);
        }
    }
}
