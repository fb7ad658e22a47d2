//! Our own reasons to give up on a message, in plain words. One row a reason; a reason without a row is still listed, only with
//! less to say.

use super::Explanation;
use super::Repair::{self, Discard, FixFirst, Replay, ReplayAsTemplate};
use crate::domain::letter::Direction;

struct ReasonFact {
    direction: Direction,
    reason: &'static str,
    cause: &'static str,
    repair: &'static str,
    repairs: &'static [Repair],
}

/// What is known about one of our own reasons.
pub(super) fn describe(direction: Direction, reason: &str) -> Option<Explanation> {
    let fact = REASONS.iter().find(|fact| fact.direction == direction && fact.reason == reason)?;
    let (cause, repair) = (fact.cause.to_owned(), fact.repair.to_owned());
    Some(Explanation { cause, repair, repairs: fact.repairs.to_vec() })
}

const fn sent(
    reason: &'static str,
    cause: &'static str,
    repair: &'static str,
    repairs: &'static [Repair],
) -> ReasonFact {
    ReasonFact { direction: Direction::Outbound, reason, cause, repair, repairs }
}

const fn came_in(reason: &'static str, cause: &'static str, repair: &'static str) -> ReasonFact {
    let repairs: &[Repair] = match reason.as_bytes() {
        b"turn_failed" => &[Replay, Discard],
        _ => &[FixFirst, Replay, Discard],
    };
    ReasonFact { direction: Direction::Inbound, reason, cause, repair, repairs }
}

#[rustfmt::skip] // one row a reason: it is a table
static REASONS: &[ReasonFact] = &[
    sent("no_access_token", "There was no access token to call WhatsApp with.",
         "Set MICAI_WHATSAPP_ACCESS_TOKEN, start again, then replay it.", &[FixFirst, Replay, Discard]),
    sent("invalid_message", "The message does not keep to WhatsApp's limits, so it was never sent; `detail` says which.",
         "Send an approved template in its place, or mend the rule or agent that wrote it and discard this one.",
         &[ReplayAsTemplate, Discard]),
    sent("refused_by_whatsapp", "WhatsApp refused it again and again without giving a code, until the attempts were used up.",
         "Look whether WhatsApp answers others by now, then replay it.", &[Replay, Discard]),
    sent("failed_after_acceptance", "WhatsApp took it, could not deliver it, and gave no code.",
         "Replay it, or use another channel if it happens again.", &[Replay, Discard]),
    sent("retries_exhausted", "Each attempt was refused for the moment, until the attempts were used up.",
         "Look whether WhatsApp answers others by now, then replay it.", &[Replay, Discard]),
    sent("too_old", "It waited for its next attempt until it was too old to be tried again.",
         "Read whether it is still right to say, then replay or discard it.", &[Replay, ReplayAsTemplate, Discard]),
    sent("window_expired", "The 24-hour window was closed, no template was at hand, and the person did not write again in time.",
         "Send an approved template in its place, or discard it.", &[ReplayAsTemplate, Discard]),
    sent("template_contract", "What it gives to its template does not fit the template; `detail` says where.",
         "Send the template again with parameters that fit, or mend the template and replay it.",
         &[ReplayAsTemplate, FixFirst, Discard]),
    sent("pause_expired", "What it needed was paused for so long that it is too old to go out by itself.",
         "Read whether it is still right to say, end the pause, then replay or discard it.",
         &[FixFirst, Replay, ReplayAsTemplate, Discard]),
    sent("budget_expired", "Its budget had no room for so long that it is too old to go out by itself.",
         "Raise the budget if it is still right to say, then replay or discard it.", &[FixFirst, Replay, Discard]),
    sent("template_unknown", "The account has no template of that name in that language.",
         "Fetch the templates with POST /admin/templates/sync, or send another one in its place.",
         &[ReplayAsTemplate, FixFirst, Discard]),
    sent("template_not_approved", "WhatsApp has not approved its template, or has taken the approval back.",
         "Send another template in its place, or replay it when this one is approved.",
         &[ReplayAsTemplate, FixFirst, Discard]),
    sent("unreadable", "The database holds something about this message that this version cannot read; `detail` says what.",
         "Run the newest version that wrote to this database, or mend the row, then replay it.",
         &[FixFirst, Replay, ReplayAsTemplate, Discard]),
    came_in("turn_failed", "Five turns over this message failed; `detail` says with what.",
            "Read `detail`; if the fault has passed, replay it."),
    came_in("turn_refused", "The database refused what the agent made of this message, five times; `detail` says why.",
            "Mend the rule or agent that answers it, then replay it."),
    came_in("turn_panicked", "The agent broke off over this message, five times: a fault of this program.",
            "Report it with `detail`; after the upgrade that mends it, replay it."),
    came_in("unreadable", "The database holds something about this message that this version cannot read; `detail` says what.",
            "Run the newest version that wrote to this database, or mend the row, then replay it."),
    came_in("agent_unreadable", "The agent that should answer has a rule that this version cannot read.",
            "Save the rule that `detail` names again, then replay the whole group."),
    came_in("reminders_unreadable", "The person has a reminder that this version cannot read; `detail` says what.",
            "Run the newest version that wrote to this database, or mend the row, then replay it."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_stands_once_and_says_enough() {
        let mut seen = BTreeSet::new();
        for fact in REASONS {
            assert!(seen.insert((fact.direction, fact.reason)), "{} stands twice", fact.reason);
            for sentence in [fact.cause, fact.repair] {
                assert!(sentence.len() > 20 && sentence.ends_with('.'), "{sentence}");
            }
            assert!(fact.repairs.contains(&Discard), "{}", fact.reason);
        }
    }
}
