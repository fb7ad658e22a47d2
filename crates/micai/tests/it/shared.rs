//! The story of what processes share, told to both: how fast something may go, and what has just happened.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use micai::redis_link::RedisServer;
use micai::shared::{EVENT_BYTES_MAX, Events, Heard, InProcess, Pace, Permit, Shared, SharedLink, SharedRedis};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::harness::{GLANCE, PATIENCE};
use crate::redis::{Private, Redis};

/// Two places that share, and the server between them.
struct Pair {
    name: &'static str,
    here: Arc<dyn Shared>,
    there: Arc<dyn Shared>,
}

async fn pairs(server: &Redis) -> Vec<Pair> {
    let one: Arc<dyn Shared> = Arc::new(InProcess::default());
    let prefix = Redis::prefix();
    let (here, there) = (process(server.server(), &prefix, 1).await, process(server.server(), &prefix, 2).await);
    let redis = Pair { name: "redis", here, there };
    until("both are linked", || [&redis.here, &redis.there].iter().all(|one| one.link() == SharedLink::Redis)).await;
    vec![Pair { name: "in process", here: one.clone(), there: one }, redis]
}

async fn process(server: RedisServer, prefix: &str, seed: u64) -> Arc<dyn Shared> {
    Arc::new(SharedRedis::start(server, prefix, StdRng::seed_from_u64(seed)).await.expect("a link"))
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it never came about that {what}");
        tokio::time::sleep(GLANCE).await;
    }
}

async fn next(events: &mut Events) -> Heard {
    tokio::time::timeout(PATIENCE, events.next()).await.expect("something is heard").expect("it goes on")
}

fn event(text: &str) -> Heard {
    Heard::Event(text.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pace_is_kept_by_all_together() {
    let server = Redis::start();
    // One step in six seconds, four at once: the pair limit in small.
    let pace = Pace { period_microseconds: 6_000_000, burst: 4 };
    let start = Timestamp::from_second(1_790_000_000).unwrap();
    let at = |seconds: i64| start + SignedDuration::from_secs(seconds);
    for Pair { name, here, there } in pairs(&server).await {
        for (step, shared) in [&here, &there, &here, &there].into_iter().enumerate() {
            assert_eq!(shared.take("pair:1", pace, at(0)).await, Permit::Granted, "{name}: step {step}");
        }
        assert_eq!(here.take("pair:1", pace, at(0)).await, Permit::WaitUntil(at(6)), "{name}");
        assert_eq!(there.take("pair:1", pace, at(5)).await, Permit::WaitUntil(at(6)), "{name}: asking costs nothing");
        assert_eq!(there.take("pair:2", pace, at(5)).await, Permit::Granted, "{name}: another key");
        assert_eq!(there.take("pair:1", pace, at(6)).await, Permit::Granted, "{name}");
        assert_eq!(here.take("pair:1", pace, at(6)).await, Permit::WaitUntil(at(12)), "{name}");
        // After a rest there are four again and no more.
        for step in 0..4 {
            assert_eq!(here.take("pair:1", pace, at(600)).await, Permit::Granted, "{name}: step {step} after the rest");
        }
        assert_eq!(here.take("pair:1", pace, at(600)).await, Permit::WaitUntil(at(606)), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_gets_what_the_pace_allows_and_not_one_more() {
    let server = Redis::start();
    let pace = Pace { period_microseconds: 12_500, burst: 80 };
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    for Pair { name, here, there } in pairs(&server).await {
        let mut takers = tokio::task::JoinSet::new();
        for taker in 0..200 {
            let shared = if taker % 2 == 0 { here.clone() } else { there.clone() };
            takers.spawn(async move { shared.take("number:1", pace, now).await == Permit::Granted });
        }
        let granted = takers.join_all().await.into_iter().filter(|granted| *granted).count();
        assert_eq!(granted, 80, "{name}");
    }
}

const CHARGED: Pace = Pace { period_microseconds: 12_500, burst: 80 };

/// Fills a key, which rests after a second then, charges it, and waits until `there` sees how far. Redis forgets a key when it
/// is at rest by the server's own clock: if the machine stood still for so long, it is done again with another key.
async fn charge_a_full_key(Pair { name, here, there }: &Pair, charges: u32, expected: SignedDuration) {
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    let begun = Instant::now();
    for key in 0.. {
        let key = format!("number:{charges}:{key}");
        for _ in 0..CHARGED.burst {
            here.take(&key, CHARGED, now).await;
        }
        for _ in 0..charges {
            here.charge(&key, CHARGED, 1, now);
        }
        // Asking costs nothing while the answer is no.
        while let Permit::WaitUntil(at) = there.take(&key, CHARGED, now).await {
            let ahead = at.duration_since(now);
            assert!(ahead <= expected, "{name}: {charges} charges block it for {ahead}, more than {expected}");
            if ahead == expected {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{name}: {charges} charges block it for {ahead}, not {expected}");
            tokio::time::sleep(GLANCE).await;
        }
        assert!(begun.elapsed() < PATIENCE, "{name}: {charges} charges never block it for {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_taken_without_asking_slow_everybody_down_but_not_for_long() {
    let server = Redis::start();
    for pair in pairs(&server).await {
        // A step is 12.5 ms. A flood is two seconds and no more, of which a rest may spend one at once.
        charge_a_full_key(&pair, 20, SignedDuration::from_micros(262_500)).await;
        charge_a_full_key(&pair, 10_000, SignedDuration::from_micros(1_012_500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_charges_share_a_few_calls_of_redis() {
    let Some(server) = Private::start_if_installed(&[]) else { return };
    let here = process(server.server(), &Redis::prefix(), 1).await;
    until("it is linked", || here.link() == SharedLink::Redis).await;
    let pair = Pair { name: "redis", there: here.clone(), here };
    let begun = Instant::now();
    charge_a_full_key(&pair, 1_000, SignedDuration::from_micros(1_012_500)).await;
    let statistics: String = server.command(&["INFO", "commandstats"]).await;
    let calls = statistics.split_once("cmdstat_evalsha:calls=").and_then(|(_, rest)| rest.split(',').next());
    let calls: u128 = calls.and_then(|calls| calls.parse().ok()).expect("a count");
    // Filling it asks 80 times; waiting and telling, once in some milliseconds.
    let at_most = (u128::from(CHARGED.burst) + 2) + begun.elapsed().as_millis();
    assert!(calls < at_most, "{calls} calls for 1,000 charges, {at_most} at most");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_everybody_who_listens_and_the_slow_hear_what_they_missed() {
    let server = Redis::start();
    for Pair { name, here, there } in pairs(&server).await {
        let (mut at_home, mut abroad) = (here.subscribe(), there.subscribe());
        reach(&here, &mut abroad).await;
        here.publish(r#"{"message":1}"#).expect("short enough");
        here.publish(r#"{"message":2}"#).expect("short enough");
        for events in [&mut at_home, &mut abroad] {
            while next(events).await != event(r#"{"message":1}"#) {}
            assert_eq!(next(events).await, event(r#"{"message":2}"#), "{name}: once, and in order");
        }
        assert!(here.publish(&"x".repeat(EVENT_BYTES_MAX + 1)).is_err());
        let mut late = there.subscribe();
        // Neither reads for a while.
        for number in 0..3_000 {
            here.publish(&number.to_string()).expect("short enough");
        }
        for events in [&mut at_home, &mut late] {
            let (mut heard, mut missed) = (0, 0);
            loop {
                match next(events).await {
                    Heard::Missed(count) => missed += count,
                    Heard::Event(text) => {
                        heard += 1;
                        if text.as_ref() == "2999" {
                            break;
                        }
                    }
                }
            }
            assert_eq!(heard + missed, 3_000, "{name}: {heard} heard, {missed} missed");
        }
    }
}

/// Publishes until it is heard: a subscription across a network takes a moment.
async fn reach(from: &Arc<dyn Shared>, listener: &mut Events) {
    let begun = Instant::now();
    loop {
        from.publish("are you there").expect("short enough");
        if tokio::time::timeout(GLANCE * 10, listener.next()).await.is_ok() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "nobody hears");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_process_decides_for_itself_until_it_is_back() {
    let Some(mut redis) = Private::start_if_installed(&[]) else { return };
    let prefix = Redis::prefix();
    let shared = process(redis.server(), &prefix, 1).await;
    until("it is linked", || shared.link() == SharedLink::Redis).await;
    let pace = Pace { period_microseconds: 1_000_000, burst: 1 };
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    assert_eq!(shared.take("a", pace, now).await, Permit::Granted);
    redis.command::<()>(&["SCRIPT", "FLUSH"]).await;
    assert!(matches!(shared.take("a", pace, now).await, Permit::WaitUntil(_)), "the script is taught again");
    let left: i64 = redis.command(&["PTTL", &format!("{prefix}:pace:a")]).await;
    assert!((1..=1_001).contains(&left), "a key at rest expires, this one in {left} ms");
    redis.kill();
    let mut events = shared.subscribe();
    assert_eq!(shared.take("b", pace, now).await, Permit::Granted, "decided here");
    assert!(matches!(shared.take("b", pace, now).await, Permit::WaitUntil(_)), "and kept here");
    shared.publish("still heard at home").expect("short enough");
    assert_eq!(next(&mut events).await, event("still heard at home"));
    until("it is noticed", || shared.link() == SharedLink::RedisAway).await;
    redis.restart();
    until("it is linked again", || shared.link() == SharedLink::Redis).await;
    assert_eq!(shared.take("a", pace, now).await, Permit::Granted, "the new server knows nothing of the old one");
    let known: i64 = redis.command(&["EXISTS", &format!("{prefix}:pace:a")]).await;
    assert_eq!(known, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_were_lost_on_the_way_are_counted() {
    let Some(mut redis) = Private::start_if_installed(&[]) else { return };
    let prefix = Redis::prefix();
    let (here, there) = (process(redis.server(), &prefix, 1).await, process(redis.server(), &prefix, 2).await);
    until("both are linked", || [&here, &there].iter().all(|one| one.link() == SharedLink::Redis)).await;
    let mut events = there.subscribe();
    let mut listener = Counter::default();
    let published = Cell::new(0_u64);
    let publish = || {
        let number = published.get();
        here.publish(&number.to_string()).expect("short enough");
        published.set(number + 1);
        number
    };
    while listener.first.is_none() {
        publish();
        listener.listen(&mut events).await;
    }
    redis.kill();
    until("it is noticed", || {
        publish();
        here.link() == SharedLink::RedisAway
    })
    .await;
    // More than are kept for a server that is away.
    let last = (0..10_000).map(|_| publish()).max().unwrap_or_default();
    redis.restart();
    let begun = Instant::now();
    while listener.last <= last {
        assert!(begun.elapsed() < PATIENCE, "nothing is heard any more");
        publish();
        listener.listen(&mut events).await;
    }
    let first = listener.first.expect("one was heard");
    assert_eq!(listener.heard + listener.missed, listener.last - first + 1, "{listener:?}");
    assert!(listener.missed > 0, "{listener:?}");
}

/// Counts events that are numbers.
#[derive(Debug, Default)]
struct Counter {
    first: Option<u64>,
    last: u64,
    heard: u64,
    missed: u64,
}

impl Counter {
    /// Takes in what there is.
    async fn listen(&mut self, events: &mut Events) {
        while let Ok(Some(next)) = tokio::time::timeout(GLANCE * 10, events.next()).await {
            match next {
                Heard::Missed(count) => self.missed += count,
                Heard::Event(text) => {
                    self.last = text.parse().expect("a number");
                    self.first.get_or_insert(self.last);
                    self.heard += 1;
                }
            }
        }
    }
}
