//! A process that dies while it attends to schedules: the next one finishes the work, and nothing is said twice.

use serde_json::json;
use simulator::{Author, PhoneKind, PhoneSpec};

use crate::harness::{ADMIN_KEY, PATIENCE};
use crate::process::{Process, outside, until};

/// Short, so that the story need not wait for two minutes of silence.
const SHORT: [(&str, &str); 2] = [("unknown_send_deadline_seconds", "1"), ("conversation_lease_seconds", "2")];

async fn dies_after(point: &str, ask_agent: bool) {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("micai.db");
    let simulator = outside().await;
    let spec = PhoneSpec { name: Some("Ana".into()), kind: Some(PhoneKind::Phone), ..PhoneSpec::default() };
    let ana = simulator.add_phone(spec).unwrap();
    let (number, ana) = (ana.phone, ana.id);
    let heard = || simulator.chat(&ana).unwrap().iter().filter(|bubble| bubble.author == Author::Business).count();
    let until = async |what: &str, holds: &dyn Fn() -> bool| {
        until(&format!("{what} after a crash at {point}"), holds).await;
    };
    let url = simulator.url();
    let mut dying = Process::serve(&database, &url, &SHORT, &[("MICAI_CRASH_AFTER", point)]);
    simulator.set_webhook(Some(&format!("http://{}/webhook", dying.address))).unwrap();
    simulator.say(&ana, "hello").unwrap();
    until("Ana is answered", &|| heard() == 1).await;
    tokio::time::timeout(PATIENCE, simulator.wait_idle()).await.expect("webhooks are acknowledged");
    let body = json!({
        "wa_id": number, "message_text": "hello", "ask_agent": ask_agent, "interval_minutes": 600, "next_run_at": "2026-01-01T00:00:00Z",
    });
    let call = reqwest::Client::new()
        .post(format!("http://{}/admin/schedules", dying.address))
        .header("x-admin-key", ADMIN_KEY)
        .json(&body);
    // The process may die before it has answered.
    let _ = call.send().await;
    let status = tokio::task::spawn_blocking(move || dying.wait_for_end()).await.unwrap();
    assert!(!status.success(), "it died after {point}");

    let living = Process::serve(&database, &url, &SHORT, &[]);
    simulator.set_webhook(Some(&format!("http://{}/webhook", living.address))).unwrap();
    until("the schedule has spoken", &|| heard() == 2).await;
    // One more round trip through the whole platform, so that a second one would have had its time.
    simulator.say(&ana, "again").unwrap();
    until("Ana is answered again", &|| heard() == 3).await;
    tokio::time::timeout(PATIENCE, simulator.wait_idle()).await.expect("webhooks are acknowledged");
    assert_eq!(heard(), 3, "after a crash at {point} it has spoken once");
    drop(living);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_its_commit() {
    dies_after("firing", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_commit() {
    dies_after("fired", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_it_has_asked_the_agent() {
    dies_after("fired", true).await;
}
