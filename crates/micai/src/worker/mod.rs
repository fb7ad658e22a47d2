//! The worker: claims a conversation, takes the turn, commits it; and the sweeper that announces what was forgotten.

mod agents;
mod forget;
pub mod sweeper;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::consent::ConsentWords;
use crate::agent::control::ControlWords;
use crate::agent::tools::Tools;
use crate::agent::triggers::Gate;
use crate::agent::turn::{TurnInput, TurnOutcome, needs_facts, needs_reminders, run_turn};
use crate::clock::SharedClock;
use crate::domain::conversation::HandoverRules;
use crate::domain::outbound::{NewOutbound, reply_key};
use crate::domain::turn::{Claim, Effect, FinishOutcome, FinishedTurn, TurnError, UnreadableMessage};
use crate::ids::{ConversationId, Ids, InboundId};
use crate::queue::{Topic, WakeQueue, dispatch};
use crate::shared::{Changes, Subject};
use crate::store::{Store, StoreError};
use agents::AgentCache;

/// How long a conversation is left alone when the database is not available.
const DATABASE_PAUSE_SECONDS: i64 = 2;
/// How often a finished turn is offered to a database that is not available; after that its lease runs out and the
/// turn is taken again.
const FINISH_TRIES_MAX: u32 = 20;
/// The pause between those tries.
const FINISH_PAUSE: Duration = Duration::from_millis(500);

/// The bounds of a worker.
#[derive(Debug, Clone, Copy)]
pub struct WorkerLimits {
    /// Turns taken at once.
    pub workers: usize,
    /// How long a claim is good for.
    pub lease_seconds: i64,
    /// WhatsApp's window.
    pub window_seconds: i64,
    /// How conversations are handed to people.
    pub handover: HandoverRules,
}

/// The words that a turn listens for before any agent does.
#[derive(Clone)]
pub struct Words {
    /// By which people address the agent.
    pub gate: Arc<Gate>,
    /// By which they stop us.
    pub consent: Arc<ConsentWords>,
    /// By which they steer the conversation itself.
    pub control: Arc<ControlWords>,
}

/// Takes turns. Clones share everything.
#[derive(Clone)]
pub struct Worker {
    store: Store,
    queue: Arc<dyn WakeQueue>,
    clock: SharedClock,
    ids: Arc<Ids>,
    gate: Arc<Gate>,
    consent: Arc<ConsentWords>,
    control: Arc<ControlWords>,
    tools: Arc<Tools>,
    agents: Arc<AgentCache>,
    limits: WorkerLimits,
    changes: Option<Changes>,
}

impl Worker {
    /// A worker that listens for `words`.
    pub fn new(
        store: Store,
        queue: Arc<dyn WakeQueue>,
        clock: SharedClock,
        ids: Arc<Ids>,
        words: Words,
        tools: Arc<Tools>,
        limits: WorkerLimits,
    ) -> Self {
        let Words { gate, consent, control } = words;
        let agents = Arc::new(AgentCache::new(store.clone()));
        Self { store, queue, clock, ids, gate, consent, control, tools, agents, limits, changes: None }
    }

    /// The same, which tells what it has committed.
    #[must_use]
    pub fn telling(self, changes: Changes) -> Self {
        Self { changes: Some(changes), ..self }
    }

    /// Takes turns until `stop` is cancelled; turns under way are finished by `tasks`.
    pub async fn run(self, tasks: TaskTracker, stop: CancellationToken) {
        let (queue, workers) = (self.queue.clone(), self.limits.workers);
        dispatch(queue, Topic::Turn, workers, tasks, stop.clone(), move |conversation| {
            let (worker, stop) = (self.clone(), stop.clone());
            async move { worker.serve(conversation, &stop).await }
        })
        .await;
    }

    /// Takes the turns that wait in one conversation.
    async fn serve(&self, conversation: ConversationId, stop: &CancellationToken) {
        let mut claim = match self.store.claim(conversation, self.limits.lease_seconds).await {
            Ok(Some(claim)) => claim,
            Ok(None) => return,
            Err(error) => return self.try_later(conversation, &error),
        };
        crate::crash::point("claim");
        if stop.is_cancelled() {
            self.give_back(&claim).await;
            return;
        }
        if !claim.unreadable.is_empty() {
            let fault = |one: &UnreadableMessage| (one.id, TurnError::new("unreadable", &one.detail));
            let faults: Vec<_> = claim.unreadable.iter().map(fault).collect();
            self.fail(&claim, &faults, claim.pending.is_empty()).await;
        }
        if claim.pending.is_empty() {
            return;
        }
        isolate(&mut claim);
        // A panic is a fault of ours in one turn; without this, its lease would run out and it would panic again for ever.
        let taken = AssertUnwindSafe(self.take(&claim)).catch_unwind().await;
        let error = match taken {
            Ok(Ok(())) => return,
            Ok(Err(Trouble::Database(error))) => return self.try_later(conversation, &error),
            Ok(Err(Trouble::Turn(error))) => error,
            Err(panic) => TurnError::new("turn_panicked", panic_words(panic.as_ref())),
        };
        let faults: Vec<_> = claim.pending.iter().map(|message| (message.id, error.clone())).collect();
        self.fail(&claim, &faults, true).await;
    }

    async fn take(&self, claim: &Claim) -> Result<(), Trouble> {
        let started_at = self.clock.now();
        let agent = self.agents.get(&claim.agent_id, claim.agent_version).await;
        let agent = agent.map_err(|error| Trouble::of(error, "agent_unreadable"))?;
        let needs_reminders = needs_reminders(claim, &agent, &self.gate, &self.control, &self.tools);
        let mut facts = match needs_reminders || needs_facts(claim, &self.gate, &self.control) {
            true => self.store.person_facts(claim.conversation_id).await.map_err(Trouble::Database)?,
            false => None,
        };
        if let Some(facts) = facts.as_mut().filter(|_| needs_reminders) {
            let reminders = self.store.reminders(facts.contact_id).await;
            facts.reminders = Some(reminders.map_err(|error| Trouble::of(error, "reminders_unreadable"))?);
        }
        let outcome = run_turn(&TurnInput {
            agent: &agent,
            gate: &self.gate,
            consent: &self.consent,
            control: &self.control,
            handover: self.limits.handover,
            mode: claim.mode,
            opted_out_at: claim.opted_out_at,
            marketing_stopped_by: claim.marketing_stopped_by,
            is_blocked: claim.blocked_at.is_some(),
            pending: &claim.pending,
            question: claim.question.as_ref(),
            facts: facts.as_ref(),
            tools: &self.tools,
            window_seconds: self.limits.window_seconds,
            now: started_at,
        })
        .await;
        let turn = self.finished(claim, outcome, started_at);
        let has_replies = !turn.replies.is_empty();
        let forgets = turn.effects.iter().any(|effect| matches!(effect, Effect::Forget(_))).then_some(turn.id.0);
        match self.finish(turn).await.map_err(|error| Trouble::of(error, "turn_refused"))? {
            FinishOutcome::Finished { more_pending, released } => {
                crate::crash::point("finish");
                self.tell(claim.conversation_id, None);
                if has_replies || released {
                    self.queue.announce(Topic::Send, &[claim.conversation_id]);
                }
                // What cannot be read waits on, and has its next try announced already.
                if more_pending && claim.unreadable.is_empty() {
                    self.queue.announce(Topic::Turn, &[claim.conversation_id]);
                }
                if let Some(receipt_id) = forgets
                    && let Err(error) = forget::go_on(&self.store, self.queue.as_ref(), receipt_id).await
                {
                    tracing::warn!(%error, %receipt_id, "an erasure waits for the database; a sweep goes on with it");
                }
            }
            FinishOutcome::Fenced => {
                tracing::info!(conversation = %claim.conversation_id, "somebody else took the conversation over");
            }
        }
        Ok(())
    }

    fn finished(&self, claim: &Claim, outcome: TurnOutcome, started_at: Timestamp) -> FinishedTurn {
        let finished_at = self.clock.now();
        let id = self.ids.turn(finished_at);
        let replies = outcome.replies.into_iter().enumerate().map(|(position, reply)| NewOutbound {
            id: self.ids.outbound(finished_at),
            idempotency_key: reply_key(id, position),
            to: reply.to,
            body: reply.body,
            answers_provider_message_id: Some(reply.answers),
            ignores_opt_out: reply.ignores_opt_out,
        });
        FinishedTurn {
            id,
            conversation_id: claim.conversation_id,
            contact_id: claim.contact_id,
            lease_token: claim.lease_token,
            agent_id: claim.agent_id.clone(),
            agent_version: claim.agent_version,
            started_at,
            finished_at,
            opens_window: claim.opens_window(),
            messages: outcome.states,
            replies: replies.collect(),
            effects: outcome.effects,
            trace: outcome.trace,
        }
    }

    async fn finish(&self, turn: FinishedTurn) -> Result<FinishOutcome, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.store.finish(turn.clone()).await {
                Err(error) if error.is_transient() && tries < FINISH_TRIES_MAX => {
                    tracing::warn!(%error, conversation = %turn.conversation_id, "a finished turn waits for the database");
                    tokio::time::sleep(FINISH_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn give_back(&self, claim: &Claim) {
        if let Err(error) = self.store.release_lease(claim).await {
            tracing::warn!(%error, conversation = %claim.conversation_id, "a lease could not be given back; it runs out");
        }
    }

    async fn fail(&self, claim: &Claim, faults: &[(InboundId, TurnError)], is_over: bool) {
        let conversation = claim.conversation_id;
        for (message, error) in faults {
            tracing::error!(%conversation, %message, reason = error.reason, detail = error.detail, "a turn failed");
        }
        match self.store.fail_turn(claim, faults, is_over).await {
            Ok(0) => {}
            Ok(dead) => {
                tracing::error!(%conversation, dead, "messages were put aside: see `micai dlq list`");
                self.tell(conversation, Some(Subject::Letters));
            }
            Err(error) => {
                tracing::error!(%error, %conversation, "the failure could not be noted; the lease runs out");
                return;
            }
        }
        self.queue.announce_at(Topic::Turn, conversation, self.later());
    }

    fn tell(&self, conversation: ConversationId, subject: Option<Subject>) {
        let Some(changes) = &self.changes else { return };
        changes.conversations([conversation]);
        subject.into_iter().for_each(|subject| changes.subject(subject));
    }

    fn try_later(&self, conversation: ConversationId, error: &StoreError) {
        tracing::warn!(%error, %conversation, "the turn could not be taken; it is tried again");
        self.queue.announce_at(Topic::Turn, conversation, self.later());
    }

    fn later(&self) -> Timestamp {
        self.clock.now() + SignedDuration::from_secs(DATABASE_PAUSE_SECONDS)
    }
}

/// Why a turn came to nothing.
enum Trouble {
    /// The database cannot take it now.
    Database(StoreError),
    /// The turn itself: the same again would fail again.
    Turn(TurnError),
}

impl Trouble {
    fn of(error: StoreError, reason: &str) -> Self {
        match error.is_transient() {
            true => Self::Database(error),
            false => Self::Turn(TurnError::new(reason, &error.to_string())),
        }
    }
}

/// After a failure each message has its turn alone, the oldest first: so the culprit is put aside by itself, and the others are
/// answered.
fn isolate(claim: &mut Claim) {
    if claim.pending.iter().any(|message| message.failures > 0) {
        claim.pending.truncate(1);
    }
}

fn panic_words(panic: &(dyn Any + Send)) -> &str {
    let words = panic.downcast_ref::<&str>().copied();
    words.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without words")
}
