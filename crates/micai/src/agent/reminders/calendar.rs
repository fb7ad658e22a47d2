//! From what was said to instants: by the calendar and the clock on the wall of a zone.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Span as JiffSpan, Timestamp, Zoned};

use super::ask::AskReason;
use super::pieces::{Clock, Day, DayPart, Reading, Span, Vague, When};
use super::rhythm::{Again, again};

/// How far ahead a reminder may lie, in days: five years.
pub const AHEAD_DAYS_MAX: i64 = 5 * 366;
/// The time of the day where none is said.
pub(super) const USUAL_TIME: Time = Time::constant(9, 0, 0, 0);

/// When a reminder comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// How it comes again.
    pub again: Again,
    /// When it comes first.
    pub first: Timestamp,
    /// Nothing comes after then.
    pub ends_at: Option<Timestamp>,
    /// How often it comes at most.
    pub count: Option<i64>,
    /// Whose clock on the wall: an IANA name.
    pub zone: String,
}

/// The instant of a time on the wall: one that does not exist moves forward to the first that does, one that comes twice is the
/// first of both.
pub(super) fn instant(wall: DateTime, zone: &TimeZone) -> Result<Timestamp, AskReason> {
    let ambiguous = zone.to_ambiguous_timestamp(wall);
    if let AmbiguousOffset::Gap { before, .. } = ambiguous.offset() {
        // By the old offset the time lies behind the change: the change itself is the first instant that there is.
        let behind = before.to_timestamp(wall).map_err(|_| AskReason::TooFar)? + SignedDuration::from_secs(1);
        if let Some(change) = zone.preceding(behind).next() {
            return Ok(change.timestamp());
        }
    }
    ambiguous.compatible().map_err(|_| AskReason::TooFar)
}

/// Resolves what was said.
///
/// # Errors
/// [`AskReason`] for what cannot be, is over, too far, too often, or could mean two things.
pub(super) fn resolve(when: &When, now: Timestamp, zone: &TimeZone, zone_name: &str) -> Result<Happening, AskReason> {
    if let Some(vague) = when.vague {
        return Err(of_vague(vague));
    }
    let present = now.to_zoned(zone.clone());
    let happening = match &when.repeat {
        Some(repeat) => again(when, repeat, &present)?,
        None => once(when, &present)?,
    };
    if happening.first <= now {
        return Err(AskReason::Past);
    }
    if happening.first.duration_since(now) > SignedDuration::from_hours(24 * AHEAD_DAYS_MAX) {
        return Err(AskReason::TooFar);
    }
    if happening.ends_at.is_some_and(|end| end < happening.first) {
        return Err(AskReason::Mixed);
    }
    Ok(Happening { zone: zone_name.to_owned(), ..happening })
}

fn of_vague(vague: Vague) -> AskReason {
    match vague {
        Vague::Soon => AskReason::Soon,
        Vague::WhichDay => AskReason::WhichDay,
        Vague::WhichTime => AskReason::WhichTime,
        Vague::OneTimeOnly => AskReason::OneTimeOnly,
        Vague::WhichUnit => AskReason::WhichUnit,
        Vague::Deadline => AskReason::Deadline,
    }
}

pub(super) fn at(first: Timestamp) -> Happening {
    Happening { again: Again::Never, first, ends_at: None, count: None, zone: String::new() }
}

fn once(when: &When, present: &Zoned) -> Result<Happening, AskReason> {
    let zone = present.time_zone();
    if let Some(span) = when.span {
        if when.day.is_some() {
            return Err(AskReason::Mixed);
        }
        let has_hour = when.clock.is_some() || when.part.is_some();
        if has_hour {
            // "In 3 days at 9" names a day; "in 2 hours at 9" two times.
            let day = span.is_by_days().then(|| plus(present, span)).ok_or(AskReason::Mixed)??.date();
            return Ok(at(instant(day.to_datetime(time_on_a_day(when)?), zone)?));
        }
        if span.is_zero() {
            return Err(AskReason::Zero);
        }
        return Ok(at(plus(present, span)?.timestamp()));
    }
    let Some(said) = when.day else {
        let moment = next_hour(when, present)?;
        return Ok(at(moment));
    };
    let days = days_of(said, when.weekday, present.date())?;
    if said == Day::FromToday(0) {
        return Ok(at(today(when, present)?));
    }
    let is_midnight = when.clock.is_some_and(|clock| clock.is_midnight);
    if is_midnight {
        return Err(AskReason::WhichMidnight);
    }
    let time = time_on_a_day(when)?;
    let mut last = Err(AskReason::Past);
    // The first of the days that may be meant and is still to come.
    for day in days {
        let moment = instant(day.to_datetime(time), zone)?;
        if moment > present.timestamp() {
            return Ok(at(moment));
        }
        last = Err(AskReason::Past);
    }
    last
}

pub(super) fn plus(present: &Zoned, span: Span) -> Result<Zoned, AskReason> {
    let too_far = |_| AskReason::TooFar;
    let fits = span.months <= 12 * 20 && span.days <= 20 * 366 && span.seconds <= 20 * 366 * 86_400;
    if !fits {
        return Err(AskReason::TooFar);
    }
    let calendar = JiffSpan::new()
        .try_months(span.months)
        .and_then(|span_so_far| span_so_far.try_days(span.days))
        .map_err(too_far)?;
    let day = present.checked_add(calendar).map_err(too_far)?;
    day.checked_add(SignedDuration::from_secs(span.seconds)).map_err(too_far)
}

/// The time of the day on a day that was named.
pub(super) fn time_on_a_day(when: &When) -> Result<Time, AskReason> {
    let Some(clock) = when.clock else {
        return Ok(when.part.and_then(DayPart::usual_time).unwrap_or(USUAL_TIME));
    };
    match clock.reading() {
        Reading::One(time) => Ok(time),
        // Seven to eleven is the morning and twelve is noon, as people say them; one to six may be either.
        Reading::Either(early, _) if early.hour() >= 7 => Ok(early),
        Reading::Either(early, late) if early.hour() == 0 => Ok(late),
        Reading::Either(early, late) => Err(AskReason::WhichHalf(early, late)),
        Reading::Never => Err(AskReason::NoSuchTime),
    }
}

/// "Today", "tonight", "this afternoon".
fn today(when: &When, present: &Zoned) -> Result<Timestamp, AskReason> {
    let (zone, day) = (present.time_zone(), present.date());
    let Some(clock) = when.clock else {
        let Some(time) = when.part.and_then(DayPart::usual_time) else { return Err(AskReason::WhichTime) };
        return instant(day.to_datetime(time), zone);
    };
    if clock.is_midnight {
        return instant(tomorrow(day)?.to_datetime(Time::midnight()), zone);
    }
    match clock.reading() {
        Reading::One(time) => {
            let moment = instant(day.to_datetime(time), zone)?;
            // "Tonight at 1" is after midnight.
            let is_after_midnight = clock.part == Some(DayPart::Night) && time.hour() <= 5;
            if is_after_midnight && moment <= present.timestamp() {
                return instant(tomorrow(day)?.to_datetime(time), zone);
            }
            Ok(moment)
        }
        Reading::Either(early, late) => {
            let moments = [instant(day.to_datetime(early), zone)?, instant(day.to_datetime(late), zone)?];
            moments.into_iter().find(|moment| *moment > present.timestamp()).ok_or(AskReason::Past)
        }
        Reading::Never => Err(AskReason::NoSuchTime),
    }
}

/// An hour without a day: the next one.
fn next_hour(when: &When, present: &Zoned) -> Result<Timestamp, AskReason> {
    let (zone, day, now) = (present.time_zone(), present.date(), present.timestamp());
    let next = tomorrow(day)?;
    let soonest = |time: Time| -> Result<Timestamp, AskReason> {
        let moment = instant(day.to_datetime(time), zone)?;
        if moment > now { Ok(moment) } else { instant(next.to_datetime(time), zone) }
    };
    let Some(clock) = when.clock else {
        return soonest(when.part.and_then(DayPart::usual_time).ok_or(AskReason::WhenMissing)?);
    };
    match clock.reading() {
        Reading::One(time) => soonest(time),
        Reading::Either(early, late) => {
            for time in [early, late] {
                let moment = instant(day.to_datetime(time), zone)?;
                if moment > now {
                    return Ok(moment);
                }
            }
            // Nothing of it is left today: as on a day that was named, but twelve may be the coming midnight.
            match early.hour() {
                0 => Err(AskReason::WhichHalf(early, late)),
                _ => instant(next.to_datetime(time_on_a_day(when)?), zone),
            }
        }
        Reading::Never => Err(AskReason::NoSuchTime),
    }
}

pub(super) fn tomorrow(day: Date) -> Result<Date, AskReason> {
    day.tomorrow().map_err(|_| AskReason::TooFar)
}

fn after(day: Date, days: i64) -> Result<Date, AskReason> {
    let span = JiffSpan::new().try_days(days).map_err(|_| AskReason::TooFar)?;
    day.checked_add(span).map_err(|_| AskReason::TooFar)
}

/// The days that may be meant, the soonest first: the first that is still to come counts.
pub(super) fn days_of(said: Day, weekday: Option<i8>, today: Date) -> Result<Vec<Date>, AskReason> {
    let this = i64::from(today.weekday().to_monday_one_offset());
    let ahead = |weekday: i8| (i64::from(weekday) - this).rem_euclid(7);
    let days = match said {
        Day::FromToday(days) => vec![after(today, days)?],
        Day::Weekday(weekday) => vec![after(today, ahead(weekday))?, after(today, ahead(weekday) + 7)?],
        Day::ThisWeekday(weekday) => vec![after(today, i64::from(weekday) - this)?],
        Day::NextWeekday(weekday) => {
            let ahead = ahead(weekday);
            let is_this_week = i64::from(weekday) > this;
            // Said on a Wednesday, "next Friday" is in two days for some and in nine for others.
            if is_this_week {
                return Err(AskReason::WhichWeek(after(today, ahead)?, after(today, ahead + 7)?));
            }
            vec![after(today, if ahead == 0 { 7 } else { ahead })?]
        }
        Day::WeekdayNextWeek(weekday) => vec![after(today, i64::from(weekday) - this + 7)?],
        Day::Date { day, month, year } => in_years(day, month, year, today)?,
        Day::Numbers { first, second, year } => {
            let month = |number: i64| i8::try_from(number).ok().filter(|month| (1..=12).contains(month));
            match (month(first), month(second)) {
                (Some(_), Some(_)) if first != second => return Err(AskReason::WhichOrder),
                (_, Some(month)) => in_years(first, month, year, today)?,
                (Some(month), None) => in_years(second, month, year, today)?,
                (None, None) => return Err(AskReason::NoSuchDay),
            }
        }
        Day::OfMonth { day, next_month } => in_months(today, next_month, |first| day_of(first, day))?,
        Day::LastOfMonth { next_month } => in_months(today, next_month, |first| Some(first.last_of_month()))?,
    };
    match weekday {
        Some(weekday) if days.first().is_some_and(|day| day.weekday().to_monday_one_offset() != weekday) => {
            let agreeing: Vec<Date> =
                days.into_iter().filter(|day| day.weekday().to_monday_one_offset() == weekday).collect();
            if agreeing.is_empty() { Err(AskReason::Mixed) } else { Ok(agreeing) }
        }
        _ => Ok(days),
    }
}

/// A day of a month in the year that was said, or in this and the following ones.
fn in_years(day: i64, month: i8, year: Option<i64>, today: Date) -> Result<Vec<Date>, AskReason> {
    let leap = Date::new(2024, month, i8::try_from(day).map_err(|_| AskReason::NoSuchDay)?);
    let any = leap.map_err(|_| AskReason::NoSuchDay)?;
    if let Some(year) = year {
        let year = i16::try_from(year).map_err(|_| AskReason::TooFar)?;
        return Ok(vec![Date::new(year, month, any.day()).map_err(|_| AskReason::NoSuchDay)?]);
    }
    let years = today.year()..=today.year().saturating_add(8);
    let days: Vec<Date> = years.filter_map(|year| Date::new(year, month, any.day()).ok()).collect();
    Ok(days.into_iter().filter(|day| *day >= today).take(2).collect())
}

/// A day of this month and the following ones, or of the next.
fn in_months(today: Date, is_next: bool, pick: impl Fn(Date) -> Option<Date>) -> Result<Vec<Date>, AskReason> {
    let mut first = today.first_of_month();
    let mut days = Vec::new();
    for month in 0..4 {
        if (is_next && month == 1) || (!is_next && days.len() < 2) {
            let day = pick(first);
            // "The 31st of next month" is a day only if that month has one.
            if is_next && day.is_none() {
                return Err(AskReason::NoSuchDay);
            }
            days.extend(day.filter(|day| *day >= today));
        }
        first = after(first.last_of_month(), 1)?;
    }
    if days.is_empty() { Err(AskReason::NoSuchDay) } else { Ok(days) }
}

fn day_of(first: Date, day: i64) -> Option<Date> {
    if day == -1 {
        return Some(first.last_of_month());
    }
    Date::new(first.year(), first.month(), i8::try_from(day).ok()?).ok()
}

/// The name of a day of the week, from 1 for Monday.
pub(super) fn weekday(day: i8) -> Weekday {
    Weekday::from_monday_one_offset(day).unwrap_or(Weekday::Monday)
}

/// A time of the day that a model or an answer gives alone.
pub(super) fn clock_alone(hour: i64) -> Clock {
    Clock { hour, minute: 0, is_exact: !(1..=12).contains(&hour), is_midnight: false, part: None }
}
