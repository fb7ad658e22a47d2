//! `set_reminder`: from a sentence, or from what a model took out of one, to a schedule.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::{Call, ToolError, ToolOutput};
use super::{SENTENCE_CHARACTERS_MAX, Scene, saying};
use crate::agent::reminders::{
    AHEAD_DAYS_MAX, Again, AskReason, Happening, OutsideWindow, REMINDER_CHARACTERS_MAX, REPEAT_MINUTES_MIN, Request,
    Rhythm, Whereabouts,
};
use crate::domain::question::Question;
use crate::domain::schedule::{NewSchedule, REMINDERS_PER_CONTACT_MAX, Recurrence, ScheduleAction, Timing};
use crate::domain::turn::Effect;
use crate::ids::ScheduleId;
use crate::scheduler::recurrence::Calendar;

/// Occurrences of a model's rule that are looked at for being too close together.
const OCCURRENCES_CHECKED: usize = 20;
/// A reminder that is due so shortly before the window closes is told to be outside of it: it may go out later than it is due.
const REMINDER_NOTE_MARGIN_SECONDS: i64 = 300;

/// Runs the tool; the arguments fit its schema.
pub(in crate::agent::tools) fn set(call: &Call<'_>, arguments: &Value) -> Result<ToolOutput, ToolError> {
    let mut scene = Scene::of(call, arguments)?;
    if scene.waiting().len() >= REMINDERS_PER_CONTACT_MAX {
        let said = scene.speaker.too_many(REMINDERS_PER_CONTACT_MAX);
        return Ok(saying(said, json!({ "refused": "too_many", "most": REMINDERS_PER_CONTACT_MAX })));
    }
    let Some(sentence) = arguments["sentence"].as_str() else { return by_parts(&scene, arguments) };
    let answer = arguments["answer"].as_str();
    let mut effects = Vec::new();
    if let Some(place) = arguments["place"].as_str() {
        match scene.tools.words.whereabouts(place) {
            Whereabouts::Zone(zone) => {
                effects.push(Effect::SetZone { zone: zone.clone() });
                scene.zone = Some(zone);
            }
            unclear => {
                let question = zone_question(sentence, answer);
                let why = unclear_place(&unclear);
                let said = scene.speaker.ask(why, None);
                return Ok(ToolOutput { question: Some(question), ..saying(said, json!({ "unclear": why.name() })) });
            }
        }
    }
    let understood = match answer {
        Some(answer) => scene.tools.words.complete(sentence, answer, scene.about()),
        None => scene.tools.words.understand(sentence, scene.about()),
    };
    let Some(understood) = understood else {
        return Err(ToolError::BadArguments("the sentence does not speak of a reminder".to_owned()));
    };
    if let Some(speaker) = scene.tools.words.speaker(understood.language, &scene.tools.prefix) {
        scene.speaker = speaker;
    }
    let mut output = match understood.request {
        Request::Set { text, happening, zone_is_unknown } => {
            let mut output = made(&scene, &text, &happening)?;
            if zone_is_unknown && let Some(reply) = output.reply.take() {
                output.reply = Some(reply.appended(&scene.speaker.local_time_unknown()));
            }
            output
        }
        Request::NeedsZone => ToolOutput {
            question: Some(zone_question(sentence, answer)),
            ..saying(scene.speaker.zone_which(), json!({ "missing": "time_zone" }))
        },
        Request::AskBack { why, text } => {
            let is_open = !matches!(
                why,
                AskReason::Never | AskReason::OtherPerson | AskReason::ZoneUnknown | AskReason::ZoneUnclear
            );
            let question = is_open.then(|| Question::ReminderTime { sentence: so_far(&scene, sentence, answer, why) });
            let said = scene.speaker.ask(why, text.as_deref());
            ToolOutput { question, ..saying(said, json!({ "unclear": why.name() })) }
        }
        _ => return Err(ToolError::BadArguments("the sentence asks for something else".to_owned())),
    };
    output.effects.splice(0..0, effects);
    Ok(output)
}

/// What was said so far, for the next answer to go on from: with the last answer where both together leave the same open.
fn so_far(scene: &Scene<'_>, sentence: &str, answer: Option<&str>, left_open: AskReason) -> String {
    let both = answer.map(|answer| format!("{sentence} {answer}")).filter(|both| {
        let request = scene.tools.words.understand(both, scene.about()).map(|understood| understood.request);
        matches!(request, Some(Request::AskBack { why, .. }) if why == left_open)
            && both.chars().count() <= SENTENCE_CHARACTERS_MAX
    });
    both.unwrap_or_else(|| sentence.to_owned())
}

pub(super) fn unclear_place(place: &Whereabouts) -> AskReason {
    match place {
        Whereabouts::Unclear => AskReason::ZoneUnclear,
        Whereabouts::Zone(_) | Whereabouts::Unknown => AskReason::ZoneUnknown,
    }
}

fn zone_question(sentence: &str, answer: Option<&str>) -> Question {
    Question::ReminderZone { sentence: sentence.to_owned(), answer: answer.map(str::to_owned) }
}

/// From `text`, and `when` or `recurrence`, as models give them.
fn by_parts(scene: &Scene<'_>, arguments: &Value) -> Result<ToolOutput, ToolError> {
    let wrong = |sentence: &str| ToolError::BadArguments(sentence.to_owned());
    let text = arguments["text"].as_str().map(str::trim).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| wrong("give text with when or recurrence, or a sentence that says both"))?;
    let named = match arguments["zone"].as_str() {
        Some(place) => match scene.tools.words.whereabouts(place) {
            Whereabouts::Zone(zone) => Some(zone),
            unclear => {
                let why = unclear_place(&unclear);
                return Ok(saying(scene.speaker.ask(why, None), json!({ "unclear": why.name() })));
            }
        },
        None => scene.zone.clone(),
    };
    let when = arguments["when"].as_str();
    let absolute = when.and_then(|when| when.trim().parse::<Timestamp>().ok());
    let Some(zone) = named.or_else(|| absolute.map(|_| "UTC".to_owned())) else {
        let said = scene.speaker.zone_which();
        let question = Question::ReminderZone { sentence: String::new(), answer: None };
        return Ok(ToolOutput { question: Some(question), ..saying(said, json!({ "missing": "time_zone" })) });
    };
    let start = match (absolute, when) {
        (Some(at), _) => Some(Ok(at)),
        (None, Some(when)) => Some(local_instant(when, &zone).ok_or(when)),
        (None, None) => None,
    };
    let happening = match (arguments["recurrence"].as_str(), start) {
        (None, None) => return Err(wrong("give when, recurrence, or both")),
        (None, Some(Ok(at))) => Happening { again: Again::Never, first: at, ends_at: None, count: None, zone },
        (None, Some(Err(words))) => {
            let about = crate::agent::reminders::Circumstances { zone: Some(&zone), ..scene.about() };
            match scene.tools.words.when(words, about) {
                Ok(happening) => happening,
                Err(why) => {
                    let said = scene.speaker.ask(why, Some(text));
                    return Ok(saying(said, json!({ "unclear": why.name() })));
                }
            }
        }
        (Some(_), Some(Err(_))) => return Err(wrong("with a recurrence, when is its start, as 2026-11-25T09:00")),
        (Some(rule), start) => {
            // The start lends its time of the day to a rule that names none: whole minutes.
            let present = scene.call.now;
            let minute = present - SignedDuration::from_secs(present.as_second().rem_euclid(60));
            let start = start.and_then(Result::ok).unwrap_or(minute);
            return by_rule(scene, text, rule, start, &zone);
        }
    };
    let ahead = happening.first.duration_since(scene.call.now);
    let why = match ahead {
        _ if ahead <= SignedDuration::ZERO => AskReason::Past,
        _ if ahead > SignedDuration::from_hours(24 * AHEAD_DAYS_MAX) => AskReason::TooFar,
        _ => return made(scene, text, &happening),
    };
    Ok(saying(scene.speaker.ask(why, Some(text)), json!({ "unclear": why.name() })))
}

/// `2026-11-25T09:00`, on the wall of a zone. What clock changes leave out or repeat is as everywhere else.
fn local_instant(when: &str, zone: &str) -> Option<Timestamp> {
    let local: DateTime = when.trim().parse().ok()?;
    crate::agent::reminders::instant(local, &TimeZone::get(zone).ok()?)
}

fn by_rule(scene: &Scene<'_>, text: &str, rule: &str, start: Timestamp, zone: &str) -> Result<ToolOutput, ToolError> {
    let rule = rule.trim().trim_start_matches("RRULE:");
    let timing = Timing::new(Recurrence::Rrule { rule: rule.to_owned() }, zone, start);
    let calendar = Calendar::new(&timing).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        ToolError::BadArguments(faults.join("; "))
    })?;
    let times = calendar.preview(scene.call.now, OCCURRENCES_CHECKED);
    let is_often = |pair: &[Timestamp]| match pair {
        [before, after] => after.duration_since(*before) < SignedDuration::from_mins(REPEAT_MINUTES_MIN),
        _ => false,
    };
    let why = match times.first() {
        None => AskReason::Past,
        Some(_) if times.windows(2).any(is_often) => AskReason::TooOften,
        Some(first) => return finished(scene, text, timing, *first),
    };
    Ok(saying(scene.speaker.ask(why, Some(text)), json!({ "unclear": why.name() })))
}

fn made(scene: &Scene<'_>, text: &str, happening: &Happening) -> Result<ToolOutput, ToolError> {
    let recurrence = match &happening.again {
        Again::Never => Recurrence::Once,
        Again::Minutes(minutes) => Recurrence::Every { minutes: *minutes },
        Again::Calendar(rhythm) => Recurrence::Rrule { rule: rhythm.rrule() },
        Again::Otherwise => return Err(ToolError::Failed("a rule in words is missing".to_owned())),
    };
    let timing = Timing {
        ends_at: happening.ends_at,
        count: happening.count,
        ..Timing::new(recurrence, happening.zone.as_str(), happening.first)
    };
    finished(scene, text, timing, happening.first)
}

/// The schedule, and its confirmation.
fn finished(scene: &Scene<'_>, text: &str, timing: Timing, first: Timestamp) -> Result<ToolOutput, ToolError> {
    if text.chars().count() > REMINDER_CHARACTERS_MAX {
        let why = AskReason::TextTooLong;
        return Ok(saying(scene.speaker.ask(why, None), json!({ "unclear": why.name() })));
    }
    let call = scene.call;
    let number = scene.next_number();
    let happening = Happening {
        again: again_of(&timing.recurrence),
        first,
        ends_at: timing.ends_at,
        count: timing.count,
        zone: timing.zone.clone(),
    };
    let mut said = scene.speaker.confirmation(number, text, &happening);
    if let Some(note) = window_note(scene, &happening) {
        said = format!("{said}\n{note}");
    }
    let data = json!({
        "number": number,
        "text": text,
        "first": scene.speaker.moment(first, &timing.zone),
        "first_at": first,
        "zone": &timing.zone,
        "repeats": scene.speaker.rhythm(&happening.again),
    });
    let new = NewSchedule {
        id: ScheduleId::made_by(call.key.inbound_id, call.key.step),
        agent_id: call.agent.id.clone(),
        timing,
        action: ScheduleAction::Text { text: scene.speaker.delivered(text), template: None },
        first_due_at: first,
        number: Some(number),
    };
    Ok(ToolOutput { effects: vec![Effect::CreateSchedule(Box::new(new))], ..saying(said, data) })
}

/// How a schedule comes again, as it is spoken of; a rule of a model's own is only known to repeat.
pub(super) fn again_of(recurrence: &Recurrence) -> Again {
    match recurrence {
        Recurrence::Once => Again::Never,
        Recurrence::Every { minutes } => Again::Minutes(*minutes),
        Recurrence::Rrule { rule } => Rhythm::parse(rule).map_or(Again::Otherwise, Again::Calendar),
        Recurrence::Cron { .. } => Again::Otherwise,
    }
}

/// What becomes of it outside WhatsApp's window, if that may come about.
fn window_note(scene: &Scene<'_>, happening: &Happening) -> Option<String> {
    let window = SignedDuration::from_secs(scene.tools.window_seconds);
    let outside = match scene.tools.has_fallback_template || scene.call.agent.settings.fallback_template.is_some() {
        true => OutsideWindow::Template,
        false => OutsideWindow::Waits,
    };
    if happening.again != Again::Never && happening.count != Some(1) {
        return Some(scene.speaker.window_again(outside, scene.tools.window_seconds / 3_600));
    }
    let closes_at = scene.call.message.sent_at + window - SignedDuration::from_secs(REMINDER_NOTE_MARGIN_SECONDS);
    (happening.first > closes_at).then(|| scene.speaker.window(outside, happening.first - window, &happening.zone))
}

impl Scene<'_> {
    /// Above every number that lives, and those of reminders that came lately: "cancel 2" means the same as long as it is there.
    fn next_number(&self) -> i64 {
        let numbers = self.waiting().iter().chain(self.lately()).filter_map(|one| one.number);
        numbers.max().unwrap_or(0) + 1
    }
}
