//! How fast one may write: to one person (131056) and from one number (130429). Reference §6.

/// One message to a person in so many milliseconds, on average.
pub const PAIR_INTERVAL_MILLISECONDS: i64 = 6_000;
/// Messages that may be borrowed from the future.
pub const PAIR_BURST_MAX: u32 = 45;
/// How long a burst may last, in milliseconds.
pub const PAIR_BURST_MILLISECONDS: i64 = 6_000;

/// The pair limit with its debt: a burst is allowed, then silence until it is paid off.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PairPace {
    burst_began: i64,
    burst_messages: u32,
    paid_off_at: i64,
}

impl PairPace {
    /// Takes one message if allowed.
    pub(crate) fn take(&mut self, now: i64) -> bool {
        if now >= self.paid_off_at {
            *self = Self { burst_began: now, burst_messages: 1, paid_off_at: now + PAIR_INTERVAL_MILLISECONDS };
            return true;
        }
        let in_burst = now < self.burst_began + PAIR_BURST_MILLISECONDS && self.burst_messages < PAIR_BURST_MAX;
        if in_burst {
            self.burst_messages += 1;
            self.paid_off_at += PAIR_INTERVAL_MILLISECONDS;
        }
        in_burst
    }
}

/// The number's throughput as a bucket that holds one second's worth, kept in thousandths of a message.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NumberPace {
    used_thousandths: i64,
    at: i64,
}

impl NumberPace {
    /// Takes one message if there is room. Inbound messages count too but are never refused: `forced`.
    pub(crate) fn take(&mut self, now: i64, messages_per_second: u32, forced: bool) -> bool {
        let elapsed = (now - self.at).clamp(0, 1_000_000);
        let leaked = elapsed.saturating_mul(i64::from(messages_per_second));
        self.used_thousandths = (self.used_thousandths - leaked).max(0);
        self.at = now;
        let room = i64::from(messages_per_second) * 1_000;
        let fits = self.used_thousandths + 1_000 <= room;
        if fits {
            self.used_thousandths += 1_000;
        } else if forced {
            self.used_thousandths = room;
        }
        fits || forced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_twenty_costs_two_minutes_of_silence() {
        let mut pace = PairPace::default();
        assert!((0..20).all(|n| pace.take(1_000_000 + n)));
        assert!(!pace.take(1_000_000 + 6_000), "the burst is over");
        assert!(!pace.take(1_000_000 + 119_999));
        assert!(pace.take(1_000_000 + 120_000));
    }

    #[test]
    fn a_burst_holds_forty_five() {
        let mut pace = PairPace::default();
        assert_eq!((0..60).filter(|n| pace.take(1_000_000 + n)).count(), 45);
    }

    #[test]
    fn one_in_six_seconds_goes_on_for_ever() {
        let mut pace = PairPace::default();
        assert!((0..1_000).all(|n| pace.take(1_000_000 + n * 6_000)));
    }

    #[test]
    fn the_number_holds_one_second_of_messages_and_refills() {
        let mut pace = NumberPace::default();
        assert_eq!((0..100).filter(|_| pace.take(5_000_000, 80, false)).count(), 80);
        assert!(pace.take(5_000_013, 80, false), "one eightieth of a second later there is room for one");
        assert!(!pace.take(5_000_013, 80, false));
        assert!(pace.take(5_000_013, 80, true), "an inbound message is never refused");
    }
}
