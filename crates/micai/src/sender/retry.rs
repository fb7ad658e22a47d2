//! What follows from an attempt. Pure: the verdict, the number of the attempt, the time and the dice decide.

use jiff::{SignedDuration, Timestamp};
use rand::{Rng, RngExt};

use crate::domain::outbound::AttemptOutcome;
use crate::transport::{Delivery, Verdict};

/// The longest wait before the second attempt; each further one may wait four times as long.
pub const FIRST_BACKOFF_SECONDS: i64 = 5;
/// No wait between two attempts is longer.
pub const BACKOFF_SECONDS_MAX: i64 = 2 * 3_600;
/// Waits below this would be a burst.
const BACKOFF_MILLISECONDS_MIN: i64 = 200;

/// The outcome of attempt number `attempt` (from 1) of a send that may be tried `attempts_max` times.
pub fn outcome(
    delivery: Delivery,
    attempt: i32,
    attempts_max: i32,
    now: Timestamp,
    dice: &mut impl Rng,
) -> AttemptOutcome {
    let (refusal, error) = match delivery {
        Delivery::Accepted { provider_message_id } => return AttemptOutcome::Accepted { provider_message_id },
        Delivery::Unknown { error } => return AttemptOutcome::Unknown { error },
        Delivery::Refused { verdict, retry_after_seconds, error } => ((verdict, retry_after_seconds), error),
    };
    let at_least = match refusal {
        (Verdict::Unknown, _) => return AttemptOutcome::Unknown { error },
        (Verdict::Never, _) => return AttemptOutcome::Failed { error },
        (Verdict::NeedsTemplate, _) => return AttemptOutcome::Held { error },
        (Verdict::Later { after_seconds }, retry_after) => retry_after.max(after_seconds),
        (Verdict::Retry | Verdict::Pause(_) | Verdict::Auth, retry_after) => retry_after,
    };
    if attempt >= attempts_max {
        return AttemptOutcome::Failed { error };
    }
    let at_least = i64::try_from(at_least.unwrap_or(0)).unwrap_or(i64::MAX).min(24 * 3_600);
    let not_before = now + SignedDuration::from_secs(at_least) + backoff(attempt, dice);
    AttemptOutcome::RetryAt { not_before, error }
}

/// Exponential back-off with full jitter: anything between nothing and the bound, so that what failed together does
/// not come back together.
pub fn backoff(attempt: i32, dice: &mut impl Rng) -> SignedDuration {
    let exponent = u32::try_from(attempt - 1).unwrap_or(0).min(16);
    let bound_seconds = FIRST_BACKOFF_SECONDS.saturating_mul(4_i64.saturating_pow(exponent)).min(BACKOFF_SECONDS_MAX);
    SignedDuration::from_millis(dice.random_range(BACKOFF_MILLISECONDS_MIN..=bound_seconds * 1_000))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::domain::outbound::SendError;

    fn refused(verdict: Verdict, retry_after_seconds: Option<u64>) -> Delivery {
        let error = SendError { code: Some(1), reason: "refused".to_owned(), detail: String::new() };
        Delivery::Refused { verdict, retry_after_seconds, error }
    }

    fn word(outcome: &AttemptOutcome) -> &'static str {
        match outcome {
            AttemptOutcome::Accepted { .. } => "accepted",
            AttemptOutcome::RetryAt { .. } => "retry",
            AttemptOutcome::Held { .. } => "held",
            AttemptOutcome::Failed { .. } => "failed",
            AttemptOutcome::Unknown { .. } => "unknown",
        }
    }

    #[test]
    fn the_verdict_decides() {
        for (verdict, attempt, expected) in [
            (Verdict::Retry, 1, "retry"),
            (Verdict::Retry, 8, "failed"),
            (Verdict::Later { after_seconds: Some(60) }, 1, "retry"),
            (Verdict::Auth, 1, "retry"),
            (Verdict::Never, 1, "failed"),
            (Verdict::NeedsTemplate, 1, "held"),
            (Verdict::Unknown, 1, "unknown"),
            (Verdict::Unknown, 8, "unknown"),
        ] {
            let now = Timestamp::UNIX_EPOCH;
            let outcome = outcome(refused(verdict, None), attempt, 8, now, &mut StdRng::seed_from_u64(1));
            assert_eq!(word(&outcome), expected, "{verdict:?} at attempt {attempt}");
        }
    }

    proptest! {
        #[test]
        fn a_retry_is_never_early_and_never_endless(attempt in 1..8_i32, after in 0..10_000_u64, seed in any::<u64>()) {
            let now = Timestamp::UNIX_EPOCH;
            let mut dice = StdRng::seed_from_u64(seed);
            let delivery = refused(Verdict::Later { after_seconds: Some(after) }, None);
            let AttemptOutcome::RetryAt { not_before, .. } = outcome(delivery, attempt, 8, now, &mut dice) else {
                return Err(TestCaseError::fail("not a retry"));
            };
            let wait = not_before.duration_since(now);
            prop_assert!(wait >= SignedDuration::from_secs(i64::try_from(after).unwrap_or(0)));
            prop_assert!(wait <= SignedDuration::from_secs(10_000 + BACKOFF_SECONDS_MAX));
        }
    }
}
