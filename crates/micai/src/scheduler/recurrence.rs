//! When a schedule is due: from its timing and an instant to the next one, by the calendar. Pure.
//!
//! Cron expressions and recurrence rules speak of times on the wall of a zone. Such a time that a clock change leaves out moves
//! forward to the first that exists; one that comes twice counts the first time. A cron expression that leaves the hour open
//! (`*`) goes by the running hours instead: none is moved, and both count when one comes twice. An interval counts minutes that
//! pass, whatever the clocks do.

mod cron;
mod fault;
mod rrule;
mod wall;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::domain::schedule::{
    COUNT_MAX, INTERVAL_MINUTES_MAX, JITTER_SECONDS_MAX, MISSED_OCCURRENCES_MAX, MissedPolicy, Recurrence, Timing,
    ZONE_CHARACTERS_MAX,
};
use cron::Cron;
pub use fault::TimingFault;
use rrule::Rrule;

/// How far ahead is looked for an occurrence, in years: the rarest day comes every eight years at most, and an interval may make
/// it rarer. What is due later than that is never due.
pub const YEARS_AHEAD_MAX: i16 = 40;
/// The most occurrences that are listed at once.
pub const OCCURRENCES_LISTED_MAX: usize = 100;
/// The most missed occurrences that are counted; what was missed before is forgotten uncounted.
const MISSED_COUNTED_MAX: i64 = 10_000;
/// The smallest step between two instants that a database keeps apart.
const TICK: SignedDuration = SignedDuration::from_micros(1);

/// A timing that has been understood.
#[derive(Debug, Clone)]
pub struct Calendar {
    zone: TimeZone,
    starts_at: Timestamp,
    ends_at: Option<Timestamp>,
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    Once,
    Every(SignedDuration),
    Cron(Cron),
    Rrule(Box<Rrule>),
}

/// What has come due until now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// The latest of it, oldest first; as many as were asked for at most.
    pub latest: Vec<Timestamp>,
    /// How many came before those.
    pub left_out: i64,
    /// What comes after now.
    pub next: Option<Timestamp>,
}

impl Calendar {
    /// Understands a timing.
    ///
    /// # Errors
    /// Everything about it that cannot work.
    pub fn new(timing: &Timing) -> Result<Self, Vec<TimingFault>> {
        let mut faults = bounds(timing);
        let zone = zone(&timing.zone).map_err(|fault| faults.push(fault)).ok();
        let rule = match &timing.recurrence {
            Recurrence::Once => Ok(Rule::Once),
            Recurrence::Every { minutes } => Ok(Rule::Every(SignedDuration::from_mins(*minutes))),
            Recurrence::Cron { expression } => Cron::parse(expression).map(Rule::Cron),
            Recurrence::Rrule { rule } => match &zone {
                Some(zone) => Rrule::parse(rule, timing.starts_at, zone).map(|rule| Rule::Rrule(Box::new(rule))),
                None => Ok(Rule::Once),
            },
        };
        let rule = rule.map_err(|fault| faults.push(fault)).ok();
        match (zone, rule) {
            (Some(zone), Some(rule)) if faults.is_empty() => {
                Ok(Self { zone, starts_at: timing.starts_at, ends_at: timing.ends_at, rule })
            }
            _ => Err(faults),
        }
    }

    /// When it is due for the first time, seen from `now`. What begins in the past begins there only if it is to happen once or at
    /// intervals: for the rest the next time on the wall is the first.
    pub fn first(&self, now: Timestamp) -> Option<Timestamp> {
        match self.rule {
            Rule::Once | Rule::Every(_) => self.within(self.starts_at),
            Rule::Cron(_) | Rule::Rrule(_) => self.next_after(now.max(self.starts_at) - TICK),
        }
    }

    /// The first time after `after`.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        // Nothing is due before the start, so nothing need be looked at before it.
        let after = after.max(self.starts_at - TICK);
        let next = match &self.rule {
            Rule::Once => Some(self.starts_at).filter(|at| *at > after),
            Rule::Every(step) => every(self.starts_at, *step, after),
            Rule::Cron(cron) => cron.next_after(&self.zone, after),
            Rule::Rrule(rule) => rule.next_after(&self.zone, after),
        };
        next.and_then(|at| self.within(at))
    }

    /// The times after `after`: as many as asked for, at most [`OCCURRENCES_LISTED_MAX`].
    pub fn preview(&self, after: Timestamp, count: usize) -> Vec<Timestamp> {
        let next = |at: &Timestamp| self.next_after(*at);
        std::iter::successors(self.next_after(after), next).take(count.min(OCCURRENCES_LISTED_MAX)).collect()
    }

    /// What has come due from `due_at` on, which is one of its times, until `now`, and what comes then.
    pub fn overdue(&self, due_at: Timestamp, now: Timestamp, keep_max: usize) -> Overdue {
        if let Rule::Every(step) = &self.rule {
            return self.overdue_intervals(due_at, now, *step, keep_max);
        }
        let mut latest = std::collections::VecDeque::new();
        let (mut left_out, mut at) = (0, Some(due_at));
        while let Some(due) = at.filter(|at| *at <= now) {
            latest.push_back(due);
            if latest.len() > keep_max {
                latest.pop_front();
                left_out += 1;
            }
            at = match left_out < MISSED_COUNTED_MAX {
                true => self.next_after(due),
                // So far behind that counting costs more than it tells.
                false => self.next_after(now),
            };
        }
        Overdue { latest: latest.into(), left_out, next: at }
    }

    /// The same by arithmetic: years of minutes are no walk.
    fn overdue_intervals(&self, due_at: Timestamp, now: Timestamp, step: SignedDuration, keep_max: usize) -> Overdue {
        let end = self.ends_at.map_or(now, |end| end.min(now));
        let mut latest: Vec<Timestamp> = Vec::new();
        // One that was put off lies beside the grid: it counts as well.
        let mut at = every(self.starts_at, step, end).map(|next| next - step).filter(|last| *last > due_at);
        while let Some(due) = at.filter(|_| latest.len() < keep_max) {
            latest.push(due);
            at = due.checked_sub(step).ok().filter(|before| *before > due_at);
        }
        let room = latest.len() < keep_max;
        let behind = at.map_or(0, |at| (at.duration_since(due_at) - TICK).as_micros() / step.as_micros().max(1) + 1);
        if room {
            latest.push(due_at);
        }
        latest.reverse();
        let left_out = i64::try_from(behind).unwrap_or(i64::MAX).saturating_add(i64::from(!room));
        Overdue { latest, left_out, next: self.next_after(now) }
    }

    /// The time on the wall at an instant, with its offset and the zone's name.
    pub fn local(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).to_string()
    }

    fn within(&self, at: Timestamp) -> Option<Timestamp> {
        Some(at).filter(|at| self.ends_at.is_none_or(|end| *at <= end))
    }
}

/// A zone by its IANA name.
///
/// # Errors
/// A sentence about what is wrong with the name.
pub fn zone(name: &str) -> Result<TimeZone, TimingFault> {
    let is_name = name.len() <= ZONE_CHARACTERS_MAX && name.bytes().all(|byte| byte.is_ascii_graphic());
    let found = if is_name { TimeZone::get(name).ok() } else { None };
    found.ok_or_else(|| {
        let shown: String = name.chars().take(ZONE_CHARACTERS_MAX).collect();
        TimingFault::new("zone", format!("{shown:?} is no known zone; give an IANA name such as Europe/Berlin"))
    })
}

fn bounds(timing: &Timing) -> Vec<TimingFault> {
    let mut faults = Vec::new();
    let mut check = |field, value: i64, least: i64, most: i64| {
        if !(least..=most).contains(&value) {
            faults.push(TimingFault::new(field, format!("is {value}; it must lie between {least} and {most}")));
        }
    };
    if let Recurrence::Every { minutes } = timing.recurrence {
        check("interval_minutes", minutes, 1, INTERVAL_MINUTES_MAX);
    }
    // Within an interval: else an occurrence would be looked at when the next one is due as well, and be left out for it.
    let jitter_seconds_max = match timing.recurrence {
        Recurrence::Every { minutes } if minutes > 0 => JITTER_SECONDS_MAX.min(minutes.saturating_mul(60) - 1),
        _ => JITTER_SECONDS_MAX,
    };
    check("jitter_seconds", timing.jitter_seconds, 0, jitter_seconds_max);
    if let Some(count) = timing.count {
        check("count", count, 1, COUNT_MAX);
    }
    if let MissedPolicy::All { limit } = timing.missed {
        check("missed.limit", limit, 1, MISSED_OCCURRENCES_MAX);
    }
    if timing.ends_at.is_some_and(|end| end < timing.starts_at) {
        faults.push(TimingFault::new("ends_at", "lies before the start, so it would never happen".to_owned()));
    }
    faults
}

/// The first instant after `after` that lies a whole number of steps behind `anchor`.
fn every(anchor: Timestamp, step: SignedDuration, after: Timestamp) -> Option<Timestamp> {
    if after < anchor {
        return Some(anchor);
    }
    let step = step.as_micros().max(1);
    let passed = after.duration_since(anchor).as_micros() / step;
    let ahead = i64::try_from((passed + 1).checked_mul(step)?).ok()?;
    anchor.checked_add(SignedDuration::from_micros(ahead)).ok()
}

#[cfg(test)]
mod tests;
