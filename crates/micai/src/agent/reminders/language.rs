//! A language's file, read and compiled.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::pattern::{Pattern, Phrases, Rank};
use super::pieces::{DayPart, Unit, Vague};
use super::say::Say;

/// What is wrong with a language's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the words for reminders must be mended first:\n  - {}", .0.join("\n  - "))]
pub struct ReminderWordsError(pub Vec<String>);

/// Patterns with what they mean.
pub(super) type Table<M> = Vec<(M, Pattern)>;

macro_rules! meanings {
    ($(#[$doc:meta])* $name:ident { $($variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(super) enum $name { $($variant),* }
    };
}

meanings! {
    /// What a pattern of `span` means.
    SpanMeaning { Count, One, Half, Quarter, ThreeQuarters, CountAndHalf, OneAndHalf, HoursMinutes }
}
meanings! {
    /// What a pattern of `clock` means.
    ClockMeaning {
        HourMinute, HourMinutePart, HourPart, Hour, HourHMinute, HalfPast, QuarterPast, QuarterTo, MinutesPast, MinutesTo, Noon, Midnight,
    }
}
meanings! {
    /// What a pattern of `date` means.
    DateMeaning {
        Today, Tomorrow, DayAfterTomorrow, Yesterday, Weekday, ThisWeekday, NextWeekday, WeekdayNextWeek, DayMonth, Numeric, DayOfMonth,
        DayOfNextMonth, LastOfMonth, LastOfNextMonth, WeeksAfterTomorrow, WeeksAfterToday,
    }
}
meanings! {
    /// What a pattern of `repeat` means.
    RepeatMeaning {
        EveryUnit, EveryCount, EveryOther, EveryHalf, Minutely, Hourly, Daily, Weekly, Monthly, Yearly, Workdays, Weekends, EveryWeekdays,
        EveryOtherWeekday, EveryPart, EveryMonthDays, EveryMonthLast, EveryMonthNthWeekday, EveryYearOn, EveryMonthAmbiguous,
    }
}
meanings! {
    /// What a pattern of `piece` means.
    PieceMeaning {
        InSpan, AtClock, AtHour, AtFourDigits, AtHourMinute, OnDate, InPart, ThisPart, Tonight, WeekdayPart, Again, UntilDate, FromDate, Times, ForSpan,
        Zone, ZoneCode,
    }
}
meanings! {
    /// What a message begins with.
    Opener { Remind, Wake, Alarm, Never, OtherPerson }
}
meanings! {
    /// What a whole message asks for.
    CommandMeaning {
        List, Cancel, CancelAll, CancelLast, CancelText, Snooze, SnoozeWhen, Where, Zone, ZoneAsked,
    }
}

/// A number that counts places in a row; the last one is -1.
#[derive(Debug, Clone, Default)]
pub(super) struct Ordinals {
    pub words: Phrases<i64>,
    pub suffixes: Phrases<()>,
}

/// A language, ready to be read with.
pub(super) struct Language {
    pub code: String,
    pub opener: String,
    pub list_joiners: Phrases<()>,
    pub span_joiners: Phrases<()>,
    pub number_joiners: Phrases<()>,
    pub leading: Phrases<()>,
    pub trailing: Vec<Vec<String>>,
    pub before_time: Phrases<()>,
    pub before_text: Phrases<()>,
    pub goes_on: Phrases<()>,
    pub conditions: Phrases<()>,
    pub tells: Phrases<()>,
    pub numbers: Phrases<i64>,
    pub ordinals: Ordinals,
    pub units: Phrases<Unit>,
    pub weekdays: Phrases<i8>,
    pub plural_weekdays: Phrases<i8>,
    pub months: Phrases<i8>,
    pub parts: Phrases<DayPart>,
    pub span: Table<SpanMeaning>,
    pub clock: Table<ClockMeaning>,
    pub date: Table<DateMeaning>,
    pub repeat: Table<RepeatMeaning>,
    pub piece: Table<PieceMeaning>,
    pub vague: Table<Vague>,
    pub open: Phrases<Opener>,
    pub command: Table<CommandMeaning>,
    pub say: Say,
}

type Lists<K> = BTreeMap<K, Vec<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    code: String,
    #[serde(rename = "name")]
    _name: String,
    opener: String,
    list_joiners: Vec<String>,
    span_joiners: Vec<String>,
    number_joiners: Vec<String>,
    leading: Vec<String>,
    trailing: Vec<String>,
    before_time: Vec<String>,
    before_text: Vec<String>,
    goes_on: Vec<String>,
    conditions: Vec<String>,
    tells: Vec<String>,
    numbers: Lists<String>,
    ordinals: Lists<String>,
    units: Lists<Unit>,
    weekdays: Lists<String>,
    plural_weekdays: Lists<String>,
    months: Lists<String>,
    parts: Lists<DayPart>,
    span: Lists<SpanMeaning>,
    clock: Lists<ClockMeaning>,
    date: Lists<DateMeaning>,
    repeat: Lists<RepeatMeaning>,
    piece: Lists<PieceMeaning>,
    vague: Lists<Vague>,
    open: Lists<Opener>,
    command: Lists<CommandMeaning>,
    say: Say,
}

impl Language {
    /// Reads and compiles a file.
    ///
    /// # Errors
    /// [`ReminderWordsError`] with a sentence for each fault.
    pub fn parse(text: &str) -> Result<Self, ReminderWordsError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            ReminderWordsError(vec![format!("Line {}: {}.", before.matches('\n').count() + 1, error.message())])
        })?;
        let mut reading = Reading { faults: Vec::new() };
        let mut ordinals = file.ordinals;
        let suffixes = ordinals.remove("suffixes").unwrap_or_default();
        let last = ordinals.remove("last").unwrap_or_default();
        let mut words = reading.numbered("ordinals", ordinals, 1, 31);
        last.iter().for_each(|word| reading.add("ordinals", &mut words, word, -1));
        let language = Self {
            list_joiners: reading.plain("list_joiners", &file.list_joiners),
            span_joiners: reading.plain("span_joiners", &file.span_joiners),
            number_joiners: reading.plain("number_joiners", &file.number_joiners),
            leading: reading.plain("leading", &file.leading),
            trailing: file.trailing.iter().map(|phrase| split(phrase)).collect(),
            before_time: reading.plain("before_time", &file.before_time),
            before_text: reading.plain("before_text", &file.before_text),
            goes_on: reading.plain("goes_on", &file.goes_on),
            conditions: reading.plain("conditions", &file.conditions),
            tells: reading.plain("tells", &file.tells),
            numbers: reading.numbered("numbers", file.numbers, 0, 99),
            ordinals: Ordinals { words, suffixes: reading.plain("ordinals", &suffixes) },
            units: reading.meant("units", file.units),
            weekdays: reading.small("weekdays", file.weekdays, 7),
            plural_weekdays: reading.small("plural_weekdays", file.plural_weekdays, 7),
            months: reading.small("months", file.months, 12),
            parts: reading.meant("parts", file.parts),
            span: reading.table(file.span, Rank::Time),
            clock: reading.table(file.clock, Rank::Time),
            date: reading.table(file.date, Rank::Time),
            repeat: reading.table(file.repeat, Rank::Repeat),
            piece: reading.table(file.piece, Rank::Piece),
            vague: reading.table(file.vague, Rank::Piece),
            open: reading.meant("open", file.open),
            command: reading.table(file.command, Rank::Command),
            code: file.code,
            opener: file.opener,
            say: file.say,
        };
        reading.faults.extend(language.say.faults());
        match reading.faults.is_empty() {
            true => Ok(language),
            false => Err(ReminderWordsError(reading.faults)),
        }
    }
}

fn split(phrase: &str) -> Vec<String> {
    super::tokens::tokens(phrase).into_iter().map(|token| token.text).collect()
}

struct Reading {
    faults: Vec<String>,
}

impl Reading {
    fn add<T: Clone>(&mut self, list: &str, phrases: &mut Phrases<T>, phrase: &str, meaning: T) {
        if !phrases.add(phrase, meaning) {
            self.faults.push(format!("`{list}` lists {phrase:?}, which has no words."));
        }
    }

    fn plain(&mut self, list: &str, written: &[String]) -> Phrases<()> {
        let mut phrases = Phrases::default();
        written.iter().for_each(|phrase| self.add(list, &mut phrases, phrase, ()));
        phrases
    }

    fn meant<K: Clone + DeserializeOwned + Ord>(&mut self, list: &str, written: Lists<K>) -> Phrases<K> {
        let mut phrases = Phrases::default();
        for (meaning, words) in written {
            words.iter().for_each(|word| self.add(list, &mut phrases, word, meaning.clone()));
        }
        phrases
    }

    fn numbered(&mut self, list: &str, written: Lists<String>, least: i64, most: i64) -> Phrases<i64> {
        let mut phrases = Phrases::default();
        for (number, words) in written {
            match number.parse::<i64>().ok().filter(|number| (least..=most).contains(number)) {
                Some(number) => words.iter().for_each(|word| self.add(list, &mut phrases, word, number)),
                None => self.faults.push(format!("`{list}` has the key {number:?}: it takes {least} to {most}.")),
            }
        }
        phrases
    }

    fn small(&mut self, list: &str, written: Lists<String>, most: i8) -> Phrases<i8> {
        let mut phrases = Phrases::default();
        for (number, words) in written {
            match number.parse::<i8>().ok().filter(|number| (1..=most).contains(number)) {
                Some(number) => words.iter().for_each(|word| self.add(list, &mut phrases, word, number)),
                None => self.faults.push(format!("`{list}` has the key {number:?}: it takes 1 to {most}.")),
            }
        }
        phrases
    }

    fn table<M: Copy>(&mut self, written: Lists<M>, rank: Rank) -> Table<M> {
        let mut table = Vec::new();
        for (meaning, patterns) in written {
            for pattern in patterns {
                match Pattern::compile(&pattern, rank) {
                    Ok(pattern) => table.push((meaning, pattern)),
                    Err(fault) => self.faults.push(format!("{fault}.")),
                }
            }
        }
        table
    }
}
