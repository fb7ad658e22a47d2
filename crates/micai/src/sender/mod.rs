//! The sender: claims a conversation's outbox in order, asks policy, writes the intent, calls, settles.

pub mod consent;
pub mod gate;
pub mod planner;
pub mod policy;
pub mod purse;
pub mod reconcile;
pub mod retry;
pub mod stand_in;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::SharedClock;
use crate::cost::PriceTable;
use crate::domain::alert::{AlertKind, NewAlert, Severity};
use crate::domain::audit::Actor;
use crate::domain::outbound::{
    AttemptOutcome, MessageBody, NextSend, Refusal, SendCandidate, Settlement, UnreadableSend,
};
use crate::domain::pause::{Pause, PauseCause, PauseKey, PauseScope};
use crate::ids::ConversationId;
use crate::queue::{Topic, WakeQueue, dispatch};
use crate::shared::{Changes, Permit, Subject};
use crate::store::{Moved, PauseSnapshot, Store, StoreError};
use crate::transport::{CloudApi, Delivery, RefusedCall};
use gate::{Change, Gate};
use policy::{Permission, Policy};
use purse::Purse;
use retry::Attempt;
use stand_in::StandIns;

/// How long the sender leaves a conversation alone when the database is not available.
const DATABASE_PAUSE_SECONDS: i64 = 2;
/// How often the outcome of a call is offered to a database that is not available. What cannot be written in that
/// time becomes an unknown send, which a status settles.
const SETTLE_TRIES_MAX: u32 = 20;
/// The pause between those tries.
const SETTLE_PAUSE: Duration = Duration::from_millis(500);

/// WhatsApp's code for a template that is not there, or not approved, in this language.
const TEMPLATE_NOT_FOUND_CODE: i64 = 132_001;
/// Sends of one conversation before others get their turn.
const SENDS_PER_VISIT_MAX: u32 = 8;

/// The bounds of a sender.
#[derive(Debug, Clone, Copy)]
pub struct SenderLimits {
    /// Conversations served at once.
    pub workers: usize,
    /// Attempts of one message, the first included.
    pub attempts_max: i32,
    /// How long a send of unknown fate holds up those behind it: somewhat longer than a status has to settle it, so that
    /// it comes first if it is sent once more. The same for all agents, whatever time theirs gives a status: this is asked for
    /// each message.
    pub others_wait_seconds: i64,
}

/// What decides whether and when something goes out.
pub struct Rules {
    /// The operator's switches.
    pub policy: Policy,
    /// What messages cost.
    pub prices: Arc<PriceTable>,
    /// Templates.
    pub stand_ins: StandIns,
    /// Pace, and whether the Graph API is there.
    pub gate: Gate,
    /// Told what has been committed.
    pub changes: Changes,
}

/// Sends what waits in outboxes. Clones share everything.
#[derive(Clone)]
pub struct Sender {
    store: Store,
    queue: Arc<dyn WakeQueue>,
    transport: Arc<CloudApi>,
    clock: SharedClock,
    policy: Policy,
    purse: Purse,
    stand_ins: StandIns,
    gate: Gate,
    changes: Changes,
    limits: SenderLimits,
    dice: Arc<Mutex<StdRng>>,
}

impl Sender {
    /// A sender by these rules; `dice` decides about jitter.
    pub fn new(
        store: Store,
        queue: Arc<dyn WakeQueue>,
        transport: Arc<CloudApi>,
        clock: SharedClock,
        rules: Rules,
        limits: SenderLimits,
        dice: StdRng,
    ) -> Self {
        let Rules { policy, prices, stand_ins, gate, changes } = rules;
        let purse = Purse::new(store.clone(), prices);
        let dice = Arc::new(Mutex::new(dice));
        Self { store, queue, transport, clock, policy, purse, stand_ins, gate, changes, limits, dice }
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

    /// Sends what is due in one conversation, in order; after some, others get their turn.
    async fn serve(&self, conversation: ConversationId, stop: &CancellationToken) {
        for _ in 0..SENDS_PER_VISIT_MAX {
            if stop.is_cancelled() {
                return;
            }
            match self.step(conversation).await {
                // After an outage the oldest go first: one of each conversation, then it stands behind the others.
                Ok(Step::Next) if self.gate.is_recovering() => break,
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
        self.queue.announce(Topic::Send, &[conversation]);
    }

    async fn step(&self, conversation: ConversationId) -> Result<Step, StoreError> {
        self.gate.leave(conversation);
        let mut send = match self.prepare(conversation).await? {
            Prepared::Send(send) => send,
            Prepared::Settled(step) => return Ok(step),
        };
        if let Err(probe_at) = self.gate.may_prepare() {
            return Ok(Step::Wait(self.gate.wait(&send.candidate, probe_at)));
        }
        if let Permit::WaitUntil(instant) = self.gate.pass_pair(&send.candidate).await {
            return Ok(Step::Wait(instant));
        }
        let category = self.stand_ins.category(&send.candidate.body);
        if let Some(error) = self.purse.open(&mut send.candidate, category, self.clock.now()).await? {
            return self.refuse(&send.candidate, Refusal::Hold(error)).await;
        }
        if self.gate.pass_number(&send.candidate.phone_number_id).await {
            // Meanwhile a stop, a block or a pause may have come, or the window may have closed.
            match self.prepare(conversation).await? {
                Prepared::Send(now) if now.says_the_same(&send) => {}
                Prepared::Send(_) => return Ok(Step::Next),
                Prepared::Settled(step) => return Ok(step),
            }
        }
        // Asked last: an outage may begin while sends stand in line for the number.
        if let Err(probe_at) = self.gate.may_call() {
            return Ok(Step::Wait(self.gate.wait(&send.candidate, probe_at)));
        }
        self.attempt(*send).await
    }

    /// What is next in a conversation and may go out, in the words in which it may.
    async fn prepare(&self, conversation: ConversationId) -> Result<Prepared, StoreError> {
        let mut candidate = match self.store.next_send(conversation, self.limits.others_wait_seconds).await? {
            NextSend::Nothing | NextSend::Busy => return Ok(Prepared::Settled(Step::Idle)),
            NextSend::WaitUntil(instant) => return Ok(Prepared::Settled(Step::Wait(instant))),
            NextSend::Due(candidate) => *candidate,
            NextSend::Unreadable(send) => return self.cannot_read(&send).await.map(Prepared::Settled),
        };
        let now = self.clock.now();
        let country = self.purse.country_of(&candidate);
        let pauses = self.store.pause_snapshot().await?;
        let mut own_words = None;
        let mut permission = self.check(&candidate, &pauses, &country, now);
        if permission == Permission::NeedsTemplate {
            match self.stand_ins.stand_in(&candidate, &pauses, now).await? {
                Ok(template) => {
                    own_words = Some(std::mem::replace(&mut candidate.body, template));
                    // What is paused for templates did not concern it before.
                    permission = self.check(&candidate, &pauses, &country, now);
                }
                Err(error) => {
                    let refusal = Refusal::HoldForWindow(error, candidate.last_inbound_at);
                    return self.put_aside(&candidate, refusal).await;
                }
            }
        }
        let refusal = match permission {
            Permission::Granted => match self.stand_ins.check(&candidate.body) {
                Ok(()) => return Ok(Prepared::Send(Box::new(Send { candidate, own_words, country }))),
                Err(refusal) => refusal,
            },
            Permission::NeedsTemplate => Refusal::HoldForWindow(policy::window_closed(""), candidate.last_inbound_at),
            Permission::Suppress => Refusal::Suppress { request: self.transport.preview(&candidate) },
            Permission::Wait(instant) => return Ok(Prepared::Settled(Step::Wait(instant))),
            Permission::Pause(key, error) => Refusal::Pause(key, error),
            Permission::Cancel(error) => Refusal::Cancel(error),
        };
        self.put_aside(&candidate, refusal).await
    }

    async fn put_aside(&self, candidate: &SendCandidate, refusal: Refusal) -> Result<Prepared, StoreError> {
        self.refuse(candidate, refusal).await.map(Prepared::Settled)
    }

    /// Counts a row that cannot be read, until it is put aside so that it does not stand in the way.
    async fn cannot_read(&self, send: &UnreadableSend) -> Result<Step, StoreError> {
        let again_at = self.store.count_unreadable(send).await?;
        tracing::error!(outbound_id = %send.id, tries = send.tries + 1, detail = send.detail, "a send cannot be read");
        Ok(again_at.map_or(Step::Next, Step::Wait))
    }

    fn check(&self, candidate: &SendCandidate, pauses: &PauseSnapshot, country: &str, now: Timestamp) -> Permission {
        let category = self.stand_ins.category(&candidate.body);
        policy::check(&self.policy, candidate, category, pauses, country, now)
    }

    async fn refuse(&self, candidate: &SendCandidate, refusal: Refusal) -> Result<Step, StoreError> {
        tracing::info!(outbound_id = %candidate.id, refusal = refusal_word(&refusal), "not sent");
        let is_letter = matches!(refusal, Refusal::Fail(_));
        let moved = self.store.refuse_send(candidate, refusal).await?;
        self.tell(candidate.conversation_id, is_letter);
        // Not moved: something has changed meanwhile, such as the window.
        Ok(if moved.moved { after(moved) } else { Step::Next })
    }

    /// Writes the intent, calls, and writes what came of it.
    async fn attempt(&self, send: Send) -> Result<Step, StoreError> {
        let Send { candidate, own_words, country } = send;
        let candidate = &candidate;
        let begun_at = self.clock.now();
        let body = own_words.as_ref().map(|_| candidate.body.clone());
        if !self.store.begin_send_as(candidate, body).await? {
            return Ok(Step::Idle);
        }
        crate::crash::point("intent");
        let call = self.transport.deliver(candidate).await;
        crate::crash::point("call");
        self.note_api(call.api_answered).await;
        let pause = match &call.delivery {
            Delivery::Refused(refused) => self.pause(refused, candidate, &country).await,
            Delivery::Accepted { .. } | Delivery::Unknown { .. } => None,
        };
        // Another template may say it, as long as this one is passed over from now on.
        let restored = own_words.filter(|_| pause.as_ref().is_some_and(|(key, _)| key.scope == PauseScope::Template));
        let is_passed_over = restored.is_some() && pause.as_ref().is_some_and(|(_, is_set)| *is_set);
        let attempt = candidate.attempts + 1;
        let outcome = {
            let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
            let counted = Attempt {
                number: attempt - candidate.attempts_before,
                tried_since: candidate.tried_since.unwrap_or(begun_at),
                is_outage: self.gate.is_down(),
            };
            let pause = pause.map(|(key, _)| key);
            retry::outcome(call.delivery, pause, counted, self.limits.attempts_max, self.clock.now(), &mut *dice)
        };
        let outcome = match outcome {
            // A template that is refused for want of a template: there is nothing else to try.
            AttemptOutcome::NeedsTemplate { error } if candidate.body.template().is_some() => {
                AttemptOutcome::Failed { error }
            }
            AttemptOutcome::Paused { error, .. } | AttemptOutcome::Failed { error } if is_passed_over => {
                AttemptOutcome::NeedsTemplate { error }
            }
            // Nobody can tell whether it ever comes.
            AttemptOutcome::Paused { error, .. }
                if error.code == Some(TEMPLATE_NOT_FOUND_CODE) && !self.stand_ins.has_account() =>
            {
                AttemptOutcome::Failed { error }
            }
            outcome => outcome,
        };
        log_outcome(candidate, &outcome);
        let settlement = Settlement {
            conversation_id: candidate.conversation_id,
            outbound_id: candidate.id,
            attempt,
            begun_at,
            http_status: call.http_status,
            outcome,
            restored,
        };
        let is_accepted = matches!(settlement.outcome, AttemptOutcome::Accepted { .. });
        let is_letter = matches!(settlement.outcome, AttemptOutcome::Failed { .. } | AttemptOutcome::Unknown { .. });
        let moved = self.settle(settlement).await?;
        self.tell(candidate.conversation_id, is_letter);
        if let Some(until) = candidate.free_entry.opens(begun_at).filter(|_| is_accepted) {
            self.store.open_free_entry(candidate.conversation_id, until).await?;
        }
        crate::crash::point("settle");
        Ok(after(moved))
    }

    /// Pauses what a refusal says is blocked, for all processes, before the send itself is put aside. Gives what, and whether that
    /// could be written. If not, the send is put aside all the same: what is held for a pause that is not there is tried again.
    async fn pause(&self, refused: &RefusedCall, candidate: &SendCandidate, country: &str) -> Option<(PauseKey, bool)> {
        let key = refused.pauses.and_then(|scope| policy::pause_key(scope, candidate, country))?;
        let now = self.clock.now();
        let until = refused.retry_after_seconds.and_then(|seconds| i64::try_from(seconds).ok());
        let pause = Pause {
            key: key.clone(),
            cause: PauseCause::Refusal,
            code: refused.error.code,
            sentence: refused.error.detail.clone(),
            since: now,
            until: until.map(|seconds| now + jiff::SignedDuration::from_secs(seconds)),
        };
        let is_set = self.store.set_pause(&pause, &Actor::Platform).await;
        match &is_set {
            Ok(_) => tracing::error!(pause = %key, code = refused.error.code, "sending is paused"),
            Err(error) => tracing::error!(%error, pause = %key, "a pause could not be written"),
        }
        Some((key, is_set.unwrap_or(false)))
    }

    /// Notes whether the Graph API was there; the beginning and the end of an outage are told.
    async fn note_api(&self, answered: bool) {
        let outcome = match self.gate.saw(answered) {
            None => return,
            Some(Change::Down) => {
                tracing::error!(
                    "the Graph API does not answer: sends wait, one call at a time asks whether it is back"
                );
                let sentence = "The Graph API does not answer. Sends wait and nothing is lost; it is asked at least once \
                                a minute, and everything goes out at the number's pace when it is back.";
                let evidence = serde_json::json!({});
                let alert = NewAlert::new(AlertKind::GraphOutage, Severity::Critical, "", sentence, evidence);
                self.store.raise_alert(&alert).await.map(drop)
            }
            Some(Change::Up) => {
                self.queue.announce(Topic::Send, &self.gate.take_waiting());
                self.store.clear_alert(AlertKind::GraphOutage, "").await.map(|was_away| {
                    if was_away {
                        tracing::warn!("the Graph API answers again");
                    }
                })
            }
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "an alert could not be written");
        }
    }

    fn tell(&self, conversation: ConversationId, is_letter: bool) {
        self.changes.conversations([conversation]);
        if is_letter {
            self.changes.subject(Subject::Letters);
        }
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

/// A message that may go out.
struct Send {
    candidate: SendCandidate,
    /// What the message says where a template stands in for it.
    own_words: Option<MessageBody>,
    /// Its person's, for what is paused by country.
    country: String,
}

impl Send {
    /// Whether nothing has changed about what goes out, and what it costs.
    fn says_the_same(&self, other: &Self) -> bool {
        let what = |send: &Self| (send.candidate.id, send.candidate.attempts);
        what(self) == what(other) && self.candidate.body == other.candidate.body
    }
}

/// What came of looking at the head of an outbox.
enum Prepared {
    /// This may go out.
    Send(Box<Send>),
    /// Nothing is to be called now.
    Settled(Step),
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
        Refusal::Hold(error)
        | Refusal::HoldForWindow(error, _)
        | Refusal::Pause(_, error)
        | Refusal::Cancel(error)
        | Refusal::Fail(error) => &error.reason,
        Refusal::Suppress { .. } => "outbound_off",
    }
}

fn log_outcome(candidate: &SendCandidate, outcome: &AttemptOutcome) {
    let outbound_id = candidate.id;
    match outcome {
        AttemptOutcome::Accepted { .. } => tracing::debug!(%outbound_id, "sent"),
        AttemptOutcome::RetryAt { not_before, error, .. } => {
            tracing::warn!(%outbound_id, %not_before, reason = error.reason, code = error.code, "refused for now");
        }
        AttemptOutcome::NeedsTemplate { error } | AttemptOutcome::Paused { error, .. } => {
            tracing::warn!(%outbound_id, reason = error.reason, code = error.code, "put aside");
        }
        AttemptOutcome::Failed { error } => {
            tracing::error!(%outbound_id, reason = error.reason, code = error.code, "given up");
        }
        AttemptOutcome::Unknown { error } => {
            tracing::warn!(%outbound_id, reason = error.reason, "it is not known whether it went out");
        }
    }
}
