//! Schedules: what is said to a person at a time, once or again and again.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::agent::AgentId;
use super::template::TemplateUse;
use crate::ids::{ContactId, ConversationId, ScheduleId};

/// The most characters of an operator's own id of a schedule.
pub const SCHEDULE_NAME_CHARACTERS_MAX: usize = 128;
/// The most characters of a cron expression.
pub const CRON_CHARACTERS_MAX: usize = 200;
/// The most characters of a recurrence rule.
pub const RRULE_CHARACTERS_MAX: usize = 500;
/// The most characters of the name of a zone; the longest that there is has 30.
pub const ZONE_CHARACTERS_MAX: usize = 64;
/// The longest interval: a year in minutes.
pub const INTERVAL_MINUTES_MAX: i64 = 366 * 24 * 60;
/// The widest spread by chance: an hour.
pub const JITTER_SECONDS_MAX: i64 = 3_600;
/// The highest number of times that may be asked for.
pub const COUNT_MAX: i64 = 100_000;
/// The most missed occurrences that are made up for one by one.
pub const MISSED_OCCURRENCES_MAX: i64 = 24;
/// The most schedules with a time to come that one person may have, whoever made them.
pub const SCHEDULES_PER_CONTACT_MAX: i64 = 1_000;
/// The most of them that the person made: what a list in a chat can show.
pub const REMINDERS_PER_CONTACT_MAX: usize = 50;
/// How many of those that have happened a turn sees: what may still be put off.
pub const REMINDERS_HAPPENED_MAX: usize = 5;

/// When something happens again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Recurrence {
    /// Never: it happens at its start.
    Once,
    /// Every so many minutes from its start, whatever the clocks on the wall do.
    Every {
        /// How many.
        #[schema(minimum = 1, maximum = 527_040, example = 60)]
        minutes: i64,
    },
    /// At the times on the wall that a cron expression names.
    Cron {
        /// Minute, hour, day of the month, month, day of the week; names of months and days are allowed.
        #[schema(max_length = 200, example = "0 9 * * MON-FRI")]
        expression: String,
    },
    /// At the times on the wall that an RFC 5545 rule names; its DTSTART is the schedule's start.
    Rrule {
        /// What stands behind `RRULE:`.
        #[schema(max_length = 500, example = "FREQ=MONTHLY;BYDAY=-1FR")]
        rule: String,
    },
}

impl Recurrence {
    /// The name of its kind in the database and in answers.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Every { .. } => "every",
            Self::Cron { .. } => "cron",
            Self::Rrule { .. } => "rrule",
        }
    }
}

/// What becomes of occurrences that nobody could attend to, such as while the platform was down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum MissedPolicy {
    /// They are left out.
    Skip,
    /// The latest of them is made up for.
    #[default]
    Once,
    /// The latest `limit` of them are made up for, one by one.
    All {
        /// How many at most.
        #[schema(minimum = 1, maximum = 24)]
        limit: i64,
    },
}

/// When a schedule is due: all that its calendar follows from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// When it happens again.
    pub recurrence: Recurrence,
    /// Whose clock on the wall: an IANA name.
    pub zone: String,
    /// Nothing happens before then. `Once` happens then, `Every` counts from then.
    pub starts_at: Timestamp,
    /// Nothing happens after then.
    pub ends_at: Option<Timestamp>,
    /// How often it happens at most.
    pub count: Option<i64>,
    /// By up to so many seconds it is late, by chance: so that many do not happen at once.
    pub jitter_seconds: i64,
    /// What becomes of what was missed.
    pub missed: MissedPolicy,
}

impl Timing {
    /// Once, at that instant.
    pub fn once(at: Timestamp, zone: impl Into<String>) -> Self {
        Self::new(Recurrence::Once, zone, at)
    }

    /// From that instant on, without an end.
    pub fn new(recurrence: Recurrence, zone: impl Into<String>, starts_at: Timestamp) -> Self {
        Self {
            recurrence,
            zone: zone.into(),
            starts_at,
            ends_at: None,
            count: None,
            jitter_seconds: 0,
            missed: MissedPolicy::Once,
        }
    }
}

/// What happens when a schedule is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ScheduleAction {
    /// These words are sent.
    Text {
        /// The words.
        #[schema(min_length = 1, max_length = 4096)]
        text: String,
        /// What says the same while the window is closed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        template: Option<Box<TemplateUse>>,
    },
    /// This template is sent, whether the window is open or not.
    Template {
        /// Which, with what filled in.
        template: Box<TemplateUse>,
        /// What it says, as far as that was known when it was written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// The agent is asked as if the person had written this, and its answer is sent.
    AskAgent {
        /// What is asked.
        #[schema(min_length = 1, max_length = 4096)]
        text: String,
    },
}

impl ScheduleAction {
    /// The name of its kind in the database and in answers.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Template { .. } => "template",
            Self::AskAgent { .. } => "ask_agent",
        }
    }

    /// Its words, as far as they are known.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text, .. } | Self::AskAgent { text } => Some(text),
            Self::Template { text, .. } => text.as_deref(),
        }
    }
}

/// Who made a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleMaker {
    /// The person themselves, in a chat.
    Person,
    /// An operator.
    Operator,
    /// A rule of type `scheduled`.
    Rule,
}

impl ScheduleMaker {
    /// Every maker.
    pub const ALL: [Self; 3] = [Self::Person, Self::Operator, Self::Rule];

    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Operator => "operator",
            Self::Rule => "rule",
        }
    }

    /// The maker of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|maker| maker.as_str() == name)
    }
}

/// Where a schedule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleState {
    /// It waits for its time.
    Active,
    /// It waits until somebody resumes it.
    Paused,
    /// It has happened for the last time.
    Finished,
    /// The person gave it up.
    Cancelled,
}

impl ScheduleState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Active, Self::Paused, Self::Finished, Self::Cancelled];

    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// A schedule that a turn makes for the person of its conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSchedule {
    /// From [`ScheduleId::made_by`]: a turn that is repeated makes the same one.
    pub id: ScheduleId,
    /// In whose name it speaks.
    pub agent_id: AgentId,
    /// When.
    pub timing: Timing,
    /// What.
    pub action: ScheduleAction,
    /// When first: what the calendar of its timing says.
    pub first_due_at: Timestamp,
    /// By which number the person speaks of it.
    pub number: Option<i64>,
}

/// A schedule as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// The operator's own id for it.
    pub name: Option<String>,
    /// By which number its person speaks of it, if they made it in a chat.
    pub number: Option<i64>,
    /// Whom it is for.
    pub contact_id: ContactId,
    /// From which of our numbers.
    pub phone_number_id: String,
    /// In whose name it speaks.
    pub agent_id: AgentId,
    /// Who made it.
    pub maker: ScheduleMaker,
    /// The rule that it belongs to.
    pub rule_id: Option<String>,
    /// When.
    pub timing: Timing,
    /// What.
    pub action: ScheduleAction,
    /// Where it stands.
    pub state: ScheduleState,
    /// When it is due next, its spread by chance left out.
    pub next_due_at: Option<Timestamp>,
    /// When it was last due.
    pub last_due_at: Option<Timestamp>,
    /// What came of that.
    pub last_outcome: Option<ScheduleOutcome>,
    /// How often it has happened.
    pub fired: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A person's own schedules, as a turn sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reminders {
    /// Those with a time to come, the next first; at most [`REMINDERS_PER_CONTACT_MAX`].
    pub waiting: Vec<Schedule>,
    /// Those that happened last, the latest first; at most [`REMINDERS_HAPPENED_MAX`].
    pub happened: Vec<Schedule>,
}

/// What came of a schedule's last time. What becomes of a message after that stands in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ScheduleOutcome {
    /// A message was put into the outbox.
    Queued {
        /// Its conversation.
        #[schema(value_type = Uuid)]
        conversation_id: ConversationId,
        /// The send.
        outbound_id: Uuid,
        /// Occurrences before it that were left out.
        #[serde(default, skip_serializing_if = "is_zero")]
        left_out: i64,
    },
    /// The agent was asked.
    Asked {
        /// Its conversation.
        #[schema(value_type = Uuid)]
        conversation_id: ConversationId,
        /// The question, as a message of that conversation.
        inbound_id: Uuid,
        /// Occurrences before it that were left out.
        #[serde(default, skip_serializing_if = "is_zero")]
        left_out: i64,
    },
    /// Nothing happened.
    Skipped {
        /// A stable word: `missed`, `opted_out`, `blocked`, `unreachable` or `unreadable`.
        reason: String,
        /// What it is and what to do.
        sentence: String,
    },
}

impl ScheduleOutcome {
    /// What an action came to: a message, or a question to the agent.
    pub fn of(action: &ScheduleAction, conversation_id: ConversationId, id: Uuid, left_out: i64) -> Self {
        match action {
            ScheduleAction::Text { .. } | ScheduleAction::Template { .. } => {
                Self::Queued { conversation_id, outbound_id: id, left_out }
            }
            ScheduleAction::AskAgent { .. } => Self::Asked { conversation_id, inbound_id: id, left_out },
        }
    }

    /// Nothing happened.
    pub fn skipped(reason: &str, sentence: &str) -> Self {
        Self::Skipped { reason: reason.to_owned(), sentence: sentence.to_owned() }
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Schedule {
    /// When what is due at `due_at` is looked at: later by up to [`Timing::jitter_seconds`]. The id is the dice, so that whoever
    /// asks gets the same answer.
    pub fn run_at(id: ScheduleId, timing: &Timing, due_at: Timestamp) -> Timestamp {
        let mut hasher = DefaultHasher::new();
        (id.0, due_at.as_microsecond()).hash(&mut hasher);
        let milliseconds = u64::try_from(timing.jitter_seconds.clamp(0, JITTER_SECONDS_MAX)).unwrap_or(0) * 1_000;
        let late = i64::try_from(hasher.finish() % (milliseconds + 1)).unwrap_or(0);
        due_at.checked_add(SignedDuration::from_millis(late)).unwrap_or(due_at)
    }
}

/// What is to happen with a schedule whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// The instants that something is said for, oldest first.
    pub occurrences: Vec<Timestamp>,
    /// How many before them are left out.
    pub left_out: i64,
    /// Why nothing is said, where there are none.
    pub skipped: Option<(String, String)>,
    /// When it is due next; never again where it is absent.
    pub next_due_at: Option<Timestamp>,
}

/// The idempotency key of what a schedule says when it is due: one row for each instant, whatever dies when.
pub fn schedule_key(id: ScheduleId, due_at: Timestamp) -> String {
    format!("schedule:{id}:{due_at}")
}

/// The same for what it says because a person wants it at once, from the key that they gave.
pub fn run_key(id: ScheduleId, run: Uuid) -> String {
    format!("schedule:{id}:run:{run}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn chance_spreads_within_its_bound_and_always_alike() {
        let ids = crate::ids::Ids::seeded(1);
        let due_at = Timestamp::from_second(1_790_000_000).unwrap();
        let timing = Timing { jitter_seconds: 60, ..Timing::once(due_at, "UTC") };
        let late: Vec<i64> = (0..1_000)
            .map(|_| {
                let id = ids.schedule(due_at);
                let run_at = Schedule::run_at(id, &timing, due_at);
                assert_eq!(run_at, Schedule::run_at(id, &timing, due_at));
                run_at.duration_since(due_at).as_millis().try_into().unwrap()
            })
            .collect();
        assert!(late.iter().all(|late| (0..=60_000).contains(late)));
        assert!(late.iter().any(|late| *late < 6_000) && late.iter().any(|late| *late > 54_000), "{late:?}");
        assert_eq!(Schedule::run_at(ids.schedule(due_at), &Timing::once(due_at, "UTC"), due_at), due_at);
    }

    #[test]
    fn what_is_stored_reads_back() {
        for (value, text) in [
            (Recurrence::Once, json!({ "kind": "once" })),
            (Recurrence::Every { minutes: 5 }, json!({ "kind": "every", "minutes": 5 })),
            (Recurrence::Cron { expression: "* * * * *".into() }, json!({ "kind": "cron", "expression": "* * * * *" })),
        ] {
            assert_eq!(serde_json::to_value(&value).unwrap(), text);
            assert_eq!(serde_json::from_value::<Recurrence>(text).unwrap(), value);
        }
        let all = MissedPolicy::All { limit: 3 };
        assert_eq!(serde_json::to_value(all).unwrap(), json!({ "kind": "all", "limit": 3 }));
        assert_eq!(serde_json::from_value::<MissedPolicy>(json!({ "kind": "skip" })).unwrap(), MissedPolicy::Skip);
        for state in ScheduleState::ALL {
            assert_eq!(ScheduleState::parse(state.as_str()), Some(state));
        }
        for maker in ScheduleMaker::ALL {
            assert_eq!(ScheduleMaker::parse(maker.as_str()), Some(maker));
        }
    }
}
