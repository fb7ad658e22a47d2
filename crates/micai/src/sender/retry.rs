//! What follows from an attempt. Pure: the verdict, the attempts so far, the time and the dice decide.

use jiff::{SignedDuration, Timestamp};
use rand::{Rng, RngExt};

use crate::domain::outbound::{AttemptOutcome, SendError};
use crate::domain::pause::{PauseKey, PauseScope};
use crate::transport::{Delivery, RefusedCall, Verdict};

/// The longest wait before the second attempt; each further one may wait four times as long.
pub const FIRST_BACKOFF_SECONDS: i64 = 5;
/// No back-off between two attempts is longer.
pub const BACKOFF_SECONDS_MAX: i64 = 2 * 3_600;
/// A send that has been tried for so long is not tried again.
pub const TRIED_SECONDS_MAX: i64 = 6 * 3_600;
/// Waits below this would be a burst.
const BACKOFF_MILLISECONDS_MIN: i64 = 200;
/// WhatsApp's code for too many messages to one person: it asks for waits of 4^n seconds.
const PAIR_LIMIT_CODE: i64 = 131_056;
/// The longest wait that a refusal can ask for.
const ASKED_SECONDS_MAX: i64 = 7 * 24 * 3_600;

/// An attempt that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Which one it was, from 1; attempts before a replay do not count.
    pub number: i32,
    /// When the first of them began.
    pub tried_since: Timestamp,
    /// Whether the Graph API is down. That is not the message's fault and uses up none of its attempts; the hours that it may
    /// be tried for go on.
    pub is_outage: bool,
}

/// The outcome of an attempt of a send that may be tried `attempts_max` times and for [`TRIED_SECONDS_MAX`]. `pause`: what is
/// paused by a refusal that pauses something.
pub fn outcome(
    delivery: Delivery,
    pause: Option<PauseKey>,
    attempt: Attempt,
    attempts_max: i32,
    now: Timestamp,
    dice: &mut impl Rng,
) -> AttemptOutcome {
    let refusal = match delivery {
        Delivery::Accepted { provider_message_id } => return AttemptOutcome::Accepted { provider_message_id },
        Delivery::Unknown { error } => return AttemptOutcome::Unknown { error },
        Delivery::Refused(refusal) => *refusal,
    };
    let wait = match refusal.verdict {
        Verdict::Unknown => return AttemptOutcome::Unknown { error: refusal.error },
        Verdict::Never => return AttemptOutcome::Failed { error: refusal.error },
        Verdict::NeedsTemplate => return AttemptOutcome::NeedsTemplate { error: refusal.error },
        // What is paused is not tried meanwhile. The bound is for a template whose pause comes and goes by itself.
        Verdict::Pause(_) | Verdict::Auth => {
            return match pause {
                Some(pause) if pause.scope == PauseScope::Template && attempt.number >= attempts_max => {
                    AttemptOutcome::Failed { error: given_up(refusal.error, "retries_exhausted", attempt, now) }
                }
                Some(pause) => AttemptOutcome::Paused { error: refusal.error, pause },
                None => AttemptOutcome::Failed { error: refusal.error },
            };
        }
        Verdict::Retry | Verdict::Later { .. } => wait(&refusal, attempt, dice),
    };
    let not_before = now + wait;
    let tried_until = attempt.tried_since + SignedDuration::from_secs(TRIED_SECONDS_MAX);
    if attempt.number >= attempts_max && !attempt.is_outage {
        return AttemptOutcome::Failed { error: given_up(refusal.error, "retries_exhausted", attempt, now) };
    }
    if not_before > tried_until && !is_asked_for(&refusal) {
        return AttemptOutcome::Failed { error: given_up(refusal.error, "too_old", attempt, now) };
    }
    AttemptOutcome::RetryAt { not_before, is_counted: !attempt.is_outage, error: refusal.error }
}

/// How long to wait after a refusal.
fn wait(refusal: &RefusedCall, attempt: Attempt, dice: &mut impl Rng) -> SignedDuration {
    if refusal.error.code == Some(PAIR_LIMIT_CODE) {
        let exponent = u32::try_from(attempt.number - 1).unwrap_or(0).min(6);
        let jitter = SignedDuration::from_millis(dice.random_range(0..1_000));
        return SignedDuration::from_secs(4_i64.pow(exponent)) + jitter;
    }
    let named = match refusal.verdict {
        Verdict::Later { after_seconds } => after_seconds,
        _ => None,
    };
    let asked = refusal.retry_after_seconds.max(named).unwrap_or(0);
    let asked = i64::try_from(asked).unwrap_or(i64::MAX).min(ASKED_SECONDS_MAX);
    // In an outage the gate says when, and no message stands back behind younger ones for having been the probe.
    let backoff = if attempt.is_outage { SignedDuration::ZERO } else { backoff(attempt.number, dice) };
    SignedDuration::from_secs(asked) + backoff
}

/// Whether the wait is WhatsApp's own: a limit of a day may outlast the hours that a send is tried for.
fn is_asked_for(refusal: &RefusedCall) -> bool {
    matches!(refusal.verdict, Verdict::Later { after_seconds: Some(_) })
}

fn given_up(error: SendError, reason: &str, attempt: Attempt, now: Timestamp) -> SendError {
    let minutes = now.duration_since(attempt.tried_since).as_secs() / 60;
    let detail = format!("{} Given up after {} attempts in {minutes} minutes.", error.detail, attempt.number);
    SendError { code: error.code, reason: reason.to_owned(), detail }
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

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn refused(verdict: Verdict, code: i64, retry_after_seconds: Option<u64>) -> Delivery {
        let error = SendError { code: Some(code), reason: "refused".to_owned(), detail: String::new() };
        let pauses = matches!(verdict, Verdict::Auth).then_some(PauseScope::Account);
        Delivery::Refused(Box::new(RefusedCall { verdict, retry_after_seconds, pauses, error }))
    }

    fn number(number: i32) -> Attempt {
        Attempt { number, tried_since: NOW, is_outage: false }
    }

    fn word(outcome: &AttemptOutcome) -> &'static str {
        match outcome {
            AttemptOutcome::Accepted { .. } => "accepted",
            AttemptOutcome::RetryAt { .. } => "retry",
            AttemptOutcome::NeedsTemplate { .. } => "needs_template",
            AttemptOutcome::Paused { .. } => "paused",
            AttemptOutcome::Failed { .. } => "failed",
            AttemptOutcome::Unknown { .. } => "unknown",
        }
    }

    #[test]
    fn the_verdict_decides() {
        for (verdict, attempt, expected) in [
            (Verdict::Retry, 1, "retry"),
            (Verdict::Retry, 7, "retry"),
            (Verdict::Retry, 8, "failed"),
            (Verdict::Later { after_seconds: Some(60) }, 1, "retry"),
            (Verdict::Later { after_seconds: Some(86_400) }, 1, "retry"),
            (Verdict::Auth, 1, "paused"),
            (Verdict::Auth, 8, "paused"),
            (Verdict::Never, 1, "failed"),
            (Verdict::NeedsTemplate, 1, "needs_template"),
            (Verdict::Unknown, 1, "unknown"),
            (Verdict::Unknown, 8, "unknown"),
        ] {
            let dice = &mut StdRng::seed_from_u64(1);
            let pause = Some(PauseKey::new(PauseScope::Account, ""));
            let outcome = outcome(refused(verdict, 1, None), pause, number(attempt), 8, NOW, dice);
            assert_eq!(word(&outcome), expected, "{verdict:?} at attempt {attempt}");
        }
    }

    #[test]
    fn a_template_whose_pause_comes_and_goes_is_not_tried_for_ever() {
        let verdict = Verdict::Pause(whatsapp::error::PauseScope::Template);
        for (attempt, expected) in [(1, "paused"), (7, "paused"), (8, "failed")] {
            let pause = Some(PauseKey::template("order", "pt_BR"));
            let dice = &mut StdRng::seed_from_u64(1);
            let outcome = outcome(refused(verdict, 132_015, None), pause, number(attempt), 8, NOW, dice);
            assert_eq!(word(&outcome), expected, "attempt {attempt}");
        }
    }

    #[test]
    fn what_was_tried_for_hours_is_given_up_and_says_so() {
        let now = NOW + SignedDuration::from_secs(TRIED_SECONDS_MAX);
        let dice = &mut StdRng::seed_from_u64(1);
        let outcome = outcome(refused(Verdict::Retry, 2, None), None, number(3), 8, now, dice);
        let AttemptOutcome::Failed { error } = outcome else { panic!("{outcome:?}") };
        assert_eq!(error.reason, "too_old");
        assert!(error.detail.contains("after 3 attempts in 360 minutes"), "{}", error.detail);
    }

    #[test]
    fn an_outage_uses_up_hours_and_no_attempts() {
        let dice = &mut StdRng::seed_from_u64(1);
        let attempt = Attempt { is_outage: true, ..number(8) };
        let again = outcome(refused(Verdict::Retry, 2, None), None, attempt, 8, NOW, dice);
        assert!(
            matches!(again, AttemptOutcome::RetryAt { is_counted: false, not_before, .. } if not_before == NOW),
            "the probe keeps its place in the line: {again:?}"
        );
        let later = NOW + SignedDuration::from_secs(TRIED_SECONDS_MAX + 1);
        let too_old = outcome(refused(Verdict::Retry, 2, None), None, attempt, 8, later, dice);
        assert_eq!(word(&too_old), "failed");
    }

    #[test]
    fn too_many_messages_to_one_person_wait_by_powers_of_four() {
        for (attempt, seconds) in [(1, 1), (2, 4), (3, 16), (4, 64), (5, 256)] {
            let dice = &mut StdRng::seed_from_u64(7);
            let outcome = outcome(refused(Verdict::Retry, PAIR_LIMIT_CODE, None), None, number(attempt), 8, NOW, dice);
            let AttemptOutcome::RetryAt { not_before, .. } = outcome else { panic!("{outcome:?}") };
            assert!((seconds..=seconds + 1).contains(&not_before.duration_since(NOW).as_secs()), "{attempt}");
        }
    }

    proptest! {
        #[test]
        fn a_retry_is_never_early_and_never_endless(attempt in 1..8_i32, after in 0..10_000_u64, seed in any::<u64>()) {
            let mut dice = StdRng::seed_from_u64(seed);
            let delivery = refused(Verdict::Later { after_seconds: Some(after) }, 1, None);
            let outcome = outcome(delivery, None, number(attempt), 8, NOW, &mut dice);
            let AttemptOutcome::RetryAt { not_before, .. } = outcome else {
                return Err(TestCaseError::fail("not a retry"));
            };
            let wait = not_before.duration_since(NOW);
            prop_assert!(wait >= SignedDuration::from_secs(i64::try_from(after).unwrap_or(0)));
            prop_assert!(wait <= SignedDuration::from_secs(10_000 + BACKOFF_SECONDS_MAX));
        }

        #[test]
        fn no_refusal_is_tried_for_ever(seed in any::<u64>(), code in 0..3_i64, retry_after in proptest::option::of(0..600_u64)) {
            let mut dice = StdRng::seed_from_u64(seed);
            let (mut now, mut attempts) = (NOW, 0);
            loop {
                attempts += 1;
                let delivery = refused(Verdict::Retry, code, retry_after);
                match outcome(delivery, None, number(attempts), 8, now, &mut dice) {
                    AttemptOutcome::RetryAt { not_before, .. } => {
                        prop_assert!(not_before > now);
                        now = not_before;
                    }
                    AttemptOutcome::Failed { .. } => break,
                    other => return Err(TestCaseError::fail(format!("{other:?}"))),
                }
            }
            prop_assert!(attempts <= 8);
            prop_assert!(now.duration_since(NOW) <= SignedDuration::from_secs(TRIED_SECONDS_MAX));
        }
    }
}
