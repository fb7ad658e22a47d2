//! How fast something may go: the generic cell rate algorithm, which remembers one instant a key.

use std::collections::HashMap;

use jiff::Timestamp;

/// Keys that one process remembers. Beyond, those whose pace is at rest are forgotten, then new ones go unmeasured:
/// WhatsApp's own limits still answer.
const KEYS_MAX: usize = 1_000_000;
/// The first size at which keys at rest are looked for.
const TIDY_AT_MIN: usize = 1_024;

/// How far ahead what was not asked for may charge a key: a flood that comes in must not silence us.
pub(super) const CHARGED_AHEAD_MICROSECONDS_MAX: i64 = 2_000_000;

/// One step each `period_microseconds`, and up to `burst` of them at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Time that one step costs in the long run.
    pub period_microseconds: i64,
    /// Steps that may come together.
    pub burst: u32,
}

/// Whether a step may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// It is taken.
    Granted,
    /// Not before this instant; nothing was taken.
    WaitUntil(Timestamp),
}

/// When each key will be at rest again, in microseconds.
#[derive(Debug)]
pub(super) struct Paces {
    rest_at: HashMap<String, i64>,
    tidy_at: usize,
}

impl Default for Paces {
    fn default() -> Self {
        Self { rest_at: HashMap::new(), tidy_at: TIDY_AT_MIN }
    }
}

impl Paces {
    pub fn take(&mut self, key: &str, pace: Pace, now: Timestamp) -> Permit {
        let now = now.as_microsecond();
        let known = self.rest_at.get(key).copied();
        let rest_at = known.map_or(now, |known| known.max(now)).saturating_add(pace.period_microseconds);
        let allowed_at = rest_at.saturating_sub(pace.period_microseconds.saturating_mul(i64::from(pace.burst)));
        if allowed_at > now {
            return wait_until(allowed_at);
        }
        match self.rest_at.get_mut(key) {
            Some(known) => *known = rest_at,
            None => {
                self.make_room(now);
                if self.rest_at.len() < KEYS_MAX {
                    self.rest_at.insert(key.to_owned(), rest_at);
                }
            }
        }
        Permit::Granted
    }

    /// Steps that were taken without asking. They slow down those who ask, for [`CHARGED_AHEAD_MICROSECONDS_MAX`] at most.
    pub fn charge(&mut self, key: &str, pace: Pace, steps: u32, now: Timestamp) {
        let now = now.as_microsecond();
        let rest_at = self.rest_at.get(key).copied().unwrap_or(now).max(now);
        let cost = pace.period_microseconds.saturating_mul(i64::from(steps));
        let charged = rest_at.saturating_add(cost).min(now.saturating_add(CHARGED_AHEAD_MICROSECONDS_MAX)).max(rest_at);
        self.make_room(now);
        if self.rest_at.len() < KEYS_MAX {
            self.rest_at.insert(key.to_owned(), charged);
        }
    }

    /// Forgets keys at rest, each time that those remembered have doubled.
    fn make_room(&mut self, now: i64) {
        if self.rest_at.len() >= self.tidy_at {
            self.rest_at.retain(|_, rest_at| *rest_at > now);
            self.tidy_at = (self.rest_at.len() * 2).clamp(TIDY_AT_MIN, KEYS_MAX);
        }
    }
}

/// An instant that cannot be told is never.
pub(super) fn wait_until(microseconds: i64) -> Permit {
    Permit::WaitUntil(Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_at_rest_are_forgotten() {
        let mut paces = Paces::default();
        let pace = Pace { period_microseconds: 1_000_000, burst: 1 };
        let start = Timestamp::from_second(1_790_000_000).unwrap();
        for number in 0..10_000 {
            let now = start + jiff::SignedDuration::from_millis(number);
            assert_eq!(paces.take(&number.to_string(), pace, now), Permit::Granted);
        }
        assert!(paces.rest_at.len() <= 2 * TIDY_AT_MIN, "{} are remembered", paces.rest_at.len());
    }
}
