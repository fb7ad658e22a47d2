//! What is done with reminders that are there: `list_reminders`, `cancel_reminder`, `snooze_reminder`; and `set_time_zone`.

use serde_json::{Value, json};

use super::super::{Call, ToolError, ToolOutput};
use super::make::{again_of, unclear_place};
use super::{Scene, saying};
use crate::agent::reminders::{Again, Happening, Listed, ReminderWords, Request, Whereabouts};
use crate::domain::outbound::cut;
use crate::domain::question::Question;
use crate::domain::schedule::Schedule;
use crate::domain::turn::Effect;

/// Characters of each reminder in what a model gets.
const DATA_TEXT_CHARACTERS_MAX: usize = 120;

/// Runs `list_reminders`.
pub(in crate::agent::tools) fn list(call: &Call<'_>, arguments: &Value) -> Result<ToolOutput, ToolError> {
    let scene = Scene::of(call, arguments)?;
    let listed = listed(&scene);
    let data: Vec<Value> = listed
        .iter()
        .map(|one| {
            json!({
                "number": one.number,
                "text": cut(one.text, DATA_TEXT_CHARACTERS_MAX),
                "next": scene.speaker.moment(one.next, scene.shown_zone()),
                "repeats": one.rhythm,
            })
        })
        .collect();
    let said = scene.speaker.list(&listed, scene.shown_zone());
    Ok(saying(said, json!({ "reminders": data })))
}

fn listed<'a>(scene: &Scene<'a>) -> Vec<Listed<'a>> {
    let line = |one: &'a Schedule| {
        Some(Listed {
            number: one.number.unwrap_or_default(),
            text: scene.text_of(one),
            rhythm: scene.speaker.rhythm(&again_of(&one.timing.recurrence)),
            next: one.next_due_at?,
        })
    };
    scene.waiting().iter().filter_map(line).collect()
}

/// Runs `cancel_reminder`; the arguments fit its schema.
pub(in crate::agent::tools) fn cancel(call: &Call<'_>, arguments: &Value) -> Result<ToolOutput, ToolError> {
    let scene = Scene::of(call, arguments)?;
    let waiting = scene.waiting();
    if arguments["all"] == true {
        return Ok(match waiting {
            [] => saying(scene.speaker.list(&[], scene.shown_zone()), json!({ "cancelled": [] })),
            [one] => given_up(&scene, &[one]),
            all => ToolOutput {
                effects: all.iter().map(|one| Effect::CancelSchedule { schedule_id: one.id }).collect(),
                ..saying(scene.speaker.cancelled_all(all.len()), json!({ "cancelled": numbers(all.iter()) }))
            },
        });
    }
    if let Some(asked) = arguments["numbers"].as_array() {
        let mut found: Vec<&Schedule> = Vec::new();
        for number in asked.iter().filter_map(Value::as_i64) {
            let of_number: Vec<&Schedule> = waiting.iter().filter(|one| one.number == Some(number)).collect();
            match of_number.as_slice() {
                [one] if found.iter().any(|known| known.id == one.id) => {}
                [one] => found.push(one),
                // All of them, or none: nobody wants to find out which of "2, 3 and 7" are gone.
                [] => {
                    let said = scene.speaker.cancel_unknown(number);
                    return Ok(saying(said, json!({ "cancelled": [], "unknown": number })));
                }
                _ => return Ok(saying(scene.speaker.cancel_which(), json!({ "cancelled": [], "unclear": number }))),
            }
        }
        return Ok(given_up(&scene, &found));
    }
    let found: Vec<&Schedule> = match arguments["text"].as_str() {
        Some(text) => {
            let wanted = ReminderWords::folded(text);
            waiting.iter().filter(|one| ReminderWords::folded(scene.text_of(one)).contains(&wanted)).collect()
        }
        None => waiting.iter().collect(),
    };
    Ok(match found.as_slice() {
        [one] => given_up(&scene, &[*one]),
        _ if waiting.is_empty() => saying(scene.speaker.list(&[], scene.shown_zone()), json!({ "cancelled": [] })),
        _ => saying(scene.speaker.cancel_which(), json!({ "cancelled": [], "unclear": "several or none fit" })),
    })
}

fn given_up(scene: &Scene<'_>, schedules: &[&Schedule]) -> ToolOutput {
    let said: Vec<String> = schedules.iter().map(|one| scene.speaker.cancelled(scene.text_of(one))).collect();
    ToolOutput {
        effects: schedules.iter().map(|one| Effect::CancelSchedule { schedule_id: one.id }).collect(),
        ..saying(said.join("\n"), json!({ "cancelled": numbers(schedules.iter().copied()) }))
    }
}

fn numbers<'a>(schedules: impl Iterator<Item = &'a Schedule>) -> Vec<i64> {
    schedules.filter_map(|one| one.number).collect()
}

/// Runs `snooze_reminder`; the arguments fit its schema.
pub(in crate::agent::tools) fn snooze(call: &Call<'_>, arguments: &Value) -> Result<ToolOutput, ToolError> {
    let scene = Scene::of(call, arguments)?;
    let Some(last) = scene.last_that_came() else {
        return Ok(saying(scene.speaker.snooze_nothing(), json!({ "snoozed": null })));
    };
    let words = &scene.tools.words;
    let until = match (arguments["sentence"].as_str(), arguments["when"].as_str()) {
        (Some(sentence), _) => match words.understand(sentence, scene.about()).map(|understood| understood.request) {
            Some(Request::Snooze(happening)) => Ok(happening),
            Some(Request::AskBack { why, .. }) => Err(why),
            Some(Request::NeedsZone) => {
                let question = Question::ReminderZone { sentence: String::new(), answer: None };
                let said = scene.speaker.zone_which();
                return Ok(ToolOutput { question: Some(question), ..saying(said, json!({ "missing": "time_zone" })) });
            }
            _ => return Err(ToolError::BadArguments("the sentence asks for something else".to_owned())),
        },
        (None, Some(when)) => words.when(when, scene.about()),
        (None, None) => return Err(ToolError::BadArguments("give when, or a sentence".to_owned())),
    };
    let happening = match until {
        Ok(happening) if happening.again == Again::Never => happening,
        Ok(_) => return Err(ToolError::BadArguments("a reminder is put off once, not again and again".to_owned())),
        Err(why) => return Ok(saying(scene.speaker.ask(why, None), json!({ "unclear": why.name() }))),
    };
    let Happening { first: until, zone, .. } = happening;
    let text = scene.text_of(last);
    let said = scene.speaker.snoozed(text, until, &zone);
    let data = json!({ "snoozed": last.number, "text": cut(text, DATA_TEXT_CHARACTERS_MAX), "until": until });
    Ok(ToolOutput { effects: vec![Effect::SnoozeSchedule { schedule_id: last.id, until }], ..saying(said, data) })
}

/// Runs `set_time_zone`; the arguments fit its schema. Without a place it says which zone is used.
pub(in crate::agent::tools) fn set_time_zone(call: &Call<'_>, arguments: &Value) -> Result<ToolOutput, ToolError> {
    let scene = Scene::of(call, arguments)?;
    let question = Question::ReminderZone { sentence: String::new(), answer: None };
    let Some(place) = arguments["place"].as_str() else {
        return Ok(match &scene.zone {
            Some(zone) => saying(scene.speaker.zone_is(zone, call.now), json!({ "zone": zone })),
            None => ToolOutput {
                question: Some(question),
                ..saying(scene.speaker.zone_which(), json!({ "missing": "place" }))
            },
        });
    };
    Ok(match scene.tools.words.whereabouts(place) {
        Whereabouts::Zone(zone) => ToolOutput {
            effects: vec![Effect::SetZone { zone: zone.clone() }],
            ..saying(scene.speaker.zone_set(&zone, call.now), json!({ "zone": zone }))
        },
        unclear => {
            let why = unclear_place(&unclear);
            let said = scene.speaker.ask(why, None);
            ToolOutput { question: Some(question), ..saying(said, json!({ "unclear": why.name() })) }
        }
    })
}
