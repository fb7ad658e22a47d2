//! What a time is made of, as it was said: not yet a day in a calendar, and the same in every language.

use jiff::civil::Time;
use serde::{Deserialize, Serialize};

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

/// A part of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DayPart {
    /// Before noon.
    Am,
    /// After noon.
    Pm,
    /// The morning.
    Morning,
    /// The afternoon.
    Afternoon,
    /// The evening.
    Evening,
    /// The night, which goes on past midnight.
    Night,
}

impl DayPart {
    /// The time that stands for it where no hour is said; none for `am` and `pm`, which only go with an hour.
    pub(super) fn usual_time(self) -> Option<Time> {
        match self {
            Self::Am | Self::Pm => None,
            Self::Morning => Some(Time::constant(9, 0, 0, 0)),
            Self::Afternoon => Some(Time::constant(15, 0, 0, 0)),
            Self::Evening => Some(Time::constant(19, 0, 0, 0)),
            Self::Night => Some(Time::constant(20, 0, 0, 0)),
        }
    }

    /// Whether an hour of 0 to 23 lies in it.
    fn holds(self, hour: i8) -> bool {
        match self {
            Self::Am => hour < 12,
            Self::Pm => hour >= 12,
            Self::Morning => (1..=12).contains(&hour),
            // Where the evening has no word of its own, eight is still in the afternoon.
            Self::Afternoon => (12..=20).contains(&hour),
            Self::Evening => (16..=23).contains(&hour),
            Self::Night => hour >= 18 || hour <= 5,
        }
    }
}

/// A time of the day as it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    /// As said: 0 to 99.
    pub hour: i64,
    /// As said: 0 to 99.
    pub minute: i64,
    /// It cannot mean another half of the day, as 17:00, 05:00 and noon cannot.
    pub is_exact: bool,
    /// `midnight`: the end of a day or its beginning.
    pub is_midnight: bool,
    /// The part of the day that was said with it.
    pub part: Option<DayPart>,
}

/// What the words for a time of the day come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// This time.
    One(Time),
    /// One of these: before or after noon.
    Either(Time, Time),
    /// No clock shows it.
    Never,
}

impl Clock {
    /// The times that it may mean.
    pub fn reading(self) -> Reading {
        let (Ok(hour), Ok(minute)) = (i8::try_from(self.hour), i8::try_from(self.minute)) else {
            return Reading::Never;
        };
        let Ok(said) = Time::new(hour, minute, 0, 0) else { return Reading::Never };
        let is_twelve_hour = (1..=12).contains(&hour) && !self.is_exact;
        let Some(part) = self.part else {
            return match is_twelve_hour {
                true => {
                    let early = hour % 12;
                    match (Time::new(early, minute, 0, 0), Time::new(early + 12, minute, 0, 0)) {
                        (Ok(early), Ok(late)) => Reading::Either(early, late),
                        _ => Reading::Never,
                    }
                }
                false => Reading::One(said),
            };
        };
        if !is_twelve_hour {
            return if part.holds(hour) { Reading::One(said) } else { Reading::Never };
        }
        // "12 at night" and "12 am" are midnight; "12 in the afternoon" is noon.
        let early = hour % 12;
        let fitting =
            [early, early + 12].into_iter().find(|hour| part.holds(*hour) && !(part == DayPart::Morning && *hour == 0));
        match fitting.map(|hour| Time::new(hour, minute, 0, 0)) {
            Some(Ok(time)) => Reading::One(time),
            _ => Reading::Never,
        }
    }
}

/// A length of time. Days and months are the calendar's, seconds are the clock's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    /// Months; a year is twelve.
    pub months: i64,
    /// Days; a week is seven.
    pub days: i64,
    /// Seconds.
    pub seconds: i64,
}

impl Span {
    /// So many hundredths of a unit; nothing where the calendar has no such part, as of a month.
    pub fn of(hundredths: i64, unit: Unit) -> Option<Self> {
        let whole = (hundredths % 100 == 0).then_some(hundredths / 100);
        let seconds = |each: i64| Some(Self { seconds: hundredths.checked_mul(each)? / 100, ..Self::default() });
        match unit {
            Unit::Second => seconds(1),
            Unit::Minute => seconds(60),
            Unit::Hour => seconds(3_600),
            Unit::Day => match whole {
                Some(days) => Some(Self { days, ..Self::default() }),
                None => {
                    let rest = Self { days: hundredths / 100, ..Self::default() };
                    Some(Self { seconds: (hundredths % 100) * 864, ..rest })
                }
            },
            Unit::Week => Some(Self { days: whole?.checked_mul(7)?, ..Self::default() }),
            Unit::Month => Some(Self { months: whole?, ..Self::default() }),
            Unit::Year => {
                let months = hundredths.checked_mul(12)?;
                (months % 100 == 0).then_some(Self { months: months / 100, ..Self::default() })
            }
        }
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            months: self.months.saturating_add(other.months),
            days: self.days.saturating_add(other.days),
            seconds: self.seconds.saturating_add(other.seconds),
        }
    }

    /// Nothing at all.
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// Days, weeks, months and years only: it names a day rather than an instant.
    pub fn is_by_days(self) -> bool {
        self.seconds == 0 && !self.is_zero()
    }
}

/// A day as it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Day {
    /// So many days from today; negative is past.
    FromToday(i64),
    /// The next one: 1 is Monday.
    Weekday(i8),
    /// The one of this week.
    ThisWeekday(i8),
    /// "Next Monday".
    NextWeekday(i8),
    /// The one of the week after this one.
    WeekdayNextWeek(i8),
    /// A day of a month, in a year if one was said.
    Date { day: i64, month: i8, year: Option<i64> },
    /// Two numbers that may be day and month in either order.
    Numbers { first: i64, second: i64, year: Option<i64> },
    /// A day of this month or, if it is over, the next that has one; or of the month after this one.
    OfMonth { day: i64, next_month: bool },
    /// The last day of this month or of the next.
    LastOfMonth { next_month: bool },
}

/// What happens again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Every so many hundredths of a unit.
    Every { hundredths: i64, unit: Unit },
    /// On these days of each week: 1 is Monday.
    Weekdays(Vec<i8>),
    /// On this day every other week.
    OtherWeekday(i8),
    /// On these days of each month.
    MonthDays(Vec<i64>),
    /// On the last day of each month.
    MonthLast,
    /// On the first, second, …, last (-1) such day of each month.
    MonthNthWeekday { nth: i64, weekday: i8 },
    /// Each year on that day.
    YearDay { day: i64, month: i8 },
}

/// What sounds like a time and is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Vague {
    /// "Soon".
    Soon,
    /// "Next week".
    WhichDay,
    /// "After work".
    WhichTime,
    /// "Twice a day".
    OneTimeOnly,
    /// "In 5".
    WhichUnit,
    /// "By Friday".
    Deadline,
}

/// All that was said about when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct When {
    pub span: Option<Span>,
    pub day: Option<Day>,
    /// A weekday that was said with another name of the day: both have to agree.
    pub weekday: Option<i8>,
    pub clock: Option<Clock>,
    pub part: Option<DayPart>,
    pub repeat: Option<Repeat>,
    pub until: Option<Day>,
    pub from: Option<Day>,
    pub times: Option<i64>,
    /// For so long: where something happens again and again, its end.
    pub lasting: Option<Span>,
    /// Whose clock, as an IANA name.
    pub zone: Option<String>,
    pub vague: Option<Vague>,
}

impl When {
    /// Both together; nothing where they say two things about the same.
    pub fn with(&self, other: &Self) -> Option<Self> {
        let (day, weekday) = match (self.day, other.day) {
            (Some(Day::Weekday(weekday)), Some(day)) | (Some(day), Some(Day::Weekday(weekday)))
                if !matches!(
                    day,
                    Day::Weekday(_) | Day::ThisWeekday(_) | Day::NextWeekday(_) | Day::WeekdayNextWeek(_)
                ) =>
            {
                (Some(day), one(&self.weekday, &other.weekday, Some(weekday))?)
            }
            (ours, theirs) => (both(&ours, &theirs)?, both(&self.weekday, &other.weekday)?),
        };
        // "at 8" and "in the evening" are one time.
        let (clock, part) = match (self.clock, other.clock) {
            (Some(_), Some(_)) => return None,
            (Some(clock), None) => joined(clock, self.part, other.part)?,
            (None, Some(clock)) => joined(clock, other.part, self.part)?,
            (None, None) => (None, both(&self.part, &other.part)?),
        };
        Some(Self {
            span: both(&self.span, &other.span)?,
            day,
            weekday,
            clock,
            part,
            repeat: both(&self.repeat, &other.repeat)?,
            until: both(&self.until, &other.until)?,
            from: both(&self.from, &other.from)?,
            times: both(&self.times, &other.times)?,
            lasting: both(&self.lasting, &other.lasting)?,
            zone: both(&self.zone, &other.zone)?,
            vague: self.vague.or(other.vague),
        })
    }

    /// It says a moment, or how often: nothing that follows can add to it.
    pub fn is_complete(&self) -> bool {
        let has_hour = self.clock.is_some() || self.part.is_some();
        self.vague.is_some()
            || self.span.is_some_and(|span| !span.is_by_days() || has_hour)
            || (self.repeat.is_some() && (has_hour || self.is_by_the_clock()))
            || (self.day.is_some() && has_hour)
    }

    /// It says an hour and no day.
    pub fn is_hour_only(&self) -> bool {
        (self.clock.is_some() || self.part.is_some())
            && self.day.is_none()
            && self.repeat.is_none()
            && self.span.is_none()
    }

    /// Every so many minutes or hours.
    pub fn is_by_the_clock(&self) -> bool {
        matches!(self.repeat, Some(Repeat::Every { unit: Unit::Second | Unit::Minute | Unit::Hour, .. }))
    }

    /// An instant that is the same wherever the person is.
    pub fn needs_no_zone(&self) -> bool {
        let is_clock_span = self.span.is_some_and(|span| span.days == 0 && span.months == 0);
        let names_a_day = self.day.is_some() || self.until.is_some() || self.from.is_some();
        !names_a_day && self.clock.is_none() && self.part.is_none() && (is_clock_span || self.is_by_the_clock())
    }

    /// What was said, corrected by the answer to a question about it.
    pub fn answered_by(&self, answer: &Self) -> Self {
        if answer.span.is_some() || answer.repeat.is_some() {
            return answer.clone();
        }
        let mut when = Self { vague: answer.vague, ..self.clone() };
        if self.vague.is_some() {
            when = Self::default();
        }
        match (answer.clock, answer.part, when.clock) {
            // "In the afternoon" says which five o'clock it is.
            (None, Some(part), Some(clock)) => when.clock = Some(Clock { part: Some(part), ..clock }),
            (None, None, _) => {}
            (clock, part, _) => (when.clock, when.part) = (clock, part),
        }
        if answer.day.is_some() {
            (when.day, when.weekday) = (answer.day, answer.weekday);
        }
        if answer.clock.is_some() || answer.day.is_some() {
            when.span = None;
        }
        when.zone = answer.zone.clone().or(when.zone);
        when
    }

    /// Something that says when, not only where.
    pub fn is_time(&self) -> bool {
        self.vague.is_some()
            || self.span.is_some()
            || self.day.is_some()
            || self.clock.is_some()
            || self.part.is_some()
            || self.repeat.is_some()
    }
}

fn both<T: Clone>(ours: &Option<T>, theirs: &Option<T>) -> Option<Option<T>> {
    match (ours, theirs) {
        (Some(_), Some(_)) => None,
        (one, other) => Some(one.clone().or_else(|| other.clone())),
    }
}

fn one<T: Clone>(ours: &Option<T>, theirs: &Option<T>, third: Option<T>) -> Option<Option<T>> {
    let of_both = both(ours, theirs)?;
    both(&of_both, &third)
}

/// A time of the day with the part of the day that was said beside it, which is then no part of its own.
fn joined(
    mut clock: Clock,
    beside: Option<DayPart>,
    further: Option<DayPart>,
) -> Option<(Option<Clock>, Option<DayPart>)> {
    let part = both(&beside, &further)?;
    if let Some(part) = part {
        if clock.part.is_some() {
            return None;
        }
        clock.part = Some(part);
    }
    Some((Some(clock), None))
}
