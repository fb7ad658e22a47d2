//! The simulator's clock: real time plus an offset that anybody may move.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::view::ClockView;

/// Farthest the clock may be moved away from real time: a hundred years, in seconds.
pub const CLOCK_OFFSET_SECONDS_MAX: i64 = 100 * 366 * 24 * 3_600;

/// Real time plus a movable offset.
#[derive(Debug, Default)]
pub(crate) struct SimClock {
    offset_milliseconds: AtomicI64,
}

impl SimClock {
    pub(crate) fn now_milliseconds(&self) -> i64 {
        real_milliseconds().saturating_add(self.offset_milliseconds.load(Ordering::SeqCst))
    }

    /// Moves by so many seconds; stops at [`CLOCK_OFFSET_SECONDS_MAX`] in both directions.
    pub(crate) fn advance(&self, seconds: i64) {
        let now = self.offset_milliseconds.load(Ordering::SeqCst);
        self.put_offset(now.saturating_add(seconds.saturating_mul(1_000)));
    }

    pub(crate) fn set(&self, unix_seconds: i64) {
        self.put_offset(unix_seconds.saturating_mul(1_000).saturating_sub(real_milliseconds()));
    }

    pub(crate) fn return_to_real_time(&self) {
        self.offset_milliseconds.store(0, Ordering::SeqCst);
    }

    pub(crate) fn view(&self) -> ClockView {
        let ahead = self.offset_milliseconds.load(Ordering::SeqCst);
        ClockView {
            now: self.now_milliseconds().div_euclid(1_000),
            ahead_seconds: (ahead as f64 / 1_000.0).round() as i64,
        }
    }

    fn put_offset(&self, milliseconds: i64) {
        let bound = CLOCK_OFFSET_SECONDS_MAX * 1_000;
        self.offset_milliseconds.store(milliseconds.clamp(-bound, bound), Ordering::SeqCst);
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the clock that everything else is passed")]
fn real_milliseconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
