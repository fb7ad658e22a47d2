//! The text of a recurrence rule.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time, Weekday};

use super::{ByDay, Frequency, RULE_COUNT_MAX, RULE_INTERVAL_MAX, Rrule, Until};

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("MO", Weekday::Monday),
    ("TU", Weekday::Tuesday),
    ("WE", Weekday::Wednesday),
    ("TH", Weekday::Thursday),
    ("FR", Weekday::Friday),
    ("SA", Weekday::Saturday),
    ("SU", Weekday::Sunday),
];
const EXAMPLE: &str = "such as FREQ=WEEKLY;BYDAY=MO,FR";

/// A rule from its text; the error is to be read behind the field's name.
pub(super) fn parse(text: &str, start: DateTime) -> Result<Rrule, String> {
    let mut parts = Parts::read(text)?;
    let frequency = frequency(parts.take("FREQ").ok_or(format!("has no FREQ; it is a rule {EXAMPLE}"))?)?;
    let (count, until) = (parts.take("COUNT"), parts.take("UNTIL"));
    if count.is_some() && until.is_some() {
        return Err("has COUNT and UNTIL; give one of the two".to_owned());
    }
    let one = |list: Vec<i8>, own: i8| if list.is_empty() { vec![own] } else { list };
    let rule = Rrule {
        start,
        frequency,
        interval: parts.take("INTERVAL").map_or(Ok(1), |value| number("INTERVAL", value, 1, RULE_INTERVAL_MAX))?,
        count: count.map(|value| number("COUNT", value, 1, RULE_COUNT_MAX)).transpose()?,
        until: until.map(read_until).transpose()?,
        months: parts.list("BYMONTH", 1, 12, false)?,
        month_days: parts.list("BYMONTHDAY", 1, 31, true)?,
        days: parts.take("BYDAY").map_or(Ok(Vec::new()), by_day)?,
        hours: one(parts.list("BYHOUR", 0, 23, false)?, start.hour()),
        minutes: one(parts.list("BYMINUTE", 0, 59, false)?, start.minute()),
        places: parts.places()?,
        week_start: parts.take("WKST").map_or(Ok(Weekday::Monday), weekday)?,
    };
    parts.none_left()?;
    fits_together(&rule)?;
    Ok(rule)
}

/// What RFC 5545 does not allow beside each other, or leaves open.
fn fits_together(rule: &Rrule) -> Result<(), String> {
    let has_places = rule.days.iter().any(|day| day.place.is_some());
    let by_month_or_year = matches!(rule.frequency, Frequency::Monthly | Frequency::Yearly);
    let says = |sentence: &str| Err(sentence.to_owned());
    if has_places && !by_month_or_year {
        return says("has a number before a day in BYDAY, which goes with FREQ=MONTHLY and FREQ=YEARLY only");
    }
    if has_places && !rule.month_days.is_empty() {
        return says("has BYMONTHDAY beside a number before a day in BYDAY; give one of the two");
    }
    if rule.frequency == Frequency::Weekly && !rule.month_days.is_empty() {
        return says("has BYMONTHDAY, which does not go with FREQ=WEEKLY");
    }
    if !rule.places.is_empty() && rule.days.is_empty() && rule.month_days.is_empty() && rule.months.is_empty() {
        return says("has BYSETPOS without days to choose from; add BYDAY, BYMONTHDAY or BYMONTH");
    }
    Ok(())
}

/// `NAME=value` after `NAME=value`.
struct Parts<'a>(BTreeMap<String, &'a str>);

impl<'a> Parts<'a> {
    fn read(text: &'a str) -> Result<Self, String> {
        let text = text.trim();
        let text = text.strip_prefix("RRULE:").unwrap_or(text);
        if text.contains(['\n', '\r']) {
            return Err(format!("has several lines; give the rule alone, {EXAMPLE}"));
        }
        let mut parts = BTreeMap::new();
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let Some((name, value)) = part.split_once('=') else {
                return Err(format!("has {part:?}, which is no NAME=value; it is a rule {EXAMPLE}"));
            };
            let name = name.trim().to_ascii_uppercase();
            if parts.insert(name.clone(), value.trim()).is_some() {
                return Err(format!("has {name} twice"));
            }
        }
        Ok(Self(parts))
    }

    fn take(&mut self, name: &str) -> Option<&'a str> {
        self.0.remove(name)
    }

    /// Numbers with commas between them, in order, each once.
    fn list(&mut self, name: &str, least: i64, most: i64, from_the_end: bool) -> Result<Vec<i8>, String> {
        let Some(value) = self.take(name) else { return Ok(Vec::new()) };
        let read = |part: &str| match (from_the_end, part.strip_prefix('-')) {
            (true, Some(rest)) => number(name, rest, least, most).map(|number| -number),
            _ => number(name, part.strip_prefix('+').unwrap_or(part), least, most),
        };
        let mut numbers: Vec<i8> = Vec::new();
        for part in value.split(',') {
            numbers.push(i8::try_from(read(part)?).map_err(|error| error.to_string())?);
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    fn places(&mut self) -> Result<Vec<i64>, String> {
        let Some(value) = self.take("BYSETPOS") else { return Ok(Vec::new()) };
        let read = |part: &str| match part.strip_prefix('-') {
            Some(rest) => number("BYSETPOS", rest, 1, 366).map(|number| -number),
            None => number("BYSETPOS", part.strip_prefix('+').unwrap_or(part), 1, 366),
        };
        value.split(',').map(read).collect()
    }

    fn none_left(&self) -> Result<(), String> {
        match self.0.keys().next().map(String::as_str) {
            None => Ok(()),
            Some("DTSTART") => Err("has DTSTART; the schedule's own start takes its place".to_owned()),
            Some(name) => Err(format!(
                "has {name}, which is not known here; FREQ, INTERVAL, COUNT, UNTIL, BYMONTH, BYMONTHDAY, BYDAY, BYHOUR, \
                 BYMINUTE, BYSETPOS and WKST are"
            )),
        }
    }
}

fn frequency(value: &str) -> Result<Frequency, String> {
    match value.to_ascii_uppercase().as_str() {
        "DAILY" => Ok(Frequency::Daily),
        "WEEKLY" => Ok(Frequency::Weekly),
        "MONTHLY" => Ok(Frequency::Monthly),
        "YEARLY" => Ok(Frequency::Yearly),
        "HOURLY" | "MINUTELY" | "SECONDLY" => {
            Err(format!("has FREQ={value}, which is not known here; use an interval in minutes or a cron expression"))
        }
        _ => Err(format!("has FREQ={value}; it must be DAILY, WEEKLY, MONTHLY or YEARLY")),
    }
}

fn number(name: &str, text: &str, least: i64, most: i64) -> Result<i64, String> {
    let read = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    read.filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("has {text:?} in {name}; it must be a number from {least} to {most}"))
}

fn weekday(value: &str) -> Result<Weekday, String> {
    let found = WEEKDAYS.iter().find(|(name, _)| name.eq_ignore_ascii_case(value));
    found
        .map(|(_, weekday)| *weekday)
        .ok_or_else(|| format!("has the day {value:?}; days are MO, TU, WE, TH, FR, SA, SU"))
}

fn by_day(value: &str) -> Result<Vec<ByDay>, String> {
    let mut days = Vec::new();
    for part in value.split(',') {
        let split = part.len().saturating_sub(2);
        let (place, name) = part.split_at_checked(split).unwrap_or(("", part));
        let place = match place {
            "" => None,
            place => {
                let (sign, digits) = match place.strip_prefix('-') {
                    Some(digits) => (-1, digits),
                    None => (1, place.strip_prefix('+').unwrap_or(place)),
                };
                Some(sign * number("BYDAY", digits, 1, 53)?)
            }
        };
        let day = ByDay { place, weekday: weekday(name)? };
        if !days.contains(&day) {
            days.push(day);
        }
    }
    Ok(days)
}

/// `20261231`, `20261231T090000` or `20261231T080000Z`.
fn read_until(value: &str) -> Result<Until, String> {
    let wrong = || format!("has UNTIL={value}; write it as 20261231, 20261231T090000 or 20261231T080000Z");
    let digits = |from: usize, to: usize| {
        let text = value.get(from..to).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
        text.parse::<i16>().ok()
    };
    let small = |from, to| digits(from, to).and_then(|number| i8::try_from(number).ok());
    let date = || Date::new(digits(0, 4)?, small(4, 6)?, small(6, 8)?).ok();
    let time = || Time::new(small(9, 11)?, small(11, 13)?, small(13, 15)?, 0).ok();
    let (date, rest) = (date().ok_or_else(wrong)?, value.get(8..).unwrap_or_default());
    match (rest.len(), rest.starts_with('T')) {
        // The whole of that day.
        (0, _) => Ok(Until::Wall(date.to_datetime(Time::MAX))),
        (7, true) => Ok(Until::Wall(date.to_datetime(time().ok_or_else(wrong)?))),
        (8, true) if rest.ends_with('Z') => {
            let at = date.to_datetime(time().ok_or_else(wrong)?);
            let at: Timestamp = jiff::tz::Offset::UTC.to_timestamp(at).map_err(|_| wrong())?;
            Ok(Until::Instant(at))
        }
        _ => Err(wrong()),
    }
}
