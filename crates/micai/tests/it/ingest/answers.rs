//! Which webhooks are believed, and which of their messages are answered.

use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultOn, FaultSpec, PhoneKind, PhoneSpec, SimulatorConfig};

use super::{FIXTURE_NUMBER, envelope, fixtures, post_as, signed, take, text_message};
use crate::harness::{APP_SECRET, Stage};

/// Fixtures whose messages, statuses and news ask nothing of us, by the beginning of their names.
const NEVER_ANSWERED: [&str; 28] = [
    "account_",
    "app_state_sync",
    "business_capability",
    "echo",
    "empty_entry",
    "handover",
    "calls",
    "history",
    "image_without_object",
    "interactive_missing",
    "interactive_unknown",
    "messages_without_items",
    "null_entry",
    "phone_name",
    "phone_quality",
    "reaction",
    "request_welcome",
    "revoke",
    "security",
    "standby",
    "status_",
    "system_",
    "template_",
    "text_group",
    "unknown_",
    "unsupported",
    "user_preferences",
    "value_error",
];
/// Fixtures that are answered, once each.
const ANSWERED: [&str; 17] = [
    "button",
    "button_without_context",
    "document",
    "image",
    "interactive_button",
    "interactive_list",
    "text",
    "text_absurd_timestamp",
    "text_bsuid_only",
    "text_forwarded",
    "text_integer_timestamp",
    "text_nul_character",
    "text_parent_bsuid",
    "text_phone_only",
    "text_product_inquiry",
    "text_referral",
    "text_reply",
];

/// The fixture as if it had been sent just now, to the number that the simulator serves.
fn fresh(stage: &Stage, body: &[u8]) -> Vec<u8> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
    let Ok(mut body) = text(body) else { return body.to_vec() };
    for second in 1_790_000_000..1_790_001_000_i64 {
        body = body.replace(&second.to_string(), &stage.now().as_second().to_string());
    }
    body.replace(&format!("\"{FIXTURE_NUMBER}\""), &format!("\"{}\"", SimulatorConfig::default().phone_number_id))
        .into_bytes()
}

/// The calls that send something.
fn sends(stage: &Stage) -> Vec<Value> {
    stage.simulator.graph_requests().into_iter().filter_map(|request| request.body).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_meant_for_us_is_never_answered() {
    let stage = Stage::open().await;
    let mut count = 0;
    for (name, body) in fixtures() {
        if NEVER_ANSWERED.iter().any(|beginning| name.starts_with(beginning)) {
            assert_eq!(take(&stage, fresh(&stage, &body)).await.status, 200, "{name}");
            count += 1;
        }
    }
    assert!(count > 40, "{count} fixtures");
    stage.settle().await;
    assert_eq!(sends(&stage), Vec::<Value>::new());
    // The silence is about those messages, not about the platform.
    let message = text_message("wamid.LAST", "hello", stage.now().as_second());
    take(&stage, fresh(&stage, envelope(&[message]).as_bytes())).await;
    stage.settle().await;
    assert_eq!(sends(&stage).len(), 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_say_is_answered_once_each() {
    let stage = Stage::open().await;
    let ana = PhoneSpec { phone: Some("5511999990000".into()), kind: Some(PhoneKind::Phone), ..PhoneSpec::default() };
    let ana = stage.simulator.add_phone(ana).unwrap().id;
    // So that the simulated WhatsApp, too, takes the window to be open.
    stage.simulator.say(&ana, "hello").unwrap();
    stage.replies(&ana, 1).await;
    let fixtures = fixtures();
    for (number, name) in ANSWERED.iter().enumerate() {
        let (_, body) = fixtures.iter().find(|(known, _)| known == name).expect("the fixture");
        for _ in 0..2 {
            assert_eq!(take(&stage, fresh(&stage, body)).await.status, 200, "{name}");
        }
        stage.settle().await;
        assert_eq!(sends(&stage).len(), number + 2, "after {name}: {:?}", sends(&stage).last());
    }
    let heard = stage.heard(&ana);
    assert!(heard.iter().any(|text| text.starts_with("I heard: a\u{fffd}b.")), "U+0000 cannot be said: {heard:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_our_secrets_are_believed_and_two_during_a_rotation() {
    let mut stage =
        Stage::with(&[("whatsapp_app_secret", "the-new-secret-of-the-app,the-old-secret-of-the-app")]).await;
    let url = stage.url("/webhook");
    let body = |id: &str| envelope(&[text_message(id, "hello", stage.now().as_second())]);
    for secret in ["the-new-secret-of-the-app", "the-old-secret-of-the-app"] {
        let body = body(secret);
        let signature = signed(secret, body.as_bytes());
        assert_eq!(post_as(&stage.http, &url, Some(&signature), body).await.processed(), 1, "{secret}");
    }
    let bad = body("wamid.BAD");
    let good = signed("the-new-secret-of-the-app", bad.as_bytes());
    let another_body = signed("the-new-secret-of-the-app", bad.replace("hello", "hullo").as_bytes());
    for signature in [
        None,
        Some(""),
        Some("sha256="),
        Some(&good[..good.len() - 1]),
        Some(&good.replace("sha256", "sha1")),
        Some(&another_body),
        Some(&signed("a-third-secret-of-the-app", bad.as_bytes())),
        Some(&signed("", bad.as_bytes())),
        Some(&signed("the-new-secret-of-the-app,the-old-secret-of-the-app", bad.as_bytes())),
    ] {
        let answer = post_as(&stage.http, &url, signature, bad.clone()).await;
        answer.assert_problem(401, "unauthorized");
    }
    let odd = HeaderValue::from_bytes(b"sha256=\xff").unwrap();
    let answer = stage.http.post(&url).header("x-hub-signature-256", odd).body(bad.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(post_as(&stage.http, &url, Some(&good), bad).await.processed(), 1, "it was the signature alone");
    // The rotation is over.
    stage.stop().await;
    stage.set("whatsapp_app_secret", "the-new-secret-of-the-app");
    stage.start().await;
    let url = stage.url("/webhook");
    let last = envelope(&[text_message("wamid.LAST", "hello", stage.now().as_second())]);
    let old = signed("the-old-secret-of-the-app", last.as_bytes());
    post_as(&stage.http, &url, Some(&old), last.clone()).await.assert_problem(401, "unauthorized");
    let new = signed("the-new-secret-of-the-app", last.as_bytes());
    assert_eq!(post_as(&stage.http, &url, Some(&new), last).await.processed(), 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_nobody_is_believed() {
    let stage = Stage::with(&[("whatsapp_app_secret", "")]).await;
    let body = envelope(&[text_message("wamid.ONE", "hello", stage.now().as_second())]);
    for secret in ["", APP_SECRET] {
        let signature = signed(secret, body.as_bytes());
        let answer = post_as(&stage.http, &stage.url("/webhook"), Some(&signature), body.clone()).await;
        answer.assert_problem(401, "unauthorized");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_names_nobody_settles_its_message() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Username);
    let failure = FaultSpec { on: FaultOn::Webhook, kind: FaultKind::Error { code: 131_026 }, times: 1, phone: None };
    stage.simulator.add_fault(failure).unwrap();
    stage.simulator.say(&phone, "hello").unwrap();
    stage.until("it failed", async || stage.outbound("failed").await.len() == 1).await;
    let told = stage.simulator.deliveries(100).into_iter().find(|one| one.kind == "failed").expect("a failed status");
    assert_eq!(told.body.unwrap()["entry"][0]["changes"][0]["value"].get("contacts"), None, "it names no contact");
    assert_eq!(stage.outbound("failed").await[0]["error"]["code"], 131_026);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_of_messages_that_are_not_ours_change_nothing() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::PhoneAndBsuid);
    stage.simulator.say(&phone, "hello").unwrap();
    stage.replies(&phone, 1).await;
    stage.settle().await;
    let before = stage.get("/admin/outbound").await;
    let own = before["items"][0]["provider_message_id"].as_str().unwrap();
    let nil = "00000000-0000-0000-0000-000000000000";
    for (id, number, callback) in [
        ("wamid.NEVER", FIXTURE_NUMBER, json!(null)),
        ("wamid.NEVER", SimulatorConfig::default().phone_number_id.as_str(), json!("turn:42/1")),
        ("wamid.NEVER", FIXTURE_NUMBER, json!(format!("{nil}:{nil}"))),
        ("wamid.NEVER", FIXTURE_NUMBER, json!(format!("{nil}/{nil}"))),
        (&own.to_lowercase(), FIXTURE_NUMBER, json!(7)),
    ] {
        let statuses = ["sent", "delivered", "read", "played", "failed", "teleported", ""].map(|status| {
            json!({ "id": id, "status": status, "timestamp": stage.now().as_second().to_string(),
                    "recipient_id": "5511999990000", "biz_opaque_callback_data": callback })
        });
        let value = json!({ "metadata": { "phone_number_id": number }, "statuses": statuses });
        let body = json!({ "entry": [{ "id": "1", "changes": [{ "field": "messages", "value": value }] }] });
        assert_eq!(take(&stage, body.to_string()).await.processed(), 0);
    }
    stage.settle().await;
    assert_eq!(stage.get("/admin/outbound").await, before);
    stage.end().await;
}
