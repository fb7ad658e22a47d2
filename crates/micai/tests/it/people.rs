//! Whom a process remembers: people are familiar from the commit of their first message on, and no longer than that is true.

use std::sync::Arc;

use jiff::SignedDuration;
use micai::clock::Clock as _;
use micai::domain::contact::Person;
use micai::domain::inbound::{NewInbound, WebhookFacts};
use micai::ids::Ids;
use micai::store::{Location, Store};
use sqlx::{ConnectOptions as _, Executor as _};

use crate::postgres::Postgres;
use crate::store::{LEASE_SECONDS, World, message, world};

/// Has the database refuse a message with this text.
const REFUSED_TEXT: &str = "refused";

async fn refuse(location: &Location) {
    match location {
        Location::Sqlite { path, .. } => {
            let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap();
            let trigger = "CREATE TRIGGER story BEFORE INSERT ON inbound_messages WHEN NEW.text = 'refused'
                           BEGIN SELECT RAISE(ABORT, 'refused for the story'); END";
            connection.execute(trigger).await.unwrap();
        }
        Location::Postgres { options, .. } => {
            let mut connection = options.connect().await.unwrap();
            let check = "ALTER TABLE inbound_messages ADD CONSTRAINT story CHECK (text IS DISTINCT FROM 'refused')";
            connection.execute(check).await.unwrap();
        }
    }
}

async fn a_batch_that_is_taken_back_leaves_nobody_behind(world: &World) {
    let refused = message("taken.1", "551", REFUSED_TEXT, world.clock.now());
    let facts = WebhookFacts { messages: vec![refused], ..WebhookFacts::default() };
    world.store.ingest(Arc::new(facts)).await.unwrap_err();
    // The same person: to whoever remembered them, their conversation would be one that was never made.
    let conversation = world.say("taken.2", "551", "hello").await;
    let claim = world.store.claim(conversation, LEASE_SECONDS).await.unwrap().expect("a turn");
    assert_eq!(claim.pending.len(), 1);
    world.store.finish(world.turn(&claim, &[])).await.unwrap();
}

async fn who_was_new_is_asked_for_again_when_another_process_finds_out_who_they_are(world: &World, other: &Store) {
    let by_phone = world.say("one.1", "552", "hello").await;
    let by_user_id = world.ingest(vec![with_user_id("one.2", "", world)], Vec::new()).await.1[0];
    assert_ne!(by_phone, by_user_id, "nobody knows yet that they are one");
    assert_eq!(world.say("one.3", "552", "more").await, by_phone);
    let both = WebhookFacts { messages: vec![with_user_id("one.4", "552", world)], ..WebhookFacts::default() };
    assert_eq!(other.ingest(Arc::new(both)).await.unwrap().wake_turns, [by_user_id]);
    assert_eq!(world.say("one.5", "552", "again").await, by_user_id);
    for conversation in [by_phone, by_user_id] {
        world.answer(conversation, &[]).await;
    }
}

/// Each process is told by memory, the other one by a look-up.
async fn a_window_lags_ten_seconds_behind_at_most(world: &World, other: &Store) {
    let begun_at = world.clock.now();
    let mut conversation = None;
    for (seconds, is_referred, asks_other, opened_after) in [
        (0, false, false, 0),
        (9, false, false, 0),
        (10, false, false, 10),
        (19, false, true, 10),
        (20, false, true, 20),
        // What the other one wrote is not in memory: that costs a write and no more.
        (29, false, false, 29),
        (38, false, false, 29),
        // An advertisement is never passed over: it makes messages free for three days.
        (39, true, false, 39),
        (40, true, true, 40),
        // What comes late moves nothing back.
        (1, false, false, 40),
        (1, false, true, 40),
    ] {
        let now = begun_at + SignedDuration::from_secs(seconds);
        let id = format!("lag.{seconds}.{is_referred}.{asks_other}");
        let said = NewInbound { is_referred, ..message(&id, "553", "hello", now) };
        let facts = Arc::new(WebhookFacts { messages: vec![said], ..WebhookFacts::default() });
        let store = if asks_other { other } else { &world.store };
        let receipt = store.ingest(facts).await.unwrap();
        conversation = conversation.or(receipt.wake_turns.first().copied());
        let opened_at = world.store.conversation(conversation.unwrap()).await.unwrap().unwrap().last_inbound_at;
        let expected = begun_at + SignedDuration::from_secs(opened_after);
        assert_eq!(opened_at, Some(expected), "after the message of second {seconds}, {id}");
    }
    world.answer(conversation.unwrap(), &[]).await;
}

fn with_user_id(id: &str, phone: &str, world: &World) -> NewInbound {
    let phone = (!phone.is_empty()).then(|| phone.to_owned());
    let person = Person { phone, bsuid: Some("BR.1".into()), name: Some("Ana".into()), ..Person::default() };
    NewInbound { person, ..message(id, "552", "hello", world.clock.now()) }
}

async fn story(location: Location) {
    let world = world(location.clone()).await;
    refuse(&location).await;
    a_batch_that_is_taken_back_leaves_nobody_behind(&world).await;
    let other = Store::open(&location, Arc::new(Ids::seeded(12)), Arc::new(world.clock.clone())).await.unwrap();
    who_was_new_is_asked_for_again_when_another_process_finds_out_who_they_are(&world, &other).await;
    a_window_lags_ten_seconds_behind_at_most(&world, &other).await;
    other.close().await;
    world.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    story(Location::Sqlite { path: folder.path().join("micai.db"), readers_max: 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    let server = Postgres::start().await;
    story(server.location()).await;
}
