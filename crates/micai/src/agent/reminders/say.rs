//! What is said about reminders, in the words of a language's file.

use std::collections::BTreeMap;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::Deserialize;

use super::ask::AskReason;
use super::calendar::{Happening, weekday};
use super::rhythm::{Again, Rhythm, RhythmDays};

/// Monday to Friday have a word of their own.
const WORKDAYS: [i8; 5] = [1, 2, 3, 4, 5];
/// Lines of a list of reminders.
const LIST_LINES_MAX: usize = 20;
/// Characters of a reminder in a list.
const LIST_TEXT_CHARACTERS_MAX: usize = 80;

/// The words of a language's file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Say {
    pub wake: String,
    pub alarm: String,
    something: String,
    weekdays: Vec<String>,
    months: Vec<String>,
    date: String,
    day_month: String,
    moment: String,
    last_joiner: String,
    set_once: String,
    set_again: String,
    times_only: String,
    until: String,
    left_out: String,
    leap_years: String,
    window_template: String,
    window_waits: String,
    window_template_again: String,
    window_waits_again: String,
    again: String,
    local_time_unknown: String,
    delivered: String,
    list: String,
    list_once: String,
    list_again: String,
    list_more: String,
    list_empty: String,
    cancelled: String,
    cancelled_all: String,
    cancel_unknown: String,
    cancel_which: String,
    snoozed: String,
    snooze_nothing: String,
    too_many: String,
    zone_which: String,
    zone_set: String,
    zone_is: String,
    each: BTreeMap<String, String>,
    every_count: BTreeMap<String, String>,
    nth: BTreeMap<String, String>,
    ask: BTreeMap<String, String>,
}

const RHYTHMS: [&str; 9] =
    ["minute", "hour", "day", "week", "month", "month_last", "month_weekday", "year", "workdays"];

impl Say {
    /// What is missing, a sentence each.
    pub fn faults(&self) -> Vec<String> {
        let lacking = |table: &str, map: &BTreeMap<String, String>, names: &[&str]| -> Vec<String> {
            let missing = names.iter().filter(|name| !map.contains_key(**name));
            missing.map(|name| format!("`say.{table}` has no {name}.")).collect()
        };
        let mut faults = lacking("each", &self.each, &RHYTHMS);
        faults.extend(lacking("every_count", &self.every_count, &RHYTHMS));
        faults.extend(lacking("nth", &self.nth, &["1", "2", "3", "4", "5", "last"]));
        faults.extend(lacking("ask", &self.ask, &AskReason::NAMES));
        if self.weekdays.len() != 7 || self.months.len() != 12 {
            faults.push("`say` needs seven weekdays and twelve months.".to_owned());
        }
        faults
    }
}

/// What stands outside WhatsApp's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutsideWindow {
    /// A template goes in its place.
    Template,
    /// Nothing goes: it waits.
    Waits,
}

/// A reminder in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Its number.
    pub number: i64,
    /// What it says.
    pub text: &'a str,
    /// How it comes again, in words; none: once only.
    pub rhythm: Option<String>,
    /// When it comes next.
    pub next: Timestamp,
}

/// Speaks about reminders in a language.
#[derive(Clone, Copy)]
pub struct Speaker<'a> {
    pub(super) say: &'a Say,
    /// What messages to the agent begin with: "michael: ", or nothing.
    pub(super) prefix: &'a str,
}

impl Speaker<'_> {
    fn fill(&self, template: &str, values: &[(&str, &str)]) -> String {
        fill(template, self.prefix, values)
    }

    /// A day: "Friday 27 November 2026".
    pub fn date(&self, date: Date) -> String {
        let name = |names: &[String], place: i8| {
            usize::try_from(place - 1).ok().and_then(|place| names.get(place)).cloned().unwrap_or_default()
        };
        let weekday = name(&self.say.weekdays, date.weekday().to_monday_one_offset());
        let month = name(&self.say.months, date.month());
        let (day, year) = (date.day().to_string(), date.year().to_string());
        self.fill(&self.say.date, &[("weekday", &weekday), ("day", &day), ("month", &month), ("year", &year)])
    }

    /// A moment on the wall of a zone, with the zone.
    pub fn moment(&self, at: Timestamp, zone: &str) -> String {
        let (local, zone) = local(at, zone);
        let (date, time) = (self.date(local.date()), clock(local.time()));
        self.fill(&self.say.moment, &[("date", &date), ("time", &time), ("zone", &zone)])
    }

    /// How often something comes; nothing for what comes once.
    pub fn rhythm(&self, again: &Again) -> Option<String> {
        Some(match again {
            Again::Never => return None,
            Again::Otherwise => self.again(),
            Again::Minutes(minutes) if minutes % 60 == 0 => self.every("hour", minutes / 60, &[]),
            Again::Minutes(minutes) => self.every("minute", *minutes, &[]),
            Again::Calendar(rhythm) => self.calendar(rhythm),
        })
    }

    fn every(&self, what: &str, count: i64, values: &[(&str, &str)]) -> String {
        let table = if count == 1 { &self.say.each } else { &self.say.every_count };
        let count = count.to_string();
        let mut all = vec![("count", count.as_str())];
        all.extend_from_slice(values);
        self.fill(table.get(what).map(String::as_str).unwrap_or_default(), &all)
    }

    fn calendar(&self, rhythm: &Rhythm) -> String {
        let time = clock(rhythm.time);
        let (what, days, nth) = match &rhythm.days {
            RhythmDays::Daily => ("day", String::new(), String::new()),
            RhythmDays::Weekly(days) if *days == WORKDAYS => ("workdays", String::new(), String::new()),
            RhythmDays::Weekly(days) => ("week", self.joined(days.iter().map(|day| self.weekday(*day))), String::new()),
            RhythmDays::Monthly(days) if *days == [-1] => ("month_last", String::new(), String::new()),
            RhythmDays::Monthly(days) => ("month", self.joined(days.iter().map(i8::to_string)), String::new()),
            RhythmDays::MonthlyWeekday { nth, weekday } => {
                let key = if *nth == -1 { "last".to_owned() } else { nth.to_string() };
                ("month_weekday", self.weekday(*weekday), self.say.nth.get(&key).cloned().unwrap_or_default())
            }
            RhythmDays::Yearly { month, day } => {
                let names = &self.say.months;
                let month = usize::try_from(*month - 1).ok().and_then(|place| names.get(place)).cloned();
                let values = [("day", day.to_string()), ("month", month.unwrap_or_default())];
                let values: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
                ("year", self.fill(&self.say.day_month, &values), String::new())
            }
        };
        self.every(what, rhythm.interval, &[("days", &days), ("time", &time), ("nth", &nth)])
    }

    fn weekday(&self, day: i8) -> String {
        let place = usize::try_from(weekday(day).to_monday_zero_offset()).unwrap_or_default();
        self.say.weekdays.get(place).cloned().unwrap_or_default()
    }

    fn joined(&self, names: impl Iterator<Item = String>) -> String {
        let names: Vec<String> = names.collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{}{}{last}", rest.join(", "), self.say.last_joiner),
            _ => names.concat(),
        }
    }

    /// Confirms a reminder: its number, its text, its local date, time and zone.
    pub fn confirmation(&self, number: i64, text: &str, happening: &Happening) -> String {
        let number = number.to_string();
        let moment = self.moment(happening.first, &happening.zone);
        let Some(mut rhythm) = self.rhythm(&happening.again) else {
            return self.fill(&self.say.set_once, &[("number", &number), ("text", text), ("moment", &moment)]);
        };
        if let Some(count) = happening.count {
            rhythm = self.fill(&self.say.times_only, &[("rhythm", &rhythm), ("count", &count.to_string())]);
        }
        if let Some(end) = happening.ends_at {
            let date = self.date(local(end, &happening.zone).0.date());
            rhythm = self.fill(&self.say.until, &[("rhythm", &rhythm), ("date", &date)]);
        }
        let values = [("number", number.as_str()), ("text", text), ("rhythm", &rhythm), ("moment", &moment)];
        let mut said = self.fill(&self.say.set_again, &values);
        if let Again::Calendar(rhythm) = &happening.again {
            match &rhythm.days {
                RhythmDays::Monthly(days) if days.iter().any(|day| *day > 28) => {
                    self.add(&mut said, &self.say.left_out)
                }
                RhythmDays::MonthlyWeekday { nth: 5, .. } => self.add(&mut said, &self.say.left_out),
                RhythmDays::Yearly { month: 2, day: 29 } => self.add(&mut said, &self.say.leap_years),
                _ => {}
            }
        }
        said
    }

    /// What becomes of it outside WhatsApp's window, if the person does not write after that moment.
    pub fn window(&self, outside: OutsideWindow, write_after: Timestamp, zone: &str) -> String {
        let template = match outside {
            OutsideWindow::Template => &self.say.window_template,
            OutsideWindow::Waits => &self.say.window_waits,
        };
        self.fill(template, &[("moment", &self.moment(write_after, zone))])
    }

    /// The same of what comes again and again.
    pub fn window_again(&self, outside: OutsideWindow, hours: i64) -> String {
        let template = match outside {
            OutsideWindow::Template => &self.say.window_template_again,
            OutsideWindow::Waits => &self.say.window_waits_again,
        };
        self.fill(template, &[("hours", &hours.to_string())])
    }

    fn again(&self) -> String {
        self.fill(&self.say.again, &[])
    }

    /// That the local time is not known.
    pub fn local_time_unknown(&self) -> String {
        self.fill(&self.say.local_time_unknown, &[])
    }

    /// What a reminder says when it comes.
    pub fn delivered(&self, text: &str) -> String {
        self.fill(&self.say.delivered, &[("text", text)])
    }

    /// The text of a reminder, from what it says when it comes; nothing if it speaks another language.
    pub(super) fn text_of<'t>(&self, delivered: &'t str) -> Option<&'t str> {
        let (before, after) = self.say.delivered.split_once("{text}")?;
        delivered.strip_prefix(before)?.strip_suffix(after)
    }

    /// All reminders.
    pub fn list(&self, reminders: &[Listed<'_>], zone: &str) -> String {
        let Some(first) = reminders.first() else { return self.fill(&self.say.list_empty, &[]) };
        let mut lines: Vec<String> = reminders.iter().take(LIST_LINES_MAX).map(|one| self.line(one, zone)).collect();
        if reminders.len() > LIST_LINES_MAX {
            let count = (reminders.len() - LIST_LINES_MAX).to_string();
            lines.push(self.fill(&self.say.list_more, &[("count", &count)]));
        }
        let number = first.number.to_string();
        self.fill(&self.say.list, &[("lines", &lines.join("\n")), ("number", &number), ("zone", zone)])
    }

    fn line(&self, one: &Listed<'_>, zone: &str) -> String {
        let (number, moment) = (one.number.to_string(), self.moment(one.next, zone));
        let text: String = one.text.chars().take(LIST_TEXT_CHARACTERS_MAX).collect();
        let text = if text.len() < one.text.len() { format!("{text}…") } else { text };
        let values = [("number", number.as_str()), ("text", &text), ("moment", &moment)];
        match &one.rhythm {
            Some(rhythm) => {
                let mut values = values.to_vec();
                values.push(("rhythm", rhythm));
                self.fill(&self.say.list_again, &values)
            }
            None => self.fill(&self.say.list_once, &values),
        }
    }

    /// One is given up.
    pub fn cancelled(&self, text: &str) -> String {
        self.fill(&self.say.cancelled, &[("text", text)])
    }

    /// All are given up.
    pub fn cancelled_all(&self, count: usize) -> String {
        self.fill(&self.say.cancelled_all, &[("count", &count.to_string())])
    }

    /// There is none of that number.
    pub fn cancel_unknown(&self, number: i64) -> String {
        self.fill(&self.say.cancel_unknown, &[("number", &number.to_string())])
    }

    /// It is not clear which.
    pub fn cancel_which(&self) -> String {
        self.fill(&self.say.cancel_which, &[])
    }

    /// The last one is put off.
    pub fn snoozed(&self, text: &str, until: Timestamp, zone: &str) -> String {
        self.fill(&self.say.snoozed, &[("text", text), ("moment", &self.moment(until, zone))])
    }

    /// There is none to put off.
    pub fn snooze_nothing(&self) -> String {
        self.fill(&self.say.snooze_nothing, &[])
    }

    /// No more fit.
    pub fn too_many(&self, count: usize) -> String {
        self.fill(&self.say.too_many, &[("count", &count.to_string())])
    }

    /// Asks where the person is.
    pub fn zone_which(&self) -> String {
        self.fill(&self.say.zone_which, &[])
    }

    /// From now on this zone is theirs.
    pub fn zone_set(&self, zone: &str, now: Timestamp) -> String {
        let time = clock(local(now, zone).0.time());
        self.fill(&self.say.zone_set, &[("zone", zone), ("time", &time)])
    }

    /// Which zone is theirs.
    pub fn zone_is(&self, zone: &str, now: Timestamp) -> String {
        let time = clock(local(now, zone).0.time());
        self.fill(&self.say.zone_is, &[("zone", zone), ("time", &time)])
    }

    /// Why something is asked back, with an example.
    pub fn ask(&self, why: AskReason, text: Option<&str>) -> String {
        let template = self.say.ask.get(why.name()).map(String::as_str).unwrap_or_default();
        let text = text.unwrap_or(&self.say.something);
        let (early, late) = match why {
            AskReason::WhichHalf(early, late) => (clock(early), clock(late)),
            AskReason::WhichWeek(early, late) => (self.date(early), self.date(late)),
            _ => (String::new(), String::new()),
        };
        self.fill(template, &[("text", text), ("early", &early), ("late", &late)])
    }

    fn add(&self, said: &mut String, sentence: &str) {
        said.push(' ');
        said.push_str(sentence);
    }
}

/// Puts values into a template, each slot once from left to right: what a person wrote is never read as a slot.
fn fill(template: &str, prefix: &str, values: &[(&str, &str)]) -> String {
    let mut said = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, slot)) = rest.split_once('{') {
        said.push_str(before);
        let Some((name, after)) = slot.split_once('}') else {
            said.push('{');
            rest = slot;
            continue;
        };
        match values.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => said.push_str(value),
            None if name == "prefix" => said.push_str(prefix),
            None => {}
        }
        rest = after;
    }
    said.push_str(rest);
    said
}

fn local(at: Timestamp, zone: &str) -> (Zoned, String) {
    match TimeZone::get(zone) {
        Ok(known) => (at.to_zoned(known), zone.to_owned()),
        Err(_) => (at.to_zoned(TimeZone::UTC), "UTC".to_owned()),
    }
}

fn clock(time: Time) -> String {
    format!("{:02}:{:02}", time.hour(), time.minute())
}
