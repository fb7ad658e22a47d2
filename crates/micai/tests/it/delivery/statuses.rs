//! Statuses that contradict each other, come late, or come before the answer.

use std::sync::Arc;

use jiff::SignedDuration;
use micai::domain::inbound::{AfterFailure, NewStatus, WebhookFacts};
use micai::domain::outbound::{AttemptOutcome, DeliveryStatus};
use micai::ids::ConversationId;
use micai::store::Location;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultOn, FaultSpec, PhoneKind, Signing};

use super::on_send;
use crate::harness::Stage;
use crate::postgres::Postgres;
use crate::store::{World, status, world};

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_after_it_was_sent_is_a_letter_and_sent_cannot_revive_it() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    let fault = FaultSpec { on: FaultOn::Webhook, kind: FaultKind::Error { code: 131_026 }, times: 1, phone: None };
    stage.simulator.add_fault(fault).unwrap();
    stage.simulator.say(&phone, "hello").unwrap();
    let letter = stage.until_state(&phone, "failed").await;
    assert_eq!(
        (&letter["error"]["code"], &letter["error"]["reason"]),
        (&json!(131_026), &json!("failed_after_acceptance"))
    );
    stage.settle().await;
    let mut sent = stage.simulator.deliveries(100).into_iter().find(|one| one.kind == "failed").unwrap().body.unwrap();
    sent["entry"][0]["changes"][0]["value"]["statuses"][0]["status"] = json!("sent");
    stage.simulator.send_raw_json(&sent, Signing::Valid).unwrap();
    stage.settle().await;
    assert_eq!(stage.youngest(&phone).await.unwrap()["state"], "failed");
    stage.advance(3_600);
    stage.settle().await;
    assert_eq!(stage.calls().len(), 1, "not repeated");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_does_not_undo_a_delivery() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Username);
    stage.simulator.say(&phone, "hello").unwrap();
    stage.until_state(&phone, "delivered").await;
    stage.settle().await;
    let delivered = stage.simulator.deliveries(100).into_iter().find(|one| one.kind == "delivered").unwrap();
    for code in [131_026, 131_047] {
        let mut failed = delivered.body.clone().unwrap();
        let status = &mut failed["entry"][0]["changes"][0]["value"]["statuses"][0];
        status["status"] = json!("failed");
        status["errors"] = json!([{ "code": code, "title": "Undeliverable" }]);
        stage.simulator.send_raw_json(&failed, Signing::Valid).unwrap();
        stage.settle().await;
        let send = stage.youngest(&phone).await.unwrap();
        assert_eq!((&send["state"], &send["error"]), (&json!("delivered"), &Value::Null), "{code}");
    }
    assert_eq!(stage.heard(&phone).len(), 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_is_quicker_than_the_answer_counts() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    stage.simulator.add_fault(on_send(FaultKind::Delay { ms: 700 }, 1, None)).unwrap();
    stage.simulator.say(&phone, "hello").unwrap();
    let send = stage.until_state(&phone, "delivered").await;
    assert_eq!(send["provider_message_id"], json!(stage.bubbles(&phone)[0].id));
    stage.until_quiet().await;
    let send = stage.youngest(&phone).await.unwrap();
    assert_eq!((&send["state"], &send["attempts"]), (&json!("delivered"), &json!(1)), "the answer moves nothing back");
    stage.end().await;
}

async fn a_death_for_want_of_a_template_is_a_new_life(location: Location) {
    let world = world(location).await;
    let conversation = world.say("in.1", "5511", "hello").await;
    world.answer(conversation, &["sent", "behind"]).await;
    let first = world.due(conversation).await;
    assert!(world.store.begin_send(&first).await.unwrap());
    world.settle(&first, AttemptOutcome::Accepted { provider_message_id: "out.1".to_owned() }).await;
    world.clock.advance(SignedDuration::from_secs(1));
    let dead = || NewStatus { after: AfterFailure::Template, ..status("out.1", Some(&first), DeliveryStatus::Failed) };
    let receipt = tell(&world, vec![dead()]).await;
    assert!(receipt.contains(&conversation), "the sender is woken");
    let again = world.due(conversation).await;
    assert_eq!((again.id, again.needs_template, again.attempts, again.attempts_before), (first.id, true, 1, 1));
    assert_eq!(again.tried_since, None);
    // The dead call's statuses, again and late, and in one webhook.
    tell(&world, vec![dead(), status("out.1", Some(&first), DeliveryStatus::Sent)]).await;
    assert_eq!(world.due(conversation).await, again);
    assert!(world.store.begin_send(&again).await.unwrap());
    world.clock.advance(SignedDuration::from_secs(1));
    tell(&world, vec![dead()]).await;
    tell(&world, vec![status("out.2", Some(&first), DeliveryStatus::Sent)]).await;
    world.settle(&again, AttemptOutcome::Accepted { provider_message_id: "out.2".to_owned() }).await;
    tell(&world, vec![dead()]).await;
    let row =
        world.store.outbound_list(None, None, 10).await.unwrap().into_iter().find(|row| row.id == first.id.0).unwrap();
    assert_eq!((row.state.as_str(), row.provider_message_id.as_deref()), ("sent", Some("out.2")));
    assert_ne!(world.due(conversation).await.id, first.id, "the one behind it");
    world.store.close().await;
}

async fn tell(world: &World, statuses: Vec<NewStatus>) -> Vec<ConversationId> {
    let facts = WebhookFacts { statuses, ..WebhookFacts::default() };
    world.store.ingest(Arc::new(facts)).await.unwrap().wake_sends
}

#[tokio::test(flavor = "multi_thread")]
async fn new_lives_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Sqlite { path: folder.path().join("micai.db"), readers_max: 4 };
    a_death_for_want_of_a_template_is_a_new_life(location).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_lives_on_postgres() {
    let server = Postgres::start().await;
    a_death_for_want_of_a_template_is_a_new_life(server.location()).await;
}
