//! What happens again and again: by minutes that pass, or by the calendar.

use jiff::civil::{Date, Time};
use jiff::{SignedDuration, Span as JiffSpan, Zoned};

use super::ask::AskReason;
use super::calendar::{AHEAD_DAYS_MAX, Happening, at, days_of, instant, plus, time_on_a_day, tomorrow};
use super::pieces::{Day, Repeat, Span, Unit, When};

/// The shortest time between two reminders of one kind.
pub const REPEAT_MINUTES_MIN: i64 = 5;
/// The most times that may be asked for.
const TIMES_MAX: i64 = 1_000;

const NAMES: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];

/// 1 is Monday.
fn weekday(name: &str) -> Option<i8> {
    NAMES.iter().position(|known| *known == name).and_then(|place| i8::try_from(place + 1).ok())
}

fn numbers(list: &str) -> Option<Vec<i8>> {
    list.split(',').map(|number| number.parse().ok()).collect()
}

/// How a reminder comes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Again {
    /// Once only.
    Never,
    /// Every so many minutes.
    Minutes(i64),
    /// By the calendar.
    Calendar(Rhythm),
    /// By a rule that nobody said in words.
    Otherwise,
}

/// A rhythm by the calendar, at a time on the wall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rhythm {
    /// On which days.
    pub days: RhythmDays,
    /// Each so many days, weeks, months or years.
    pub interval: i64,
    /// When.
    pub time: Time,
}

/// The days of a rhythm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RhythmDays {
    /// Each one.
    Daily,
    /// These days of the week: 1 is Monday.
    Weekly(Vec<i8>),
    /// These days of the month; -1 is the last.
    Monthly(Vec<i8>),
    /// The first, second, … or last (-1) such day of the month.
    MonthlyWeekday {
        /// Which.
        nth: i8,
        /// 1 is Monday.
        weekday: i8,
    },
    /// This day of the year.
    Yearly {
        /// The month.
        month: i8,
        /// Its day.
        day: i8,
    },
}

impl Rhythm {
    /// As an RFC 5545 rule.
    pub fn rrule(&self) -> String {
        let name = |day: i8| usize::try_from(day - 1).ok().and_then(|place| NAMES.get(place)).copied().unwrap_or("MO");
        let list = |days: &[i8]| days.iter().map(i8::to_string).collect::<Vec<_>>().join(",");
        let (frequency, by) = match &self.days {
            RhythmDays::Daily => ("DAILY", String::new()),
            RhythmDays::Weekly(days) => {
                let days: Vec<&str> = days.iter().map(|day| name(*day)).collect();
                ("WEEKLY", format!(";BYDAY={}", days.join(",")))
            }
            RhythmDays::Monthly(days) => ("MONTHLY", format!(";BYMONTHDAY={}", list(days))),
            RhythmDays::MonthlyWeekday { nth, weekday } => ("MONTHLY", format!(";BYDAY={nth}{}", name(*weekday))),
            RhythmDays::Yearly { month, day } => ("YEARLY", format!(";BYMONTH={month};BYMONTHDAY={day}")),
        };
        let interval = if self.interval > 1 { format!(";INTERVAL={}", self.interval) } else { String::new() };
        format!("FREQ={frequency}{interval}{by};BYHOUR={};BYMINUTE={}", self.time.hour(), self.time.minute())
    }

    /// The inverse of [`Rhythm::rrule`]; nothing for a rule that says more.
    pub fn parse(rule: &str) -> Option<Self> {
        let (mut frequency, mut interval, mut hour, mut minute) = (None, 1, None, None);
        let (mut days, mut month_days, mut month) = (None, None, None);
        for part in rule.split(';') {
            let (key, value) = part.split_once('=')?;
            match key {
                "FREQ" => frequency = Some(value),
                "INTERVAL" => interval = value.parse().ok()?,
                "BYHOUR" => hour = Some(value.parse::<i8>().ok()?),
                "BYMINUTE" => minute = Some(value.parse::<i8>().ok()?),
                "BYDAY" => days = Some(value),
                "BYMONTHDAY" => month_days = Some(numbers(value)?),
                "BYMONTH" => month = Some(value.parse::<i8>().ok()?),
                _ => return None,
            }
        }
        let days = match (frequency?, days, month_days, month) {
            ("DAILY", None, None, None) => RhythmDays::Daily,
            ("WEEKLY", Some(days), None, None) => {
                RhythmDays::Weekly(days.split(',').map(weekday).collect::<Option<_>>()?)
            }
            ("MONTHLY", None, Some(days), None) => RhythmDays::Monthly(days),
            ("MONTHLY", Some(day), None, None) => {
                let (nth, name) = day.split_at_checked(day.len().checked_sub(2)?)?;
                RhythmDays::MonthlyWeekday { nth: nth.parse().ok()?, weekday: weekday(name)? }
            }
            ("YEARLY", None, Some(days), Some(month)) => match days.as_slice() {
                [day] => RhythmDays::Yearly { month, day: *day },
                _ => return None,
            },
            _ => return None,
        };
        Some(Self { days, interval, time: Time::new(hour?, minute?, 0, 0).ok()? })
    }

    /// Whether a day belongs to it, its interval left out.
    fn holds(&self, day: Date) -> bool {
        let weekday = day.weekday().to_monday_one_offset();
        match &self.days {
            RhythmDays::Daily => true,
            RhythmDays::Weekly(days) => days.contains(&weekday),
            RhythmDays::Monthly(days) => {
                days.contains(&day.day()) || (days.contains(&-1) && day.day() == day.days_in_month())
            }
            RhythmDays::MonthlyWeekday { nth, weekday: wanted } => {
                let is_last = day.day() + 7 > day.days_in_month();
                weekday == *wanted && if *nth == -1 { is_last } else { (day.day() - 1) / 7 + 1 == *nth }
            }
            RhythmDays::Yearly { month, day: wanted } => day.month() == *month && day.day() == *wanted,
        }
    }
}

pub(super) fn again(when: &When, repeat: &Repeat, present: &Zoned) -> Result<Happening, AskReason> {
    if when.span.is_some() {
        return Err(AskReason::Mixed);
    }
    let mut happening = match repeat {
        Repeat::Every { hundredths, unit: unit @ (Unit::Second | Unit::Minute | Unit::Hour) } => {
            by_the_clock(when, *hundredths, *unit, present)?
        }
        _ => by_the_calendar(when, repeat, present)?,
    };
    let zone = present.time_zone();
    if let Some(times) = when.times {
        match times {
            1..=TIMES_MAX => happening.count = Some(times),
            0 => return Err(AskReason::Zero),
            _ => return Err(AskReason::TooFar),
        }
    }
    if let Some(until) = when.until {
        let day = *days_of(until, None, present.date())?.first().ok_or(AskReason::NoSuchDay)?;
        happening.ends_at = Some(instant(day.to_datetime(Time::constant(23, 59, 59, 0)), zone)?);
    }
    if let Some(lasting) = when.lasting {
        let end = plus(&happening.first.to_zoned(zone.clone()), lasting)?.timestamp() - SignedDuration::from_secs(1);
        happening.ends_at = Some(happening.ends_at.map_or(end, |known| known.min(end)));
    }
    Ok(happening)
}

fn by_the_clock(when: &When, hundredths: i64, unit: Unit, present: &Zoned) -> Result<Happening, AskReason> {
    if when.day.is_some() || when.from.is_some() || when.clock.is_some() || when.part.is_some() {
        return Err(AskReason::Mixed);
    }
    let span = Span::of(hundredths, unit).ok_or(AskReason::Mixed)?;
    match span.seconds {
        0 => return Err(AskReason::Zero),
        seconds if seconds < REPEAT_MINUTES_MIN * 60 => return Err(AskReason::TooOften),
        seconds if seconds % 60 != 0 => return Err(AskReason::WhichUnit),
        _ => {}
    }
    if span.seconds / 60 > 366 * 24 * 60 {
        return Err(AskReason::TooFar);
    }
    let first = plus(present, span)?.timestamp();
    Ok(Happening { again: Again::Minutes(span.seconds / 60), ..at(first) })
}

fn by_the_calendar(when: &When, repeat: &Repeat, present: &Zoned) -> Result<Happening, AskReason> {
    let today = present.date();
    let time = match when.clock {
        Some(clock) if clock.is_midnight => Time::midnight(),
        _ => time_on_a_day(when)?,
    };
    let start = match when.from {
        Some(from) => *days_of(from, None, today)?.first().ok_or(AskReason::NoSuchDay)?,
        None => today,
    };
    let (rhythm, earliest) = rhythm(when, repeat, time, start, when.from.is_some())?;
    let zone = present.time_zone();
    let mut day = earliest;
    for _ in 0..AHEAD_DAYS_MAX {
        if rhythm.holds(day) {
            let moment = instant(day.to_datetime(time), zone)?;
            if moment > present.timestamp() {
                return Ok(Happening { again: Again::Calendar(rhythm), ..at(moment) });
            }
        }
        day = tomorrow(day)?;
    }
    Err(AskReason::NoSuchDay)
}

/// The rhythm, and the day before which it does not begin.
fn rhythm(when: &When, repeat: &Repeat, time: Time, start: Date, has_start: bool) -> Result<(Rhythm, Date), AskReason> {
    let of = |days: RhythmDays, interval: i64| Rhythm { days, interval, time };
    let (rhythm, earliest) = match (repeat, when.day) {
        (Repeat::Every { hundredths, unit }, day) => {
            let interval = hundredths / 100;
            match interval {
                _ if hundredths % 100 != 0 => return Err(AskReason::Mixed),
                0 => return Err(AskReason::Zero),
                _ => every(interval, *unit, day, of, start, has_start)?,
            }
        }
        (Repeat::OtherWeekday(weekday), None) => (of(RhythmDays::Weekly(vec![*weekday]), 2), start),
        (Repeat::Weekdays(days), None) => (of(RhythmDays::Weekly(days.clone()), 1), start),
        (Repeat::MonthDays(days), None) => (of(RhythmDays::Monthly(month_days(days)?), 1), start),
        (Repeat::MonthLast, None) => (of(RhythmDays::Monthly(vec![-1]), 1), start),
        (Repeat::MonthNthWeekday { nth, weekday }, None) => {
            let nth = i8::try_from(*nth).map_err(|_| AskReason::NoSuchDay)?;
            (of(RhythmDays::MonthlyWeekday { nth, weekday: *weekday }, 1), start)
        }
        (Repeat::YearDay { day, month }, None) => (of(yearly(*day, *month)?, 1), start),
        (_, Some(_)) => return Err(AskReason::Mixed),
    };
    if when.weekday.is_some() {
        return Err(AskReason::Mixed);
    }
    Ok((rhythm, earliest))
}

/// "Every 2 weeks", with a day or without: then it counts from today.
fn every(
    interval: i64,
    unit: Unit,
    day: Option<Day>,
    of: impl Fn(RhythmDays, i64) -> Rhythm,
    start: Date,
    has_start: bool,
) -> Result<(Rhythm, Date), AskReason> {
    let longest = match unit {
        Unit::Day => 1_000,
        Unit::Week => AHEAD_DAYS_MAX / 7,
        Unit::Month => 60,
        _ => 5,
    };
    if interval > longest {
        return Err(AskReason::TooFar);
    }
    let later = |months: i64, days: i64| -> Result<Date, AskReason> {
        if has_start {
            return Ok(start);
        }
        let span =
            JiffSpan::new().try_months(months).and_then(|span| span.try_days(days)).map_err(|_| AskReason::TooFar)?;
        start.checked_add(span).map_err(|_| AskReason::TooFar)
    };
    Ok(match (unit, day) {
        (Unit::Day, None) => (of(RhythmDays::Daily, interval), if interval == 1 { start } else { later(0, interval)? }),
        (Unit::Week, None) => {
            let weekday = start.weekday().to_monday_one_offset();
            (of(RhythmDays::Weekly(vec![weekday]), interval), later(0, 7 * interval)?)
        }
        (Unit::Week, Some(Day::Weekday(weekday))) => (of(RhythmDays::Weekly(vec![weekday]), interval), start),
        (Unit::Month, None) => (of(RhythmDays::Monthly(vec![start.day()]), interval), later(interval, 0)?),
        (Unit::Month, Some(Day::OfMonth { day, next_month: false })) => {
            (of(RhythmDays::Monthly(month_days(&[day])?), interval), start)
        }
        (Unit::Month, Some(Day::LastOfMonth { next_month: false })) => {
            (of(RhythmDays::Monthly(vec![-1]), interval), start)
        }
        (Unit::Year, None) => (of(yearly(i64::from(start.day()), start.month())?, interval), later(12 * interval, 0)?),
        (Unit::Year, Some(Day::Date { day, month, year: None })) => (of(yearly(day, month)?, interval), start),
        (Unit::Year, Some(Day::Numbers { first, second, year: None })) => {
            let day = *days_of(Day::Numbers { first, second, year: None }, None, start)?
                .first()
                .ok_or(AskReason::NoSuchDay)?;
            (of(yearly(i64::from(day.day()), day.month())?, interval), start)
        }
        _ => return Err(AskReason::Mixed),
    })
}

fn month_days(days: &[i64]) -> Result<Vec<i8>, AskReason> {
    let day = |day: &i64| i8::try_from(*day).ok().filter(|day| (1..=31).contains(day) || *day == -1);
    days.iter().map(day).collect::<Option<Vec<i8>>>().ok_or(AskReason::NoSuchDay)
}

fn yearly(day: i64, month: i8) -> Result<RhythmDays, AskReason> {
    let day = i8::try_from(day).map_err(|_| AskReason::NoSuchDay)?;
    Date::new(2024, month, day).map_err(|_| AskReason::NoSuchDay)?;
    Ok(RhythmDays::Yearly { month, day })
}
