//! How many keys a second go through one Redis: announced, handed out and done, in the batches that load makes; and how
//! long an idle worker of another process waits for one.
//!
//! `cargo bench -p micai --bench queue` starts a `redis-server` of its own; both share this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/it/redis.rs"]
#[allow(dead_code, reason = "the stories use more of it")]
mod redis_server;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use micai::clock::SystemClock;
use micai::ids::ConversationId;
use micai::queue::{RedisQueue, RedisQueueSettings, Topic, WakeQueue, dispatch};
use rand::SeedableRng;
use rand::rngs::StdRng;
use redis_server::Redis;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

const KEYS: usize = 200_000;
/// Keys of one announcement, as a burst of webhooks brings them.
const ANNOUNCED_TOGETHER: usize = 100;
/// Keys that wait at once; far below the bound at which announcements are dropped.
const AHEAD_MAX: usize = 20_000;
const WORKERS: usize = 256;

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Redis::start();
        for shards in [1, 8] {
            throughput(&server, shards).await;
        }
        latency(&server).await;
    });
}

fn key(number: usize) -> ConversationId {
    ConversationId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number as u128))
}

fn settings(shards: usize) -> RedisQueueSettings {
    RedisQueueSettings { prefix: Redis::prefix(), shards, lease_seconds: 120, consumes: true }
}

async fn process(server: &Redis, settings: &RedisQueueSettings, seed: u64) -> RedisQueue {
    let dice = StdRng::seed_from_u64(seed);
    RedisQueue::start(server.server(), settings, Arc::new(SystemClock), dice).await.expect("a queue")
}

async fn throughput(server: &Redis, shards: usize) {
    let settings = settings(shards);
    let producer = process(server, &RedisQueueSettings { consumes: false, ..settings.clone() }, 1).await;
    let consumer = process(server, &settings, 2).await;
    let served = Arc::new(AtomicUsize::new(0));
    let (stop, count) = (CancellationToken::new(), served.clone());
    let queue: Arc<dyn WakeQueue> = Arc::new(consumer.clone());
    let begun = Instant::now();
    tokio::spawn(dispatch(queue, Topic::Turn, WORKERS, TaskTracker::new(), stop.clone(), move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        std::future::ready(())
    }));
    let numbers: Vec<usize> = (0..KEYS).collect();
    for together in numbers.chunks(ANNOUNCED_TOGETHER) {
        while together[0] > served.load(Ordering::Relaxed) + AHEAD_MAX {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        producer.announce(Topic::Turn, &together.iter().map(|number| key(*number)).collect::<Vec<_>>());
        tokio::task::yield_now().await;
    }
    while served.load(Ordering::Relaxed) < KEYS {
        assert!(begun.elapsed() < Duration::from_secs(120), "{} came through", served.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    stop.cancel();
    consumer.close().await;
    producer.close().await;
    println!(
        "{shards} shards: {:.0} keys/s announced, handed out and done ({KEYS} in {seconds:.2} s)",
        KEYS as f64 / seconds
    );
}

async fn latency(server: &Redis) {
    let settings = settings(8);
    let producer = process(server, &RedisQueueSettings { consumes: false, ..settings.clone() }, 3).await;
    let consumer = process(server, &settings, 4).await;
    let mut took = Vec::new();
    for number in 0..5_000 {
        let waiting = consumer.clone();
        let waiting = tokio::spawn(async move { waiting.next(Topic::Turn).await });
        // The consumer sleeps by now.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let begun = Instant::now();
        producer.announce(Topic::Turn, &[key(number)]);
        let conversation = waiting.await.expect("a key");
        took.push(begun.elapsed());
        consumer.done(Topic::Turn, conversation);
    }
    took.sort_unstable();
    println!("idle, another process: p50 {:?}, p99 {:?}", took[took.len() / 2], took[took.len() * 99 / 100]);
}
