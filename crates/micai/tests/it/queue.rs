//! The wake queue's story, told to every backend: what is announced comes out, once, in turn, and never to two at a time.

mod redis;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use micai::clock::{Clock, ManualClock, SharedClock};
use micai::ids::ConversationId;
use micai::queue::{MemoryQueue, QueueDepth, RedisQueue, RedisQueueSettings, Topic, WakeQueue};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::PATIENCE;
use crate::redis::Redis;

/// A queue, the clock it goes by, and what ends it.
struct Bench {
    name: &'static str,
    queue: Arc<dyn WakeQueue>,
    clock: ManualClock,
    stop: CancellationToken,
    patience: Duration,
}

/// Where a queue keeps its keys.
#[derive(Debug, Clone, Copy)]
enum Backend {
    Memory,
    Redis,
}

/// Every backend there is. A further one needs a line here.
const BACKENDS: [(&str, Backend); 2] = [("memory", Backend::Memory), ("redis", Backend::Redis)];

/// One new, empty queue of each backend, and the server that the second lives on.
struct Benches {
    all: Vec<Bench>,
    _server: Redis,
}

async fn benches() -> Benches {
    let server = Redis::start();
    let mut all = Vec::new();
    for (name, backend) in BACKENDS {
        all.push(bench(name, backend, &server).await);
    }
    Benches { all, _server: server }
}

async fn bench(name: &'static str, backend: Backend, server: &Redis) -> Bench {
    let clock = ManualClock::at(Timestamp::from_second(1_790_000_000).unwrap());
    let stop = CancellationToken::new();
    let shared: SharedClock = Arc::new(clock.clone());
    let queue: Arc<dyn WakeQueue> = match backend {
        Backend::Memory => Arc::new(MemoryQueue::start(shared, stop.clone())),
        Backend::Redis => {
            let started = RedisQueue::start(server.server(), &settings(), shared, StdRng::seed_from_u64(1)).await;
            Arc::new(started.expect("a queue"))
        }
    };
    Bench { patience: PATIENCE, name, queue, clock, stop }
}

/// A queue of its own on a server, with leases that no story outlasts.
fn settings() -> RedisQueueSettings {
    RedisQueueSettings { prefix: Redis::prefix(), shards: 8, lease_seconds: 86_400, consumes: true }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn key(number: u128) -> ConversationId {
    ConversationId(Uuid::from_u128(number))
}

fn depth(ready: usize, delayed: usize, out: usize) -> QueueDepth {
    QueueDepth { ready, delayed, out }
}

impl Bench {
    async fn next(&self, topic: Topic) -> ConversationId {
        let waiting = tokio::time::timeout(self.patience, self.queue.next(topic));
        waiting.await.unwrap_or_else(|_| panic!("{}: nothing came of {topic:?}", self.name))
    }

    /// Takes what comes next and is done with it.
    async fn pass(&self, topic: Topic) -> ConversationId {
        let conversation = self.next(topic).await;
        self.queue.done(topic, conversation);
        conversation
    }

    /// Waits until the queue holds this much; a backend may take its time to say so.
    async fn holds(&self, topic: Topic, expected: QueueDepth) {
        let begun = Instant::now();
        while self.queue.depth(topic) != expected {
            let found = self.queue.depth(topic);
            assert!(begun.elapsed() < self.patience, "{}: {topic:?} holds {found:?}, not {expected:?}", self.name);
            tokio::task::yield_now().await;
        }
    }

    /// Waits until the queue has taken in what was said so far. All that a process says keeps its order, so a word about
    /// the other topic comes behind it.
    async fn is_heard(&self) {
        self.queue.announce(Topic::Send, &[key(0)]);
        assert_eq!(self.pass(Topic::Send).await, key(0));
    }

    fn in_seconds(&self, seconds: i64) -> Timestamp {
        self.clock.now() + SignedDuration::from_secs(seconds)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_out_in_turn_and_each_once() {
    for bench in &benches().await.all {
        bench.holds(Topic::Turn, depth(0, 0, 0)).await;
        bench.queue.announce(Topic::Turn, &[key(3), key(1), key(3)]);
        bench.queue.announce(Topic::Turn, &[key(2), key(1)]);
        bench.queue.announce(Topic::Turn, &[]);
        bench.holds(Topic::Turn, depth(3, 0, 0)).await;
        assert_eq!(bench.next(Topic::Turn).await, key(3));
        assert_eq!(bench.next(Topic::Turn).await, key(1));
        bench.holds(Topic::Turn, depth(1, 0, 2)).await;
        bench.queue.done(Topic::Turn, key(3));
        bench.queue.done(Topic::Turn, key(1));
        assert_eq!(bench.pass(Topic::Turn).await, key(2));
        bench.holds(Topic::Turn, depth(0, 0, 0)).await;
        // Done twice, or done without having been out, does no harm.
        bench.queue.done(Topic::Turn, key(2));
        bench.queue.done(Topic::Turn, key(9));
        bench.queue.announce(Topic::Turn, &[key(2)]);
        assert_eq!(bench.pass(Topic::Turn).await, key(2), "it may be announced again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_for_a_key_that_is_out_comes_back_once_it_is_done() {
    for bench in &benches().await.all {
        bench.queue.announce(Topic::Turn, &[key(1)]);
        assert_eq!(bench.next(Topic::Turn).await, key(1));
        bench.queue.announce(Topic::Turn, &[key(1), key(2)]);
        bench.queue.announce(Topic::Turn, &[key(1)]);
        bench.holds(Topic::Turn, depth(1, 0, 1)).await;
        assert_eq!(bench.pass(Topic::Turn).await, key(2), "not the one that is out");
        bench.queue.done(Topic::Turn, key(1));
        bench.holds(Topic::Turn, depth(1, 0, 0)).await;
        assert_eq!(bench.pass(Topic::Turn).await, key(1));
        bench.holds(Topic::Turn, depth(0, 0, 0)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_conversation_does_not_keep_the_others_waiting() {
    for bench in &benches().await.all {
        bench.queue.announce(Topic::Turn, &[key(1), key(2), key(3)]);
        let mut order = Vec::new();
        for _ in 0..6 {
            let conversation = bench.next(Topic::Turn).await;
            order.push(conversation);
            // More has come for it meanwhile: it goes to the end of the line.
            bench.queue.announce(Topic::Turn, &[conversation]);
            bench.queue.done(Topic::Turn, conversation);
        }
        assert_eq!(order, [1, 2, 3, 1, 2, 3].map(key), "{}", bench.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_do_not_know_of_each_other() {
    for bench in &benches().await.all {
        bench.queue.announce(Topic::Turn, &[key(1)]);
        bench.queue.announce(Topic::Send, &[key(1), key(2)]);
        bench.queue.announce_at(Topic::Send, key(3), bench.in_seconds(60));
        bench.holds(Topic::Turn, depth(1, 0, 0)).await;
        bench.holds(Topic::Send, depth(2, 1, 0)).await;
        assert_eq!(bench.next(Topic::Turn).await, key(1));
        assert_eq!(bench.next(Topic::Send).await, key(1), "out in one, free in the other");
        bench.queue.done(Topic::Send, key(1));
        bench.holds(Topic::Turn, depth(0, 0, 1)).await;
        bench.holds(Topic::Send, depth(1, 1, 0)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_a_date_waits_for_it_and_the_earlier_date_counts() {
    for bench in &benches().await.all {
        bench.queue.announce_at(Topic::Send, key(1), bench.in_seconds(60));
        bench.queue.announce_at(Topic::Send, key(1), bench.in_seconds(600));
        bench.queue.announce_at(Topic::Send, key(2), bench.in_seconds(600));
        bench.queue.announce_at(Topic::Send, key(2), bench.in_seconds(30));
        bench.holds(Topic::Send, depth(0, 2, 0)).await;
        bench.clock.advance(SignedDuration::from_secs(29));
        bench.queue.announce(Topic::Send, &[key(9)]);
        assert_eq!(bench.pass(Topic::Send).await, key(9), "a second too early for the others");
        bench.clock.advance(SignedDuration::from_secs(1));
        assert_eq!(bench.pass(Topic::Send).await, key(2));
        bench.holds(Topic::Send, depth(0, 1, 0)).await;
        bench.clock.advance(SignedDuration::from_secs(30));
        assert_eq!(bench.pass(Topic::Send).await, key(1));
        bench.clock.advance(SignedDuration::from_secs(6_000));
        bench.holds(Topic::Send, depth(0, 0, 0)).await;
        // A date that has passed is now; a later date for a key that is out comes back after it.
        bench.queue.announce_at(Topic::Send, key(3), bench.in_seconds(-5));
        assert_eq!(bench.next(Topic::Send).await, key(3));
        bench.queue.announce_at(Topic::Send, key(3), bench.in_seconds(5));
        bench.queue.done(Topic::Send, key(3));
        bench.holds(Topic::Send, depth(0, 1, 0)).await;
        bench.clock.advance(SignedDuration::from_secs(5));
        assert_eq!(bench.pass(Topic::Send).await, key(3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stops_waiting_takes_nothing_along() {
    for bench in &benches().await.all {
        let mut given_up = bench.queue.next(Topic::Turn);
        assert!((&mut given_up).now_or_never().is_none(), "nothing is there");
        let waiting = bench.queue.next(Topic::Turn);
        tokio::pin!(waiting);
        assert!((&mut waiting).now_or_never().is_none());
        bench.queue.announce(Topic::Turn, &[key(1)]);
        drop(given_up);
        let got = tokio::time::timeout(PATIENCE, waiting).await;
        assert_eq!(got.ok(), Some(key(1)), "{}: the wake went to somebody who had left", bench.name);
    }
}

/// What producers have said of each key, and what consumers have seen.
#[derive(Default)]
struct Ledger {
    held: Mutex<BTreeSet<Uuid>>,
    said: Vec<AtomicU64>,
    seen: Vec<AtomicU64>,
}

const KEYS: usize = 40;
const ANNOUNCEMENTS: u64 = 20_000;

async fn consume(queue: Arc<dyn WakeQueue>, ledger: Arc<Ledger>) {
    loop {
        let conversation = queue.next(Topic::Turn).await;
        let number = usize::try_from(conversation.0.as_u128()).unwrap();
        let is_first = ledger.held.lock().unwrap().insert(conversation.0);
        assert!(is_first, "two consumers hold {number}");
        // Whatever was said before the key came out is dealt with now.
        let said = ledger.said[number].load(Ordering::SeqCst);
        tokio::task::yield_now().await;
        ledger.seen[number].fetch_max(said, Ordering::SeqCst);
        ledger.held.lock().unwrap().remove(&conversation.0);
        queue.done(Topic::Turn, conversation);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_of_consumers_misses_nothing_and_never_shares_a_key() {
    for bench in &benches().await.all {
        let counters = || (0..KEYS).map(|_| AtomicU64::new(0)).collect();
        let ledger = Arc::new(Ledger { said: counters(), seen: counters(), ..Ledger::default() });
        let mut consumers = tokio::task::JoinSet::new();
        for _ in 0..4 {
            consumers.spawn(consume(bench.queue.clone(), ledger.clone()));
        }
        let mut producers = tokio::task::JoinSet::new();
        for producer in 0..2_u64 {
            let (queue, ledger) = (bench.queue.clone(), ledger.clone());
            producers.spawn(async move {
                for round in 0..ANNOUNCEMENTS {
                    let number = usize::try_from((round * 7 + producer * 13) % KEYS as u64).unwrap();
                    ledger.said[number].fetch_add(1, Ordering::SeqCst);
                    queue.announce(Topic::Turn, &[key(number as u128)]);
                    if round % 64 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            });
        }
        producers.join_all().await;
        let begun = Instant::now();
        let count = |counters: &[AtomicU64]| counters.iter().map(|one| one.load(Ordering::SeqCst)).sum::<u64>();
        while count(&ledger.seen) < 2 * ANNOUNCEMENTS {
            if let Some(ended) = consumers.try_join_next() {
                ended.expect("no consumer ends");
            }
            assert!(begun.elapsed() < PATIENCE, "{} of {} were seen", count(&ledger.seen), 2 * ANNOUNCEMENTS);
            tokio::task::yield_now().await;
        }
        bench.holds(Topic::Turn, depth(0, 0, 0)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_sleeps_while_a_key_is_ready() {
    const ROUNDS: usize = 5_000;
    for bench in &benches().await.all {
        for round in 0..ROUNDS {
            let mut consumers = tokio::task::JoinSet::new();
            for _ in 0..2 {
                let queue = bench.queue.clone();
                // Each takes one key and keeps it, as a worker with a long turn does.
                consumers.spawn(async move { queue.next(Topic::Turn).await });
            }
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
            bench.queue.announce(Topic::Turn, &[key(1), key(2)]);
            let got = tokio::time::timeout(PATIENCE, consumers.join_all()).await;
            let mut got = got.unwrap_or_else(|_| panic!("{}: a consumer slept on in round {round}", bench.name));
            got.sort();
            assert_eq!(got, [key(1), key(2)]);
            got.into_iter().for_each(|conversation| bench.queue.done(Topic::Turn, conversation));
        }
    }
}

/// A step of the property test; numbers are keys and seconds.
#[derive(Debug, Clone)]
enum Step {
    Announce(Vec<u8>),
    AnnounceAt(u8, i8),
    Next,
    Done(u8),
    Advance(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(0_u8..6, 0..4).prop_map(Step::Announce),
        3 => (0_u8..6, -2_i8..20).prop_map(|(number, seconds)| Step::AnnounceAt(number, seconds)),
        4 => Just(Step::Next),
        4 => (0_u8..6).prop_map(Step::Done),
        2 => (0_u8..12).prop_map(Step::Advance),
    ]
}

/// What the queue should be: a line, who is out, and a calendar.
#[derive(Default)]
struct Model {
    line: VecDeque<u8>,
    /// Keys that are out, and whether they were announced meanwhile.
    out: HashMap<u8, bool>,
    /// Dates and the present in microseconds.
    calendar: HashMap<u8, i64>,
    now: i64,
}

impl Model {
    fn announce(&mut self, number: u8) {
        match self.out.get_mut(&number) {
            Some(again) => *again = true,
            None if !self.line.contains(&number) => self.line.push_back(number),
            None => {}
        }
    }

    fn announce_at(&mut self, number: u8, at: i64) {
        let earliest = self.calendar.get(&number).map_or(at, |known| at.min(*known));
        self.calendar.insert(number, earliest);
        self.come_due();
    }

    fn come_due(&mut self) {
        let mut due: Vec<(i64, u8)> =
            self.calendar.iter().filter(|(_, at)| **at <= self.now).map(|(number, at)| (*at, *number)).collect();
        due.sort_unstable();
        for (_, number) in due {
            self.calendar.remove(&number);
            self.announce(number);
        }
    }

    fn done(&mut self, number: u8) {
        if self.out.remove(&number) == Some(true) {
            self.announce(number);
        }
    }

    fn depth(&self) -> QueueDepth {
        depth(self.line.len(), self.calendar.len(), self.out.len())
    }
}

async fn as_the_model_says(bench: &Bench, steps: &[Step]) {
    let topic = Topic::Turn;
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Announce(numbers) => {
                numbers.iter().for_each(|number| model.announce(*number));
                let keys: Vec<_> = numbers.iter().map(|number| key(u128::from(*number))).collect();
                bench.queue.announce(topic, &keys);
            }
            Step::AnnounceAt(number, seconds) => {
                // No two dates are the same: which of two that are comes first, nobody promises.
                let microseconds = i64::from(*seconds) * 1_000_000 - 10 + i64::from(*number);
                model.announce_at(*number, model.now + microseconds);
                let instant = bench.clock.now() + SignedDuration::from_micros(microseconds);
                bench.queue.announce_at(topic, key(u128::from(*number)), instant);
            }
            Step::Next => match model.line.pop_front() {
                Some(number) => {
                    model.out.insert(number, false);
                    assert_eq!(bench.next(topic).await, key(u128::from(number)), "{}: {steps:?}", bench.name);
                }
                None => assert!(bench.queue.next(topic).now_or_never().is_none(), "{}: {steps:?}", bench.name),
            },
            Step::Done(number) => {
                model.done(*number);
                bench.queue.done(topic, key(u128::from(*number)));
            }
            Step::Advance(seconds) => {
                model.now += i64::from(*seconds) * 1_000_000;
                model.come_due();
                bench.clock.advance(SignedDuration::from_secs(i64::from(*seconds)));
            }
        }
        bench.is_heard().await;
        bench.holds(topic, model.depth()).await;
    }
}

/// Cases that the model is held against. Each step on a server is a round trip.
fn cases(backend: Backend) -> u32 {
    match backend {
        Backend::Memory => 200,
        Backend::Redis => 60,
    }
}

#[test]
fn any_order_of_calls_gives_what_the_model_says() {
    let server = Redis::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (name, backend) in BACKENDS {
        let config = ProptestConfig {
            cases: cases(backend),
            max_shrink_iters: 50,
            source_file: Some(file!()),
            ..ProptestConfig::default()
        };
        let steps = proptest::collection::vec(step(), 1..60);
        let told = TestRunner::new(config).run(&steps, |steps| {
            runtime.block_on(async {
                let mut bench = bench(name, backend, &server).await;
                // A failure is made smaller step by step: it must not take long each time.
                bench.patience = Duration::from_secs(2);
                as_the_model_says(&bench, &steps).await;
            });
            Ok(())
        });
        told.unwrap_or_else(|failure| panic!("{name}: {failure}"));
    }
}
