//! Time-driven upkeep of the ledger: calls whose process died become unknown, unknown sends that the open line proves
//! lost are sent once more.

use std::sync::Arc;

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::queue::{Topic, WakeQueue};
use crate::store::{Store, StoreError};

/// Batches of held sends that one look lets go.
const RELEASE_ROUNDS_MAX: u32 = 20;

/// The bounds of reconciliation.
#[derive(Debug, Clone, Copy)]
pub struct ReconcileLimits {
    /// A call that has been under way for longer than this has lost its process. Above the transport's time limit.
    pub call_seconds_max: i64,
    /// How long a status has to settle an unknown send.
    pub unknown_deadline_seconds: i64,
    /// How long a send may be held.
    pub held_seconds_max: i64,
    /// The pause between two looks.
    pub interval_seconds: i64,
}

/// Looks until `stop` is cancelled.
pub async fn run(
    store: Store,
    queue: Arc<dyn WakeQueue>,
    clock: SharedClock,
    limits: ReconcileLimits,
    stop: CancellationToken,
) {
    loop {
        if let Err(error) = look(&store, queue.as_ref(), &limits).await {
            tracing::warn!(%error, "unknown sends could not be looked at; next time");
        }
        let next = clock.now() + SignedDuration::from_secs(limits.interval_seconds);
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep_until(next) => {}
        }
    }
}

/// One look.
pub async fn look(store: &Store, queue: &dyn WakeQueue, limits: &ReconcileLimits) -> Result<(), StoreError> {
    if store.has_expired_calls(limits.call_seconds_max).await? {
        let expired = store.expire_calls(limits.call_seconds_max).await?;
        tracing::warn!(expired, "calls without an answer: it is not known whether they went out");
    }
    let_go(store, queue).await?;
    let expired = store.expire_holds(limits.held_seconds_max).await?;
    if expired > 0 {
        tracing::warn!(expired, "held sends have waited too long: they are dead letters");
    }
    for unknown in store.overdue_unknowns(limits.unknown_deadline_seconds).await? {
        if store.line_is_open_since(&unknown).await? && store.resend_unknown(&unknown).await? {
            tracing::warn!(
                outbound_id = %unknown.id,
                "no status came although statuses of later messages did: it is sent once more"
            );
            queue.announce(Topic::Send, &[unknown.conversation_id]);
        }
    }
    Ok(())
}

/// What was held for a pause that is over goes out, batch by batch.
async fn let_go(store: &Store, queue: &dyn WakeQueue) -> Result<(), StoreError> {
    for _ in 0..RELEASE_ROUNDS_MAX {
        let (released, more) = store.release_pause_holds().await?;
        queue.announce(Topic::Send, &released);
        if !more {
            break;
        }
    }
    Ok(())
}
