//! Time-driven upkeep of the ledger: calls whose process died become unknown, unknown sends that the open line proves
//! lost are sent once more.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::domain::alert::{AlertKind, NewAlert, Severity};
use crate::domain::fate::UnknownSend;
use crate::ids::OutboundId;
use crate::queue::{Topic, WakeQueue};
use crate::store::{OVERDUE_SENDS_MAX, Store, StoreError};

/// Batches of held sends that one look lets go.
const RELEASE_ROUNDS_MAX: u32 = 20;

/// The bounds of reconciliation.
#[derive(Debug, Clone, Copy)]
pub struct ReconcileLimits {
    /// A call that has been under way for longer than this has lost its process. Above the transport's time limit.
    pub call_seconds_max: i64,
    /// How long a status has to settle an unknown send, unless its agent says otherwise.
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
        if let Err(error) = look(&store, queue.as_ref(), &clock, &limits).await {
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
pub async fn look(
    store: &Store,
    queue: &dyn WakeQueue,
    clock: &SharedClock,
    limits: &ReconcileLimits,
) -> Result<(), StoreError> {
    if store.has_expired_calls(limits.call_seconds_max).await? {
        let expired = store.expire_calls(limits.call_seconds_max).await?;
        tracing::warn!(expired, "calls without an answer: it is not known whether they went out");
    }
    let_go(store, queue).await?;
    let expired = store.expire_holds(limits.held_seconds_max).await?;
    if expired > 0 {
        tracing::warn!(expired, "held sends have waited too long: they are dead letters");
    }
    let mut stuck = Stuck::default();
    let mut lines = Lines::default();
    for unknown in store.overdue_unknowns(limits.unknown_deadline_seconds).await? {
        let open_since = match unknown.may_go_again() {
            true => lines.open_since(store, &unknown).await?,
            false => None,
        };
        let Some(open_since) = open_since else {
            stuck.add(&unknown);
            continue;
        };
        let is_proved = unknown.call.heard_by(open_since) <= clock.now();
        if is_proved && store.resend_unknown(&unknown).await? {
            tracing::warn!(
                outbound_id = %unknown.id,
                "no status came although statuses of later messages did: it is sent once more"
            );
            queue.announce(Topic::Send, &[unknown.conversation_id]);
        }
    }
    stuck.tell(store).await
}

/// Which lines are known to be silent. A number without statuses since one attempt has none since a later one either.
#[derive(Debug, Default)]
struct Lines(HashMap<String, Timestamp>);

impl Lines {
    async fn open_since(&mut self, store: &Store, unknown: &UnknownSend) -> Result<Option<Timestamp>, StoreError> {
        let silent_since = self.0.get(&unknown.phone_number_id);
        if silent_since.is_some_and(|since| *since <= unknown.call.attempted_at) {
            return Ok(None);
        }
        let open_since = store.line_open_since(unknown).await?;
        if open_since.is_none() {
            self.0.insert(unknown.phone_number_id.clone(), unknown.call.attempted_at);
        }
        Ok(open_since)
    }
}

/// Unknown sends whose time is over and that nothing settles by itself.
#[derive(Debug, Default)]
struct Stuck {
    /// Nothing has come for any later send of their number.
    silent_line: usize,
    /// They were sent again once already.
    sent_again: usize,
    /// Their agent leaves them to a person.
    parked: usize,
    first: Option<OutboundId>,
}

impl Stuck {
    fn add(&mut self, unknown: &UnknownSend) {
        self.first.get_or_insert(unknown.id);
        if unknown.resends > 0 {
            self.sent_again += 1;
        } else if unknown.is_parked {
            self.parked += 1;
        } else {
            self.silent_line += 1;
        }
    }

    /// Raises the alert when it says something new, and clears it when none is left. Most looks write nothing.
    async fn tell(&self, store: &Store) -> Result<(), StoreError> {
        let open = store.open_alert(AlertKind::UnknownSends, "").await?;
        let count = self.silent_line + self.sent_again + self.parked;
        if count == 0 {
            if open.is_some() {
                store.clear_alert(AlertKind::UnknownSends, "").await?;
            }
            return Ok(());
        }
        let evidence = serde_json::json!({
            "silent_line": self.silent_line, "sent_again": self.sent_again, "parked": self.parked, "first": self.first,
        });
        if open.is_some_and(|open| open.evidence == evidence) {
            return Ok(());
        }
        let more = if count >= OVERDUE_SENDS_MAX { " or more" } else { "" };
        let sentence = format!(
            "Nobody can say whether {count}{more} sends went out, and nothing settles them by itself: {} are left to a person \
             by their agent, {} were sent again once already, and for {} no status of any later send has come. GET \
             /admin/outbound?state=unknown lists them with what speaks for and against each; POST \
             /admin/outbound/{{id}}/settle takes your word.",
            self.parked, self.sent_again, self.silent_line
        );
        store.raise_alert(&NewAlert::new(AlertKind::UnknownSends, Severity::Warning, "", &sentence, evidence)).await?;
        Ok(())
    }
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
