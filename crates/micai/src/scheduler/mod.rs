//! Time: schedules that are due become messages in the outbox, or questions to their agent. Any number of processes may do it at
//! once.

mod firing;
pub mod recurrence;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::queue::{Topic, WakeQueue};
use crate::store::{Fired, Store, StoreError};
pub use firing::{MISSED_AFTER_SECONDS, firing};

/// How long the loop sleeps at most: what another process schedules is seen after that. What this one schedules wakes it.
const LOOK_SECONDS: i64 = 1;
/// The pause where others are attending to all that is due, or the database is away.
const PAUSE_MILLISECONDS: i64 = 200;
/// How often schedules that are over are cleared away.
const CLEAR_SECONDS: i64 = 3_600;
/// How long a schedule that is over is kept for people to look at.
const OVER_DAYS: i64 = 30;

/// Attends to schedules until `stop` is cancelled.
pub async fn run(store: Store, queue: Arc<dyn WakeQueue>, clock: SharedClock, stop: CancellationToken) {
    let changes = store.schedule_changes();
    let mut clear_at = clock.now();
    loop {
        // Asked for before looking: what changes meanwhile is not missed.
        let changed = changes.notified();
        let wake_at = match step(&store, queue.as_ref(), &clock).await {
            Ok(wake_at) => wake_at,
            Err(error) => {
                tracing::warn!(%error, "schedules could not be attended to; they are looked at again");
                clock.now() + SignedDuration::from_millis(PAUSE_MILLISECONDS)
            }
        };
        if clock.now() >= clear_at {
            clear_at = clock.now() + SignedDuration::from_secs(CLEAR_SECONDS);
            clear(&store, clear_at).await;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = changed => {}
            () = clock.sleep_until(wake_at) => {}
        }
    }
}

/// Attends to all that is due. Gives the instant at which to look again.
pub async fn step(store: &Store, queue: &dyn WakeQueue, clock: &SharedClock) -> Result<Timestamp, StoreError> {
    loop {
        let asked_at = clock.now();
        let fired = store.fire_due(firing).await?;
        if fired.schedules > 0 {
            crate::crash::point("fired");
            announce(queue, &fired);
            tracing::debug!(schedules = fired.schedules, messages = fired.sends.len(), "schedules were due");
            continue;
        }
        let look_at = asked_at + SignedDuration::from_secs(LOOK_SECONDS);
        return Ok(match store.next_schedule_at().await? {
            // It was due and is not ours: somebody else has it in hand.
            Some(at) if at <= asked_at => asked_at + SignedDuration::from_millis(PAUSE_MILLISECONDS),
            Some(at) => at.min(look_at),
            None => look_at,
        });
    }
}

fn announce(queue: &dyn WakeQueue, fired: &Fired) {
    if !fired.sends.is_empty() {
        queue.announce(Topic::Send, &fired.sends);
    }
    if !fired.turns.is_empty() {
        queue.announce(Topic::Turn, &fired.turns);
    }
}

async fn clear(store: &Store, now: Timestamp) {
    let over_since = now - SignedDuration::from_hours(24 * OVER_DAYS);
    if let Err(error) = store.clear_schedules(over_since).await {
        tracing::warn!(%error, "schedules that are over could not be cleared away; it is tried again later");
    }
}
