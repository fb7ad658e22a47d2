//! The table of phrases, and what holds for every phrase.

#![allow(clippy::unwrap_used)]

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::domain::contact::{Address, AddressKind};

/// A Tuesday in Lisbon, which keeps UTC in winter.
const NOW: &str = "2026-11-24T14:00";
const ZONE: &str = "Europe/Lisbon";

fn instant_of(local: &str, zone: &str) -> Timestamp {
    let local: DateTime = local.parse().unwrap();
    local.to_zoned(TimeZone::get(zone).unwrap()).unwrap().timestamp()
}

fn local(at: Timestamp, zone: &str) -> String {
    let written = at.to_zoned(TimeZone::get(zone).unwrap()).datetime().to_string();
    written.strip_suffix(":00").unwrap_or(&written).to_owned()
}

fn described(happening: &Happening) -> String {
    let mut said = match &happening.again {
        Again::Never => String::new(),
        Again::Minutes(minutes) => format!("every {minutes} minutes; "),
        Again::Otherwise => "otherwise; ".to_owned(),
        Again::Calendar(rhythm) => {
            assert_eq!(Rhythm::parse(&rhythm.rrule()).as_ref(), Some(rhythm));
            format!("{}; ", rhythm.rrule().replace(";BYHOUR=", " ").replace(";BYMINUTE=", ":"))
        }
    };
    said.push_str(&local(happening.first, &happening.zone));
    if happening.zone != ZONE {
        said.push_str(&format!(" {}", happening.zone));
    }
    if let Some(count) = happening.count {
        said.push_str(&format!("; {count} times"));
    }
    if let Some(end) = happening.ends_at {
        said.push_str(&format!("; until {}", local(end, &happening.zone)));
    }
    said
}

fn outcome(
    reminders: &ReminderWords,
    phrase: &str,
    now: Timestamp,
    zone: Option<&str>,
    is_addressed: bool,
) -> (String, String) {
    let Some(understood) = reminders.understand(phrase, Circumstances { now, zone, is_addressed }) else {
        return ("nothing".to_owned(), String::new());
    };
    match understood.request {
        Request::Set { text, happening, .. } => (described(&happening), text),
        Request::NeedsZone => ("needs zone".to_owned(), String::new()),
        Request::AskBack { why, text } => (format!("ask {}", why.name()), text.unwrap_or_default()),
        Request::List => ("list".to_owned(), String::new()),
        Request::Cancel(numbers) => (format!("cancel {numbers:?}"), String::new()),
        Request::CancelAll => ("cancel all".to_owned(), String::new()),
        Request::CancelLast => ("cancel last".to_owned(), String::new()),
        Request::CancelText(text) => ("cancel text".to_owned(), text),
        Request::Snooze(happening) => (format!("snooze {}", described(&happening)), String::new()),
        Request::Zone(zone) => (format!("zone {zone}"), String::new()),
        Request::ZoneAsked => ("zone asked".to_owned(), String::new()),
    }
}

/// The circumstances of a row: the present, the zone, and whether it was written to the agent.
fn circumstances(written: &str) -> (Timestamp, Option<&str>, bool) {
    match written.split_once(' ') {
        Some((local, "-")) => (instant_of(local, "UTC"), None, true),
        Some((local, zone)) => (instant_of(local, zone), Some(zone), true),
        None => (instant_of(NOW, ZONE), Some(ZONE), written != "plain"),
    }
}

fn phrases() -> Vec<[&'static str; 4]> {
    let lines = include_str!("../../../tests/fixtures/reminders.tsv").lines();
    let rows = lines.filter(|line| !line.starts_with('#') && !line.is_empty()).map(|line| {
        let mut fields = line.split('\t');
        std::array::from_fn(|_| fields.next().unwrap_or_default())
    });
    rows.collect()
}

#[test]
fn the_table_of_phrases_means_what_it_says() {
    let reminders = ReminderWords::built_in().unwrap_or_else(|error| panic!("{error}"));
    let mut wrong = Vec::new();
    let rows = phrases();
    for [phrase, expected, text, about] in &rows {
        let (now, zone, is_addressed) = circumstances(about);
        let found = outcome(&reminders, phrase, now, zone, is_addressed);
        if found != ((*expected).to_owned(), (*text).to_owned()) {
            wrong.push(format!("{phrase:?} ({about}): {found:?} instead of {expected:?} {text:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let asked = rows.iter().filter(|row| row[1].starts_with("ask ")).count();
    assert!(rows.len() >= 300 && asked * 5 >= rows.len(), "{asked} of {} are asked back", rows.len());
}

#[test]
fn every_answer_can_be_said() {
    let reminders = ReminderWords::built_in().unwrap();
    for [phrase, _, _, about] in phrases() {
        let (now, zone, is_addressed) = circumstances(about);
        let understood = reminders.understand(phrase, Circumstances { now, zone, is_addressed });
        let language = understood.as_ref().map_or(0, |understood| understood.language);
        let speaker = reminders.speaker(language, "michael: ").unwrap();
        let said = match understood.map(|understood| understood.request) {
            Some(Request::Set { text, happening, .. }) => speaker.confirmation(7, &text, &happening),
            Some(Request::AskBack { why, text }) => speaker.ask(why, text.as_deref()),
            _ => continue,
        };
        assert!(said.chars().count() > 20 && !said.contains(['{', '}']) && !said.contains("  "), "{phrase}: {said}");
    }
}

#[test]
fn a_confirmation_repeats_local_date_time_and_zone() {
    let reminders = ReminderWords::built_in().unwrap();
    let speaker = reminders.speaker(0, "").unwrap();
    let said = |phrase: &str| {
        let about = Circumstances { now: instant_of(NOW, ZONE), zone: Some(ZONE), is_addressed: true };
        match reminders.understand(phrase, about).unwrap().request {
            Request::Set { text, happening, .. } => speaker.confirmation(3, &text, &happening),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        said("remind me tomorrow 8pm to pay {text}"),
        "Reminder 3 is set: pay {text}\nIt comes on Wednesday 25 November 2026 at 20:00 (Europe/Lisbon)."
    );
    assert_eq!(
        said("every weekday at 9 call mom"),
        "Reminder 3 is set: call mom\nIt comes every weekday at 09:00, first on Wednesday 25 November 2026 at 09:00 \
         (Europe/Lisbon)."
    );
    assert_eq!(
        said("remind me on the 31st of each month at 9 to count"),
        "Reminder 3 is set: count\nIt comes on day 31 of every month at 09:00, first on Thursday 31 December 2026 at 09:00 \
         (Europe/Lisbon). In months without that day it is left out."
    );
}

#[test]
fn an_answer_completes_what_was_asked_about() {
    let reminders = ReminderWords::built_in().unwrap();
    let about = Circumstances { now: instant_of(NOW, ZONE), zone: Some(ZONE), is_addressed: true };
    for (question, answer, expected) in [
        ("remind me to call mom", "tomorrow at 9", "2026-11-25T09:00 call mom"),
        ("remind me to call mom", "in 20 minutes please", "2026-11-24T14:20 call mom"),
        ("remind me to call mom", "every day at 8am", "FREQ=DAILY 8:0; 2026-11-25T08:00 call mom"),
        ("remind me tomorrow at 5 to call mom", "pm", "2026-11-25T17:00 call mom"),
        ("remind me tomorrow at 5 to call mom", "17", "2026-11-25T17:00 call mom"),
        ("remind me tomorrow at 5 to call mom", "17:00", "2026-11-25T17:00 call mom"),
        ("remind me tomorrow at 5 to call mom", "at 5 in the morning", "2026-11-25T05:00 call mom"),
        ("remind me on 3/4 at 10 to call mom", "3 April", "2027-04-03T10:00 call mom"),
        ("remind me next week to call mom", "monday at 9", "2026-11-30T09:00 call mom"),
        ("remind me tomorrow at 9", "buy milk", "2026-11-25T09:00 buy milk"),
        ("remind me to call mom", "soon", "ask soon call mom"),
        ("remind me to call mom", "what do you mean?", "-"),
        ("hello", "tomorrow at 9", "-"),
    ] {
        let found = match reminders.complete(question, answer, about).map(|understood| understood.request) {
            Some(Request::Set { text, happening, .. }) => format!("{} {text}", described(&happening)),
            Some(Request::AskBack { why, text }) => format!("ask {} {}", why.name(), text.unwrap_or_default()),
            Some(other) => format!("{other:?}"),
            None => "-".to_owned(),
        };
        assert_eq!(found, expected, "{question:?} {answer:?}");
    }
}

#[test]
fn places_are_known_by_what_people_call_them() {
    let reminders = ReminderWords::built_in().unwrap();
    for (answer, expected) in [
        ("Lisbon", Whereabouts::Zone("Europe/Lisbon".into())),
        ("lisboa", Whereabouts::Zone("Europe/Lisbon".into())),
        ("I'm in São Paulo!", Whereabouts::Zone("America/Sao_Paulo".into())),
        ("Lisbon, Portugal", Whereabouts::Zone("Europe/Lisbon".into())),
        ("America/New_York", Whereabouts::Zone("America/New_York".into())),
        ("new york", Whereabouts::Zone("America/New_York".into())),
        ("UTC", Whereabouts::Zone("UTC".into())),
        ("MUMBAI", Whereabouts::Zone("Asia/Kolkata".into())),
        ("Birmingham", Whereabouts::Unclear),
        ("IST", Whereabouts::Unclear),
        ("Atlantis", Whereabouts::Unknown),
        ("", Whereabouts::Unknown),
    ] {
        assert_eq!(reminders.whereabouts(answer), expected, "{answer}");
    }
}

#[test]
fn a_phone_says_its_zone_where_its_country_has_one() {
    let reminders = ReminderWords::built_in().unwrap();
    let zone = |kind, value: &str| reminders.zone_of(&Address { kind, value: value.to_owned() }).map(str::to_owned);
    for (number, expected) in [
        ("4915123456789", Some("Europe/Berlin")),
        ("447700900123", Some("Europe/London")),
        ("919812345678", Some("Asia/Kolkata")),
        ("18765550123", Some("America/Jamaica")),
        ("77011234567", Some("Asia/Almaty")),
        ("15551234567", None),
        ("14165550123", None),
        ("351912345678", None),
        ("5511912345678", None),
        ("262692123456", None),
        ("", None),
    ] {
        assert_eq!(zone(AddressKind::Phone, number).as_deref(), expected, "{number}");
    }
    assert_eq!(zone(AddressKind::Bsuid, "DE.abc123").as_deref(), Some("Europe/Berlin"));
    assert_eq!(zone(AddressKind::Bsuid, "US.abc123"), None);
}

proptest! {
    #[test]
    fn no_phrase_panics(text in any::<String>(), noise in "\\PC{0,60}", second in 0..4_000_000_000_i64, is_addressed: bool) {
        let reminders = shared();
        let now = Timestamp::from_second(second).unwrap();
        for phrase in [text.clone(), format!("remind me {text}"), format!("remind me at {noise} to {text}"), noise.clone()] {
            for zone in [None, Some(ZONE), Some("Australia/Lord_Howe")] {
                future(reminders, &phrase, Circumstances { now, zone, is_addressed })?;
            }
            reminders.complete(&phrase, &noise, Circumstances { now, zone: None, is_addressed });
            reminders.whereabouts(&phrase);
        }
    }

    #[test]
    fn what_is_accepted_lies_in_the_future(
        words in prop::collection::vec(prop::sample::select(WORDS), 1..10),
        second in 1_700_000_000..2_400_000_000_i64,
        zone in prop::sample::select(ZONES),
    ) {
        let now = Timestamp::from_second(second).unwrap();
        let phrase = format!("remind me {} to test", words.join(" "));
        for phrase in [phrase, format!("remind me to test {}", words.join(" ")), words.join(" ")] {
            future(shared(), &phrase, Circumstances { now, zone: Some(zone), is_addressed: true })?;
        }
    }
}

const ZONES: &[&str] = &[
    "Europe/Lisbon",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Africa/Cairo",
    "Africa/Casablanca",
    "UTC",
];
const WORDS: &[&str] = &[
    "in",
    "at",
    "on",
    "every",
    "the",
    "of",
    "and",
    "a",
    "half",
    "2",
    "5",
    "9",
    "12",
    "17:30",
    "29",
    "31",
    "1st",
    "31st",
    "pm",
    "am",
    "minutes",
    "hours",
    "day",
    "days",
    "weeks",
    "months",
    "year",
    "monday",
    "friday",
    "next",
    "this",
    "last",
    "march",
    "february",
    "2027",
    "3/4",
    "13/4",
    "2028-02-29",
    "tomorrow",
    "today",
    "tonight",
    "noon",
    "midnight",
    "morning",
    "night",
    "weekday",
    "month",
    "until",
    "for",
    "times",
    "London",
    "time",
    "UTC",
    ",",
    ":",
    "to",
    "other",
    "first",
    "starting",
];

fn shared() -> &'static ReminderWords {
    static SHARED: std::sync::OnceLock<ReminderWords> = std::sync::OnceLock::new();
    SHARED.get_or_init(|| ReminderWords::built_in().unwrap())
}

/// Whatever a phrase is accepted as lies in the future, within the bounds.
fn future(reminders: &ReminderWords, phrase: &str, about: Circumstances<'_>) -> Result<(), TestCaseError> {
    let Some(understood) = reminders.understand(phrase, about) else { return Ok(()) };
    let (Request::Set { happening, .. } | Request::Snooze(happening)) = &understood.request else { return Ok(()) };
    prop_assert!(happening.first > about.now, "{phrase:?}: {happening:?}");
    let ahead = happening.first.duration_since(about.now);
    prop_assert!(ahead <= SignedDuration::from_hours(24 * AHEAD_DAYS_MAX), "{phrase:?}: {happening:?}");
    if let Again::Minutes(minutes) = happening.again {
        prop_assert!(minutes >= REPEAT_MINUTES_MIN, "{phrase:?}: {happening:?}");
    }
    prop_assert!(happening.ends_at.is_none_or(|end| end >= happening.first), "{phrase:?}: {happening:?}");
    if let Request::Set { text, .. } = &understood.request {
        let count = text.chars().count();
        prop_assert!((1..=REMINDER_CHARACTERS_MAX).contains(&count), "{phrase:?}: {text:?}");
        reminders.speaker(understood.language, "").unwrap().confirmation(1, text, happening);
    }
    Ok(())
}
