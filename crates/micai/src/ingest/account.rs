//! News of the account and of its numbers, in plain words. Pure. What stops no messages is only kept as it came.

use jiff::Timestamp;
use whatsapp::webhook::{AccountChange, AccountUpdate, Restriction};

use super::convert::{Terms, WORD_CHARACTERS_MAX, believable, clean, digits};
use crate::domain::news::{AccountEffect, AccountNews};

/// What to do in every case.
const LOOK: &str = "Look at the account in WhatsApp Manager, under Account quality: a review can be asked for there.";

/// What an update means for sending; nothing if nothing, or if it is about another account than ours.
pub(super) fn read(update: &AccountUpdate, terms: &Terms<'_>) -> Option<AccountNews> {
    if terms.account.is_some_and(|ours| ours != update.waba_id) {
        return None;
    }
    let number = update.display_phone_number.as_deref().map(digits).filter(|digits| !digits.is_empty());
    let who = number.as_ref().map_or_else(|| "the account".to_owned(), |number| format!("the number {number}"));
    let (event, effect) = match &update.change {
        AccountChange::Account { event, violation, ban_state, ban_date, restrictions } => match event.as_str() {
            "ACCOUNT_RESTRICTION" => (event.clone(), restricted(&who, restrictions, terms.now)?),
            "DISABLED_UPDATE" => {
                let state = ban_state.as_deref().unwrap_or("DISABLE");
                (format!("{event}/{state}"), disabled(&who, state, ban_date.as_deref()))
            }
            "ACCOUNT_VIOLATION" => {
                let what = violation.as_deref().unwrap_or("no reason given");
                let sentence = format!(
                    "WhatsApp reports that {who} broke its policy ({what}). It still sends; more of this leads to a \
                     restriction or a ban. {LOOK}"
                );
                (event.clone(), AccountEffect::Warn { sentence })
            }
            "ACCOUNT_DELETED" | "ACCOUNT_OFFBOARDED" => {
                let sentence = format!(
                    "WhatsApp reports that {who} was deleted or is no longer connected to this app: nothing is sent until \
                     it is back. Connect it again, then resume."
                );
                (event.clone(), stop(None, sentence))
            }
            "ACCOUNT_RECONNECTED" => (event.clone(), AccountEffect::Lift),
            _ => return None,
        },
        AccountChange::PhoneQuality { event, current_limit, .. } => {
            let event = event.clone().unwrap_or_default();
            let effect = quality(&who, &event, current_limit.as_deref())?;
            (event, effect)
        }
        _ => return None,
    };
    Some(AccountNews {
        waba_id: clean(&update.waba_id, WORD_CHARACTERS_MAX),
        display_phone_number: number,
        event: clean(&event, WORD_CHARACTERS_MAX),
        occurred_at: believable(update.timestamp_seconds, terms.now),
        effect,
    })
}

fn stop(until: Option<Timestamp>, sentence: String) -> AccountEffect {
    AccountEffect::Stop { only_templates: false, until, sentence }
}

/// What a restriction stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Nothing,
    Templates,
    Messages,
}

fn reach(restriction: &Restriction) -> Reach {
    let kind = restriction.kind.as_str();
    match kind {
        _ if kind.contains("CALLING") || kind.contains("ADD_PHONE_NUMBER") => Reach::Nothing,
        _ if kind.contains("BIZ_INITIATED") || kind.contains("BUSINESS_INITIATED") => Reach::Templates,
        // A word that we do not know is taken for the worst.
        _ => Reach::Messages,
    }
}

fn restricted(who: &str, restrictions: &[Restriction], now: Timestamp) -> Option<AccountEffect> {
    let words: Vec<&str> = restrictions.iter().map(|one| one.kind.as_str()).collect();
    let words = if words.is_empty() { "no details given".to_owned() } else { words.join(", ") };
    let stops_messages = restrictions.is_empty() || restrictions.iter().any(|one| reach(one) == Reach::Messages);
    let worst = if stops_messages { Reach::Messages } else { Reach::Templates };
    let governing: Vec<&Restriction> = restrictions.iter().filter(|one| reach(one) == worst).collect();
    if governing.is_empty() && !restrictions.is_empty() {
        let sentence = format!("WhatsApp restricts what {who} may do ({words}). Messages still go out. {LOOK}");
        return Some(AccountEffect::Warn { sentence });
    }
    let ends: Option<Vec<i64>> = governing.iter().map(|one| one.until_seconds).collect();
    let until = ends.and_then(|ends| ends.into_iter().max()).and_then(|end| Timestamp::from_second(end).ok());
    if until.is_some_and(|until| until <= now) {
        return None;
    }
    let ends = until.map_or_else(|| "until WhatsApp lifts it".to_owned(), |until| format!("until {until}"));
    let what = if stops_messages { "nothing is sent" } else { "no template is sent, answers within the window go on" };
    let sentence = format!("WhatsApp restricted {who} ({words}): {what} {ends}. {LOOK}");
    Some(AccountEffect::Stop { only_templates: !stops_messages, until, sentence })
}

fn disabled(who: &str, state: &str, date: Option<&str>) -> AccountEffect {
    match state {
        "REINSTATE" => AccountEffect::Lift,
        "SCHEDULE_FOR_DISABLE" => {
            let when = date.map(|date| format!(" on {}", clean(date, 64))).unwrap_or_default();
            let sentence = format!("WhatsApp will disable {who}{when}: from then on nothing can be sent. {LOOK}");
            AccountEffect::Warn { sentence }
        }
        _ => {
            let sentence = format!("WhatsApp disabled {who}: nothing is sent until WhatsApp reinstates it. {LOOK}");
            stop(None, sentence)
        }
    }
}

fn quality(who: &str, event: &str, limit: Option<&str>) -> Option<AccountEffect> {
    let limit = limit.map(|limit| format!(" Its limit is {} now.", clean(limit, 64))).unwrap_or_default();
    Some(match event {
        "FLAGGED" => AccountEffect::Warn {
            sentence: format!(
                "The quality of {who} is low: people block or report it.{limit} If that goes on, WhatsApp lowers its limit or \
                 stops it. Send fewer templates, and only to people who asked for them. {LOOK}"
            ),
        },
        "DOWNGRADE" => AccountEffect::Warn {
            sentence: format!(
                "WhatsApp lowered how many people {who} may write to first.{limit} Answers are not counted. {LOOK}"
            ),
        },
        "RESTRICTED" | "BANNED" => {
            stop(None, format!("WhatsApp stopped {who}: nothing is sent from it until WhatsApp lets it go on. {LOOK}"))
        }
        "UNFLAGGED" | "UPGRADE" | "UNRESTRICTED" | "REINSTATED" => AccountEffect::Lift,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};
    use whatsapp::webhook::{Event, parse};

    use super::*;

    const NOW: i64 = 1_790_000_000;

    fn news(field: &str, value: Value) -> Option<AccountNews> {
        let body = json!({ "object": "whatsapp_business_account", "entry": [
            { "id": "700001", "time": NOW - 5, "changes": [{ "field": field, "value": value }] } ] });
        let webhook = parse(body.to_string().as_bytes()).unwrap();
        let Event::Account(update) = &webhook.events[0] else { panic!("{webhook:?}") };
        let terms = Terms { now: Timestamp::from_second(NOW).unwrap(), attempts_max: 8, account: Some("700001") };
        assert_eq!(read(update, &Terms { account: Some("another"), ..terms }), None);
        read(update, &terms)
    }

    /// `stop`, `templates`, `warn`, `lift` or nothing; and until when, in seconds from now.
    fn word(news: Option<&AccountNews>) -> (&'static str, Option<i64>) {
        match news.map(|news| &news.effect) {
            None => ("nothing", None),
            Some(AccountEffect::Lift) => ("lift", None),
            Some(AccountEffect::Warn { .. }) => ("warn", None),
            Some(AccountEffect::Stop { only_templates, until, .. }) => {
                (if *only_templates { "templates" } else { "stop" }, until.map(|until| until.as_second() - NOW))
            }
        }
    }

    #[test]
    fn what_news_of_the_account_means() {
        let restricted = |kinds: &[(&str, i64)]| {
            let all: Vec<_> =
                kinds.iter().map(|(kind, end)| json!({ "restriction_type": kind, "expiration": NOW + end })).collect();
            json!({ "event": "ACCOUNT_RESTRICTION", "restriction_info": all })
        };
        let (business, customer) = ("RESTRICTED_BIZ_INITIATED_MESSAGING", "RESTRICTED_CUSTOMER_INITIATED_MESSAGING");
        let adding = "RESTRICTED_ADD_PHONE_NUMBER_ACTION";
        let banned = |state| json!({ "event": "DISABLED_UPDATE", "ban_info": { "waba_ban_state": state } });
        for (value, expected) in [
            (restricted(&[(business, 60)]), ("templates", Some(60))),
            (restricted(&[(customer, 60)]), ("stop", Some(60))),
            (restricted(&[(business, 600), (customer, 60), (adding, 900)]), ("stop", Some(60))),
            (restricted(&[(business, 60), (business, 90), (adding, 900)]), ("templates", Some(90))),
            (restricted(&[("RESTRICTED_SOMEHOW", 60)]), ("stop", Some(60))),
            (restricted(&[(adding, 60)]), ("warn", None)),
            (restricted(&[(customer, -60)]), ("nothing", None)),
            (restricted(&[]), ("stop", None)),
            (
                json!({ "event": "ACCOUNT_RESTRICTION", "restriction_info": [{ "restriction_type": customer }] }),
                ("stop", None),
            ),
            (banned("DISABLE"), ("stop", None)),
            (banned("SCHEDULE_FOR_DISABLE"), ("warn", None)),
            (banned("REINSTATE"), ("lift", None)),
            (json!({ "event": "ACCOUNT_VIOLATION", "violation_info": { "violation_type": "SPAM" } }), ("warn", None)),
            (json!({ "event": "ACCOUNT_DELETED" }), ("stop", None)),
            (json!({ "event": "ACCOUNT_RECONNECTED" }), ("lift", None)),
            (json!({ "event": "VERIFIED_ACCOUNT" }), ("nothing", None)),
            (json!({}), ("nothing", None)),
        ] {
            let news = news("account_update", value.clone());
            assert_eq!(word(news.as_ref()), expected, "{value}");
            if let Some(AccountEffect::Stop { sentence, .. } | AccountEffect::Warn { sentence }) =
                news.map(|news| news.effect)
            {
                assert!(sentence.contains("the account") && sentence.ends_with('.'), "{sentence}");
            }
        }
    }

    #[test]
    fn what_news_of_a_number_means() {
        for (event, expected) in [
            ("FLAGGED", "warn"),
            ("DOWNGRADE", "warn"),
            ("RESTRICTED", "stop"),
            ("UNFLAGGED", "lift"),
            ("UPGRADE", "lift"),
            ("THROUGHPUT_UPGRADE", "nothing"),
            ("ONBOARDING", "nothing"),
        ] {
            let value =
                json!({ "display_phone_number": "+1 555-000-1111", "event": event, "current_limit": "TIER_1K" });
            let news = news("phone_number_quality_update", value);
            assert_eq!(word(news.as_ref()).0, expected, "{event}");
            if let Some(news) = news {
                assert_eq!(news.display_phone_number.as_deref(), Some("15550001111"));
                assert_eq!(news.occurred_at.unwrap().as_second(), NOW - 5);
            }
        }
    }
}
