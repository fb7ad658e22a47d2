//! Signed webhooks out: tried until answered with 200, later and later, as Meta does but on the scale of a developer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Url;
use sha2::Sha256;

use crate::shared::Shared;
use crate::view::{DeliveryState, FaultKind, FaultOn, SimEvent};
use crate::world::log::{Pending, Signing};
use crate::world::{Job, World};

/// Attempts before a webhook is given up.
pub const ATTEMPTS_MAX: u32 = 20;
/// Longest pause between two attempts.
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(30);
/// Longest time that a reorder fault holds a webhook back.
pub const REORDER_WAIT_MAX: Duration = Duration::from_secs(1);
/// Longest time that a status waits for others to share its webhook, where they may.
pub const STATUS_GATHER_MAX: Duration = Duration::from_millis(20);
/// Bytes read of the answer to a handshake.
const CHALLENGE_BYTES_MAX: usize = 1_024;

/// What one attempt needs.
struct Attempt {
    url: String,
    body: Bytes,
    signature: Option<String>,
    /// Ignore the answer, or take it for this one.
    fault: Option<FaultKind>,
}

/// Tries a webhook once, if it still has been tried exactly `attempts` times.
pub(crate) async fn attempt(shared: &Shared, number: u64, attempts: u32) {
    let Some(Ok(_permit)) = shared.cancel.run_until_cancelled(shared.delivering.acquire()).await else {
        return;
    };
    let Some(attempt) = shared.act(|world| begin(world, number, attempts)) else {
        return;
    };
    let started = Instant::now();
    let Some(answer) = shared.cancel.run_until_cancelled(post(shared, &attempt)).await else {
        return;
    };
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let answer = match attempt.fault {
        Some(FaultKind::DropAnswer) => Err("the answer was ignored, as a fault asked".to_owned()),
        Some(FaultKind::Status { code, .. }) => Ok(code),
        _ => answer,
    };
    shared.act(|world| settle(world, number, answer, milliseconds));
}

fn begin(world: &mut World, number: u64, attempts: u32) -> Option<Attempt> {
    let url = world.webhook_url.clone();
    let secret = world.config.app_secret.clone();
    let pending = world.deliveries.get_mut(number).filter(|pending| pending.attempts == attempts)?;
    pending.attempts += 1;
    let (body, signing, phone_id) = (pending.body.clone(), pending.signing, pending.phone_id.clone());
    let Some(url) = url else {
        world.deliveries.finish(number, DeliveryState::NoTarget);
        return None;
    };
    let late = |kind: &FaultKind| matches!(kind, FaultKind::DropAnswer | FaultKind::Status { .. });
    let fault = world.faults.take(FaultOn::Webhook, phone_id.as_deref(), late);
    let signature = match signing {
        Signing::Valid => Some(signature(&secret, &body)),
        Signing::Wrong => Some(signature(&format!("not {secret}"), &body)),
        Signing::Missing => None,
    };
    Some(Attempt { url, body, signature, fault })
}

/// The HTTP status of the answer, or why there was none.
async fn post(shared: &Shared, attempt: &Attempt) -> Result<u16, String> {
    let mut request = shared.client.post(&attempt.url).header("content-type", "application/json");
    if let Some(signature) = &attempt.signature {
        request = request.header("x-hub-signature-256", signature);
    }
    match request.body(attempt.body.clone()).send().await {
        Ok(response) => Ok(response.status().as_u16()),
        Err(error) => Err(reason(&error)),
    }
}

fn settle(world: &mut World, number: u64, answer: Result<u16, String>, milliseconds: u64) {
    let retry_delay = world.config.retry_delay_milliseconds;
    let Some(pending) = world.deliveries.get_mut(number) else {
        return;
    };
    pending.answered_in_milliseconds = Some(milliseconds);
    pending.status = answer.as_ref().ok().copied();
    pending.error = answer.as_ref().err().cloned();
    let (attempts, last) = (pending.attempts, pending.attempts >= pending.attempts_max);
    if pending.status == Some(200) {
        if let Some(done) = world.deliveries.finish(number, DeliveryState::Acknowledged)
            && done.kind == "message"
        {
            world.user_messages_arrived(&done.wamids);
        }
    } else {
        let failed = pending.clone();
        if last {
            world.deliveries.finish(number, DeliveryState::GivenUp);
        } else {
            world.later(pause_milliseconds(retry_delay, attempts), Job::Deliver { number, attempts });
        }
        tell_failure(world, failed, last);
    }
    for held in std::mem::take(&mut world.deliveries.held) {
        if held != number {
            world.later(0, Job::Deliver { number: held, attempts: 0 });
        }
    }
}

fn tell_failure(world: &mut World, failed: Pending, last: bool) {
    let told = failed.status.map_or(failed.error.unwrap_or_default(), |status| format!("it was answered {status}"));
    let next = if last { "it is given up" } else { "it will be tried again" };
    world.event(|| SimEvent::Failure {
        phone_id: failed.phone_id,
        source: "webhook".to_owned(),
        code: failed.status.map(u32::from),
        message: format!("A webhook was not accepted: {told}; {next}."),
    });
}

/// Doubles from one attempt to the next, up to [`RETRY_DELAY_MAX`].
fn pause_milliseconds(first: u64, attempts: u32) -> u64 {
    let most = u64::try_from(RETRY_DELAY_MAX.as_millis()).unwrap_or(u64::MAX);
    first.saturating_mul(1_u64 << attempts.saturating_sub(1).min(30)).min(most)
}

/// Signs many bodies with one secret; the secret is prepared once.
pub(crate) struct Signer {
    /// HMAC takes keys of any length, so this is never `None` in practice.
    keyed: Option<Hmac<Sha256>>,
}

impl Signer {
    pub(crate) fn new(secret: &str) -> Self {
        Self { keyed: Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok() }
    }

    /// The signature of these bytes in hexadecimal digits.
    pub(crate) fn hex(&self, body: &[u8]) -> [u8; 64] {
        let mut digits = [b'0'; 64];
        if let Some(mut mac) = self.keyed.clone() {
            mac.update(body);
            // The room is exactly that of 32 bytes.
            _ = hex::encode_to_slice(mac.finalize().into_bytes(), &mut digits);
        }
        digits
    }
}

/// The value of `X-Hub-Signature-256` for these bytes.
pub(crate) fn signature(secret: &str, body: &[u8]) -> String {
    let digits = Signer::new(secret).hex(body);
    format!("sha256={}", String::from_utf8_lossy(&digits))
}

/// What came of the GET handshake.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Handshake {
    /// Whether the challenge came back with 200.
    pub ok: bool,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What happened, in a sentence.
    pub detail: String,
}

/// Asks the webhook address to prove itself: GET with `hub.mode`, `hub.verify_token` and `hub.challenge`.
pub(crate) async fn handshake(shared: &Shared) -> Handshake {
    let refused = |detail: String| Handshake { ok: false, status: None, detail };
    let (url, challenge) = shared.act(|world| (world.webhook_url.clone(), world.ids.token()));
    let Some(url) = url else {
        return refused("There is no webhook address.".to_owned());
    };
    let Ok(mut url) = Url::parse(&url) else {
        return refused(format!("{url} is no URL."));
    };
    url.query_pairs_mut()
        .append_pair("hub.mode", "subscribe")
        .append_pair("hub.verify_token", &shared.config.verify_token)
        .append_pair("hub.challenge", &challenge);
    let mut response = match shared.client.get(url).send().await {
        Ok(response) => response,
        Err(error) => return refused(reason(&error)),
    };
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > CHALLENGE_BYTES_MAX {
            break;
        }
    }
    let ok = status == 200 && body == challenge.as_bytes();
    let detail = match (ok, status) {
        (true, _) => "The challenge came back.".to_owned(),
        (false, 200) => "The answer is not the bare challenge.".to_owned(),
        (false, status) => format!("The handshake was answered {status}."),
    };
    Handshake { ok, status: Some(status), detail }
}

/// Why a request failed, with its innermost cause.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if error.is_timeout() { "there was no answer in time".to_owned() } else { cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_published_example_of_hmac_sha256() {
        let expected = "sha256=f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
        assert_eq!(signature("key", b"The quick brown fox jumps over the lazy dog"), expected);
    }

    #[test]
    fn pauses_double_up_to_the_bound() {
        assert_eq!([1, 2, 3, 4].map(|attempts| pause_milliseconds(200, attempts)), [200, 400, 800, 1_600]);
        assert_eq!(pause_milliseconds(200, 60), 30_000);
    }
}
