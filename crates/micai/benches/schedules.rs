//! What schedules cost while they wait and when they are due: how long a look takes at a million that wait, and how long until
//! 10,000 that are due in the same second are in the outbox (the bound is 2 seconds). On SQLite; on Postgres as well where
//! `MICAI_BENCH_POSTGRES_URL` names an empty database.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::{SignedDuration, Timestamp};
use micai::clock::{ManualClock, SharedClock};
use micai::domain::schedule::{Recurrence, Timing};
use micai::ids::Ids;
use micai::queue::UnheardQueue;
use micai::scheduler::recurrence::Calendar;
use micai::scheduler::step;
use micai::store::{Location, Store};
use tokio::runtime::Runtime;

#[path = "../tests/it/scheduler/crowd.rs"]
mod crowd;
use crowd::Crowd;

const WAITING: u32 = 1_000_000;
const DUE: u32 = 10_000;
/// A million are written in parts, so that no statement takes too long for a server.
const PART: u32 = 50_000;

fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).expect("an instant")
}

fn calendars(criterion: &mut Criterion) {
    for (name, recurrence) in [
        ("interval", Recurrence::Every { minutes: 30 }),
        ("cron", Recurrence::Cron { expression: "0 9 * * MON-FRI".to_owned() }),
        ("rule", Recurrence::Rrule { rule: "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=9".to_owned() }),
    ] {
        let timing = Timing::new(recurrence, "Europe/Berlin", now());
        let next = || Calendar::new(black_box(&timing)).expect("a calendar").next_after(now());
        criterion.bench_function(&format!("schedules, next of {name}"), |bencher| bencher.iter(next));
    }
}

fn waiting_and_due(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite = Location::Sqlite { path: folder.path().join("micai.db"), readers_max: 4 };
    measure(criterion, &runtime, "sqlite", &sqlite);
    if let Ok(url) = std::env::var("MICAI_BENCH_POSTGRES_URL") {
        let options = Box::new(url.parse().expect("an address"));
        let statement_timeout = std::time::Duration::from_secs(60);
        let postgres = Location::Postgres { options, connections_max: 8, statement_timeout };
        measure(criterion, &runtime, "postgres", &postgres);
    }
}

fn measure(criterion: &mut Criterion, runtime: &Runtime, name: &str, location: &Location) {
    let clock = ManualClock::at(now());
    let shared: SharedClock = Arc::new(clock.clone());
    let store = runtime.block_on(async {
        let store = Store::open(location, Arc::new(Ids::seeded(5)), shared.clone()).await.expect("a store");
        store.migrate().await.expect("a schema");
        store.ensure_default_agent().await.expect("an agent");
        let due_at = now() + SignedDuration::from_hours(24 * 365);
        for from in (0..WAITING).step_by(PART as usize) {
            Crowd { from, people: PART, each: 1, due_at }.write(location).await;
        }
        let due_at = now() + SignedDuration::from_secs(60);
        Crowd { from: WAITING, people: DUE, each: 1, due_at }.write(location).await;
        store
    });
    let look = || runtime.block_on(step(&store, &UnheardQueue, &shared)).expect("a look");
    criterion
        .bench_function(&format!("schedules, a look at {WAITING} that wait, {name}"), |bencher| bencher.iter(look));
    clock.advance(SignedDuration::from_secs(60));
    let begun = Instant::now();
    look();
    let took = begun.elapsed();
    println!("schedules, {DUE} due in one second among {WAITING} that wait, {name}: in the outbox after {took:?}");
    runtime.block_on(store.close());
}

criterion_group!(benches, calendars, waiting_and_due);
criterion_main!(benches);
