//! The walk through a body: `entry[] → changes[] → value → items`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::account::{ACCOUNT_FIELDS, TEMPLATE_FIELDS, read_account, read_preference, read_template};
use super::inbound::{Surroundings, read_call, read_echo, read_message};
use super::raw::{Fields, elements, parse as parse_value, parse_object};
use super::status::read_status;
use super::{Event, OtherChange, ParseError, PassiveChange, Unreadable, ValueError, Webhook};
use crate::error::ApiError;
use crate::json;

/// Reads the body of a webhook.
///
/// Fails only if the body as a whole is not a JSON object; whatever is wrong below that becomes [`Event::Unreadable`].
/// The body is not bounded here: bound it before reading it from the network (Meta sends up to 3 MB).
pub fn parse(body: &[u8]) -> Result<Webhook, ParseError> {
    let text = String::from_utf8_lossy(body);
    let (object, events) = match serde_json::from_str::<Regular<'_>>(&text) {
        Ok(regular) => read_regular(regular),
        Err(_) => read_irregular(&text)?,
    };
    Ok(Webhook { object, events, utf8_repaired: matches!(text, Cow::Owned(_)) })
}

/// A body as it nearly always comes. It is read in one go, which halves the time. Whatever is unusual in it (a repeated
/// key, a wrong type, a missing value) is an error here, and the body is walked through level by level.
#[derive(Deserialize)]
struct Regular<'a> {
    object: String,
    #[serde(borrow)]
    entry: Vec<RegularEntry<'a>>,
}

#[derive(Deserialize)]
struct RegularEntry<'a> {
    id: String,
    time: Option<i64>,
    #[serde(borrow)]
    changes: Vec<RegularChange<'a>>,
}

#[derive(Deserialize)]
struct RegularChange<'a> {
    field: String,
    #[serde(borrow)]
    value: &'a RawValue,
}

fn read_regular(body: Regular<'_>) -> (String, Vec<Event>) {
    let mut events = Vec::new();
    for entry in body.entry {
        let waba_id = Some(entry.id).filter(|id| !id.is_empty());
        let time_seconds = entry.time.filter(|seconds| json::is_believable_timestamp(*seconds));
        for change in entry.changes {
            let place = Place { waba_id: waba_id.clone(), field: Some(change.field).filter(|field| !field.is_empty()) };
            read_value(change.value, &place, time_seconds, &mut events);
        }
    }
    (body.object, events)
}

fn read_irregular(text: &str) -> Result<(String, Vec<Event>), ParseError> {
    let fields = Fields::read(text).map_err(|error| envelope_error(text, &error))?;
    let mut events = Vec::new();
    for entry in Place::default().elements(fields.get("entry"), "entry", &mut events) {
        read_entry(entry, &mut events);
    }
    Ok((fields.text("object").unwrap_or_default(), events))
}

fn envelope_error(text: &str, error: &serde_json::Error) -> ParseError {
    // A wrong type is reported with the category "data"; everything else means that it is no JSON.
    if error.is_data() && serde_json::from_str::<&RawValue>(text).is_ok() {
        return ParseError::NotAnObject;
    }
    let reason = error.to_string();
    let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
    ParseError::NotJson { line: error.line(), column: error.column(), reason }
}

/// Where in the body we are, for reports about what cannot be read.
#[derive(Debug, Default, Clone)]
struct Place {
    waba_id: Option<String>,
    field: Option<String>,
}

impl Place {
    fn unreadable(&self, what: &str, reason: impl std::fmt::Display, raw: &RawValue) -> Event {
        Event::Unreadable(Box::new(Unreadable {
            waba_id: self.waba_id.clone(),
            field: self.field.clone(),
            reason: format!("{what}: {reason}"),
            raw: raw.to_owned(),
        }))
    }

    /// The elements of an array that may be missing; what is no array is reported and counts as empty.
    fn elements<'a>(&self, raw: Option<&'a RawValue>, what: &str, events: &mut Vec<Event>) -> Vec<&'a RawValue> {
        let Some(raw) = raw else { return Vec::new() };
        elements(raw).unwrap_or_else(|reason| {
            events.push(self.unreadable(what, reason, raw));
            Vec::new()
        })
    }
}

fn read_entry(raw: &RawValue, events: &mut Vec<Event>) {
    let fields = match Fields::read(raw.get()) {
        Ok(fields) => fields,
        Err(error) => return events.push(Place::default().unreadable("entry", error, raw)),
    };
    let place = Place { waba_id: fields.text("id"), field: None };
    if !fields.has("changes") {
        return events.push(place.unreadable("entry", "it has no changes", raw));
    }
    let time_seconds =
        fields.text("time").and_then(|time| time.parse().ok()).filter(|t| json::is_believable_timestamp(*t));
    for change in place.elements(fields.get("changes"), "changes", events) {
        read_change(change, &place, time_seconds, events);
    }
}

fn read_change(raw: &RawValue, place: &Place, time_seconds: Option<i64>, events: &mut Vec<Event>) {
    let fields = match Fields::read(raw.get()) {
        Ok(fields) => fields,
        Err(error) => return events.push(place.unreadable("change", error, raw)),
    };
    let field = fields.text("field").unwrap_or_default();
    let place = Place { waba_id: place.waba_id.clone(), field: Some(field).filter(|field| !field.is_empty()) };
    match fields.get("value") {
        Some(value) => read_value(value, &place, time_seconds, events),
        None => events.push(other(&place, raw)),
    }
}

fn read_value(value: &RawValue, place: &Place, time_seconds: Option<i64>, events: &mut Vec<Event>) {
    let field = place.field.as_deref().unwrap_or_default();
    match field {
        "messages" | "smb_message_echoes" | "user_preferences" => read_items(value, place, events),
        "calls" => read_calls(value, place, events),
        "standby" => events.push(passive(value, place).map_or_else(|unreadable| unreadable, Event::Standby)),
        "history" => events.push(passive(value, place).map_or_else(|unreadable| unreadable, Event::History)),
        _ => events.push(read_notice(field, value, place, time_seconds)),
    }
}

fn other(place: &Place, raw: &RawValue) -> Event {
    Event::Other(Box::new(OtherChange {
        waba_id: place.waba_id.clone().unwrap_or_default(),
        field: place.field.clone().unwrap_or_default(),
        raw: raw.to_owned(),
    }))
}

fn passive(value: &RawValue, place: &Place) -> Result<Box<PassiveChange>, Event> {
    let fields = Fields::read(value.get()).map_err(|error| place.unreadable("value", error, value))?;
    Ok(Box::new(PassiveChange {
        waba_id: place.waba_id.clone().unwrap_or_default(),
        phone_number_id: json::text(&fields.value("metadata"), "phone_number_id").unwrap_or_default(),
        raw: value.to_owned(),
    }))
}

/// A change whose value is one object: a template, the account, or something we do not know.
fn read_notice(field: &str, raw: &RawValue, place: &Place, time_seconds: Option<i64>) -> Event {
    let around = Surroundings { waba_id: place.waba_id.clone().unwrap_or_default(), ..Surroundings::default() };
    if !TEMPLATE_FIELDS.contains(&field) && !ACCOUNT_FIELDS.contains(&field) {
        return other(place, raw);
    }
    let value = match parse_object(raw) {
        Ok(value) => value,
        Err(reason) => return place.unreadable("value", reason, raw),
    };
    let template =
        read_template(field, &value, raw, &around, time_seconds).map(|update| Event::Template(Box::new(update)));
    let account =
        || read_account(field, &value, raw, &around, time_seconds).map(|update| Event::Account(Box::new(update)));
    template.or_else(account).unwrap_or_else(|| other(place, raw))
}

/// A value with lists of items in it: messages, statuses, errors, echoes, preferences.
fn read_items(value: &RawValue, place: &Place, events: &mut Vec<Event>) {
    let fields = match Fields::read(value.get()) {
        Ok(fields) => fields,
        Err(error) => return events.push(place.unreadable("value", error, value)),
    };
    let lists = ["messages", "message_echoes", "user_preferences", "statuses", "errors"];
    if !lists.iter().any(|list| fields.has(list)) {
        return events.push(other(place, value));
    }
    let around = read_surroundings(&fields, place, events);
    // An echo's list carries its own name by the documentation, but only the field decides who is speaking.
    let echoes = place.field.as_deref() == Some("smb_message_echoes");
    for list in lists {
        for raw in place.elements(fields.get(list), list, events) {
            let event = parse_object(raw).and_then(|item| read_item(list, echoes, &item, raw, &around));
            events.push(event.unwrap_or_else(|reason| place.unreadable(list, reason, raw)));
        }
    }
}

/// Calls of users. The statuses beside them are those of our own calls, not of messages.
fn read_calls(value: &RawValue, place: &Place, events: &mut Vec<Event>) {
    let fields = match Fields::read(value.get()) {
        Ok(fields) => fields,
        Err(error) => return events.push(place.unreadable("value", error, value)),
    };
    if !fields.has("calls") {
        return events.push(other(place, value));
    }
    let around = read_surroundings(&fields, place, events);
    for raw in place.elements(fields.get("calls"), "calls", events) {
        let call = parse_object(raw).and_then(|call| read_call(&call, raw, &around).map_err(str::to_owned));
        events.push(match call {
            Ok(Some(call)) => Event::Message(Box::new(call)),
            Ok(None) => other(place, raw),
            Err(reason) => place.unreadable("calls", reason, raw),
        });
    }
}

fn read_surroundings(fields: &Fields<'_>, place: &Place, events: &mut Vec<Event>) -> Surroundings {
    let metadata = fields.value("metadata");
    let mut around = Surroundings {
        waba_id: place.waba_id.clone().unwrap_or_default(),
        phone_number_id: json::text(&metadata, "phone_number_id").unwrap_or_default(),
        display_phone_number: json::text(&metadata, "display_phone_number"),
        ..Surroundings::default()
    };
    for raw in place.elements(fields.get("contacts"), "contacts", events) {
        match parse_value(raw) {
            Ok(contact) => around.contacts.add(&contact),
            Err(reason) => events.push(place.unreadable("contacts", reason, raw)),
        }
    }
    around
}

fn read_item(list: &str, echoes: bool, item: &Value, raw: &RawValue, around: &Surroundings) -> Result<Event, String> {
    Ok(match list {
        "messages" if !echoes => Event::Message(Box::new(read_message(item, raw, around)?)),
        "messages" | "message_echoes" => Event::Echo(Box::new(read_echo(item, raw, around)?)),
        "user_preferences" => Event::UserPreference(Box::new(read_preference(item, raw, around))),
        "statuses" => Event::Status(Box::new(read_status(item, raw, around)?)),
        _ => Event::ValueError(Box::new(ValueError {
            waba_id: around.waba_id.clone(),
            phone_number_id: around.phone_number_id.clone(),
            error: ApiError::from_value(item),
            raw: raw.to_owned(),
        })),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    fn fixtures() -> Vec<String> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
        let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()).collect()
    }

    /// Both ways through a body give the same events wherever the short one is open.
    fn both_ways_agree(text: &str) -> bool {
        let Ok(regular) = serde_json::from_str::<Regular<'_>>(text) else {
            return false;
        };
        let short = format!("{:?}", read_regular(regular));
        assert_eq!(short, format!("{:?}", read_irregular(text).unwrap()), "{text}");
        true
    }

    #[test]
    fn the_short_way_and_the_long_way_see_the_same() {
        let fixtures = fixtures();
        let regular = fixtures.iter().filter(|text| both_ways_agree(text)).count();
        assert!(regular * 10 >= fixtures.len() * 9, "the short way is open for {regular} of {}", fixtures.len());
    }

    proptest! {
        #[test]
        fn damage_does_not_part_the_two_ways(
            file in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            new in "\\PC",
        ) {
            let fixtures = fixtures();
            let text = file.get(&fixtures);
            let mut characters: Vec<char> = text.chars().collect();
            let at = at.index(characters.len());
            characters.splice(at..=at, new.chars());
            both_ways_agree(&characters.into_iter().collect::<String>());
        }
    }
}
