//! What happens with a schedule whose time has come. Pure.

use jiff::{SignedDuration, Timestamp};

use super::recurrence::Calendar;
use crate::domain::schedule::{Firing, MissedPolicy, Schedule};

/// How late an occurrence may be attended to before it counts as missed: nobody notices a minute, and a process that starts anew
/// needs less.
pub const MISSED_AFTER_SECONDS: i64 = 60;

/// What to do about a schedule that was due at `due_at`.
pub fn firing(schedule: &Schedule, due_at: Timestamp, now: Timestamp) -> Firing {
    let timing = &schedule.timing;
    let calendar = match Calendar::new(timing) {
        Ok(calendar) => calendar,
        Err(faults) => {
            let sentence = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            return nothing(0, "unreadable", &format!("Its calendar cannot be read: {sentence}. Save it anew."), None);
        }
    };
    let keep_max = match timing.missed {
        MissedPolicy::Skip | MissedPolicy::Once => 1,
        MissedPolicy::All { limit } => usize::try_from(limit).unwrap_or(1).max(1),
    };
    let overdue = calendar.overdue(due_at, now, keep_max);
    let patience = SignedDuration::from_secs(MISSED_AFTER_SECONDS + timing.jitter_seconds);
    let mut occurrences = overdue.latest;
    if timing.missed == MissedPolicy::Skip {
        occurrences.retain(|at| now.duration_since(*at) <= patience);
    }
    let left = timing.count.map_or(i64::MAX, |count| (count - schedule.fired).max(0));
    occurrences.truncate(usize::try_from(left).unwrap_or(usize::MAX));
    let happened = i64::try_from(occurrences.len()).unwrap_or(i64::MAX);
    let next_due_at = overdue.next.filter(|_| happened < left);
    if occurrences.is_empty() {
        let sentence = "It was missed by more than a minute, and what is missed is left out.";
        return nothing(overdue.left_out + 1, "missed", sentence, next_due_at);
    }
    Firing { occurrences, left_out: overdue.left_out, skipped: None, next_due_at }
}

fn nothing(left_out: i64, reason: &str, sentence: &str, next_due_at: Option<Timestamp>) -> Firing {
    Firing { occurrences: Vec::new(), left_out, skipped: Some((reason.to_owned(), sentence.to_owned())), next_due_at }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::agent::AgentId;
    use crate::domain::schedule::{Recurrence, ScheduleAction, ScheduleMaker, ScheduleState, Timing};
    use crate::ids::{ContactId, Ids};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn schedule(timing: Timing, fired: i64) -> Schedule {
        let ids = Ids::seeded(1);
        Schedule {
            id: ids.schedule(timing.starts_at),
            name: None,
            number: None,
            contact_id: ContactId(ids.uuid(timing.starts_at)),
            phone_number_id: "1".into(),
            agent_id: AgentId::default_agent(),
            maker: ScheduleMaker::Operator,
            rule_id: None,
            action: ScheduleAction::AskAgent { text: "hello".into() },
            state: ScheduleState::Active,
            next_due_at: None,
            last_due_at: None,
            last_outcome: None,
            fired,
            created_at: timing.starts_at,
            updated_at: timing.starts_at,
            timing,
        }
    }

    #[test]
    fn what_was_missed_is_made_up_for_as_the_policy_says() {
        let due = at("2026-11-24T09:00:00Z");
        let five_later = at("2026-11-24T14:00:30Z");
        let punctual = at("2026-11-24T09:00:59Z");
        let unseen = at("2026-11-24T14:30:00Z");
        for (missed, count, now, expected, left_out, more) in [
            (MissedPolicy::Once, None, punctual, vec![9], 0, true),
            (MissedPolicy::Once, None, five_later, vec![14], 5, true),
            (MissedPolicy::Skip, None, punctual, vec![9], 0, true),
            (MissedPolicy::Skip, None, five_later, vec![14], 5, true),
            (MissedPolicy::Skip, None, unseen, vec![], 6, true),
            (MissedPolicy::All { limit: 3 }, None, five_later, vec![12, 13, 14], 3, true),
            (MissedPolicy::All { limit: 24 }, None, unseen, vec![9, 10, 11, 12, 13, 14], 0, true),
            (MissedPolicy::All { limit: 24 }, Some(2), unseen, vec![9, 10], 0, false),
            (MissedPolicy::Once, Some(1), punctual, vec![9], 0, false),
        ] {
            for recurrence in [Recurrence::Every { minutes: 60 }, Recurrence::Cron { expression: "0 * * * *".into() }] {
                let timing = Timing { missed, count, ..Timing::new(recurrence, "UTC", due) };
                let firing = firing(&schedule(timing, 0), due, now);
                let hours: Vec<i8> =
                    firing.occurrences.iter().map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).hour()).collect();
                assert_eq!((hours, firing.left_out), (expected.clone(), left_out), "{missed:?} {count:?} {now}");
                assert_eq!(firing.next_due_at.is_some(), more, "{missed:?} {count:?} {now}");
                assert_eq!(firing.skipped.is_some(), expected.is_empty());
            }
        }
    }

    #[test]
    fn once_is_over_after_it_and_what_cannot_be_read_waits_for_nobody() {
        let due = at("2026-11-24T09:00:00Z");
        let once = firing(&schedule(Timing::once(due, "Europe/Lisbon"), 0), due, due);
        assert_eq!((once.occurrences, once.next_due_at), (vec![due], None));
        let lost = firing(&schedule(Timing::once(due, "Europe/Atlantis"), 0), due, due);
        assert_eq!((lost.occurrences.len(), lost.next_due_at), (0, None));
        assert!(lost.skipped.unwrap().1.contains("no known zone"));
    }
}
