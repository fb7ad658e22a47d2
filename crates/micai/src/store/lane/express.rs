//! Who has SQLite's one writer next, where webhooks and everybody else want all of its time.

use std::time::Duration;

use tokio::time::Instant;

/// A trip of all lanes that webhooks can wait for without anybody noticing; only what goes beyond is made up for.
const SHORT_TRIP: Duration = Duration::from_millis(5);
/// How many times as long as that the first lane may then have the train to itself, where all of them
/// wait. Webhooks are on a clock that we do not hold; replies under such a load can come a little later.
const EXPRESS_SHARE: u32 = 2;
/// How long the others wait for webhooks that still have time to their credit: under a load the next ones are on their way.
const EXPRESS_LINGER: Duration = Duration::from_millis(1);

/// What a train does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trip {
    /// The first lane has it alone.
    Express,
    /// All lanes that have something.
    Together,
    /// It waits for so long, unless something comes.
    Linger(Duration),
}

/// Shares the time of a train between its first lane, which takes webhooks, and the others. An idle train waits for nobody.
#[derive(Default)]
pub(super) struct Express {
    /// Time that the first lane has to its credit.
    credit: Duration,
    /// Whether webhooks and others have waited at the same time since the others' last trip.
    is_busy: bool,
    lingering_since: Option<Instant>,
}

impl Express {
    /// Says who goes now, given who has something: one of them at least.
    pub fn next(&mut self, has_webhooks: bool, has_others: bool, now: Instant) -> Trip {
        if !has_others {
            return Trip::Express;
        }
        self.is_busy |= has_webhooks;
        if self.credit.is_zero() {
            return Trip::Together;
        }
        if has_webhooks {
            self.lingering_since = None;
            return Trip::Express;
        }
        let lingered = now - *self.lingering_since.get_or_insert(now);
        match EXPRESS_LINGER.saturating_sub(lingered) {
            Duration::ZERO => {
                *self = Self::default();
                Trip::Together
            }
            left => Trip::Linger(left),
        }
    }

    /// Counts a trip of the first lane by itself.
    pub fn went_alone(&mut self, took: Duration) {
        self.credit = self.credit.saturating_sub(took);
    }

    /// Counts a trip of all lanes.
    pub fn went_together(&mut self, took: Duration) {
        self.credit = if self.is_busy { took.saturating_sub(SHORT_TRIP) * EXPRESS_SHARE } else { Duration::ZERO };
        self.is_busy = false;
        self.lingering_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn one_message_at_a_time_waits_for_nobody() {
        let (mut express, now) = (Express::default(), Instant::now());
        for _ in 0..3 {
            assert_eq!(express.next(true, false, now), Trip::Express);
            express.went_alone(MILLISECOND);
            assert_eq!(express.next(false, true, now), Trip::Together, "its turn");
            express.went_together(SHORT_TRIP + 5 * MILLISECOND);
        }
        // Both at once, and briefly: as before.
        assert_eq!(express.next(true, true, now), Trip::Together);
        express.went_together(SHORT_TRIP);
        assert_eq!(express.next(true, true, now), Trip::Together);
    }

    #[test]
    fn webhooks_get_twice_the_time_of_a_long_trip_and_no_more() {
        let (mut express, now) = (Express::default(), Instant::now());
        for _ in 0..3 {
            assert_eq!(express.next(true, true, now), Trip::Together);
            express.went_together(SHORT_TRIP + 5 * MILLISECOND);
            for _ in 0..10 {
                assert_eq!(express.next(true, true, now), Trip::Express);
                express.went_alone(MILLISECOND);
            }
        }
    }

    #[test]
    fn the_others_wait_a_moment_for_webhooks_that_are_on_their_way_and_then_go() {
        let (mut express, now) = (Express::default(), Instant::now());
        assert_eq!(express.next(true, true, now), Trip::Together);
        express.went_together(SHORT_TRIP + 5 * MILLISECOND);
        assert_eq!(express.next(false, true, now), Trip::Linger(EXPRESS_LINGER));
        assert_eq!(express.next(true, true, now), Trip::Express, "it came");
        express.went_alone(MILLISECOND);
        assert_eq!(express.next(false, true, now + MILLISECOND), Trip::Linger(EXPRESS_LINGER));
        assert_eq!(express.next(false, true, now + MILLISECOND + EXPRESS_LINGER), Trip::Together, "none came");
        express.went_together(SHORT_TRIP + 5 * MILLISECOND);
        assert_eq!(express.next(false, true, now + 9 * MILLISECOND), Trip::Together, "the load is over");
    }
}
