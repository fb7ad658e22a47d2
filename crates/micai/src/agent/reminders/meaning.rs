//! What each kind of pattern means, once its slots have taken something.

use super::language::{ClockMeaning, DateMeaning, PieceMeaning, RepeatMeaning, SpanMeaning};
use super::pieces::{Clock, Day, DayPart, Repeat, Span, Unit, When};
use super::reader::Bound;

/// Monday to Friday.
const WORKDAYS: [i8; 5] = [1, 2, 3, 4, 5];
/// Saturday and Sunday.
const WEEKEND: [i8; 2] = [6, 7];

/// A length of time and its unit, by which longer ones go before shorter ones.
pub(super) fn span(meaning: SpanMeaning, bound: &Bound) -> Option<(Span, Unit)> {
    let unit = bound.unit.unwrap_or(Unit::Hour);
    let counted = |extra: i64| bound.hundredths.or_else(|| Some(bound.numbers.first()?.checked_mul(100)? + extra));
    let hundredths = match meaning {
        SpanMeaning::Count => counted(0)?,
        SpanMeaning::One => 100,
        SpanMeaning::Half => 50,
        SpanMeaning::Quarter => 25,
        SpanMeaning::ThreeQuarters => 75,
        SpanMeaning::CountAndHalf => counted(50)?,
        SpanMeaning::OneAndHalf => 150,
        SpanMeaning::HoursMinutes => {
            let [hours, minutes] = bound.numbers.as_slice() else { return None };
            let span = Span::of(hours.checked_mul(100)?, Unit::Hour)?.plus(Span::of(minutes * 100, Unit::Minute)?);
            return Some((span, Unit::Minute));
        }
    };
    Some((Span::of(hundredths, unit)?, unit))
}

/// A time of the day.
pub(super) fn clock(meaning: ClockMeaning, bound: &Bound) -> Option<Clock> {
    let number = |place: usize| bound.numbers.get(place).copied();
    let at = |hour: i64, minute: i64| Clock {
        hour,
        minute,
        is_exact: bound.has_zero_hour || !(1..=12).contains(&hour),
        is_midnight: false,
        part: bound.part,
    };
    let before = |hour: i64, minutes: i64| at(if hour == 1 { 12 } else { hour - 1 }, 60 - minutes);
    Some(match meaning {
        ClockMeaning::HourMinute | ClockMeaning::HourMinutePart | ClockMeaning::HourHMinute => {
            at(number(0)?, number(1)?)
        }
        ClockMeaning::HourPart | ClockMeaning::Hour => at(number(0)?, 0),
        ClockMeaning::HalfPast => at(number(0)?, 30),
        ClockMeaning::QuarterPast => at(number(0)?, 15),
        ClockMeaning::QuarterTo => before(number(0).filter(|hour| (1..=12).contains(hour))?, 15),
        ClockMeaning::MinutesPast => at(number(1)?, number(0).filter(|minutes| (1..60).contains(minutes))?),
        ClockMeaning::MinutesTo => {
            // "At 9 to one friend" is nine o'clock: only what people say on a dial is a time before the hour.
            let minutes = number(0).filter(|minutes| matches!(minutes, 5 | 10 | 20 | 25))?;
            before(number(1).filter(|hour| (1..=12).contains(hour))?, minutes)
        }
        ClockMeaning::Noon => Clock { is_exact: true, part: None, ..at(12, 0) },
        ClockMeaning::Midnight => Clock { is_midnight: true, part: None, ..at(0, 0) },
    })
}

/// A day.
pub(super) fn day(meaning: DateMeaning, bound: &Bound) -> Option<Day> {
    let weekday = bound.weekdays.first().copied();
    let number = bound.numbers.first().copied();
    Some(match meaning {
        DateMeaning::Today => Day::FromToday(0),
        DateMeaning::Tomorrow => Day::FromToday(1),
        DateMeaning::DayAfterTomorrow => Day::FromToday(2),
        DateMeaning::Yesterday => Day::FromToday(-1),
        DateMeaning::WeeksAfterToday => Day::FromToday(7),
        DateMeaning::WeeksAfterTomorrow => Day::FromToday(8),
        DateMeaning::Weekday => Day::Weekday(weekday?),
        DateMeaning::ThisWeekday => Day::ThisWeekday(weekday?),
        DateMeaning::NextWeekday => Day::NextWeekday(weekday?),
        DateMeaning::WeekdayNextWeek => Day::WeekdayNextWeek(weekday?),
        DateMeaning::DayMonth => {
            Day::Date { day: number.filter(|day| *day > 0)?, month: bound.month?, year: bound.year }
        }
        DateMeaning::Numeric => bound.day?,
        DateMeaning::DayOfMonth => Day::OfMonth { day: number.filter(|day| *day > 0)?, next_month: false },
        DateMeaning::DayOfNextMonth => Day::OfMonth { day: number.filter(|day| *day > 0)?, next_month: true },
        DateMeaning::LastOfMonth => Day::LastOfMonth { next_month: false },
        DateMeaning::LastOfNextMonth => Day::LastOfMonth { next_month: true },
    })
}

/// Something that happens again and again, and the part of the day if it was said.
pub(super) fn repeat(meaning: RepeatMeaning, bound: &Bound) -> Option<(Repeat, Option<DayPart>)> {
    let number = bound.numbers.first().copied();
    let every = |count: i64, unit: Unit| Some(Repeat::Every { hundredths: count.checked_mul(100)?, unit });
    let repeat = match meaning {
        RepeatMeaning::EveryUnit => every(1, bound.unit?)?,
        RepeatMeaning::EveryCount => every(number?, bound.unit?)?,
        RepeatMeaning::EveryOther => every(2, bound.unit?)?,
        RepeatMeaning::EveryHalf => Repeat::Every { hundredths: 50, unit: bound.unit? },
        RepeatMeaning::Minutely => every(1, Unit::Minute)?,
        RepeatMeaning::Hourly => every(1, Unit::Hour)?,
        RepeatMeaning::Daily => every(1, Unit::Day)?,
        RepeatMeaning::Weekly => every(1, Unit::Week)?,
        RepeatMeaning::Monthly => every(1, Unit::Month)?,
        RepeatMeaning::Yearly => every(1, Unit::Year)?,
        RepeatMeaning::Workdays => Repeat::Weekdays(WORKDAYS.to_vec()),
        RepeatMeaning::Weekends => Repeat::Weekdays(WEEKEND.to_vec()),
        RepeatMeaning::EveryWeekdays => {
            let mut days = bound.weekdays.clone();
            days.sort_unstable();
            days.dedup();
            Repeat::Weekdays(days)
        }
        RepeatMeaning::EveryOtherWeekday => Repeat::OtherWeekday(*bound.weekdays.first()?),
        RepeatMeaning::EveryPart => return Some((every(1, Unit::Day)?, Some(bound.part?))),
        RepeatMeaning::EveryMonthDays => {
            let mut days = bound.list.clone();
            days.sort_unstable();
            days.dedup();
            match days.as_slice() {
                [-1] => Repeat::MonthLast,
                _ => Repeat::MonthDays(days),
            }
        }
        RepeatMeaning::EveryMonthLast => Repeat::MonthLast,
        RepeatMeaning::EveryMonthNthWeekday => {
            let nth = number.filter(|nth| (1..=5).contains(nth) || *nth == -1)?;
            Repeat::MonthNthWeekday { nth, weekday: *bound.weekdays.first()? }
        }
        RepeatMeaning::EveryYearOn => Repeat::YearDay { day: number?, month: bound.month? },
        // "Every 15th" is of each month; "every second" is not.
        RepeatMeaning::EveryMonthAmbiguous => Repeat::MonthDays(vec![number.filter(|day| *day > 4)?]),
    };
    Some((repeat, None))
}

/// A piece of a time.
pub(super) fn piece(meaning: PieceMeaning, bound: &Bound) -> Option<When> {
    let number = |place: usize| bound.numbers.get(place).copied();
    let at = |hour: i64, minute: i64| Clock {
        hour,
        minute,
        is_exact: bound.has_zero_hour || !(1..=12).contains(&hour),
        is_midnight: false,
        part: None,
    };
    let mut when = When::default();
    match meaning {
        PieceMeaning::InSpan => when.span = Some(bound.span?),
        PieceMeaning::AtClock => when.clock = Some(bound.clock?),
        PieceMeaning::AtHour => when.clock = Some(at(number(0)?, 0)),
        PieceMeaning::AtHourMinute => when.clock = Some(at(number(0)?, number(1)?)),
        PieceMeaning::AtFourDigits => {
            let digits = number(0)?;
            when.clock = Some(Clock { is_exact: true, ..at(digits / 100, digits % 100) });
        }
        PieceMeaning::OnDate => when.day = Some(bound.day?),
        PieceMeaning::InPart => when.part = Some(bound.part.filter(|part| part.usual_time().is_some())?),
        PieceMeaning::ThisPart => {
            when.day = Some(Day::FromToday(0));
            when.part = Some(bound.part.filter(|part| part.usual_time().is_some())?);
        }
        PieceMeaning::Tonight => {
            when.day = Some(Day::FromToday(0));
            when.part = Some(DayPart::Night);
        }
        PieceMeaning::WeekdayPart => {
            when.day = Some(Day::Weekday(*bound.weekdays.first()?));
            when.part = Some(bound.part.filter(|part| part.usual_time().is_some())?);
        }
        PieceMeaning::Again => {
            when.repeat = Some(bound.repeat.clone()?);
            when.part = bound.repeat_part.filter(|part| part.usual_time().is_some());
        }
        PieceMeaning::UntilDate => when.until = Some(bound.day?),
        PieceMeaning::FromDate => when.from = Some(bound.day?),
        PieceMeaning::Times => when.times = Some(number(0)?),
        PieceMeaning::ForSpan => when.lasting = Some(bound.span?),
        PieceMeaning::Zone | PieceMeaning::ZoneCode => when.zone = Some(bound.zone.clone()?),
    }
    Some(when)
}
