//! Anything may die while people write: processes by SIGKILL, the database by a stop or a crash, the queue by a flush or a
//! crash, answers on their way. In the end every message that was answered 200 has been processed exactly once, every
//! reply has reached its phone exactly once and in order, and nothing is left undone.
//!
//! `MICAI_TEST_SEED` repeats a run as far as the machine lets it; `MICAI_TEST_SOAK` makes it long (`bin/test --soak`).

mod fleet;
mod verdict;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use micai::clock::SystemClock;
use micai::ids::Ids;
use micai::store::Store;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use simulator::{
    Author, BubbleStatus, BubbleView, FaultKind, FaultOn, FaultSpec, PhoneKind, PhoneSpec, Simulator, SimulatorConfig,
};

use crate::harness::{ACCESS_TOKEN, APP_SECRET, VERIFY_TOKEN};
use crate::postgres::{Private, location};
use crate::redis;
use fleet::Fleet;

/// How long a message that nobody takes is waited for. A database restart and the simulator's pauses fit in many times.
const PATIENCE: Duration = Duration::from_secs(120);
const GLANCE: Duration = Duration::from_millis(50);

/// How much is played.
struct Scale {
    messages: usize,
    phones: usize,
    /// People who write at the same time.
    crowd: usize,
    /// Between two messages of a person that do not come at once, in milliseconds.
    pause: RangeInclusive<u64>,
    /// Between two disturbances, in milliseconds.
    calm: RangeInclusive<u64>,
    disturbances_min: usize,
}

const SHORT: Scale =
    Scale { messages: 600, phones: 100, crowd: 100, pause: 500..=4_000, calm: 200..=1_000, disturbances_min: 8 };
const SOAK: Scale =
    Scale { messages: 20_000, phones: 2_000, crowd: 250, pause: 500..=6_000, calm: 500..=4_000, disturbances_min: 60 };

/// A message that somebody wrote.
pub struct Written {
    pub id: String,
    pub text: String,
}

/// A person with what was written, in groups: the messages of a group leave at the same time, and each group only when
/// every message of the one before was answered 200.
pub struct Person {
    pub phone: String,
    pub groups: Vec<Vec<Written>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_is_said_twice_whatever_dies() {
    let scale = if std::env::var_os("MICAI_TEST_SOAK").is_some() { SOAK } else { SHORT };
    let seed = std::env::var("MICAI_TEST_SEED").map_or_else(
        |_| SimulatorConfig::fresh_seed(),
        |seed| seed.parse().expect("MICAI_TEST_SEED is a whole number"),
    );
    eprintln!("MICAI_TEST_SEED={seed}");
    let Some(postgres) = Private::available(&[]) else { return };
    let Some(redis) = redis::Private::start_if_installed(&[]) else { return };
    let mut dice = StdRng::seed_from_u64(seed);
    let simulator = Simulator::start(SimulatorConfig {
        app_secret: APP_SECRET.to_owned(),
        verify_token: VERIFY_TOKEN.to_owned(),
        access_token: ACCESS_TOKEN.to_owned(),
        retry_delay_milliseconds: 50,
        seed,
        ..SimulatorConfig::default()
    })
    .await
    .expect("a simulator");
    let location = location(postgres.options());
    let fleet = Fleet::start(postgres, redis, &simulator.url());
    simulator.set_webhook(Some(&format!("http://{}/webhook", fleet.doors.open().await))).expect("an address");

    let is_over = Arc::new(AtomicBool::new(false));
    let disturbing = tokio::task::spawn_blocking({
        let (is_over, dice, calm) = (is_over.clone(), StdRng::from_rng(&mut dice), scale.calm.clone());
        move || fleet.disturb(dice, &calm, scale.disturbances_min, &is_over)
    });
    let people = chatter(&simulator, &scale, &mut dice).await;
    is_over.store(true, Ordering::SeqCst);
    let fleet = disturbing.await.expect("the disturbances end");
    eprintln!("what happened: {}", fleet.deeds.join(", "));

    let store = Store::open(&location, Arc::new(Ids::seeded(seed)), Arc::new(SystemClock)).await.expect("a store");
    let outcome = until_settled(&simulator, &store, scale.messages).await;
    let mut faults: Vec<String> = outcome.err().into_iter().collect();
    faults.extend(verdict::faults(&simulator, &fleet.postgres.options(), &people).await);
    assert!(faults.is_empty(), "MICAI_TEST_SEED={seed}: {} faults\n{}", faults.len(), faults.join("\n\n"));
    store.close().await;
    simulator.stop().await;
}

/// Everybody writes. Ends when all that was written has been answered 200.
async fn chatter(simulator: &Simulator, scale: &Scale, dice: &mut StdRng) -> Vec<Person> {
    let each = scale.messages / scale.phones;
    let everybody: Vec<_> = (0..scale.phones)
        .map(|number| {
            let kind = [PhoneKind::Phone, PhoneKind::PhoneAndBsuid, PhoneKind::Username][number % 3];
            let phone =
                simulator.add_phone(PhoneSpec { kind: Some(kind), ..PhoneSpec::default() }).expect("a phone").id;
            person(simulator, phone, each, scale.pause.clone(), StdRng::from_rng(dice))
        })
        .collect();
    futures_util::stream::iter(everybody).buffer_unordered(scale.crowd).collect().await
}

async fn person(
    simulator: &Simulator,
    phone: String,
    messages: usize,
    pause: RangeInclusive<u64>,
    mut dice: StdRng,
) -> Person {
    let mut groups: Vec<Vec<Written>> = Vec::new();
    let mut number = 0;
    while number < messages {
        tokio::time::sleep(Duration::from_millis(dice.random_range(pause.clone()))).await;
        let mut group = Vec::new();
        for _ in 0..dice.random_range(1..=3).min(messages - number) {
            number += 1;
            let text = format!("{phone} says {number}");
            mishap(simulator, &phone, &mut dice);
            let id = simulator.say(&phone, &text).expect("a message");
            group.push(Written { id, text });
        }
        let begun = Instant::now();
        while !is_taken(&simulator.chat(&phone).expect("a chat"), &group) {
            assert!(begun.elapsed() < PATIENCE, "{phone}: a message was never answered 200");
            tokio::time::sleep(GLANCE).await;
        }
        groups.push(group);
    }
    Person { phone, groups }
}

/// What the line does to the next message or the next reply: a fifth comes twice, a fifth out of turn; a few answers get
/// lost, on either way.
fn mishap(simulator: &Simulator, phone: &str, dice: &mut StdRng) {
    let webhook = match dice.random_range(0..100) {
        0..20 => Some(FaultKind::Duplicate),
        20..40 => Some(FaultKind::Reorder),
        40..45 => Some(FaultKind::DropAnswer),
        _ => None,
    };
    let send = (dice.random_range(0..100) < 5).then_some(FaultKind::DropAnswer);
    let faults = webhook.map(|kind| (FaultOn::Webhook, kind)).into_iter().chain(send.map(|kind| (FaultOn::Send, kind)));
    for (on, kind) in faults {
        simulator.add_fault(FaultSpec { on, kind, times: 1, phone: Some(phone.to_owned()) }).expect("a fault");
    }
}

fn is_taken(chat: &[BubbleView], group: &[Written]) -> bool {
    let taken = |id: &str| chat.iter().any(|bubble| bubble.id == id && bubble.status >= BubbleStatus::Delivered);
    group.iter().all(|written| taken(&written.id))
}

/// Waits until nothing is left to do and everything has been said, then for a second round of every sweep and every look,
/// in which something would be said twice if anything ever is.
async fn until_settled(simulator: &Simulator, store: &Store, messages: usize) -> Result<(), String> {
    let begun = Instant::now();
    let idle = async || {
        tokio::time::timeout(PATIENCE, simulator.wait_idle())
            .await
            .map_err(|_| format!("{} webhooks are never answered 200", simulator.deliveries_pending()))
    };
    loop {
        idle().await?;
        let said: usize = simulator.phones().iter().map(|phone| replies(simulator, &phone.id).len()).sum();
        let unfinished = store.unfinished().await.map_err(|error| error.to_string())?;
        if unfinished == 0 && said >= messages {
            break;
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{said} replies to {messages} messages, and {unfinished} pieces of work are left"));
        }
        tokio::time::sleep(GLANCE * 4).await;
    }
    tokio::time::sleep(fleet::ROUND * 2).await;
    idle().await
}

/// What the business said in a chat, oldest first.
fn replies(simulator: &Simulator, phone: &str) -> Vec<BubbleView> {
    let chat = simulator.chat(phone).expect("a chat");
    chat.into_iter().filter(|bubble| bubble.author == Author::Business).collect()
}
