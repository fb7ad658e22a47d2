//! Answers that are kept for a time, up to a bound.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// At the bound, what is too old makes room; if nothing is, everything does, and is asked for again as it is needed.
pub(super) struct Cache<K, V> {
    entries: Mutex<HashMap<K, (Timestamp, V)>>,
    entries_max: usize,
    good_for: SignedDuration,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub fn new(entries_max: usize, good_for: SignedDuration) -> Self {
        Self { entries: Mutex::default(), entries_max, good_for }
    }

    pub fn get(&self, key: &K, now: Timestamp) -> Option<V> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (kept_at, value) = entries.get(key)?;
        (now < *kept_at + self.good_for).then(|| value.clone())
    }

    pub fn keep(&self, key: K, value: V, now: Timestamp) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.entries_max {
            entries.retain(|_, (kept_at, _)| now < *kept_at + self.good_for);
        }
        if entries.len() >= self.entries_max {
            entries.clear();
        }
        entries.insert(key, (now, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_grows_old_and_has_a_bound() {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let later = |seconds| now + SignedDuration::from_secs(seconds);
        let cache = Cache::new(2, SignedDuration::from_secs(10));
        cache.keep("a", 1, now);
        assert_eq!(cache.get(&"a", later(9)), Some(1));
        assert_eq!(cache.get(&"a", later(10)), None);
        cache.keep("b", 2, later(5));
        cache.keep("c", 3, later(11));
        assert_eq!(
            (cache.get(&"a", now), cache.get(&"b", later(11)), cache.get(&"c", later(11))),
            (None, Some(2), Some(3))
        );
        cache.keep("d", 4, later(12));
        assert_eq!((cache.get(&"c", later(12)), cache.get(&"d", later(12))), (None, Some(4)));
    }
}
