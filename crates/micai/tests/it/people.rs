//! Whom a process remembers: people are familiar from the commit of their first message on, and no longer than that is true.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use micai::clock::Clock as _;
use micai::domain::contact::Person;
use micai::domain::inbound::{InboundState, MessageNature, NewInbound, WebhookFacts};
use micai::ids::{ConversationId, Ids};
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

/// Windows of messages that come one after the other, as one process remembers them and the other looks them up.
async fn a_window_lags_behind_until_the_turn_and_no_longer(world: &World, other: &Store) {
    const HOUR: i64 = 3_600;
    let begun_at = world.clock.now();
    let mut conversation = None;
    let pending = InboundState::Pending;
    for (seconds, state, is_referred, asks_other, opened_after) in [
        (0, pending, false, false, 0),
        (9, InboundState::Noted, false, false, 0),
        (10, InboundState::Noted, false, false, 10),
        (19, InboundState::Noted, false, true, 10),
        (20, InboundState::Noted, false, true, 20),
        (HOUR, pending, false, false, 20),
        (HOUR + 19, pending, false, true, 20),
        (HOUR + 20, pending, false, true, HOUR + 20),
        // What the other one wrote is not in memory: that costs a write and no more.
        (HOUR + 21, pending, false, false, HOUR + 21),
        // An advertisement is never passed over: it makes messages free for three days.
        (HOUR + 22, pending, true, false, HOUR + 22),
        (HOUR + 23, pending, true, true, HOUR + 23),
        // What comes late moves nothing back.
        (1, pending, false, false, HOUR + 23),
        (1, pending, false, true, HOUR + 23),
        (HOUR + 600, pending, false, true, HOUR + 23),
    ] {
        let now = begun_at + SignedDuration::from_secs(seconds);
        let id = format!("lag.{seconds}.{is_referred}.{asks_other}");
        let said = NewInbound { is_referred, state, ..message(&id, "553", "hello", now) };
        let facts = Arc::new(WebhookFacts { messages: vec![said], ..WebhookFacts::default() });
        let store = if asks_other { other } else { &world.store };
        let receipt = store.ingest(facts).await.unwrap();
        conversation = conversation.or(receipt.wake_turns.first().copied());
        let opened_at = opened_at(world, conversation.unwrap()).await;
        let expected = begun_at + SignedDuration::from_secs(opened_after);
        assert_eq!(opened_at, Some(expected), "after the message of second {seconds}, {id}");
    }
    let conversation = conversation.unwrap();
    world.answer(conversation, &[]).await;
    let latest = begun_at + SignedDuration::from_secs(HOUR + 600);
    assert_eq!(opened_at(world, conversation).await, Some(latest), "the turn has moved it");
    // What opens no window moves none in a turn either.
    let edit = message("lag.edit", "553", "hello again", latest + SignedDuration::from_hours(2));
    let edit = NewInbound { nature: MessageNature::Edit, opens_window: false, ..edit };
    world.ingest(vec![edit], Vec::new()).await;
    world.answer(conversation, &[]).await;
    assert_eq!(opened_at(world, conversation).await, Some(latest));
}

async fn opened_at(world: &World, conversation: ConversationId) -> Option<Timestamp> {
    world.store.conversation(conversation).await.unwrap().unwrap().last_inbound_at
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
    a_window_lags_behind_until_the_turn_and_no_longer(&world, &other).await;
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
