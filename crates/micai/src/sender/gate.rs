//! The gate before the Graph API: a number's throughput, the pace to one person, and a circuit breaker for when the API is
//! down. What a number and a person are allowed is shared by all processes; what the API answers each sees for itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex as FairMutex;

use crate::clock::SharedClock;
use crate::domain::outbound::SendCandidate;
use crate::ids::{ConversationId, OutboundId};
use crate::shared::{Pace, Permit, Shared, number_key};

/// Failures in a row, without any answer in between, that count as an outage.
const OUTAGE_FAILURES: u32 = 5;
/// The first rest after an outage was noticed; each failed probe doubles it.
const REST_SECONDS_MIN: i64 = 5;
/// The longest rest between two probes.
const REST_SECONDS_MAX: i64 = 60;
/// How long an outage is made up for: an hour at 80 messages a second are 288,000.
const RECOVERY_SECONDS: i64 = 3_600;
/// Conversations that are called as soon as an outage is over. Those beyond wait until they would have asked again.
const WAITING_MAX: usize = 50_000;
/// How many of those who wait the longest come back for the next probe: the first of them probes, and if its message is gone by
/// then, another does.
const PROBERS: usize = 4;
/// How much later than the next probe the others ask again. Before that they are called when the outage is over.
const STAND_BACK_SECONDS: i64 = 600;
/// How late the next probe may be before the probers are taken to be gone, and everybody may be one.
const PROBE_LATE_SECONDS: i64 = 60;
/// Numbers whose queues are kept apart in memory. An installation has a handful.
const NUMBERS_MAX: usize = 1_024;

/// How fast may be sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Paces {
    /// Of a number, what comes in included.
    pub number: Option<Pace>,
    /// From a number to one person.
    pub pair: Option<Pace>,
}

/// The gate. Clones share everything.
#[derive(Clone)]
pub struct Gate {
    shared: Arc<dyn Shared>,
    clock: SharedClock,
    paces: Paces,
    /// Whoever waits for a number's throughput stands in line here, so that one at a time asks and the oldest goes first.
    lines: Arc<Mutex<HashMap<String, Arc<FairMutex<()>>>>>,
    breaker: Arc<Mutex<Breaker>>,
    waiting: Arc<Mutex<Waiting>>,
}

impl Gate {
    /// A gate with these paces, shared through `shared`.
    pub fn new(shared: Arc<dyn Shared>, clock: SharedClock, paces: Paces) -> Self {
        Self { shared, clock, paces, lines: Arc::default(), breaker: Arc::default(), waiting: Arc::default() }
    }

    /// Whether the Graph API may be called: if not, when to ask again. While it is down, one call at a time probes it.
    pub fn may_call(&self) -> Result<(), Timestamp> {
        self.breaker().may_call(self.clock.now())
    }

    /// Whether a call makes sense soon: if not, when to ask again. Takes nothing, so that sends that cannot go yet use up no
    /// pace.
    pub fn may_prepare(&self) -> Result<(), Timestamp> {
        let now = self.clock.now();
        self.breaker().open.map_or(Ok(()), |(probe_at, _)| if now < probe_at { Err(probe_at) } else { Ok(()) })
    }

    /// Whether the Graph API is taken to be down.
    pub fn is_down(&self) -> bool {
        self.breaker().open.is_some()
    }

    /// Whether the Graph API is down and those who wait for its end include somebody who probes it.
    pub fn has_probers(&self) -> bool {
        let late = SignedDuration::from_secs(PROBE_LATE_SECONDS);
        self.breaker().open.is_some_and(|(probe_at, _)| self.clock.now() < probe_at + late)
    }

    /// Whether the Graph API is back since not long ago, so that much may have gathered.
    pub fn is_recovering(&self) -> bool {
        let now = self.clock.now();
        self.breaker().back_at.is_some_and(|at| now < at + SignedDuration::from_secs(RECOVERY_SECONDS))
    }

    /// Tells what a call showed of the API: gives the beginning or the end of an outage.
    pub fn saw(&self, answered: bool) -> Option<Change> {
        self.breaker().saw(answered, self.clock.now())
    }

    /// Notes who waits for the end of an outage; gives when to ask again at the latest. `probe_at`: when the API is probed next.
    pub fn wait(&self, candidate: &SendCandidate, probe_at: Timestamp) -> Timestamp {
        // Held until it is noted: an outage that ends meanwhile would call all but this one.
        let breaker = self.breaker();
        if breaker.open.is_none() {
            return self.clock.now();
        }
        match self.waiting().note(candidate.id, candidate.conversation_id) {
            place if place < PROBERS => probe_at,
            _ => probe_at + SignedDuration::from_secs(STAND_BACK_SECONDS),
        }
    }

    /// Whoever is being served waits no longer.
    pub fn leave(&self, conversation: ConversationId) {
        self.waiting().leave(conversation);
    }

    /// Who waited for the end of an outage that is over, the oldest message first.
    pub fn take_waiting(&self) -> Vec<ConversationId> {
        std::mem::take(&mut *self.waiting()).line.into_values().collect()
    }

    /// Takes a step towards one person, or says when the next is allowed.
    pub async fn pass_pair(&self, candidate: &SendCandidate) -> Permit {
        let Some(pace) = self.paces.pair else { return Permit::Granted };
        let key = format!("pair:{}:{}", candidate.phone_number_id, candidate.to.value);
        self.shared.take(&key, pace, self.clock.now()).await
    }

    /// Waits for a step of the number's throughput. Those who wait go in the order in which they came. Gives whether it took time.
    pub async fn pass_number(&self, phone_number_id: &str) -> bool {
        let Some(pace) = self.paces.number else { return false };
        let line = self.line(phone_number_id);
        let mut has_waited = false;
        let _turn = match line.try_lock() {
            Ok(turn) => turn,
            Err(_) => {
                has_waited = true;
                line.lock().await
            }
        };
        let key = number_key(phone_number_id);
        while let Permit::WaitUntil(instant) = self.shared.take(&key, pace, self.clock.now()).await {
            has_waited = true;
            self.clock.sleep_until(instant).await;
        }
        has_waited
    }

    fn line(&self, phone_number_id: &str) -> Arc<FairMutex<()>> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= NUMBERS_MAX && !lines.contains_key(phone_number_id) {
            lines.retain(|_, line| Arc::strong_count(line) > 1);
        }
        lines.entry(phone_number_id.to_owned()).or_default().clone()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who waits for the end of an outage: one message of each conversation, the oldest first. What another process served
/// meanwhile stays until the end, and is then called for nothing.
#[derive(Debug, Default)]
struct Waiting {
    line: BTreeMap<OutboundId, ConversationId>,
    of: HashMap<ConversationId, OutboundId>,
}

impl Waiting {
    /// Gives the place in the line, 0 for the first.
    fn note(&mut self, id: OutboundId, conversation: ConversationId) -> usize {
        self.leave(conversation);
        if self.line.len() < WAITING_MAX {
            self.line.insert(id, conversation);
            self.of.insert(conversation, id);
        }
        self.line.range(..id).take(PROBERS).count()
    }

    fn leave(&mut self, conversation: ConversationId) {
        if let Some(id) = self.of.remove(&conversation) {
            self.line.remove(&id);
        }
    }
}

/// What a call changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The API no longer answers.
    Down,
    /// It answers again, or for the first time.
    Up,
}

/// Counts failures. Pure but for what it remembers.
#[derive(Debug, Default)]
struct Breaker {
    failures: u32,
    /// While the API is down: when it is probed next, and how long the rest after that is.
    open: Option<(Timestamp, i64)>,
    /// When it was back.
    back_at: Option<Timestamp>,
    /// Whether it has answered since this process began, which may have begun in an outage.
    has_answered: bool,
}

impl Breaker {
    fn may_call(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        match &mut self.open {
            Some((probe_at, _)) if now < *probe_at => Err(*probe_at),
            Some((probe_at, rest_seconds)) => {
                // This one probes; the others wait for what it finds.
                *probe_at = now + SignedDuration::from_secs(*rest_seconds);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn saw(&mut self, answered: bool, now: Timestamp) -> Option<Change> {
        if answered {
            self.failures = 0;
            let is_first = !std::mem::replace(&mut self.has_answered, true);
            if self.open.take().is_some() {
                self.back_at = Some(now);
                return Some(Change::Up);
            }
            return is_first.then_some(Change::Up);
        }
        self.failures = self.failures.saturating_add(1);
        match &mut self.open {
            Some((probe_at, rest_seconds)) => {
                *rest_seconds = (*rest_seconds * 2).min(REST_SECONDS_MAX);
                *probe_at = now + SignedDuration::from_secs(*rest_seconds);
                None
            }
            None if self.failures >= OUTAGE_FAILURES => {
                self.open = Some((now + SignedDuration::from_secs(REST_SECONDS_MIN), REST_SECONDS_MIN));
                Some(Change::Down)
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn an_outage_is_noticed_probed_and_over() {
        let mut breaker = Breaker::default();
        for _ in 1..OUTAGE_FAILURES {
            assert_eq!(breaker.saw(false, at(0)), None);
            assert_eq!(breaker.may_call(at(0)), Ok(()));
        }
        assert_eq!(breaker.saw(false, at(0)), Some(Change::Down));
        assert_eq!(breaker.may_call(at(1)), Err(at(5)));
        assert_eq!(breaker.may_call(at(5)), Ok(()), "one probes");
        assert_eq!(breaker.may_call(at(5)), Err(at(10)), "the others wait");
        assert_eq!(breaker.saw(false, at(6)), None);
        assert_eq!(breaker.may_call(at(7)), Err(at(16)), "longer each time");
        assert_eq!(breaker.may_call(at(16)), Ok(()));
        assert_eq!(breaker.saw(true, at(17)), Some(Change::Up));
        assert_eq!(breaker.may_call(at(17)), Ok(()));
    }

    #[test]
    fn single_failures_are_no_outage_and_rests_are_bounded() {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.saw(true, at(0)), Some(Change::Up), "it may have been away before we began");
        for round in 0..100 {
            assert_eq!(breaker.saw(round % 5 == 0, at(0)), None);
        }
        let mut now = 0;
        for _ in 0..100 {
            let _ = breaker.saw(false, at(now));
            now += REST_SECONDS_MAX;
            assert_eq!(breaker.may_call(at(now)), Ok(()), "never longer than a minute");
        }
    }

    #[test]
    fn the_oldest_probe_and_each_conversation_waits_once() {
        let id = |number: u128| OutboundId(uuid::Uuid::from_u128(number));
        let conversation = |number: u128| ConversationId(uuid::Uuid::from_u128(number));
        let mut waiting = Waiting::default();
        let places: Vec<_> = [30, 10, 20, 40, 50, 60, 5].map(|n| waiting.note(id(n), conversation(100 - n))).into();
        assert_eq!(places, [0, 0, 1, 3, 4, 4, 0], "from the fourth on, who is older is counted no further");
        assert_eq!(waiting.note(id(15), conversation(90)), 1, "in place of the 10");
        waiting.leave(conversation(95));
        waiting.leave(conversation(95));
        let order: Vec<_> = waiting.line.into_values().collect();
        assert_eq!(order, [90, 80, 70, 60, 50, 40].map(conversation));
    }

    #[test]
    fn who_waits_is_bounded() {
        let mut waiting = Waiting::default();
        for number in 0..=WAITING_MAX as u128 {
            let (id, conversation) = (uuid::Uuid::from_u128(number), uuid::Uuid::from_u128(number));
            waiting.note(OutboundId(id), ConversationId(conversation));
        }
        assert_eq!((waiting.line.len(), waiting.of.len()), (WAITING_MAX, WAITING_MAX));
    }
}
