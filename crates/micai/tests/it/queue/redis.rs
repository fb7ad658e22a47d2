//! What only a queue on Redis can show: leases between processes, and everything that can happen to a server.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use micai::clock::{Clock, ManualClock};
use micai::ids::ConversationId;
use micai::queue::{QueueLink, RedisQueue, RedisQueueSettings, Topic, WakeQueue};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{depth, key};
use crate::harness::{GLANCE, PATIENCE};
use crate::redis::{Private, Redis, server_at};

/// A process, as far as the queue sees it.
async fn process(
    server: micai::redis_link::RedisServer,
    settings: &RedisQueueSettings,
    clock: &ManualClock,
    seed: u64,
) -> RedisQueue {
    let started = RedisQueue::start(server, settings, Arc::new(clock.clone()), StdRng::seed_from_u64(seed)).await;
    started.expect("a queue")
}

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_second(1_790_000_000).unwrap())
}

async fn next(queue: &RedisQueue) -> ConversationId {
    tokio::time::timeout(PATIENCE, queue.next(Topic::Turn)).await.expect("a key comes")
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it never came about that {what}");
        tokio::time::sleep(GLANCE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ends_hands_the_key_to_another_process_and_the_late_done_does_nothing() {
    let redis = Redis::start();
    let settings = RedisQueueSettings { lease_seconds: 120, ..super::settings() };
    let clock = clock();
    let first = process(redis.server(), &settings, &clock, 1).await;
    let second = process(redis.server(), &settings, &clock, 2).await;
    first.announce(Topic::Turn, &[key(1)]);
    assert_eq!(next(&first).await, key(1));
    clock.advance(SignedDuration::from_secs(119));
    let mut waiting = second.next(Topic::Turn);
    assert!((&mut waiting).now_or_never().is_none());
    first.announce(Topic::Turn, &[key(2)]);
    let got = tokio::time::timeout(PATIENCE, waiting).await.expect("a key comes");
    assert_eq!(got, key(2), "the lease of the other still lasts");
    second.done(Topic::Turn, key(2));
    clock.advance(SignedDuration::from_secs(1));
    assert_eq!(next(&second).await, key(1));
    // The first comes back to life: its word counts no more, so that the second still has the key alone.
    first.done(Topic::Turn, key(1));
    second.announce(Topic::Turn, &[key(1), key(3)]);
    assert_eq!(next(&first).await, key(3), "the first one is out");
    until("the second key is out as well", || second.depth(Topic::Turn) == depth(0, 0, 2)).await;
    second.done(Topic::Turn, key(1));
    assert_eq!(next(&second).await, key(1), "announced while it was out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ends_while_its_process_works_on_brings_the_key_back_after_it() {
    let redis = Redis::start();
    let settings = RedisQueueSettings { lease_seconds: 120, ..super::settings() };
    let clock = clock();
    let queue = process(redis.server(), &settings, &clock, 1).await;
    queue.announce(Topic::Turn, &[key(1)]);
    assert_eq!(next(&queue).await, key(1));
    let mut waiting = queue.next(Topic::Turn);
    assert!((&mut waiting).now_or_never().is_none());
    clock.advance(SignedDuration::from_secs(121));
    queue.announce(Topic::Turn, &[key(2)]);
    let got = tokio::time::timeout(PATIENCE, waiting).await.expect("a key comes");
    assert_eq!(got, key(2), "never a second time while it is out here");
    queue.done(Topic::Turn, key(1));
    assert_eq!(next(&queue).await, key(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_gives_back_what_it_had_not_begun() {
    let redis = Redis::start();
    // Only within a shard is there one line for all processes.
    let settings = RedisQueueSettings { shards: 1, ..super::settings() };
    let clock = clock();
    let first = process(redis.server(), &settings, &clock, 1).await;
    let second = process(redis.server(), &settings, &clock, 2).await;
    // The first is handed a key and leaves before it looks at it.
    let mut waiting = first.next(Topic::Turn);
    assert!((&mut waiting).now_or_never().is_none());
    second.announce(Topic::Turn, &[key(1)]);
    until("the key is out", || first.depth(Topic::Turn) == depth(0, 0, 1)).await;
    drop(waiting);
    first.announce(Topic::Turn, &[key(2)]);
    first.close().await;
    assert_eq!(next(&second).await, key(1), "back in its old place");
    assert_eq!(next(&second).await, key(2), "said before it closed");
}

/// Works on keys until `PATIENCE` is over; notes what it got, and that no two hold the same.
async fn work(queue: RedisQueue, held: Arc<std::sync::Mutex<BTreeSet<ConversationId>>>, seen: Seen) {
    loop {
        let conversation = queue.next(Topic::Turn).await;
        assert!(held.lock().unwrap().insert(conversation), "two processes hold {conversation}");
        // Longer than a round trip, so that it is announced again meanwhile.
        tokio::time::sleep(GLANCE).await;
        held.lock().unwrap().remove(&conversation);
        seen.lock().unwrap().insert(conversation);
        queue.done(Topic::Turn, conversation);
    }
}

type Seen = Arc<std::sync::Mutex<BTreeSet<ConversationId>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_never_share_a_key() {
    let redis = Redis::start();
    let settings = super::settings();
    let clock = clock();
    let held: Seen = Arc::default();
    let mut workers = tokio::task::JoinSet::new();
    let mut processes = Vec::new();
    for seed in 1..=2 {
        let queue = process(redis.server(), &settings, &clock, seed).await;
        let seen: Seen = Arc::default();
        for _ in 0..8 {
            workers.spawn(work(queue.clone(), held.clone(), seen.clone()));
        }
        processes.push((queue, seen));
    }
    let keys: Vec<_> = (0..20).map(key).collect();
    for _ in 0..100 {
        for (queue, _) in &processes {
            queue.announce(Topic::Turn, &keys);
        }
        tokio::time::sleep(GLANCE).await;
    }
    let all_seen = || processes.iter().flat_map(|(_, seen)| seen.lock().unwrap().clone()).collect::<BTreeSet<_>>();
    until("every key was seen", || all_seen().len() == keys.len()).await;
    assert!(processes.iter().all(|(_, seen)| !seen.lock().unwrap().is_empty()), "both had work");
    for (queue, _) in &processes {
        until("nothing is left", || queue.depth(Topic::Turn) == depth(0, 0, 0)).await;
    }
    assert!(workers.try_join_next().is_none(), "no worker fails");
}

/// Announces fresh keys and waits until each has been worked on. What is lost on the way is announced again, as the
/// sweeper would.
async fn everything_gets_through(queue: &RedisQueue, seen: &Seen, first: u128) {
    let keys: Vec<_> = (first..first + 100).map(key).collect();
    let begun = Instant::now();
    loop {
        let missing: Vec<_> = keys.iter().filter(|key| !seen.lock().unwrap().contains(key)).copied().collect();
        if missing.is_empty() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{} keys never came through", missing.len());
        queue.announce(Topic::Turn, &missing);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Connections that the server has ever had.
async fn connections(redis: &Private) -> u64 {
    let stats: String = redis.command(&["INFO", "stats"]).await;
    let count = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    count.and_then(|count| count.trim().parse().ok()).expect("a count")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_happens_to_the_server_in_the_middle_of_work_it_goes_on() {
    let Some(mut redis) = Private::start_if_installed(&[]) else { return };
    let clock = clock();
    let queue = process(redis.server(), &super::settings(), &clock, 1).await;
    let (seen, held): (Seen, Seen) = Default::default();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        workers.spawn(work(queue.clone(), held.clone(), seen.clone()));
    }
    everything_gets_through(&queue, &seen, 0).await;
    let connections_before = connections(&redis).await;
    redis.command::<()>(&["SCRIPT", "FLUSH"]).await;
    everything_gets_through(&queue, &seen, 1_000).await;
    // Two: the flush and this question.
    assert_eq!(connections(&redis).await, connections_before + 2, "the scripts were taught again, without a break");
    for round in 0..5 {
        redis.command::<()>(&["FLUSHALL"]).await;
        everything_gets_through(&queue, &seen, 2_000 + round * 100).await;
        redis.command::<i64>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        redis.command::<i64>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        everything_gets_through(&queue, &seen, 3_000 + round * 100).await;
        redis.restart();
        everything_gets_through(&queue, &seen, 4_000 + round * 100).await;
    }
    until("Redis has the keys again", || queue.link() == QueueLink::Redis).await;
    everything_gets_through(&queue, &seen, 5_000).await;
    until("nothing is left", || queue.depth(Topic::Turn) == depth(0, 0, 0)).await;
    assert!(workers.try_join_next().is_none(), "no worker fails");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_an_answer_that_was_never_heard_are_asked_back() {
    let Some(redis) = Private::start_if_installed(&[]) else { return };
    let relay = Relay::to(&redis);
    let (clock, settings) = (clock(), super::settings());
    let deaf = process(server_at(&relay.url()), &settings, &clock, 1).await;
    let other = process(redis.server(), &settings, &clock, 2).await;
    // Once it hears the other's news, it keeps hearing them.
    let channel = format!("{}:wake", settings.prefix);
    let begun = Instant::now();
    while redis.command::<(String, i64)>(&["PUBSUB", "NUMSUB", &channel]).await.1 < 2 {
        assert!(begun.elapsed() < PATIENCE, "they never listen");
        tokio::time::sleep(GLANCE).await;
    }
    let mut was_lost = false;
    for round in 0..5_u128 {
        relay.swallows_answers.store(true, Ordering::SeqCst);
        let waiting = deaf.next(Topic::Turn);
        let hearing_again = async {
            other.announce(Topic::Turn, &[key(round)]);
            until("it is noticed", || deaf.link() == QueueLink::RedisAway).await;
            // Noticing takes longer than the other's next look.
            was_lost |= other.depth(Topic::Turn) == depth(0, 0, 1);
            relay.swallows_answers.store(false, Ordering::SeqCst);
        };
        // No lease ends while this clock stands still.
        let (got, ()) = tokio::join!(tokio::time::timeout(PATIENCE, waiting), hearing_again);
        assert_eq!(got.ok(), Some(key(round)));
        deaf.done(Topic::Turn, key(round));
        until("nothing is left", || other.depth(Topic::Turn) == depth(0, 0, 0)).await;
        if was_lost {
            return;
        }
    }
    panic!("no answer with a key in it was ever lost");
}

/// Stands between a process and its server, and can keep the server's answers to itself. Subscriptions pass.
struct Relay {
    folder: tempfile::TempDir,
    swallows_answers: Arc<AtomicBool>,
}

impl Relay {
    fn to(redis: &Private) -> Self {
        let target = redis.url().replace("unix://", "");
        let relay = Self { folder: tempfile::tempdir().expect("a folder"), swallows_answers: Arc::default() };
        let listener = UnixListener::bind(relay.folder.path().join("relay.sock")).expect("a socket");
        let swallows = relay.swallows_answers.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = UnixStream::connect(&target) else { return };
                let is_subscription = Arc::new(AtomicBool::new(false));
                let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let (swallows, subscribes) = (swallows.clone(), is_subscription.clone());
                std::thread::spawn(move || {
                    pass(near, far_too, |said| {
                        if said.windows(9).any(|part| part == b"SUBSCRIBE") {
                            subscribes.store(true, Ordering::SeqCst);
                        }
                        true
                    });
                });
                std::thread::spawn(move || {
                    let passes = || is_subscription.load(Ordering::SeqCst) || !swallows.load(Ordering::SeqCst);
                    pass(far, near_too, |_| passes());
                });
            }
        });
        relay
    }

    fn url(&self) -> String {
        format!("unix://{}", self.folder.path().join("relay.sock").display())
    }
}

/// Hands on what is said, as long as it `may_pass`.
fn pass(mut from: UnixStream, mut to: UnixStream, may_pass: impl Fn(&[u8]) -> bool) {
    let mut buffer = [0_u8; 65_536];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        if may_pass(&buffer[..bytes]) && to.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_a_process_works_from_its_own_queue_and_afterwards_from_both() {
    let Some(mut redis) = Private::start_if_installed(&[]) else { return };
    let clock = clock();
    let settings = super::settings();
    let queue = process(redis.server(), &settings, &clock, 1).await;
    let producer = RedisQueueSettings { consumes: false, ..settings.clone() };
    let producer = process(redis.server(), &producer, &clock, 2).await;
    producer.announce(Topic::Turn, &[key(1)]);
    assert_eq!(next(&queue).await, key(1));
    redis.kill();
    until("it is noticed", || queue.link() == QueueLink::RedisAway).await;
    queue.done(Topic::Turn, key(1));
    // What the sweeper finds is worked on, with a date or without one.
    queue.announce(Topic::Turn, &[key(2), key(3)]);
    queue.announce_at(Topic::Turn, key(4), clock.now() + SignedDuration::from_secs(10));
    assert_eq!(next(&queue).await, key(2));
    queue.done(Topic::Turn, key(2));
    assert_eq!(next(&queue).await, key(3));
    clock.advance(SignedDuration::from_secs(10));
    assert_eq!(next(&queue).await, key(4));
    // Two wait here when Redis comes back: none of them is lost, and new ones come from there.
    queue.announce(Topic::Turn, &[key(5), key(6)]);
    redis.restart();
    for queue in [&queue, &producer] {
        until("Redis is back", || queue.link() == QueueLink::Redis).await;
    }
    producer.announce(Topic::Turn, &[key(7)]);
    let mut got = [next(&queue).await, next(&queue).await, next(&queue).await];
    got.sort();
    assert_eq!(got, [key(5), key(6), key(7)]);
    // A key that is out of the local queue and announced to Redis is not handed out twice.
    producer.announce(Topic::Turn, &[key(5), key(8)]);
    assert_eq!(next(&queue).await, key(8));
    queue.done(Topic::Turn, key(5));
    assert_eq!(next(&queue).await, key(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_is_woken_at_once_and_also_without_hearing_it() {
    let redis = Redis::start();
    let settings = super::settings();
    let clock = clock();
    let consumer = process(redis.server(), &settings, &clock, 1).await;
    let producer = process(redis.server(), &RedisQueueSettings { consumes: false, ..settings }, &clock, 2).await;
    // A date that is sooner than all that the sleeper knows wakes it as well.
    producer.announce_at(Topic::Turn, key(1), clock.now() + SignedDuration::from_secs(60));
    until("it knows of the first", || consumer.depth(Topic::Turn) == depth(0, 1, 0)).await;
    let mut waiting = consumer.next(Topic::Turn);
    assert!((&mut waiting).now_or_never().is_none());
    producer.announce_at(Topic::Turn, key(2), clock.now() + SignedDuration::from_secs(30));
    until("it knows of both", || consumer.depth(Topic::Turn) == depth(0, 2, 0)).await;
    clock.advance(SignedDuration::from_secs(30));
    assert_eq!(tokio::time::timeout(PATIENCE, waiting).await.ok(), Some(key(2)));
    // A hundred times in a row; a poll a second alone would take more than the patience.
    let begun = Instant::now();
    for number in 10..110 {
        let waiting = consumer.next(Topic::Turn);
        producer.announce(Topic::Turn, &[key(number)]);
        assert_eq!(tokio::time::timeout(PATIENCE, waiting).await.ok(), Some(key(number)));
        consumer.done(Topic::Turn, key(number));
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_keys_of_a_shard_live_in_one_slot_of_a_cluster() {
    let Some(redis) = Private::start_if_installed(&["--cluster-enabled", "yes"]) else { return };
    redis.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    let begun = Instant::now();
    while !redis.command::<String>(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok") {
        assert!(begun.elapsed() < PATIENCE, "the cluster does not form");
        tokio::time::sleep(GLANCE).await;
    }
    // A cluster refuses a script whose keys lie in several slots, so that the work itself is the proof.
    let clock = clock();
    let queue = process(redis.server(), &super::settings(), &clock, 1).await;
    let keys: Vec<_> = (0..100).map(key).collect();
    queue.announce(Topic::Turn, &keys);
    queue.announce_at(Topic::Turn, key(1_000), clock.now() + SignedDuration::from_secs(60));
    for _ in 0..50 {
        let conversation = next(&queue).await;
        queue.announce(Topic::Turn, &[conversation]);
    }
    until("all is said", || queue.depth(Topic::Turn) == depth(50, 1, 50)).await;
    assert_eq!(queue.link(), QueueLink::Redis);
    let names: Vec<String> = redis.command(&["KEYS", "*"]).await;
    let mut slots = BTreeSet::new();
    let mut tags = BTreeSet::new();
    for name in &names {
        let slot: i64 = redis.command(&["CLUSTER", "KEYSLOT", name]).await;
        let tag = name.split_once('}').expect("a hash tag").0.to_owned();
        tags.insert(tag.clone());
        slots.insert((tag, slot));
    }
    assert_eq!(tags.len(), 8, "every shard is used: {names:?}");
    assert_eq!(slots.len(), 8, "one slot a shard");
}

/// What the start says about a server.
async fn refusal(url: &str) -> String {
    let begun = Instant::now();
    let shown = url.split('?').next().unwrap_or_default().to_owned();
    let server = micai::redis_link::RedisServer::at(&url.into(), shown).expect("an address");
    let started = RedisQueue::start(server, &super::settings(), Arc::new(clock()), StdRng::seed_from_u64(1)).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    let said = started.err().expect("no queue").to_string();
    assert!(!said.contains("hidden"), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_work_stops_the_start_with_a_sentence() {
    let Some(redis) = Private::start_if_installed(&["--requirepass", "hidden-right"]) else { return };
    let url = redis.url();
    for wrong in ["", "?pass=hidden-wrong", "?user=nobody&pass=hidden-right"] {
        let said = refusal(&format!("{url}{wrong}")).await;
        assert!(said.contains("refused the user name or password"), "{wrong}: {said}");
        assert!(said.contains(&url) && said.contains("MICAI_REDIS_URL"), "{said}");
    }
    let right = format!("{url}?pass=hidden-right");
    let queue = process(server_at(&right), &super::settings(), &clock(), 1).await;
    queue.announce(Topic::Turn, &[key(1)]);
    assert_eq!(next(&queue).await, key(1));
    // A user that may do nothing.
    let mut connection = server_at(&right).connect().await.expect("a connection");
    let mut making = redis::cmd("ACL");
    making.arg(&["SETUSER", "poor", "on", ">hidden-poor", "+ping"]);
    making.exec_async(&mut connection).await.expect("a user");
    let said = refusal(&format!("{url}?user=poor&pass=hidden-poor")).await;
    assert!(said.contains("does not let this user work"), "{said}");
    let said = refusal("redis://127.0.0.1:1/").await;
    assert!(said.contains("127.0.0.1:1") && said.contains("cannot be reached"), "{said}");
    let said = refusal("redis://no-such-host.invalid:6379/").await;
    assert!(said.contains("cannot be reached"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_server_is_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("old.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            std::thread::spawn(move || {
                let mut buffer = [0_u8; 4_096];
                while let Ok(bytes @ 1..) = connection.read(&mut buffer) {
                    // Each command begins with a star; only INFO is known.
                    let heard = String::from_utf8_lossy(&buffer[..bytes]).into_owned();
                    for command in heard.split('*').skip(1) {
                        let info = "# Server\r\nredis_version:6.2.14\r\nredis_mode:standalone\r\n";
                        let answer = match command.contains("INFO") && !command.contains("SETINFO") {
                            true => format!("${}\r\n{info}\r\n", info.len()),
                            false => "-ERR unknown command\r\n".to_owned(),
                        };
                        connection.write_all(answer.as_bytes()).expect("an answer");
                    }
                }
            });
        }
    });
    let said = refusal(&format!("unix://{}", path.display())).await;
    assert!(said.contains("has version 6.2.14") && said.contains("needs Redis 7 or newer"), "{said}");
}
