//! Schedules that are due, among many that wait in tables which the server has not counted: a batch is found row by row.

use std::sync::Arc;

use jiff::SignedDuration;
use micai::clock::SharedClock;
use micai::queue::UnheardQueue;
use sqlx::{ConnectOptions as _, Executor as _};

use super::{SETTINGS, log_of, plans, written_to_the_end};
use crate::postgres::{Private, location};
use crate::scheduler::crowd::Crowd;
use crate::store::world;

/// Enough that a batch of a thousand is better found by key.
const WAITING: u32 = 100_000;
const DUE: u32 = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_of_due_schedules_reads_a_table_whole_on_postgres() {
    let Some(server) = Private::available(&SETTINGS) else { return };
    let location = location(server.options());
    let world = world(location.clone()).await;
    let clock: SharedClock = Arc::new(world.clock.clone());
    let mut connection = server.options().connect().await.unwrap();
    connection.execute("SET auto_explain.log_min_duration = -1").await.unwrap();
    let due_at = jiff::Timestamp::from_second(1_790_100_000).unwrap();
    let later = due_at + SignedDuration::from_hours(24 * 365);
    Crowd { from: 0, people: WAITING, each: 1, due_at: later }.write(&location).await;
    Crowd { from: WAITING, people: DUE, each: 1, due_at }.write(&location).await;
    let begins_at = std::fs::metadata(log_of(&server)).unwrap().len();
    world.clock.advance(SignedDuration::from_hours(48));
    micai::scheduler::step(&world.store, &UnheardQueue, &clock).await.unwrap();
    let sends: i64 =
        sqlx::query_scalar("SELECT count(*) FROM outbound_messages").fetch_one(&mut connection).await.unwrap();
    assert_eq!(sends, i64::from(DUE));
    world.store.close().await;
    let written = written_to_the_end(&log_of(&server), &mut connection).await;
    let plans = plans(&String::from_utf8_lossy(&written[usize::try_from(begins_at).unwrap()..]));
    // The agents are few.
    let batches = plans.iter().filter(|(statement, _)| statement.starts_with("WITH "));
    let accesses: Vec<_> =
        batches.flat_map(|(statement, accesses)| accesses.iter().map(move |access| (access, statement))).collect();
    assert!(accesses.len() > 5, "{plans:#?}");
    let whole: Vec<_> = accesses.iter().filter(|(access, _)| access.starts_with("all of ")).collect();
    assert!(whole.is_empty(), "{whole:#?}");
}
