//! What operators write about a schedule: its timing and what it says, read into the domain's words.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::super::error::Problem;
use super::super::state::HttpState;
use super::bounds::{Faults, instant};
use super::template_use::{check_template_use, fitting_message};
use crate::domain::agent::{AGENT_ID_CHARACTERS_MAX, AgentId, DEFAULT_AGENT_ID};
use crate::domain::contact::Person;
use crate::domain::outbound::{MessageBody, TEXT_CHARACTERS_MAX};
use crate::domain::schedule::{
    MISSED_OCCURRENCES_MAX, MissedPolicy, Recurrence, SCHEDULE_NAME_CHARACTERS_MAX, Schedule, ScheduleAction,
    ScheduleState, Timing,
};
use crate::domain::template::{TEMPLATE_NAME_CHARACTERS_MAX, TemplateUse, TextValue};
use crate::ingest::person_named;
use crate::scheduler::recurrence::{self, Calendar};
use crate::store::SaveSchedule;

/// Whose clock where nothing is said.
const ZONE_DEFAULT: &str = "UTC";

/// A schedule: to whom, what and when. `interval_minutes`, `cron` or `rrule` make it recur; without one of them it happens once.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SaveScheduleBody {
    /// The operator's own id for it, a text or a whole number. An existing schedule of this id is replaced.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 128, example = "weekly-check-in")]
    id: Option<OwnId>,
    /// Whom it is for: a phone number or a user id. They need not have written before.
    #[schema(example = "15551234567")]
    wa_id: String,
    /// In whose name it speaks; made if it is not there. `default-agent` unless told otherwise.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128, example = "default-agent")]
    agent_id: Option<String>,
    /// The words that are sent, or what the agent is asked.
    #[serde(default)]
    #[schema(max_length = 4096, example = "Time to stretch.")]
    message_text: Option<String>,
    /// The template that says the same while the window is closed, or the message itself where there is no `message_text`. In the
    /// installation's language; where it has one place to fill in, the words go there.
    #[serde(default)]
    #[schema(max_length = 512)]
    template_name: Option<String>,
    /// The same with all that is filled in; in place of `template_name`.
    #[serde(default)]
    template: Option<TemplateUse>,
    /// Whether the agent is asked `message_text` and its answer is sent.
    #[serde(default)]
    #[schema(default = false)]
    ask_agent: bool,
    /// Every so many minutes from `next_run_at` on.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 527_040)]
    interval_minutes: Option<i64>,
    /// At the times that a cron expression of five fields names.
    #[serde(default)]
    #[schema(max_length = 200, example = "0 9 * * MON-FRI")]
    cron: Option<String>,
    /// At the times that a rule of RFC 5545 names, counted from `next_run_at`.
    #[serde(default)]
    #[schema(max_length = 500)]
    rrule: Option<String>,
    /// When it happens, or begins to. Needed where it happens once; else now. Without an offset it is a time on the clock of
    /// `zone`.
    #[serde(default, deserialize_with = "moment")]
    #[schema(value_type = Option<String>, format = DateTime)]
    next_run_at: Option<Moment>,
    /// Whose clock on the wall: an IANA name; `UTC` unless told otherwise.
    #[serde(default)]
    #[schema(max_length = 64, example = "Europe/Berlin")]
    zone: Option<String>,
    /// Not after then.
    #[serde(default, deserialize_with = "instant")]
    ends_at: Option<Timestamp>,
    /// At most so often.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 100_000)]
    count: Option<i64>,
    /// Late by up to so many seconds, by chance.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 3_600)]
    jitter_seconds: Option<i64>,
    /// What becomes of what was missed: `once` unless told otherwise.
    #[serde(default)]
    missed: Option<MissedWord>,
    /// `all` only: how many are made up for at most; 24 unless told otherwise.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 24)]
    missed_limit: Option<i64>,
    /// Whether it waits for its time; else it is paused.
    #[serde(default = "enabled")]
    #[schema(default = true)]
    enabled: bool,
}

/// When a rule of type `scheduled` speaks, and to whom. What it says is the rule's `reply_text`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSchedule {
    /// Whom it is for: a phone number or a user id.
    #[schema(example = "15551234567")]
    wa_id: String,
    /// Every so many minutes from `next_run_at` on.
    #[serde(default)]
    interval_minutes: Option<i64>,
    /// At the times that a cron expression of five fields names.
    #[serde(default)]
    cron: Option<String>,
    /// At the times that a rule of RFC 5545 names.
    #[serde(default)]
    rrule: Option<String>,
    /// When it happens, or begins to. Without an offset it is a time on the clock of `zone`.
    #[serde(default, deserialize_with = "moment")]
    #[schema(value_type = Option<String>, format = DateTime)]
    next_run_at: Option<Moment>,
    /// Whose clock on the wall: an IANA name.
    #[serde(default)]
    zone: Option<String>,
}

/// When a schedule begins, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    At(Timestamp),
    /// On the clock of the schedule's zone: rows of older clients carry no offset.
    Local(DateTime),
}

impl Moment {
    /// A time that does not exist there moves forward; of one that occurs twice it is the first. Where there is no such zone,
    /// which is told elsewhere, UTC stands in.
    fn instant(self, zone: &str) -> Timestamp {
        match self {
            Self::At(instant) => instant,
            Self::Local(time) => {
                let zone = recurrence::zone(zone).unwrap_or(TimeZone::UTC);
                time.to_zoned(zone).map_or(Timestamp::MAX, |zoned| zoned.timestamp())
            }
        }
    }
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Moment>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let told = || {
        D::Error::custom(
            "it is no time; write it as 2026-11-24T13:00:00Z, or as 2026-11-24T13:00:00 on the clock of `zone`",
        )
    };
    let local = || text.parse().map(Moment::Local);
    text.parse().map(Moment::At).or_else(|_| local()).map(Some).map_err(|_: jiff::Error| told())
}

/// What becomes of what was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissedWord {
    /// It is left out.
    Skip,
    /// The latest is made up for.
    Once,
    /// The latest `missed_limit` are made up for, one by one.
    All,
}

/// The operator's own id: existing clients have numbers.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum OwnId {
    Text(String),
    Number(i64),
}

/// A schedule that can be saved, with its calendar.
pub struct Checked {
    pub new: SaveSchedule,
    calendar: Calendar,
}

impl Checked {
    /// When it is due next, from how it stood before.
    pub fn due(&self, before: Option<&Schedule>, now: Timestamp) -> Option<Timestamp> {
        match before {
            // What came due while it was paused is left out.
            Some(before) if before.timing == self.new.timing => match before.state {
                ScheduleState::Paused if self.new.enabled => self.calendar.next_after(now),
                _ => before.next_due_at,
            },
            // It has begun: nothing of the past happens anew because its timing changes.
            Some(before) if before.last_due_at.is_some() && self.new.timing.recurrence != Recurrence::Once => {
                self.calendar.next_after(now)
            }
            _ => self.calendar.first(now),
        }
    }
}

impl SaveScheduleBody {
    /// # Errors
    /// One problem with all that is wrong.
    pub async fn checked(self, state: &HttpState) -> Result<Checked, Problem> {
        let now = state.clock.now();
        let mut faults = Faults::default();
        let name = self.id.map(|id| match id {
            OwnId::Text(text) => text,
            OwnId::Number(number) => number.to_string(),
        });
        if let Some(name) = &name {
            faults.check_id("id", name, SCHEDULE_NAME_CHARACTERS_MAX);
        }
        let agent_id = self.agent_id.unwrap_or_else(|| DEFAULT_AGENT_ID.to_owned());
        faults.check_id("agent_id", &agent_id, AGENT_ID_CHARACTERS_MAX);
        let person = person(&mut faults, "wa_id", &self.wa_id);
        let recurrence = recurrence(&mut faults, self.interval_minutes, self.cron, self.rrule);
        if recurrence == Recurrence::Once && self.next_run_at.is_none() {
            faults.add("next_run_at", "is missing: say when it happens, or how it recurs");
        }
        let zone = self.zone.unwrap_or_else(|| ZONE_DEFAULT.to_owned());
        let starts_at = self.next_run_at.map_or(now, |moment| moment.instant(&zone));
        let timing = Timing {
            starts_at: crate::clock::whole_microseconds(starts_at),
            ends_at: self.ends_at.map(crate::clock::whole_microseconds),
            count: self.count,
            jitter_seconds: self.jitter_seconds.unwrap_or(0),
            missed: missed(&mut faults, self.missed, self.missed_limit),
            ..Timing::new(recurrence, zone, now)
        };
        let calendar = calendar(&mut faults, "", &timing, now);
        let words = Words {
            text: self.message_text.filter(|text| !text.trim().is_empty()),
            template_name: self.template_name.filter(|name| !name.is_empty()),
            template: self.template,
            ask_agent: self.ask_agent,
        };
        words.check(&mut faults);
        // What does not keep its bounds is not looked up.
        std::mem::take(&mut faults).into_result("schedule_invalid")?;
        let action = words.action(state, &mut faults).await?;
        faults.into_result("schedule_invalid")?;
        let (Some(action), Some(calendar), Some(person)) = (action, calendar, person) else {
            return Err(Problem::internal("a schedule that cannot be saved passed the check"));
        };
        let new = SaveSchedule {
            name,
            person,
            phone_number_id: state.default_phone_number_id.clone(),
            agent_id: AgentId(agent_id),
            rule_id: None,
            timing,
            action,
            enabled: self.enabled,
        };
        Ok(Checked { new, calendar })
    }
}

impl RuleSchedule {
    /// The schedule of a rule, whose words and standing are given.
    ///
    /// # Errors
    /// One problem with all that is wrong.
    pub(super) fn checked(
        self,
        state: &HttpState,
        rule_id: &str,
        agent_id: &AgentId,
        action: ScheduleAction,
        enabled: bool,
    ) -> Result<Checked, Problem> {
        let now = state.clock.now();
        let mut faults = Faults::default();
        let person = person(&mut faults, "schedule.wa_id", &self.wa_id);
        let recurrence = recurrence(&mut faults, self.interval_minutes, self.cron, self.rrule);
        if recurrence == Recurrence::Once && self.next_run_at.is_none() {
            faults.add("schedule.next_run_at", "is missing: say when it happens, or how it recurs");
        }
        let zone = self.zone.unwrap_or_else(|| ZONE_DEFAULT.to_owned());
        let starts_at = self.next_run_at.map_or(now, |moment| moment.instant(&zone));
        let timing = Timing::new(recurrence, zone, crate::clock::whole_microseconds(starts_at));
        let calendar = calendar(&mut faults, "schedule.", &timing, now);
        if action.text().is_none_or(|text| text.trim().is_empty()) {
            faults.add("reply_text", "is empty; it is what the schedule says");
        }
        faults.into_result("rule_schedule_invalid")?;
        let (Some(calendar), Some(person)) = (calendar, person) else {
            return Err(Problem::internal("a schedule that cannot be saved passed the check"));
        };
        let new = SaveSchedule {
            name: None,
            person,
            phone_number_id: state.default_phone_number_id.clone(),
            agent_id: agent_id.clone(),
            rule_id: Some(rule_id.to_owned()),
            timing,
            action,
            enabled,
        };
        Ok(Checked { new, calendar })
    }
}

fn person(faults: &mut Faults, field: &str, wa_id: &str) -> Option<Person> {
    let person = person_named(wa_id);
    if person.is_none() {
        faults.add(
            field,
            "is neither a phone number (5 to 20 digits, `+` allowed in front) nor a user id (`CC.…` or `CC.ENT.…`)",
        );
    }
    person
}

fn recurrence(
    faults: &mut Faults,
    interval_minutes: Option<i64>,
    cron: Option<String>,
    rrule: Option<String>,
) -> Recurrence {
    let given = [interval_minutes.is_some(), cron.is_some(), rrule.is_some()];
    if given.iter().filter(|is_given| **is_given).count() > 1 {
        faults.add(
            "interval_minutes",
            "stands beside another recurrence; give one of `interval_minutes`, `cron`, `rrule`",
        );
    }
    match (interval_minutes, cron, rrule) {
        (Some(minutes), _, _) => Recurrence::Every { minutes },
        (None, Some(expression), _) => Recurrence::Cron { expression },
        (None, None, Some(rule)) => Recurrence::Rrule { rule },
        (None, None, None) => Recurrence::Once,
    }
}

fn missed(faults: &mut Faults, word: Option<MissedWord>, limit: Option<i64>) -> MissedPolicy {
    if limit.is_some() && word != Some(MissedWord::All) {
        faults.add("missed_limit", "goes with `missed` all only; leave it out");
    }
    match word {
        None | Some(MissedWord::Once) => MissedPolicy::Once,
        Some(MissedWord::Skip) => MissedPolicy::Skip,
        Some(MissedWord::All) => MissedPolicy::All { limit: limit.unwrap_or(MISSED_OCCURRENCES_MAX) },
    }
}

fn calendar(faults: &mut Faults, prefix: &str, timing: &Timing, now: Timestamp) -> Option<Calendar> {
    match Calendar::new(timing) {
        Ok(calendar) => {
            if calendar.first(now).is_none() {
                faults.add(format!("{prefix}next_run_at"), "leaves no time at which it would happen");
            }
            Some(calendar)
        }
        Err(wrong) => {
            let field =
                |field: &str| if field == "missed.limit" { "missed_limit".to_owned() } else { field.to_owned() };
            wrong.into_iter().for_each(|fault| faults.add(format!("{prefix}{}", field(fault.field)), fault.sentence));
            None
        }
    }
}

/// What a schedule says, as it was written.
struct Words {
    text: Option<String>,
    template_name: Option<String>,
    template: Option<TemplateUse>,
    ask_agent: bool,
}

impl Words {
    fn check(&self, faults: &mut Faults) {
        let has_template = self.template.is_some() || self.template_name.is_some();
        match &self.text {
            Some(text) => faults.check_text("message_text", text, TEXT_CHARACTERS_MAX),
            None if self.ask_agent => faults.add("message_text", "is missing: say what the agent is asked"),
            None if !has_template => faults.add("message_text", "is missing, and so is a template: say what to send"),
            None => {}
        }
        if self.ask_agent && has_template {
            faults.add("template", "does not go with `ask_agent`: the agent's own fallback template is used");
        }
        if self.template.is_some() && self.template_name.is_some() {
            faults.add("template_name", "stands beside `template`; give one of the two");
        }
        if let Some(name) = &self.template_name {
            faults.check_id("template_name", name, TEMPLATE_NAME_CHARACTERS_MAX);
        }
        if let Some(template) = &self.template {
            check_template_use(faults, "template", template);
        }
    }

    async fn action(self, state: &HttpState, faults: &mut Faults) -> Result<Option<ScheduleAction>, Problem> {
        if let (true, Some(text)) = (self.ask_agent, &self.text) {
            return Ok(Some(ScheduleAction::AskAgent { text: text.clone() }));
        }
        let template = match (self.template, self.template_name) {
            (Some(template), _) => fitting_message(state, faults, template).await?,
            (None, Some(name)) => by_name(state, faults, &name, self.text.as_deref()).await?,
            (None, None) => None,
        };
        Ok(match (self.text, template) {
            (Some(text), Some(MessageBody::Template { template, .. })) => {
                Some(ScheduleAction::Text { text, template: Some(template) })
            }
            (Some(text), _) => Some(ScheduleAction::Text { text, template: None }),
            (None, Some(MessageBody::Template { template, text })) => Some(ScheduleAction::Template { template, text }),
            (None, _) => None,
        })
    }
}

/// A template that is named alone: as it is, or with the words in its one place.
async fn by_name(
    state: &HttpState,
    faults: &mut Faults,
    name: &str,
    text: Option<&str>,
) -> Result<Option<MessageBody>, Problem> {
    let plain = TemplateUse::plain(name, &state.plan_rules.template_language);
    let mut wrong = Faults::default();
    if let Some(message) = fitting_message(state, &mut wrong, plain.clone()).await? {
        return Ok(Some(message));
    }
    let Some(text) = text else {
        *faults = wrong;
        return Ok(None);
    };
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let filled = TemplateUse { body: vec![TextValue::numbered(words)], ..plain };
    let message = fitting_message(state, &mut Faults::default(), filled).await?;
    if message.is_none() {
        *faults = wrong;
    }
    Ok(message)
}

fn enabled() -> bool {
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_time_without_an_offset_is_one_on_the_clock_of_the_zone() {
        let read = |text: &str| moment(serde_json::json!(text)).map(|read| read.unwrap());
        for (text, zone, expected) in [
            ("2026-11-24T13:00:00Z", "Europe/Berlin", "2026-11-24T13:00:00Z"),
            ("2026-11-24T13:00:00+01:00", "UTC", "2026-11-24T12:00:00Z"),
            ("2026-11-24T13:00:00", "UTC", "2026-11-24T13:00:00Z"),
            ("2026-11-24 13:00:00.25", "UTC", "2026-11-24T13:00:00.25Z"),
            ("2026-11-24T13:00:00", "Europe/Berlin", "2026-11-24T12:00:00Z"),
            // Skipped and repeated hours of Berlin.
            ("2026-03-29T02:30:00", "Europe/Berlin", "2026-03-29T01:30:00Z"),
            ("2026-10-25T02:30:00", "Europe/Berlin", "2026-10-25T00:30:00Z"),
        ] {
            let expected: Timestamp = expected.parse().unwrap();
            assert_eq!(read(text).unwrap().instant(zone), expected, "{text} in {zone}");
        }
        assert!(read("soon").unwrap_err().to_string().contains("on the clock of `zone`"));
    }
}
