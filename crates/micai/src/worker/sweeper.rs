//! The sweeper announces whatever the database says is unfinished: what was lost with the queue, what a dead process
//! left, what came due while nobody listened.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::forget;
use crate::clock::SharedClock;
use crate::ids::ConversationId;
use crate::queue::{Topic, WakeQueue};
use crate::store::{Store, StoreError};

/// Conversations of one page; a sweep turns the pages until the last.
const PAGE_ROWS_MAX: i64 = 1_000;

/// Sweeps at once, then every `interval_seconds` until `stop` is cancelled. `sends_rest` says that sends wait for something that
/// will call them, such as the end of an outage: they are left alone then.
pub async fn run(
    store: Store,
    queue: Arc<dyn WakeQueue>,
    clock: SharedClock,
    interval_seconds: i64,
    sends_rest: Box<dyn Fn() -> bool + Send + Sync>,
    stop: CancellationToken,
) {
    // The first sweep leaves nothing out; later ones leave alone what the queue has had no time for.
    let mut grace_seconds = 0;
    loop {
        if let Err(error) = sweep(&store, queue.as_ref(), &clock, grace_seconds, sends_rest()).await {
            tracing::warn!(%error, "the sweep failed; the next one makes up for it");
        }
        grace_seconds = interval_seconds;
        let next = clock.now() + SignedDuration::from_secs(interval_seconds);
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep_until(next) => {}
        }
    }
}

/// One sweep over work that has been ready for at least `grace_seconds`.
async fn sweep(
    store: &Store,
    queue: &dyn WakeQueue,
    clock: &SharedClock,
    grace_seconds: i64,
    sends_rest: bool,
) -> Result<(), StoreError> {
    let before = clock.now() - SignedDuration::from_secs(grace_seconds);
    announce(store, queue, Topic::Turn, before).await?;
    if !sends_rest {
        announce(store, queue, Topic::Send, before).await?;
    }
    forget::sweep(store, queue).await
}

async fn announce(store: &Store, queue: &dyn WakeQueue, topic: Topic, before: Timestamp) -> Result<(), StoreError> {
    let mut after = ConversationId(Uuid::nil());
    loop {
        let page = match topic {
            Topic::Turn => store.forgotten_turns(before, after, PAGE_ROWS_MAX).await?,
            Topic::Send => store.forgotten_sends(before, after, PAGE_ROWS_MAX).await?,
        };
        queue.announce(topic, &page);
        match last_of_full(&page) {
            Some(last) => after = last,
            None => return Ok(()),
        }
    }
}

/// Where the next page begins, if there may be one.
fn last_of_full(page: &[ConversationId]) -> Option<ConversationId> {
    let is_full = i64::try_from(page.len()).unwrap_or(i64::MAX) >= PAGE_ROWS_MAX;
    page.last().copied().filter(|_| is_full)
}
