//! Steps that were taken without asking, gathered until they are told to the other processes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::pace::Pace;

/// How long charges gather. Each webhook makes one, and the pace of a number counts in steps of more than ten milliseconds.
pub(super) const GATHER: Duration = Duration::from_millis(5);
/// Keys that gather at once. Beyond, a charge is let go: the key is slowed down a little less.
const KEYS_MAX: usize = 1_024;

/// Charges of one key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charge {
    pub pace: Pace,
    pub steps: u32,
    /// When the last of them was taken.
    pub at: Timestamp,
}

/// What waits to be told.
#[derive(Debug, Default)]
pub(super) struct Charges(Mutex<HashMap<String, Charge>>);

impl Charges {
    /// Adds steps. True for the first since the last [`take_all`](Self::take_all): whoever brings it sees to the telling.
    pub fn add(&self, key: &str, pace: Pace, steps: u32, at: Timestamp) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(charge) = waiting.get_mut(key) {
            *charge = Charge { pace, steps: charge.steps.saturating_add(steps), at: at.max(charge.at) };
            return false;
        }
        if waiting.len() < KEYS_MAX {
            waiting.insert(key.to_owned(), Charge { pace, steps, at });
        }
        waiting.len() == 1
    }

    /// Everything that gathered.
    pub fn take_all(&self) -> HashMap<String, Charge> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { period_microseconds: 12_500, burst: 80 };

    #[test]
    fn charges_add_up_and_the_first_is_told_of() {
        let charges = Charges::default();
        let at = |second: i64| Timestamp::from_second(1_790_000_000 + second).unwrap();
        assert!(charges.add("one", PACE, 2, at(1)));
        assert!(!charges.add("one", PACE, 3, at(0)), "somebody sees to it already");
        assert!(!charges.add("two", PACE, u32::MAX, at(2)));
        assert!(!charges.add("two", PACE, 1, at(2)));
        let gathered = charges.take_all();
        assert_eq!((gathered["one"].steps, gathered["one"].at), (5, at(1)));
        assert_eq!(gathered["two"].steps, u32::MAX);
        assert!(charges.add("one", PACE, 1, at(3)), "the next begins anew");
    }

    #[test]
    fn keys_are_bounded() {
        let charges = Charges::default();
        for number in 0..2 * KEYS_MAX {
            charges.add(&number.to_string(), PACE, 1, Timestamp::UNIX_EPOCH);
        }
        assert_eq!(charges.take_all().len(), KEYS_MAX);
    }
}
