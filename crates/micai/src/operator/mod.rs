//! Tells the operator's own system what people should look at: signed, at least once, in the end or never with an alert.
//!
//! The call goes through the one guarded client, to the one address that the operator chose: whether that may be private is for
//! the operator to say as well.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, RngExt as _};
use secrecy::SecretString;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use crate::clock::SharedClock;
use crate::domain::notice::{DueNotice, NOTICE_ATTEMPTS_MAX, NoticeKind, NoticeSubject};
use crate::domain::outbound::SendError;
use crate::fetch::{FetchError, FetchRules, Fetcher};
use crate::store::{Store, StoreError};

/// Carries `sha256=` and the HMAC of the body.
pub const SIGNATURE_HEADER: &str = "x-micai-signature-256";
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Notices of one round.
const NOTICES_PER_ROUND: i64 = 20;
/// How long a notice belongs to who claimed it: longer than a whole round of calls that time out.
const CLAIM_SECONDS: i64 = 300;
/// The longest wait before the second attempt; each further one may wait twice as long.
const FIRST_BACKOFF_SECONDS: i64 = 10;
/// No wait is longer.
const BACKOFF_SECONDS_MAX: i64 = 3_600;

/// Where notices go.
pub struct OperatorWebhook {
    url: Url,
    secret: SecretString,
    fetcher: Fetcher,
}

impl OperatorWebhook {
    /// That address, with the secret that signs what goes there, and the hosts that may be private and without TLS.
    ///
    /// # Errors
    /// Why the address may not be called.
    pub fn new(url: Url, secret: SecretString, private_hosts: &[String]) -> Result<Self, FetchError> {
        let fetcher = Fetcher::new(&FetchRules {
            allowed: vec![url.clone()],
            private_hosts: private_hosts.to_vec(),
            timeout: CALL_TIMEOUT,
            // What it says is not read.
            answer_bytes_max: 0,
        })?;
        Ok(Self { url, secret, fetcher })
    }

    async fn tell(&self, notice: &DueNotice) -> Result<(), SendError> {
        let body = serde_json::to_vec(&Body::of(notice)).map_err(|error| failed("unwritable", &error.to_string()))?;
        let signature = whatsapp::signature::sign(&self.secret, &body);
        let headers = [("content-type", "application/json"), (SIGNATURE_HEADER, signature.as_str())];
        // Its address may hold a key of theirs: no error of the client's repeats more of it than the host.
        self.fetcher.post(self.url.clone(), &headers, body).await.map_err(|error| match error {
            FetchError::Forbidden(why) => failed("forbidden", &why),
            FetchError::Redirected(status) | FetchError::Refused { status, .. } => {
                failed("refused", &format!("It answered {status}."))
            }
            FetchError::Unreachable(why) | FetchError::Unusable(why) => failed("unreachable", &why),
        })
    }
}

/// What goes out. Names are part of the contract: see docs/control-words.md.
#[derive(Serialize)]
struct Body<'a> {
    id: Uuid,
    kind: NoticeKind,
    raised_at: Timestamp,
    #[serde(flatten)]
    about: &'a NoticeSubject,
}

impl<'a> Body<'a> {
    fn of(notice: &'a DueNotice) -> Self {
        Self { id: notice.id, kind: notice.kind, raised_at: notice.raised_at, about: &notice.about }
    }
}

/// Sends what is due at once, then every `interval_seconds` until `stop` is cancelled.
pub async fn run(
    store: Store,
    webhook: OperatorWebhook,
    clock: SharedClock,
    mut dice: StdRng,
    interval_seconds: i64,
    stop: CancellationToken,
) {
    loop {
        match round(&store, &webhook, &clock, &mut dice).await {
            // There may be more.
            Ok(count) if count >= NOTICES_PER_ROUND && !stop.is_cancelled() => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "notices wait for the database"),
        }
        let next = clock.now() + SignedDuration::from_secs(interval_seconds);
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep_until(next) => {}
        }
    }
}

/// Sends what is due; gives how many that were.
async fn round(
    store: &Store,
    webhook: &OperatorWebhook,
    clock: &SharedClock,
    dice: &mut impl Rng,
) -> Result<i64, StoreError> {
    store.note_alerts().await?;
    let due = store.claim_notices(NOTICES_PER_ROUND, CLAIM_SECONDS).await?;
    let count = i64::try_from(due.len()).unwrap_or(i64::MAX);
    for notice in due {
        match webhook.tell(&notice).await {
            Ok(()) => store.notice_delivered(notice.id).await?,
            Err(error) => {
                let again = next_attempt(notice.attempts, clock.now(), dice);
                tracing::warn!(notice_id = %notice.id, attempt = notice.attempts, reason = error.reason, "a notice was not taken");
                store.notice_failed(&notice, again, &error).await?;
            }
        }
    }
    Ok(count)
}

/// When a notice is tried again after so many attempts; never where it has had its share. By chance, so that many notices do not
/// come back together.
fn next_attempt(attempts: i32, now: Timestamp, dice: &mut impl Rng) -> Option<Timestamp> {
    if attempts >= NOTICE_ATTEMPTS_MAX {
        return None;
    }
    let exponent = u32::try_from(attempts - 1).unwrap_or(0).min(16);
    let longest = (FIRST_BACKOFF_SECONDS << exponent).min(BACKOFF_SECONDS_MAX);
    Some(now + SignedDuration::from_millis(dice.random_range(1_000..=longest * 1_000)))
}

fn failed(reason: &str, detail: &str) -> SendError {
    SendError { code: None, reason: reason.to_owned(), detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn waits_grow_within_bounds_and_come_to_an_end() {
        let mut dice = StdRng::seed_from_u64(1);
        let now = Timestamp::constant(1_790_000_000, 0);
        for (attempts, longest) in [(1, 10), (2, 20), (5, 160), (9, 2_560), (10, 3_600), (11, 3_600)] {
            for _ in 0..100 {
                let waited = next_attempt(attempts, now, &mut dice).map(|at| at.duration_since(now).as_secs());
                assert!(waited.is_some_and(|seconds| (1..=longest).contains(&seconds)), "{attempts}: {waited:?}");
            }
        }
        assert_eq!(next_attempt(NOTICE_ATTEMPTS_MAX, now, &mut dice), None);
    }
}
