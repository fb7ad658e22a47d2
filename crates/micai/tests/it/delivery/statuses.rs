//! Statuses that contradict each other, come late, or come before the answer.

use serde_json::{Value, json};
use simulator::{FaultKind, FaultOn, FaultSpec, PhoneKind, Signing};

use super::on_send;
use crate::harness::Stage;

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
