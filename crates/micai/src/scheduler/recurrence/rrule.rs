//! Recurrence rules of RFC 5545: the part of it that calendars use for days and longer.

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use super::YEARS_AHEAD_MAX;
use super::fault::TimingFault;
use super::wall;
use crate::domain::schedule::RRULE_CHARACTERS_MAX;

mod parse;

/// The most occurrences that `COUNT` may ask for: they are counted from the start each time.
const RULE_COUNT_MAX: i64 = 1_000;
/// The widest `INTERVAL`.
const RULE_INTERVAL_MAX: i64 = 1_000;
/// Days before a day that some day may have moved from, and periods that are looked at again.
const PERIODS_BACK: i64 = 2;

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// Until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Instant(Timestamp),
    Wall(DateTime),
}

/// A day of the week, and which of them in its month or year; counted from the end where it is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ByDay {
    place: Option<i64>,
    weekday: Weekday,
}

/// A rule that has been understood, with its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rrule {
    start: DateTime,
    frequency: Frequency,
    interval: i64,
    count: Option<i64>,
    until: Option<Until>,
    months: Vec<i8>,
    month_days: Vec<i8>,
    days: Vec<ByDay>,
    hours: Vec<i8>,
    minutes: Vec<i8>,
    places: Vec<i64>,
    week_start: Weekday,
}

impl Rrule {
    /// Understands a rule that starts at an instant.
    pub fn parse(text: &str, starts_at: Timestamp, zone: &TimeZone) -> Result<Self, TimingFault> {
        if text.len() > RRULE_CHARACTERS_MAX {
            return Err(TimingFault::new("rrule", format!("is longer than {RRULE_CHARACTERS_MAX} characters")));
        }
        parse::parse(text, zone.to_datetime(starts_at)).map_err(|sentence| TimingFault::new("rrule", sentence))
    }

    /// The first time after `after`.
    pub fn next_after(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let shown = zone.to_datetime(after);
        let end = shown.max(self.start).checked_add(YEARS_AHEAD_MAX.years()).ok()?.date();
        let mut period = match self.count {
            // What has been counted can only be known from the start.
            Some(_) => 0,
            None => self.steps_until(shown.date()),
        };
        let mut seen = 0;
        loop {
            let first_day = self.first_day(period * self.interval)?;
            if first_day > end {
                return None;
            }
            for at in self.occurrences(first_day) {
                seen += 1;
                if self.count.is_some_and(|count| seen > count) {
                    return None;
                }
                let instant = wall::instant(zone, at)?;
                let is_past = self.until.is_some_and(|until| match until {
                    Until::Instant(until) => instant > until,
                    Until::Wall(until) => at > until,
                });
                if is_past {
                    return None;
                }
                if instant > after {
                    return Some(instant);
                }
            }
            period += 1;
        }
    }

    /// How many intervals have certainly passed before this day.
    fn steps_until(&self, day: Date) -> i64 {
        let start = self.start.date();
        let months = |date: Date| i64::from(date.year()) * 12 + i64::from(date.month());
        let passed = match self.frequency {
            Frequency::Daily => day_number(day) - day_number(start),
            Frequency::Weekly => (day_number(day) - day_number(self.week_of(start))).div_euclid(7),
            Frequency::Monthly => months(day) - months(start),
            Frequency::Yearly => i64::from(day.year()) - i64::from(start.year()),
        };
        (passed.div_euclid(self.interval) - PERIODS_BACK).max(0)
    }

    /// The first day of the period that lies so many days, weeks, months or years behind that of the start.
    fn first_day(&self, passed: i64) -> Option<Date> {
        let start = self.start.date();
        match self.frequency {
            Frequency::Daily => start.checked_add(passed.days()).ok(),
            Frequency::Weekly => self.week_of(start).checked_add(passed.weeks()).ok(),
            Frequency::Monthly => start.first_of_month().checked_add(passed.months()).ok(),
            Frequency::Yearly => start.first_of_year().checked_add(passed.years()).ok(),
        }
    }

    fn week_of(&self, date: Date) -> Date {
        let into_week = date.weekday().since(self.week_start);
        date.checked_sub(i64::from(into_week).days()).unwrap_or(date)
    }

    /// The times on the wall in the period that begins with this day, in order.
    fn occurrences(&self, first_day: Date) -> Vec<DateTime> {
        let days = match self.frequency {
            Frequency::Daily => vec![first_day],
            Frequency::Weekly => self.days_of_week(first_day),
            Frequency::Monthly => self.days_of_month(first_day),
            Frequency::Yearly => self.days_of_year(first_day),
        };
        let times = |day: Date| {
            let second = self.start.second();
            let at = move |hour: i8, minute: i8| day.at(hour, minute, second, 0);
            self.hours.iter().flat_map(move |hour| self.minutes.iter().map(move |minute| at(*hour, *minute)))
        };
        let all: Vec<DateTime> = days.into_iter().filter(|day| self.allows(*day)).flat_map(times).collect();
        let picked = match self.places.is_empty() {
            true => all,
            false => self.pick(&all),
        };
        picked.into_iter().filter(|at| *at >= self.start_without_fraction()).collect()
    }

    fn start_without_fraction(&self) -> DateTime {
        let start = self.start;
        start.date().at(start.hour(), start.minute(), start.second(), 0)
    }

    /// What limits every frequency alike.
    fn allows(&self, day: Date) -> bool {
        let month = self.months.is_empty() || self.months.contains(&day.month());
        let last = day.days_in_month();
        let month_day = self.month_days.is_empty()
            || self.month_days.iter().any(|wanted| *wanted == day.day() || *wanted + last + 1 == day.day());
        let by_day = |wanted: &ByDay| wanted.place.is_some() || wanted.weekday == day.weekday();
        let weekday = self.days.is_empty() || self.days.iter().any(by_day);
        month && month_day && weekday
    }

    fn pick(&self, all: &[DateTime]) -> Vec<DateTime> {
        let count = i64::try_from(all.len()).unwrap_or(i64::MAX);
        let index = |place: i64| if place > 0 { place - 1 } else { count + place };
        let mut places: Vec<usize> =
            self.places.iter().filter_map(|place| usize::try_from(index(*place)).ok()).collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().filter_map(|place| all.get(place).copied()).collect()
    }

    fn days_of_week(&self, first_day: Date) -> Vec<Date> {
        let days = span_of_days(first_day, 7);
        match self.days.is_empty() {
            true => days.into_iter().filter(|day| day.weekday() == self.start.weekday()).collect(),
            false => days,
        }
    }

    fn days_of_month(&self, first_day: Date) -> Vec<Date> {
        let days = span_of_days(first_day, i64::from(first_day.days_in_month()));
        self.days_of_span(&days)
    }

    fn days_of_year(&self, first_day: Date) -> Vec<Date> {
        if self.months.is_empty() && self.month_days.is_empty() && !self.days.is_empty() {
            return self.days_of_span(&span_of_days(first_day, i64::from(first_day.days_in_year())));
        }
        let own = [self.start.month()];
        let months: &[i8] = match self.months.as_slice() {
            [] if self.month_days.is_empty() => &own,
            [] => &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
            months => months,
        };
        let month = |month: &i8| Date::new(first_day.year(), *month, 1).ok();
        months.iter().filter_map(month).flat_map(|first| self.days_of_month(first)).collect()
    }

    /// The days of a month or year that the rule names. Where it names none, the day of the start.
    fn days_of_span(&self, days: &[Date]) -> Vec<Date> {
        if self.month_days.is_empty() && self.days.is_empty() {
            return days.iter().filter(|day| day.day() == self.start.day()).copied().collect();
        }
        if !self.month_days.is_empty() {
            return days.to_vec();
        }
        let named = |wanted: &ByDay| {
            let same: Vec<Date> = days.iter().filter(|day| day.weekday() == wanted.weekday).copied().collect();
            match wanted.place {
                None => same,
                Some(place) => {
                    let count = i64::try_from(same.len()).unwrap_or(i64::MAX);
                    let index = if place > 0 { place - 1 } else { count + place };
                    usize::try_from(index).ok().and_then(|index| same.get(index).copied()).into_iter().collect()
                }
            }
        };
        let mut all: Vec<Date> = self.days.iter().flat_map(named).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

fn span_of_days(first_day: Date, count: i64) -> Vec<Date> {
    (0..count).filter_map(|day| first_day.checked_add(day.days()).ok()).collect()
}

/// Days since the first of January 1970.
fn day_number(date: Date) -> i64 {
    let epoch = jiff::civil::date(1970, 1, 1);
    date.duration_since(epoch).as_hours() / 24
}
