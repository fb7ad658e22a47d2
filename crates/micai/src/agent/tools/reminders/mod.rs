//! Reminders as tools: `set_reminder`, `list_reminders`, `cancel_reminder`, `snooze_reminder`, and `set_time_zone`, without which
//! nobody's nine o'clock is known. A reminder is a schedule that its person made.

mod make;
mod manage;
mod rows;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::answer::Wish;
use super::{Call, ToolError, ToolOutput};
use crate::agent::reminders::{Circumstances, ReminderWords, Request, Speaker, Whereabouts};
use crate::agent::triggers::MatchedOn;
use crate::domain::contact::{Address, AddressKind};
use crate::domain::outbound::MessageBody;
use crate::domain::person::PersonFacts;
use crate::domain::question::Question;
use crate::domain::schedule::{Reminders, Schedule, ScheduleMaker, ScheduleState};
use crate::domain::tool::ToolName;
use crate::domain::turn::Effect;
pub(super) use make::set;
pub(super) use manage::{cancel, list, set_time_zone, snooze};
pub(super) use rows::definition;

/// Characters of a sentence that is read for a reminder.
const SENTENCE_CHARACTERS_MAX: usize = 1_000;
/// Characters of the name of a place.
const PLACE_CHARACTERS_MAX: usize = 100;
/// Words of an answer to "where are you?"; more are no place.
const PLACE_WORDS_MAX: usize = 4;
/// How long after it came a reminder can be put off, and its number is not given to another.
const RECENT_HOURS: i64 = 24;

/// What the tools need beside a call.
pub struct ReminderTools {
    /// How people speak of reminders.
    pub words: ReminderWords,
    /// WhatsApp's window.
    pub window_seconds: i64,
    /// The installation has a template for what is due outside the window.
    pub has_fallback_template: bool,
    /// What messages to the agent begin with, where they have to: "michael: ".
    pub prefix: String,
}

/// The call that words ask for, if they are about reminders.
pub(in crate::agent) fn of_words(tools: &super::Tools, said: &str, is_addressed: bool, now: Timestamp) -> Option<Wish> {
    if said.chars().count() > SENTENCE_CHARACTERS_MAX {
        return None;
    }
    let about = Circumstances { now, zone: None, is_addressed };
    let words = &tools.reminders.words;
    let understood = words.understand(said, about)?;
    let answered = |arguments: Value| answered_in(arguments, words.code(understood.language));
    let (tool, arguments) = match understood.request {
        Request::Set { .. } | Request::NeedsZone | Request::AskBack { .. } => {
            (ToolName::SetReminder, json!({ "sentence": said }))
        }
        Request::List => (ToolName::ListReminders, answered(json!({}))),
        Request::Cancel(numbers) => (ToolName::CancelReminder, answered(json!({ "numbers": numbers }))),
        Request::CancelAll => (ToolName::CancelReminder, answered(json!({ "all": true }))),
        Request::CancelLast => (ToolName::CancelReminder, answered(json!({}))),
        Request::CancelText(text) => {
            let text: String = text.chars().take(PLACE_CHARACTERS_MAX).collect();
            (ToolName::CancelReminder, answered(json!({ "text": text })))
        }
        Request::Snooze(_) => (ToolName::SnoozeReminder, json!({ "sentence": said })),
        Request::Zone(zone) => (ToolName::SetTimeZone, answered(json!({ "place": zone }))),
        Request::ZoneAsked => (ToolName::SetTimeZone, answered(json!({}))),
    };
    Some(Wish { tool, arguments })
}

/// The call for a control word that asks for the reminders, in the language of that code.
pub(in crate::agent) fn of_control(language: &str) -> Wish {
    Wish { tool: ToolName::ListReminders, arguments: answered_in(json!({}), Some(language)) }
}

/// Arguments without words of the person's own: in which language they are answered.
fn answered_in(mut arguments: Value, language: Option<&str>) -> Value {
    if let Some(code) = language {
        arguments["language"] = code.into();
    }
    arguments
}

/// The call for words that a rule takes to be about reminders, and whether they say nothing beside what the rule matched. `said` is
/// the end of `text` behind the invoke prefix. What makes no sense as a whole is read without the words that matched.
pub(in crate::agent) fn of_rule(
    tools: &super::Tools,
    text: &str,
    said: &str,
    matched: &MatchedOn,
    now: Timestamp,
) -> (Wish, bool) {
    let rest = beside(text, said, matched);
    let understood = of_words(tools, said, true, now).or_else(|| of_words(tools, rest, true, now));
    if let Some(wish) = understood {
        return (wish, false);
    }
    let about = Circumstances { now, zone: None, is_addressed: true };
    let sentence = tools.reminders.words.asking_for(rest, about);
    let sentence: String = sentence.chars().take(SENTENCE_CHARACTERS_MAX).collect();
    (Wish { tool: ToolName::SetReminder, arguments: json!({ "sentence": sentence }) }, !says_something(rest))
}

/// What stands behind the words that a rule matched; where nothing does, what stands before them.
fn beside<'a>(text: &'a str, said: &'a str, matched: &MatchedOn) -> &'a str {
    let Some((start, end)) = ReminderWords::find(text, matched.text()) else { return said };
    let begins = text.trim_end().len().saturating_sub(said.len());
    let behind = text.get(end.max(begins)..).unwrap_or_default().trim();
    let before = text.get(begins..start.max(begins)).unwrap_or_default().trim();
    match (says_something(before), says_something(behind)) {
        (_, true) => behind,
        (true, false) => before,
        // An expression may match all of it.
        (false, false) if matches!(matched, MatchedOn::Regex { .. }) => said,
        (false, false) => "",
    }
}

/// Whether there is more than marks.
fn says_something(text: &str) -> bool {
    text.chars().any(|letter| letter.is_alphanumeric() || !letter.is_ascii())
}

/// The call that an answer to a question about reminders leads to; nothing if it is no answer.
pub(in crate::agent) fn of_answer(
    tools: &super::Tools,
    question: &Question,
    said: &str,
    now: Timestamp,
) -> Option<Wish> {
    let words = &tools.reminders.words;
    if said.chars().count() > SENTENCE_CHARACTERS_MAX {
        return None;
    }
    match question {
        Question::ReminderTime { sentence } => {
            let about = Circumstances { now, zone: None, is_addressed: true };
            words.complete(sentence, said, about)?;
            let arguments = json!({ "sentence": sentence, "answer": said });
            Some(Wish { tool: ToolName::SetReminder, arguments })
        }
        Question::ReminderZone { sentence, answer } => {
            let is_place = said.split_whitespace().count() <= PLACE_WORDS_MAX
                && (1..=PLACE_CHARACTERS_MAX).contains(&said.chars().count());
            if !is_place && words.whereabouts(said) == Whereabouts::Unknown {
                return None;
            }
            let place: String = said.chars().take(PLACE_CHARACTERS_MAX).collect();
            if sentence.is_empty() {
                return Some(Wish { tool: ToolName::SetTimeZone, arguments: json!({ "place": place }) });
            }
            let mut arguments = json!({ "sentence": sentence, "place": place });
            if let Some(answer) = answer {
                arguments["answer"] = answer.as_str().into();
            }
            Some(Wish { tool: ToolName::SetReminder, arguments })
        }
        _ => None,
    }
}

/// Whether a question is about reminders, so that its answer needs those that there are.
pub(in crate::agent) fn is_about(question: &Question) -> bool {
    matches!(question, Question::ReminderTime { .. } | Question::ReminderZone { .. })
}

/// What the effects of a call make of what is known: the next message of the same turn sees it.
pub(in crate::agent) fn foresee(facts: &mut PersonFacts, effects: &[Effect], now: Timestamp) {
    for effect in effects {
        match effect {
            Effect::SetZone { zone } => facts.zone = Some(zone.clone()),
            Effect::CreateSchedule(new) => {
                let schedule = Schedule {
                    id: new.id,
                    name: None,
                    number: new.number,
                    contact_id: facts.contact_id,
                    phone_number_id: String::new(),
                    agent_id: new.agent_id.clone(),
                    maker: ScheduleMaker::Person,
                    rule_id: None,
                    timing: new.timing.clone(),
                    action: new.action.clone(),
                    state: ScheduleState::Active,
                    next_due_at: Some(new.first_due_at),
                    last_due_at: None,
                    last_outcome: None,
                    fired: 0,
                    created_at: now,
                    updated_at: now,
                };
                let reminders = facts.reminders.get_or_insert_default();
                reminders.waiting.push(schedule);
                reminders.waiting.sort_by_key(|one| one.next_due_at);
            }
            Effect::CancelSchedule { schedule_id } => {
                let reminders = facts.reminders.get_or_insert_default();
                reminders.waiting.retain(|one| one.id != *schedule_id);
                reminders.happened.retain(|one| one.id != *schedule_id);
            }
            Effect::SnoozeSchedule { schedule_id, until } => {
                let reminders = facts.reminders.get_or_insert_default();
                if let Some(put_off) = reminders.happened.iter().find(|one| one.id == *schedule_id).cloned() {
                    reminders.waiting.retain(|one| one.id != *schedule_id);
                    reminders.waiting.push(Schedule { next_due_at: Some(*until), ..put_off });
                    reminders.waiting.sort_by_key(|one| one.next_due_at);
                }
            }
            _ => {}
        }
    }
}

/// What a call knows and says.
struct Scene<'a> {
    call: &'a Call<'a>,
    tools: &'a ReminderTools,
    /// Where the person lives, as far as that is known.
    zone: Option<String>,
    speaker: Speaker<'a>,
}

impl<'a> Scene<'a> {
    fn of(call: &'a Call<'a>, arguments: &Value) -> Result<Self, ToolError> {
        let tools = &call.tools.reminders;
        let about = Circumstances { now: call.now, zone: None, is_addressed: true };
        let said = arguments["sentence"].as_str().and_then(|sentence| tools.words.understand(sentence, about));
        let named = arguments["language"].as_str().map(|code| tools.words.language(code));
        let language = said.map(|understood| understood.language).or(named).unwrap_or_default();
        let speaker = tools.words.speaker(language, &tools.prefix);
        let speaker = speaker.ok_or_else(|| ToolError::Failed("no language is compiled in".to_owned()))?;
        let facts = call.facts;
        let phone = facts.and_then(|facts| facts.phone.as_ref());
        let phone = phone.map(|value| Address { kind: AddressKind::Phone, value: value.clone() });
        let of_country = [Some(&call.message.reply_to), phone.as_ref()];
        let of_country = of_country.into_iter().flatten().find_map(|address| tools.words.zone_of(address));
        let zone = facts.and_then(|facts| facts.zone.clone()).or_else(|| of_country.map(str::to_owned));
        Ok(Self { call, tools, zone, speaker })
    }

    fn about(&self) -> Circumstances<'_> {
        Circumstances { now: self.call.now, zone: self.zone.as_deref(), is_addressed: true }
    }

    /// The zone that times are shown in.
    fn shown_zone(&self) -> &str {
        self.zone.as_deref().unwrap_or("UTC")
    }

    fn waiting(&self) -> &'a [Schedule] {
        self.reminders().map_or(&[], |reminders| reminders.waiting.as_slice())
    }

    /// The reminder that came last, if that was lately.
    fn last_that_came(&self) -> Option<&'a Schedule> {
        self.lately().next()
    }

    fn lately(&self) -> impl Iterator<Item = &'a Schedule> {
        let since = self.call.now - SignedDuration::from_hours(RECENT_HOURS);
        let happened = self.reminders().map_or(&[][..], |reminders| reminders.happened.as_slice());
        happened.iter().filter(move |one| one.last_due_at.is_some_and(|at| at >= since))
    }

    fn reminders(&self) -> Option<&'a Reminders> {
        self.call.facts.and_then(|facts| facts.reminders.as_ref())
    }

    /// What a reminder is about.
    fn text_of(&self, schedule: &'a Schedule) -> &'a str {
        schedule.action.text().map_or("", |said| self.tools.words.text_of(said))
    }
}

fn saying(text: String, data: Value) -> ToolOutput {
    ToolOutput { data, reply: Some(MessageBody::Text { text }), ..ToolOutput::default() }
}
