//! A process that dies at any commit point: the next one finishes the work, and nothing is said twice.

use simulator::{Author, PhoneKind, PhoneSpec};
use sqlx::{ConnectOptions as _, Executor as _};

use crate::harness::PATIENCE;
use crate::postgres::Private;
use crate::process::{Process, outside, until};

/// Short, so that the story need not wait for two minutes of silence, nor for leases and calls of a dead process: on
/// Postgres the next one cannot know that it is alone.
const SHORT: [(&str, &str); 3] = [
    ("unknown_send_deadline_seconds", "1"),
    ("conversation_lease_seconds", "2"),
    ("whatsapp_call_timeout_seconds", "1"),
];

async fn dies_after(point: &str) {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("micai.db");
    dies_and_is_followed(point, &format!("sqlite:///{}", database.display())).await;
}

async fn dies_and_is_followed(point: &str, database_url: &str) {
    let database = std::path::Path::new("unused");
    let mut settings = SHORT.to_vec();
    settings.push(("database_url", database_url));
    let simulator = outside().await;
    let phone = |name: &str, kind| {
        let spec = PhoneSpec { name: Some(name.into()), kind: Some(kind), ..PhoneSpec::default() };
        simulator.add_phone(spec).unwrap().id
    };
    let (ana, bo) = (phone("Ana", PhoneKind::Username), phone("Bo", PhoneKind::Phone));
    let url = simulator.url();
    let mut dying = Process::serve(database, &url, &settings, &[("MICAI_CRASH_AFTER", point)]);
    simulator.set_webhook(Some(&format!("http://{}/webhook", dying.address))).unwrap();
    simulator.say(&ana, "hello").unwrap();
    let status = tokio::task::spawn_blocking(move || dying.wait_for_end()).await.unwrap();
    assert!(!status.success(), "it died after {point}");

    let living = Process::serve(database, &url, &settings, &[]);
    simulator.set_webhook(Some(&format!("http://{}/webhook", living.address))).unwrap();
    let replies =
        |phone: &str| simulator.chat(phone).unwrap().iter().filter(|bubble| bubble.author == Author::Business).count();
    let until = async |what: &str, holds: &dyn Fn() -> bool| {
        until(&format!("{what} after a crash at {point}"), holds).await;
    };
    tokio::time::timeout(PATIENCE, simulator.wait_idle()).await.expect("webhooks are acknowledged in the end");
    // Somebody else's delivery shows that the line is open, which settles what was never sent.
    simulator.say(&bo, "hello").unwrap();
    until("Bo is answered", &|| replies(&bo) == 1).await;
    until("Ana is answered", &|| replies(&ana) >= 1).await;
    simulator.wait_idle().await;
    // One more round trip through the whole platform, so that a second answer would have had its time.
    simulator.say(&bo, "again").unwrap();
    until("Bo is answered again", &|| replies(&bo) == 2).await;
    assert_eq!(replies(&ana), 1, "after a crash at {point} Ana is answered exactly once");
    drop(living);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_webhook_was_committed() {
    dies_after("ingest").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_conversation_was_claimed() {
    dies_after("claim").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_turn_was_finished() {
    dies_after("finish").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_the_intent_and_the_call() {
    dies_after("intent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_the_call_and_its_outcome() {
    dies_after("call").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_outcome_was_settled() {
    dies_after("settle").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_each_of_them_on_postgres() {
    let points = ["ingest", "claim", "finish", "intent", "call", "settle"];
    let Some(server) = Private::available(&[]) else { return };
    let mut connection = server.options().connect().await.unwrap();
    for point in points {
        connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE after_{point}"))).await.unwrap();
    }
    let urls = points.map(|point| (point, server.url(&format!("after_{point}"))));
    futures_util::future::join_all(urls.iter().map(|(point, url)| dies_and_is_followed(point, url))).await;
}
