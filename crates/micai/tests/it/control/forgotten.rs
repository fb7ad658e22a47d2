//! Being forgotten: nothing that the person said or was called is left anywhere, and what sending needs is.

use std::sync::Arc;

use jiff::SignedDuration;
use micai::domain::agent::AgentId;
use micai::domain::audit::{Actor, AuditAction};
use micai::domain::contact::{Address, AddressKind, IdentityChange, Person};
use micai::domain::erasure::{ErasureWish, erased_error};
use micai::domain::inbound::{InboundState, NewInbound, RawEvent, WebhookFacts};
use micai::domain::outbound::{AttemptOutcome, MessageBody, Refusal, SendError, Settlement};
use micai::domain::turn::{Effect, FinishOutcome};
use micai::ids::ContactId;
use micai::store::{ErasureStep, Location};
use reqwest::Method;
use serde_json::json;
use simulator::{FaultKind, FaultOn, FaultSpec, PhoneKind};
use sqlx::{ConnectOptions as _, Row as _};
use uuid::Uuid;

use crate::harness::Stage;
use crate::postgres::Postgres;
use crate::store::{LEASE_SECONDS, World, message, world};

/// A name and a word that stand nowhere else.
const NAME: &str = "Quetzalcoatl";
const SECRET: &str = "zanzibar";

/// Every place of a database that holds a text: `table.column`.
async fn places_of(stage: &Stage, text: &str) -> Vec<String> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(stage.database_path()).read_only(true);
    let mut database = options.connect().await.unwrap();
    let tables = "SELECT m.name AS name, c.name AS column_name FROM sqlite_master m JOIN pragma_table_info(m.name) c
                  WHERE m.type = 'table'";
    let mut places = Vec::new();
    for row in sqlx::query(tables).fetch_all(&mut database).await.unwrap() {
        let (table, column): (String, String) = (row.get("name"), row.get("column_name"));
        let sql = format!("SELECT count(*) FROM {table} WHERE instr(coalesce(CAST(\"{column}\" AS TEXT), ''), $1) > 0");
        let found: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(text).fetch_one(&mut database).await.unwrap();
        if found > 0 {
            places.push(format!("{table}.{column}"));
        }
    }
    places.sort();
    places
}

#[tokio::test(flavor = "multi_thread")]
async fn on_their_word_a_person_is_forgotten_with_a_receipt() {
    let stage = Stage::open().await;
    let phone = stage.phone(NAME, PhoneKind::PhoneAndBsuid);
    stage.answers(&phone, &format!("my secret is {SECRET}")).await;
    let conversation = stage.conversation().await;
    let id = conversation["id"].as_str().unwrap();
    let say = json!({ "text": format!("You said {SECRET}."), "idempotency_key": Uuid::from_u128(9) });
    stage.admin(Method::POST, &format!("/admin/conversations/{id}/messages"), Some(say)).await;
    stage.settle().await;
    let before = places_of(&stage, SECRET).await;
    assert!(before.len() >= 3 && before.contains(&"audit_log.state_after".to_owned()), "{before:?}");

    assert!(stage.answers(&phone, "Forget me").await[0].contains("cannot be undone"));
    stage.tap(&phone, "Keep it");
    stage.settle().await;
    assert_eq!(stage.heard(&phone).pop().unwrap(), "Nothing was erased.");
    assert_eq!(places_of(&stage, SECRET).await, before);

    // Something waits for its next attempt when the person makes up their mind.
    let busy = FaultSpec { on: FaultOn::Send, kind: FaultKind::Error { code: 130429 }, times: 1, phone: None };
    stage.simulator.add_fault(busy).unwrap();
    stage.simulator.say(&phone, &format!("{SECRET} again")).unwrap();
    stage
        .until("an answer waits", async || stage.outbound("queued").await.iter().any(|one| one["attempts"] == 1))
        .await;
    let said = stage.heard(&phone).len();
    stage.tap(&phone, "Erase everything");
    stage.until("what waits is cancelled", async || stage.outbound("cancelled").await.len() == 1).await;
    stage.advance(10);
    stage.until("the receipt is there", async || stage.heard(&phone).len() > said).await;
    stage.settle().await;
    let receipt = stage.heard(&phone).pop().unwrap();
    assert!(receipt.starts_with("Erased:") && stage.heard(&phone).len() == said + 1, "{receipt}");
    assert_eq!((places_of(&stage, SECRET).await, places_of(&stage, NAME).await), (vec![], vec![]), "nothing is left");
    assert_eq!(stage.outbound("cancelled").await[0]["error"]["reason"], "erased");
    let receipt_id = receipt.rsplit_once("receipt ").unwrap().1.trim_end_matches('.');
    let erasure = stage.get(&format!("/admin/erasures/{receipt_id}")).await;
    assert_eq!((&erasure["asked_by"], &erasure["contact_id"]), (&json!("person"), &conversation["contact_id"]));
    assert!(erasure["done_at"].is_string() && erasure["erased"]["inbound"].as_i64().unwrap() >= 5, "{erasure}");

    // What comes right after is a new start.
    assert!(stage.answers(&phone, "hello again").await[0].starts_with("I heard: hello again"));
    assert_eq!(stage.conversation().await["name"], NAME);
    let transcript = stage.get(&format!("/admin/conversations/{id}/messages?limit=100")).await;
    let erased = transcript["items"].as_array().unwrap().iter().filter(|one| one["body"]["kind"] == "erased");
    assert!(erased.count() >= 4, "that something was said stays: {transcript}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn also_after_stop_and_what_was_said_about_messages_stays() {
    let stage = Stage::open().await;
    let phone = stage.phone(NAME, PhoneKind::Phone);
    stage.answers(&phone, "Stop").await;
    assert_eq!(stage.answers(&phone, "delete my data").await.len(), 1);
    stage.tap(&phone, "Erase everything");
    stage.until("the receipt is there", async || stage.heard(&phone).len() == 3).await;
    stage.settle().await;
    assert!(stage.answers(&phone, "hello").await.is_empty(), "STOP still stands");
    let contact = stage.conversation().await["contact_id"].as_str().unwrap().to_owned();
    let contact = stage.get(&format!("/admin/contacts/{contact}")).await;
    assert!(contact["opted_out_at"].is_string() && contact["consents"][0]["stopped"] == true, "{contact}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_forgets_a_contact() {
    let stage = Stage::open().await;
    let (phone, other) = (stage.phone(NAME, PhoneKind::Phone), stage.phone("Bo", PhoneKind::Phone));
    stage.answers(&phone, SECRET).await;
    let contact = stage.conversation().await["contact_id"].as_str().unwrap().to_owned();
    stage.answers(&other, "quokka").await;
    let erasure = stage.admin(Method::DELETE, &format!("/admin/contacts/{contact}"), None).await;
    assert_eq!((&erasure["asked_by"], &erasure["erased"]["inbound"]), (&json!("operator"), &json!(1)));
    assert!(erasure["done_at"].is_string(), "{erasure}");
    assert_eq!((places_of(&stage, SECRET).await, places_of(&stage, NAME).await), (vec![], vec![]));
    assert!(!places_of(&stage, "quokka").await.is_empty(), "what is another's stays");
    assert_eq!(stage.heard(&phone).len(), 1, "nobody writes to them about it");
    let log = stage.get("/admin/audit?action=contact_erased").await;
    assert_eq!((&log["items"][0]["subject"], &log["items"][0]["actor"]), (&json!(contact), &json!("admin")));
    stage.end().await;
}

/// A long history goes in batches; who dies in between leaves the rest to others; what comes meanwhile is a new start.
async fn a_long_history_goes_batch_by_batch(world: &World) {
    let store = &world.store;
    for batch in 0..13 {
        let messages =
            (0..200).map(|one| message(&format!("l-{batch}-{one}"), "15550007", SECRET, world.now())).collect();
        world.ingest(messages, Vec::new()).await;
    }
    let bo = world.say("bo-1", "15550008", SECRET).await;
    let raw = |phone: &str| RawEvent {
        kind: "unreadable".into(),
        waba_id: None,
        reason: None,
        raw: json!({ "from": phone, "said": SECRET }).to_string(),
    };
    let facts = WebhookFacts { raw_events: vec![raw("15550007"), raw("15550008")], ..WebhookFacts::default() };
    store.ingest(Arc::new(facts)).await.unwrap();
    let person = Person { phone: Some("15550007".into()), ..Person::default() };
    store.bind(&person, &AgentId("shop".to_owned()), "900001", &Actor::Platform).await.unwrap();
    let conversations = store.conversations(None, 10).await.unwrap();
    let theirs = conversations.iter().find(|one| one.agent_id.is_some()).unwrap();
    let conversation = micai::ids::ConversationId(theirs.id);
    let claim = store.claim(conversation, LEASE_SECONDS).await.unwrap().unwrap();
    let mut turn = world.turn(&claim, &[&format!("you said {SECRET}")]);
    let last = claim.pending.last().unwrap();
    turn.effects = vec![Effect::Forget(Box::new(ErasureWish {
        through: last.id,
        to: Address { kind: AddressKind::Phone, value: "15550007".into() },
        receipt: "{messages} messages, {receipt}".into(),
    }))];
    let receipt_id = turn.id.0;
    assert!(matches!(store.finish(turn).await.unwrap(), FinishOutcome::Finished { more_pending: true, .. }));
    assert_eq!(store.open_erasures(10).await.unwrap(), [receipt_id]);
    assert_eq!(
        store.erase_step(receipt_id).await.unwrap(),
        ErasureStep::Done(Some(conversation)),
        "only what was said before"
    );
    let erased = store.erasure(receipt_id).await.unwrap().unwrap().erased;
    assert_eq!((erased.inbound, erased.outbound, erased.webhook_events), (20, 1, 1));
    let claim = store.claim(conversation, LEASE_SECONDS).await.unwrap().unwrap();
    assert_eq!(claim.pending[0].text.as_deref(), Some(SECRET), "what came after it is a new start");
    assert_eq!(store.conversation(conversation).await.unwrap().unwrap().agent_id, None);

    // An operator asks while a turn is under way: that turn counts for nothing, and all of it goes.
    let receipt_id = store.erase_contact(claim.contact_id, &Actor::Platform).await.unwrap().unwrap();
    assert_eq!(store.finish(world.turn(&claim, &["too late"])).await.unwrap(), FinishOutcome::Fenced);
    assert!(store.claim(conversation, LEASE_SECONDS).await.unwrap().is_none(), "nothing waits any more");
    assert_eq!(store.erase_step(receipt_id).await.unwrap(), ErasureStep::More);
    let (left, right) = tokio::join!(store.erase_step(receipt_id), store.erase_step(receipt_id));
    assert!(left.is_ok() && right.is_ok(), "two at once: {left:?} {right:?}");
    assert_eq!(store.erase_step(receipt_id).await.unwrap(), ErasureStep::Done(None));
    let erasure = store.erasure(receipt_id).await.unwrap().unwrap();
    assert_eq!((erasure.erased.inbound, erasure.erased.webhook_events), (2_600, 0));
    for entry in store.transcript(conversation, None, 10_000).await.unwrap() {
        let entry = serde_json::to_value(entry).unwrap();
        assert!(!entry.to_string().contains(SECRET), "{entry}");
    }
    let claim = store.claim(bo, LEASE_SECONDS).await.unwrap().unwrap();
    assert_eq!(claim.pending[0].text.as_deref(), Some(SECRET), "what is another's stays");
    store.finish(world.turn(&claim, &[])).await.unwrap();
    assert!(store.open_erasures(10).await.unwrap().is_empty());
    assert_eq!(store.audit_log(None, Some(AuditAction::ContactErased), None, 10).await.unwrap().len(), 2);
    assert!(store.erase_contact(ContactId(Uuid::nil()), &Actor::Platform).await.unwrap().is_none());
}

/// Somebody asks to be forgotten, and turns out to be somebody we know before it is done: nothing of theirs stays.
async fn who_is_forgotten_and_merged_is_forgotten(world: &World) {
    let store = &world.store;
    let elsewhere = NewInbound { phone_number_id: "900002".into(), ..message("mf-0", "15550020", SECRET, world.now()) };
    let old = world.ingest(vec![elsewhere], Vec::new()).await.1[0];
    world.answer(old, &[]).await;
    let conversation = world.say("mf-1", "15550021", SECRET).await;
    world.answer(conversation, &[&format!("you said {SECRET}")]).await;
    let claimed = world.due(conversation).await;
    let receipt_id = store.erase_contact(claimed.contact_id, &Actor::Platform).await.unwrap().unwrap();
    let address = |value: &str| Address { kind: AddressKind::Phone, value: value.into() };
    world.clock.advance(SignedDuration::from_secs(1));
    let moved = NewInbound {
        state: InboundState::Noted,
        identity_change: Some(IdentityChange {
            previous: vec![address("15550020")],
            current: vec![address("15550021")],
        }),
        ..message("mf-2", "15550021", "moved", world.now())
    };
    world.ingest(vec![moved], Vec::new()).await;
    while store.erase_step(receipt_id).await.unwrap() == ErasureStep::More {}
    for conversation in [old, conversation] {
        for entry in store.transcript(conversation, None, 100).await.unwrap() {
            let entry = serde_json::to_value(entry).unwrap();
            assert!(!entry.to_string().contains(SECRET), "{entry}");
        }
    }
    assert!(store.open_erasures(10).await.unwrap().is_empty());
}

/// A template that stood in for somebody's words is refused after they were erased: the words do not come back.
async fn what_is_erased_during_a_call_stays_erased(world: &World) {
    let store = &world.store;
    let conversation = world.say("ec-1", "15550022", "hello").await;
    world.answer(conversation, &[&format!("you said {SECRET}")]).await;
    let called = world.due(conversation).await;
    let template = MessageBody::Text { text: "A template in its place.".into() };
    assert!(store.begin_send_as(&called, Some(template)).await.unwrap());
    let receipt_id = store.erase_contact(called.contact_id, &Actor::Platform).await.unwrap().unwrap();
    while store.erase_step(receipt_id).await.unwrap() == ErasureStep::More {}
    let error = SendError { code: None, reason: "template_paused".into(), detail: String::new() };
    let settlement = Settlement {
        conversation_id: conversation,
        outbound_id: called.id,
        attempt: called.attempts + 1,
        begun_at: world.now(),
        http_status: Some(400),
        outcome: AttemptOutcome::NeedsTemplate { error },
        restored: Some(called.body.clone()),
    };
    store.settle(settlement).await.unwrap();
    let erased = world.due(conversation).await;
    assert_eq!(erased.body, MessageBody::Erased);
    store.refuse_send(&erased, Refusal::Cancel(erased_error())).await.unwrap();
}

impl World {
    fn now(&self) -> jiff::Timestamp {
        micai::clock::Clock::now(&self.clock)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(Location::Sqlite { path: folder.path().join("micai.db"), readers_max: 4 }).await;
    a_long_history_goes_batch_by_batch(&world).await;
    who_is_forgotten_and_merged_is_forgotten(&world).await;
    what_is_erased_during_a_call_stays_erased(&world).await;
    world.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_on_postgres() {
    let server = Postgres::start().await;
    let world = world(server.location()).await;
    a_long_history_goes_batch_by_batch(&world).await;
    who_is_forgotten_and_merged_is_forgotten(&world).await;
    what_is_erased_during_a_call_stays_erased(&world).await;
    world.store.close().await;
}
