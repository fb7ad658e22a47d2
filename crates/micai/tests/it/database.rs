//! What a Postgres server does to a platform: refuses it, keeps it waiting, makes it give way, leaves, or goes silent. Each
//! is told in a sentence or mended by trying again, and nothing is half written.

mod silence;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use micai::clock::ManualClock;
use micai::domain::inbound::WebhookFacts;
use micai::ids::Ids;
use micai::store::{IngestReceipt, Location, Store, StoreError};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use crate::harness::PATIENCE;
use crate::migrations::{command, micai, said};
use crate::postgres::{Postgres, Private};
use crate::store::{message, world};

/// A database with a limit that a story can wait for.
fn hasty(options: PgConnectOptions, connections_max: u32) -> Location {
    Location::Postgres { options: Box::new(options), connections_max, statement_timeout: Duration::from_secs(1) }
}

/// A message, always of the same person. It moves the conversation's window when it is hours later than the one before.
async fn ingest_at(store: &Store, id: &str, hour: i64) -> Result<IngestReceipt, StoreError> {
    let sent_at = jiff::Timestamp::from_second(1_790_000_000 + hour * 3_600).unwrap();
    let facts = WebhookFacts { messages: vec![message(id, "4915550001", "hello", sent_at)], ..WebhookFacts::default() };
    store.ingest(Arc::new(facts)).await
}

async fn ingest(store: &Store, id: &str) -> Result<IngestReceipt, StoreError> {
    ingest_at(store, id, 0).await
}

/// Somebody else's connection, in the middle of a transaction that keeps everybody from conversations and messages.
async fn lock_tables(options: &PgConnectOptions) -> PgConnection {
    let mut other = options.connect().await.unwrap();
    other.execute("BEGIN").await.unwrap();
    other.execute("LOCK TABLE conversations, inbound_messages IN ACCESS EXCLUSIVE MODE").await.unwrap();
    other
}

/// Waits until so many sessions wait for a lock.
async fn waiting(options: &PgConnectOptions, sessions: i64) {
    let mut connection = options.connect().await.unwrap();
    let begun = Instant::now();
    loop {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                   AND datname = current_database()";
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
        if count >= sessions {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{count} sessions wait for a lock, not {sessions}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn assert_unavailable<T: std::fmt::Debug>(outcome: Result<T, StoreError>, part: &str) {
    match outcome {
        Err(error @ StoreError::Unavailable(_)) if error.to_string().contains(part) => {}
        other => panic!("expected to hear of {part:?}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_address_is_told_in_a_sentence() {
    let Some(server) = Private::available(&[]) else { return };
    let hba = server.folder().join("data/pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("local all ana scram-sha-256\n{rules}")).unwrap();
    let mut owner = server.options().connect().await.unwrap();
    for sql in [
        "SELECT pg_reload_conf()",
        "CREATE ROLE ana LOGIN PASSWORD 'right-one'",
        "CREATE ROLE few LOGIN CONNECTION LIMIT 1",
        "CREATE ROLE reader LOGIN",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    ] {
        owner.execute(sql).await.unwrap();
    }
    let socket =
        |user: &str, database: &str| format!("postgresql:///{database}?host={}&user={user}", server.folder().display());
    let free_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _few = server.options().username("few").connect().await.unwrap();
    // No name server is asked for a name that is too long to be one.
    let no_name = "x".repeat(64);
    let cases = [
        (socket("ana&password=wr0ng-s3cret", "postgres"), "does not let \"ana\" in", "pg_hba.conf"),
        (socket("nobody", "postgres"), "does not let \"nobody\" in", "MICAI_DATABASE_URL"),
        (socket("reader", "elsewhere"), "has no database \"elsewhere\"", "createdb"),
        (socket("few", "postgres"), "has no connection left", "MICAI_DATABASE_CONNECTIONS_MAX"),
        (format!("postgresql://ana:wr0ng-s3cret@127.0.0.1:{free_port}/x"), "cannot be reached", "whether it runs"),
        (format!("postgresql://ana:wr0ng-s3cret@{no_name}/x"), "cannot be reached", "check host and port"),
        (socket("reader", "postgres"), "may not create tables", "`micai migrate` with the role that owns"),
    ];
    for (url, what, advice) in &cases {
        let output = micai(&["migrate"], url);
        let told = said(&output);
        assert!(!output.status.success(), "{url}");
        assert!(told.contains(what) && told.contains(advice), "{url}: {told}");
        assert!(!told.contains("wr0ng-s3cret"), "{told}");
    }
    // With the schema in place, a role that may only read and write rows is good enough.
    assert!(micai(&["migrate"], &socket("micai", "postgres")).status.success());
    owner.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO reader").await.unwrap();
    let up = micai(&["migrate"], &socket("reader", "postgres"));
    assert!(up.status.success(), "{}", said(&up));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_waits_a_moment_for_a_server_that_is_full_or_starting() {
    let Some(mut server) = Private::available(&[]) else { return };
    server.stop("INT");
    let mut migrating = command(&["migrate"], &server.url("postgres")).stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(migrating.stderr.take().unwrap());
    let mut lines = log.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("the start waits for the database")), "it ends instead of waiting");
    server.start_again();
    let rest: Vec<String> = lines.collect();
    assert!(migrating.wait().unwrap().success(), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_used_up_is_told_and_recovers() {
    let server = Postgres::start().await;
    let mut location = hasty(server.options(), 2);
    if let Location::Postgres { statement_timeout, .. } = &mut location {
        *statement_timeout = Duration::from_secs(30);
    }
    let world = world(location).await;
    let other = lock_tables(&server.options()).await;
    // More readers than connections.
    let mut readers: FuturesUnordered<_> = (0..3).map(|_| world.store.conversations(None, 1)).collect();
    assert_unavailable(readers.next().await.expect("a reader"), "MICAI_DATABASE_CONNECTIONS_MAX");
    other.close().await.unwrap();
    let rest: Vec<_> = readers.collect().await;
    assert!(rest.iter().any(Result::is_ok), "who had a connection only had to wait: {rest:?}");
    assert_eq!(ingest(&world.store, "p1").await.unwrap().new_messages, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_is_given_up_and_leaves_nothing() {
    let server = Postgres::start().await;
    let world = world(hasty(server.options(), 2)).await;
    let other = lock_tables(&server.options()).await;
    assert_unavailable(ingest(&world.store, "t1").await, "MICAI_DATABASE_STATEMENT_TIMEOUT_SECONDS");
    assert_unavailable(world.store.conversations(None, 1).await, "MICAI_DATABASE_STATEMENT_TIMEOUT_SECONDS");
    other.close().await.unwrap();
    assert_eq!(ingest(&world.store, "t1").await.unwrap().new_messages, 1, "it was not there yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_had_to_give_way_to_another_transaction_tries_again_at_once() {
    let Some(server) = Private::available(&[]) else { return };
    let mut admin = server.options().connect().await.unwrap();
    admin.execute("ALTER DATABASE postgres SET default_transaction_isolation = 'repeatable read'").await.unwrap();
    let world = world(crate::postgres::location(server.options())).await;
    ingest(&world.store, "c1").await.unwrap();
    let mut other = server.options().connect().await.unwrap();
    other.execute("BEGIN").await.unwrap();
    other.execute("UPDATE conversations SET mode = mode").await.unwrap();
    let (second, ()) = tokio::join!(ingest_at(&world.store, "c2", 1), async {
        waiting(&server.options(), 1).await;
        // What waits for the conversation cannot be serialized after this any more (40001).
        other.execute("COMMIT").await.unwrap();
    });
    assert_eq!(second.unwrap().new_messages, 1, "the second try has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_victim_of_a_deadlock_tries_again_at_once() {
    let Some(server) = Private::available(&["deadlock_timeout=2s"]) else { return };
    let world = world(crate::postgres::location(server.options())).await;
    ingest(&world.store, "c1").await.unwrap();
    let mut other = server.options().connect().await.unwrap();
    for sql in [
        // Who has written the row waits for the lock of the other, which wants the row: a circle.
        "CREATE FUNCTION wait_for_one() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END'",
        "CREATE TRIGGER circle AFTER UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION wait_for_one()",
        // It is patient, so that the store is the victim.
        "SET deadlock_timeout = '60s'",
        "BEGIN",
        "SELECT pg_advisory_xact_lock(1)",
    ] {
        other.execute(sql).await.unwrap();
    }
    let (second, ()) = tokio::join!(ingest_at(&world.store, "c2", 1), async {
        waiting(&server.options(), 1).await;
        other.execute("UPDATE conversations SET mode = mode").await.unwrap();
        other.execute("COMMIT").await.unwrap();
    });
    assert_eq!(second.unwrap().new_messages, 1, "the next try has it");
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'";
    let begun = Instant::now();
    // The server counts with a little delay.
    while sqlx::query_scalar::<_, i64>(deadlocks).fetch_one(&mut other).await.unwrap() == 0 {
        assert!(begun.elapsed() < PATIENCE, "there was no deadlock");
        other.execute("SELECT pg_stat_clear_snapshot()").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_in_a_transaction_leaves_nothing() {
    let Some(mut server) = Private::available(&["max_prepared_transactions=1"]) else { return };
    let options = server.options();
    let world = world(crate::postgres::location(options.clone())).await;
    let ends = [
        ("l1", "terminate", "terminating connection"),
        ("l2", "INT", "terminating connection"),
        // It may or may not say so.
        ("l3", "QUIT", "not available"),
    ];
    for (id, how, told) in ends {
        // Prepared, it outlives the server: a session that held the locks might end before the one that waits for them, which would
        // then commit.
        lock_tables(&options).await.execute("PREPARE TRANSACTION 'locks'").await.unwrap();
        let (outcome, ()) = tokio::join!(ingest(&world.store, id), async {
            waiting(&options, 1).await;
            if how == "terminate" {
                let mut admin = options.connect().await.unwrap();
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
                admin.execute(sql).await.unwrap();
            } else {
                server.stop(how);
                server.start_again();
            }
        });
        assert_unavailable(outcome, told);
        options.connect().await.unwrap().execute("ROLLBACK PREPARED 'locks'").await.unwrap();
        assert_eq!(ingest(&world.store, id).await.unwrap().new_messages, 1, "{how}: nothing of it had been written");
    }
    // While it is away, and once it is back.
    server.stop("INT");
    assert_unavailable(ingest(&world.store, "l4").await, "not available");
    server.start_again();
    assert_eq!(ingest(&world.store, "l4").await.unwrap().new_messages, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_debug_output_holds_the_password() {
    let options: PgConnectOptions = "postgres://ana:s3cret@127.0.0.1:9/talk".parse().unwrap();
    assert!(!format!("{:?}", hasty(options.clone(), 1)).contains("s3cret"));
    let clock = Arc::new(ManualClock::at(jiff::Timestamp::UNIX_EPOCH));
    let refused = Store::open(&hasty(options, 1), Arc::new(Ids::seeded(1)), clock).await.err().expect("nobody listens");
    assert!(!format!("{refused} {refused:?}").contains("s3cret"));
}
