//! What calendars say: by hand, by properties, and beside a second implementation.

#![allow(clippy::unwrap_used, clippy::panic)]

use jiff::tz::TimeZoneDatabase;
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn cron(expression: &str) -> Recurrence {
    Recurrence::Cron { expression: expression.to_owned() }
}

fn rrule(rule: &str) -> Recurrence {
    Recurrence::Rrule { rule: rule.to_owned() }
}

fn calendar(recurrence: Recurrence, zone: &str, starts_at: &str) -> Calendar {
    Calendar::new(&Timing::new(recurrence, zone, at(starts_at))).unwrap()
}

/// The next times, in the words of the zone without its name.
fn walls(calendar: &Calendar, after: &str, count: usize) -> Vec<String> {
    let wall = |at: Timestamp| calendar.local(at).split('[').next().unwrap_or_default().to_owned();
    calendar.preview(at(after), count).into_iter().map(wall).collect()
}

#[test]
fn nine_stays_nine_across_both_changes() {
    for (zone, from, offsets) in [
        ("Europe/Berlin", "2026-03-27T12:00:00Z", ["+01:00", "+02:00"]),
        ("Europe/Berlin", "2026-10-23T12:00:00Z", ["+02:00", "+01:00"]),
        ("America/New_York", "2026-03-06T18:00:00Z", ["-05:00", "-04:00"]),
        ("America/New_York", "2026-10-30T18:00:00Z", ["-04:00", "-05:00"]),
    ] {
        for rule in [cron("0 9 * * *"), rrule("FREQ=DAILY;BYHOUR=9;BYMINUTE=0")] {
            let walls = walls(&calendar(rule, zone, "2026-01-01T00:00:00Z"), from, 4);
            assert!(walls.iter().all(|wall| wall.contains("T09:00:00")), "{walls:?}");
            assert!(walls[0].ends_with(offsets[0]) && walls[3].ends_with(offsets[1]), "{walls:?}");
        }
    }
}

#[test]
fn a_time_that_does_not_exist_moves_and_one_that_comes_twice_fires_once() {
    let gap = calendar(cron("30 2 * * *"), "America/New_York", "2026-01-01T00:00:00Z");
    let expected = ["2026-03-07T02:30:00-05:00", "2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"];
    assert_eq!(walls(&gap, "2026-03-07T00:00:00Z", 3), expected);
    let fold = calendar(cron("30 1 * * *"), "America/New_York", "2026-01-01T00:00:00Z");
    let expected = ["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"];
    assert_eq!(walls(&fold, "2026-11-01T00:00:00Z", 2), expected);
    // The whole of a day that Samoa left out.
    let samoa = calendar(rrule("FREQ=DAILY;BYHOUR=9;BYMINUTE=0"), "Pacific/Apia", "2011-12-01T00:00:00Z");
    let expected = ["2011-12-29T09:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T09:00:00+14:00"];
    assert_eq!(walls(&samoa, "2011-12-29T00:00:00Z", 3), expected);
}

#[test]
fn an_open_hour_goes_by_the_running_hours() {
    let hourly = calendar(cron("30 * * * *"), "America/New_York", "2026-01-01T00:00:00Z");
    let expected = ["2026-03-08T01:30:00-05:00", "2026-03-08T03:30:00-04:00"];
    assert_eq!(walls(&hourly, "2026-03-08T06:00:00Z", 2), expected);
    let expected = ["2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00", "2026-11-01T02:30:00-05:00"];
    assert_eq!(walls(&hourly, "2026-11-01T05:00:00Z", 3), expected);
}

#[test]
fn what_rules_mean() {
    for (rule, start, expected) in [
        ("FREQ=MONTHLY;BYDAY=-1FR", "2026-01-01T09:00:00Z", vec!["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("FREQ=MONTHLY;BYMONTHDAY=31", "2026-01-01T09:00:00Z", vec!["2026-01-31", "2026-03-31", "2026-05-31"]),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", "2026-01-01T09:00:00Z", vec!["2026-01-31", "2026-02-28", "2026-03-31"]),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "2026-01-01T09:00:00Z", vec!["2028-02-29", "2032-02-29", "2036-02-29"]),
        (
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SU;WKST=MO",
            "2026-01-05T09:00:00Z",
            vec!["2026-01-05", "2026-01-11", "2026-01-19"],
        ),
        (
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SU;WKST=SU",
            "2026-01-05T09:00:00Z",
            vec!["2026-01-05", "2026-01-18", "2026-01-19"],
        ),
        (
            "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
            "2026-01-01T09:00:00Z",
            vec!["2026-01-30", "2026-02-27", "2026-03-31"],
        ),
        ("FREQ=DAILY;COUNT=2", "2026-01-01T09:00:00Z", vec!["2026-01-01", "2026-01-02"]),
        ("RRULE:FREQ=DAILY;UNTIL=20260102", "2026-01-01T09:00:00Z", vec!["2026-01-01", "2026-01-02"]),
        ("FREQ=DAILY;UNTIL=20260102T085959Z", "2026-01-01T09:00:00Z", vec!["2026-01-01"]),
        ("freq=yearly;byday=20MO", "2026-01-01T09:00:00Z", vec!["2026-05-18", "2027-05-17", "2028-05-15"]),
    ] {
        let calendar = calendar(rrule(rule), "UTC", start);
        let days: Vec<String> = calendar
            .preview(at("2025-12-31T00:00:00Z"), 3)
            .into_iter()
            .map(|at| at.to_string().split('T').next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(days, expected, "{rule}");
    }
}

#[test]
fn what_cannot_work_is_said_in_sentences() {
    for (recurrence, zone, expected) in [
        (cron("0 9 * *"), "UTC", "has 4 fields"),
        (cron("0 24 * * *"), "UTC", "it must be a number from 0 to 23"),
        (cron("0 9 * * FRI-MON"), "UTC", "ends before it begins"),
        (cron("0 9 31 FEB,APR *"), "UTC", "never happen"),
        (cron("5/10 * * * *"), "UTC", "say where it ends"),
        (cron("*/0 * * * *"), "UTC", "from 1 to 59"),
        (cron("0 9 * JANUARY *"), "UTC", "a name of three letters"),
        (rrule("FREQ=HOURLY"), "UTC", "use an interval in minutes or a cron expression"),
        (rrule("BYDAY=MO"), "UTC", "has no FREQ"),
        (rrule("FREQ=DAILY;COUNT=2;UNTIL=20270101"), "UTC", "give one of the two"),
        (rrule("FREQ=DAILY;DTSTART=20260101T090000Z"), "UTC", "the schedule's own start"),
        (rrule("FREQ=WEEKLY;BYDAY=1MO"), "UTC", "goes with FREQ=MONTHLY"),
        (rrule("FREQ=MONTHLY;BYDAY=é"), "UTC", "days are MO"),
        (rrule("FREQ=DAILY;UNTIL=2027-01-01"), "UTC", "write it as 20261231"),
        (rrule("FREQ=DAILY;BYEASTER=1"), "UTC", "not known here"),
        (Recurrence::Every { minutes: 0 }, "UTC", "must lie between 1 and"),
        (Recurrence::Once, "Europe/Atlantis", "no known zone"),
        (Recurrence::Once, "../etc/passwd", "no known zone"),
    ] {
        let faults = Calendar::new(&Timing::new(recurrence, zone, at("2026-01-01T00:00:00Z"))).unwrap_err();
        let said = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn intervals_count_from_their_anchor_whatever_the_clock_does() {
    let hourly = calendar(Recurrence::Every { minutes: 60 }, "Europe/Berlin", "2026-03-29T00:10:00Z");
    let expected = ["2026-03-29T01:10:00+01:00", "2026-03-29T03:10:00+02:00", "2026-03-29T04:10:00+02:00"];
    assert_eq!(walls(&hourly, "2026-03-28T00:00:00Z", 3), expected);
    assert_eq!(hourly.first(at("2026-06-01T00:00:00Z")), Some(at("2026-03-29T00:10:00Z")));
    let now = at("2026-03-29T05:10:00Z");
    let overdue = hourly.overdue(at("2026-03-29T01:10:00Z"), now, 2);
    let latest = vec![at("2026-03-29T04:10:00Z"), now];
    assert_eq!(overdue, Overdue { latest, left_out: 3, next: Some(at("2026-03-29T06:10:00Z")) });
}

#[test]
fn starts_and_ends_hold() {
    let mut timing = Timing::new(cron("0 9 * * *"), "UTC", at("2026-01-02T09:00:00Z"));
    timing.ends_at = Some(at("2026-01-03T09:00:00Z"));
    let calendar = Calendar::new(&timing).unwrap();
    assert_eq!(calendar.first(at("2025-01-01T00:00:00Z")), Some(at("2026-01-02T09:00:00Z")));
    assert_eq!(calendar.preview(at("2025-01-01T00:00:00Z"), 5).len(), 2);
    assert_eq!(calendar.next_after(at("2026-01-03T09:00:00Z")), None);
    let spread = Timing {
        jitter_seconds: 60,
        ..Timing::new(Recurrence::Every { minutes: 1 }, "UTC", at("2026-01-02T09:00:00Z"))
    };
    assert!(Calendar::new(&spread).unwrap_err()[0].to_string().contains("between 0 and 59"));
    let once = Calendar::new(&Timing::once(at("2026-01-02T09:00:00Z"), "UTC")).unwrap();
    assert_eq!(once.first(at("2027-01-01T00:00:00Z")), Some(at("2026-01-02T09:00:00Z")));
    assert_eq!(once.next_after(at("2026-01-02T09:00:00Z")), None);
}

#[test]
fn zones_are_compiled_in_where_the_system_has_none() {
    let bundled = TimeZoneDatabase::bundled();
    for name in ["Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Chatham", "Africa/Cairo", "Asia/Kolkata", "UTC"] {
        assert!(bundled.get(name).is_ok(), "{name}");
    }
}

/// Written by `tests/data/recurrence.py` with dateutil and zoneinfo: thousands of rules around changes of the clocks in odd zones.
const SECOND_OPINION: &str = include_str!("../../../tests/data/recurrence.tsv");

#[test]
fn a_second_implementation_agrees() {
    let mut differences = Vec::new();
    for line in SECOND_OPINION.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [kind, zone, start, rule, after, expected @ ..] = fields.as_slice() else { panic!("{line}") };
        let recurrence = if *kind == "cron" { cron(rule) } else { rrule(rule) };
        let found = calendar(recurrence, zone, start).preview(at(after), expected.len());
        if found.iter().map(ToString::to_string).ne(expected.iter().copied()) {
            differences.push(format!("{line}\n  here: {found:?}"));
        }
    }
    let shown = differences.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} of {}:\n{shown}", differences.len(), SECOND_OPINION.lines().count());
}

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Chatham",
    "Africa/Cairo",
    "America/Havana",
];
const RECURRENCES: [&str; 10] = [
    "30 2 * * *",
    "*/15 0-3 * * *",
    "0 * * * SUN",
    "0 0 1,15 * *",
    "15 1 * * 0",
    "FREQ=DAILY;BYHOUR=0,2;BYMINUTE=0,30",
    "FREQ=WEEKLY;INTERVAL=3;BYDAY=SU,WE",
    "FREQ=MONTHLY;BYDAY=-1SU;BYHOUR=2",
    "FREQ=YEARLY;BYMONTH=3,4,10,11;BYDAY=1SU,-1SU",
    "FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=400",
];

proptest! {
    #[test]
    fn times_grow_and_no_time_lies_between(
        zone in proptest::sample::select(&ZONES[..]),
        rule in proptest::sample::select(&RECURRENCES[..]),
        after in 1_700_000_000_i64..1_900_000_000,
        back in 1_i64..1_000_000,
    ) {
        let recurrence = if rule.starts_with("FREQ") { rrule(rule) } else { cron(rule) };
        let calendar = calendar(recurrence, zone, "2023-06-01T00:20:00Z");
        let after = Timestamp::from_second(after).unwrap();
        if let Some(next) = calendar.next_after(after) {
            prop_assert!(next > after);
            // From anywhere between, it is the next one all the same.
            let between = (next - SignedDuration::from_secs(back)).max(after);
            prop_assert_eq!(calendar.next_after(between), Some(next));
            prop_assert_eq!(calendar.next_after(next - TICK), Some(next));
        }
    }

    #[test]
    fn intervals_are_counted_alike_by_walking_and_by_arithmetic(
        minutes in 1_i64..5_000, due in 0_i64..200_000, late in 0_i64..500_000, put_off in 0_i64..90, keep in 1_usize..5,
    ) {
        let start = Timestamp::from_second(1_790_000_000).unwrap();
        let calendar = Calendar::new(&Timing::new(Recurrence::Every { minutes }, "UTC", start)).unwrap();
        let due = calendar.next_after(start + SignedDuration::from_secs(due)).unwrap() + SignedDuration::from_secs(put_off);
        let now = due + SignedDuration::from_secs(late);
        let mut all = vec![due];
        all.extend(std::iter::successors(calendar.next_after(due), |at| calendar.next_after(*at)).take_while(|at| *at <= now));
        let overdue = calendar.overdue(due, now, keep);
        let cut = all.len().saturating_sub(keep);
        prop_assert_eq!(&overdue.latest, &all[cut..]);
        prop_assert_eq!(overdue.left_out, i64::try_from(cut).unwrap());
        prop_assert_eq!(overdue.next, calendar.next_after(now));
    }

    #[test]
    fn nothing_that_is_written_brings_it_down(text in "[A-Z0-9=;,*/+ -]{0,60}|FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY);[A-Z0-9=;,-]{0,40}|\\PC{0,30}") {
        for recurrence in [cron(&text), rrule(&text)] {
            if let Ok(calendar) = Calendar::new(&Timing::new(recurrence, "Pacific/Chatham", at("2026-01-01T00:00:00Z"))) {
                calendar.preview(at("2026-03-01T00:00:00Z"), 3);
            }
        }
    }
}
