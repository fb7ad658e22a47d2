//! The sender: claims a conversation's outbox in order, asks policy, writes the intent, calls, settles.

pub mod consent;
pub mod policy;
pub mod reconcile;
pub mod retry;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::SharedClock;
use crate::domain::outbound::{AttemptOutcome, NextSend, Refusal, SendCandidate, Settlement};
use crate::ids::ConversationId;
use crate::queue::{Topic, WakeQueue, dispatch};
use crate::store::{Moved, Store, StoreError};
use crate::transport::CloudApi;
use policy::{Permission, Policy};

/// How long the sender leaves a conversation alone when the database is not available.
const DATABASE_PAUSE_SECONDS: i64 = 2;
/// How often the outcome of a call is offered to a database that is not available. What cannot be written in that
/// time becomes an unknown send, which a status settles.
const SETTLE_TRIES_MAX: u32 = 20;
/// The pause between those tries.
const SETTLE_PAUSE: Duration = Duration::from_millis(500);

/// The bounds of a sender.
#[derive(Debug, Clone, Copy)]
pub struct SenderLimits {
    /// Conversations served at once.
    pub workers: usize,
    /// Attempts of one message, the first included.
    pub attempts_max: i32,
    /// How long a send of unknown fate holds up those behind it: somewhat longer than a status has to settle it, so that
    /// it comes first if it is sent once more.
    pub unknown_deadline_seconds: i64,
}

/// Sends what waits in outboxes. Clones share everything.
#[derive(Clone)]
pub struct Sender {
    store: Store,
    queue: Arc<dyn WakeQueue>,
    transport: Arc<CloudApi>,
    clock: SharedClock,
    policy: Policy,
    limits: SenderLimits,
    dice: Arc<Mutex<StdRng>>,
}

impl Sender {
    /// A sender; `dice` decides about jitter.
    pub fn new(
        store: Store,
        queue: Arc<dyn WakeQueue>,
        transport: Arc<CloudApi>,
        clock: SharedClock,
        policy: Policy,
        limits: SenderLimits,
        dice: StdRng,
    ) -> Self {
        Self { store, queue, transport, clock, policy, limits, dice: Arc::new(Mutex::new(dice)) }
    }

    /// Serves conversations until `stop` is cancelled; calls under way are finished by `tasks`.
    pub async fn run(self, tasks: TaskTracker, stop: CancellationToken) {
        let (queue, workers) = (self.queue.clone(), self.limits.workers);
        dispatch(queue, Topic::Send, workers, tasks, stop.clone(), move |conversation| {
            let (sender, stop) = (self.clone(), stop.clone());
            async move { sender.serve(conversation, &stop).await }
        })
        .await;
    }

    /// Sends what is due in one conversation, in order.
    async fn serve(&self, conversation: ConversationId, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            match self.step(conversation).await {
                Ok(Step::Next) => {}
                Ok(Step::Wait(instant)) => {
                    self.queue.announce_at(Topic::Send, conversation, instant);
                    return;
                }
                Ok(Step::Idle) => return,
                Err(error) => {
                    tracing::warn!(%error, %conversation, "the outbox could not be served; it is tried again");
                    let later = self.clock.now() + jiff::SignedDuration::from_secs(DATABASE_PAUSE_SECONDS);
                    self.queue.announce_at(Topic::Send, conversation, later);
                    return;
                }
            }
        }
    }

    async fn step(&self, conversation: ConversationId) -> Result<Step, StoreError> {
        let candidate = match self.store.next_send(conversation, self.limits.unknown_deadline_seconds).await? {
            NextSend::Nothing | NextSend::Busy => return Ok(Step::Idle),
            NextSend::WaitUntil(instant) => return Ok(Step::Wait(instant)),
            NextSend::Due(candidate) => *candidate,
        };
        let refusal = match policy::check(&self.policy, &candidate, self.clock.now()) {
            Permission::Granted => return self.attempt(&candidate).await,
            Permission::Suppress => Refusal::Suppress { request: self.transport.preview(&candidate) },
            Permission::Hold(error) => Refusal::Hold(error),
            Permission::Cancel(error) => Refusal::Cancel(error),
        };
        tracing::info!(outbound_id = %candidate.id, refusal = refusal_word(&refusal), "not sent");
        Ok(after(self.store.refuse_send(&candidate, refusal).await?))
    }

    async fn attempt(&self, candidate: &SendCandidate) -> Result<Step, StoreError> {
        let begun_at = self.clock.now();
        if !self.store.begin_send(candidate).await? {
            return Ok(Step::Idle);
        }
        crate::crash::point("intent");
        let (http_status, delivery) = self.transport.deliver(candidate).await;
        crate::crash::point("call");
        let attempt = candidate.attempts + 1;
        let outcome = {
            let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
            retry::outcome(delivery, attempt, self.limits.attempts_max, self.clock.now(), &mut *dice)
        };
        log_outcome(candidate, &outcome);
        let settlement = Settlement {
            conversation_id: candidate.conversation_id,
            outbound_id: candidate.id,
            attempt,
            begun_at,
            http_status,
            outcome,
        };
        let moved = self.settle(settlement).await?;
        crate::crash::point("settle");
        Ok(after(moved))
    }

    async fn settle(&self, settlement: Settlement) -> Result<Moved, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.store.settle(settlement.clone()).await {
                Ok(moved) => return Ok(moved),
                Err(error) if error.is_transient() && tries < SETTLE_TRIES_MAX => {
                    tracing::warn!(%error, outbound_id = %settlement.outbound_id, "the outcome of a call waits for the database");
                    tokio::time::sleep(SETTLE_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

enum Step {
    /// Look again at once.
    Next,
    /// Nothing to do before then.
    Wait(jiff::Timestamp),
    /// Nothing to do.
    Idle,
}

/// Spares the look into an outbox that is known to be empty.
fn after(moved: Moved) -> Step {
    if moved.more_waiting { Step::Next } else { Step::Idle }
}

fn refusal_word(refusal: &Refusal) -> &str {
    match refusal {
        Refusal::Hold(error) | Refusal::Cancel(error) => &error.reason,
        Refusal::Suppress { .. } => "outbound_off",
    }
}

fn log_outcome(candidate: &SendCandidate, outcome: &AttemptOutcome) {
    let outbound_id = candidate.id;
    match outcome {
        AttemptOutcome::Accepted { .. } => tracing::debug!(%outbound_id, "sent"),
        AttemptOutcome::RetryAt { not_before, error } => {
            tracing::warn!(%outbound_id, %not_before, reason = error.reason, code = error.code, "refused for now");
        }
        AttemptOutcome::Held { error } => {
            tracing::warn!(%outbound_id, reason = error.reason, code = error.code, "held")
        }
        AttemptOutcome::Failed { error } => {
            tracing::error!(%outbound_id, reason = error.reason, code = error.code, "given up");
        }
        AttemptOutcome::Unknown { error } => {
            tracing::warn!(%outbound_id, reason = error.reason, "it is not known whether it went out");
        }
    }
}
