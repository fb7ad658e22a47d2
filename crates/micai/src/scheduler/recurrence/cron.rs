//! Cron expressions: five fields, with names of months and days.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use super::YEARS_AHEAD_MAX;
use super::fault::TimingFault;
use super::wall;
use crate::domain::schedule::CRON_CHARACTERS_MAX;

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
/// Days of each month; February's in a leap year.
const MONTH_DAYS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// A cron expression that has been understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: Set,
    hours: Set,
    days: Set,
    months: Set,
    /// Sunday is 0.
    weekdays: Set,
    /// Whether the day of the month and that of the week are both named: then one of them is enough.
    either_day: bool,
    /// Whether the hour is left open: then it goes by the running hours.
    runs: bool,
}

/// A set of small numbers, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Set(u64);

impl Set {
    fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| self.0 >> number & 1 == 1)
    }

    fn iter(self) -> impl Iterator<Item = i8> {
        (0..60).filter(move |number| self.has(*number))
    }
}

/// One of the five.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
    /// What the first name stands for.
    first_name: u32,
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[], first_name: 0 },
    Field { name: "hour", least: 0, most: 23, names: &[], first_name: 0 },
    Field { name: "day of the month", least: 1, most: 31, names: &[], first_name: 0 },
    Field { name: "month", least: 1, most: 12, names: &MONTHS, first_name: 1 },
    Field { name: "day of the week", least: 0, most: 7, names: &DAYS, first_name: 0 },
];

impl Cron {
    pub fn parse(expression: &str) -> Result<Self, TimingFault> {
        let fault = |sentence: String| TimingFault::new("cron", sentence);
        if expression.len() > CRON_CHARACTERS_MAX {
            return Err(fault(format!("is longer than {CRON_CHARACTERS_MAX} characters")));
        }
        let words: Vec<&str> = expression.split_ascii_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = words.as_slice() else {
            return Err(fault(format!(
                "has {} fields; it must have five: minute, hour, day of the month, month, day of the week, such as \
                 `0 9 * * MON-FRI`",
                words.len()
            )));
        };
        let [of_minutes, of_hours, of_days, of_months, of_weekdays] = &FIELDS;
        let either_day = !days.starts_with('*') && !weekdays.starts_with('*');
        let runs = *hours == "*";
        let minutes = of_minutes.parse(minutes).map_err(fault)?;
        let hours = of_hours.parse(hours).map_err(fault)?;
        let days = of_days.parse(days).map_err(fault)?;
        let months = of_months.parse(months).map_err(fault)?;
        let weekdays = of_weekdays.parse(weekdays).map_err(fault)?;
        // Sunday may be written as 7.
        let weekdays = Set((weekdays.0 | weekdays.0 >> 7) & 0x7f);
        let cron = Self { minutes, hours, days, months, weekdays, either_day, runs };
        match cron.ever() {
            true => Ok(cron),
            false => Err(fault("names a day that none of its months has, so it would never happen".to_owned())),
        }
    }

    /// The first time after `after`.
    pub fn next_after(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        if self.runs { self.next_running(zone, after) } else { self.next_on_the_wall(zone, after) }
    }

    fn next_on_the_wall(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        // A day that a clock change left out may have moved to this one.
        let mut date = zone.to_datetime(after).date().checked_sub(1.day()).ok()?;
        let end = date.checked_add(YEARS_AHEAD_MAX.years()).ok()?;
        while date <= end {
            if self.has_day(date) {
                for hour in self.hours.iter() {
                    for minute in self.minutes.iter() {
                        let at = wall::instant(zone, date.at(hour, minute, 0, 0))?;
                        if at > after {
                            return Some(at);
                        }
                    }
                }
            }
            date = date.checked_add(1.day()).ok()?;
        }
        None
    }

    /// Minute after minute as they pass.
    fn next_running(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let mut at = next_minute(zone, after)?;
        let end = zone.to_datetime(after).checked_add(YEARS_AHEAD_MAX.years()).ok()?;
        loop {
            let shown = zone.to_datetime(at);
            if shown > end {
                return None;
            }
            if !self.has_day(shown.date()) {
                let tomorrow = shown.date().checked_add(1.day()).ok()?.to_datetime(jiff::civil::Time::midnight());
                // Where midnight comes twice, the day may begin before we got here.
                at = wall::instant(zone, tomorrow)?.max(next_minute(zone, at)?);
                continue;
            }
            if self.minutes.has(shown.minute()) {
                return Some(at);
            }
            at = next_minute(zone, at)?;
        }
    }

    fn has_day(&self, date: Date) -> bool {
        let day = self.days.has(date.day());
        let weekday = self.weekdays.has(date.weekday().to_sunday_zero_offset());
        self.months.has(date.month()) && if self.either_day { day || weekday } else { day && weekday }
    }

    /// Whether one of its months has one of its days.
    fn ever(&self) -> bool {
        let fits = |(month, days): (i8, u32)| self.months.has(month) && self.days.0 & ((2 << days) - 2) != 0;
        self.either_day || (1..).zip(MONTH_DAYS).any(fits)
    }
}

/// The next full minute on the wall.
fn next_minute(zone: &TimeZone, at: Timestamp) -> Option<Timestamp> {
    let shown: DateTime = zone.to_datetime(at);
    let into_minute = SignedDuration::new(i64::from(shown.second()), shown.subsec_nanosecond());
    at.checked_add(SignedDuration::from_mins(1) - into_minute).ok()
}

impl Field {
    fn parse(&self, text: &str) -> Result<Set, String> {
        let mut set = 0;
        for part in text.split(',') {
            set |= self.parse_part(part)?;
        }
        Ok(Set(set))
    }

    fn parse_part(&self, part: &str) -> Result<u64, String> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most_of_all()),
            Some((from, to)) => (self.number(from)?, self.number(to)?),
            None if step.is_some() => {
                return Err(self.fault(part, format!("say where it ends, as in `{range}-{}/…`", self.most_of_all())));
            }
            None => {
                let number = self.number(range)?;
                (number, number)
            }
        };
        if from > to {
            return Err(self.fault(part, "it ends before it begins; write two ranges with a comma between".to_owned()));
        }
        let step = match step {
            None => 1,
            Some(step) => match step.parse::<usize>() {
                Ok(step) if (1..=59).contains(&step) => step,
                _ => return Err(self.fault(part, "the step behind `/` must be a number from 1 to 59".to_owned())),
            },
        };
        Ok((from..=to).step_by(step).fold(0, |set, number| set | 1 << number))
    }

    /// Sunday is counted once where all days are meant.
    fn most_of_all(&self) -> u32 {
        if self.most == 7 { 6 } else { self.most }
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let number = match named {
            Some(place) => u32::try_from(place).ok().map(|place| place + self.first_name),
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            None => None,
        };
        number.filter(|number| (self.least..=self.most).contains(number)).ok_or_else(|| {
            let names = if self.names.is_empty() { "" } else { " or a name of three letters" };
            self.fault(text, format!("it must be a number from {} to {}{names}", self.least, self.most))
        })
    }

    fn fault(&self, text: &str, sentence: String) -> String {
        format!("does not work: {text:?} as {}: {sentence}", self.name)
    }
}
