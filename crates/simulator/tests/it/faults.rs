//! Faults by request: each strikes as asked, and only as often.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simulator::{BubbleStatus, PhoneKind};

use crate::bench::{Bench, bench, text};

async fn fault(bench: &Bench, fault: Value) {
    let (status, answer) = bench.sim("POST", "faults", &fault).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn a_duplicate_arrives_twice() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    fault(&bench, json!({ "on": "webhook", "kind": "duplicate" })).await;
    bench.simulator.say(&phone.id, "twice").unwrap();
    bench.simulator.say(&phone.id, "once").unwrap();
    bench.idle().await;
    let texts: Vec<Value> =
        bench.message_values().iter().map(|value| value["messages"][0]["text"]["body"].clone()).collect();
    assert_eq!(texts.iter().filter(|text| *text == "twice").count(), 2);
    assert_eq!(texts.iter().filter(|text| *text == "once").count(), 1);
}

#[tokio::test]
async fn a_reordered_webhook_comes_after_the_next() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    fault(&bench, json!({ "on": "webhook", "kind": "reorder" })).await;
    bench.simulator.say(&phone.id, "first").unwrap();
    bench.simulator.say(&phone.id, "second").unwrap();
    bench.idle().await;
    let texts: Vec<Value> =
        bench.message_values().iter().map(|value| value["messages"][0]["text"]["body"].clone()).collect();
    assert_eq!(texts, ["second", "first"]);
}

#[tokio::test]
async fn a_reordered_webhook_without_a_next_one_comes_by_itself() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    fault(&bench, json!({ "on": "webhook", "kind": "reorder" })).await;
    bench.simulator.say(&phone.id, "alone").unwrap();
    bench.idle().await;
    assert_eq!(bench.received().len(), 1);
}

#[tokio::test]
async fn an_answered_webhook_comes_again_if_the_answer_is_lost_or_replaced() {
    for lost in
        [json!({ "on": "webhook", "kind": "drop_answer" }), json!({ "on": "webhook", "kind": "status", "code": 502 })]
    {
        let bench = bench().await;
        let phone = bench.phone(PhoneKind::Username);
        fault(&bench, lost).await;
        bench.simulator.say(&phone.id, "again").unwrap();
        bench.idle().await;
        let answered: Vec<u16> = bench.received().iter().map(|one| one.answered).collect();
        assert_eq!(answered, [200, 200], "both were answered well");
        assert_eq!(bench.simulator.deliveries(1)[0].attempts, 2);
    }
}

#[tokio::test]
async fn a_dropped_answer_leaves_the_caller_in_doubt_though_the_message_is_out() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::Username).await;
    fault(&bench, json!({ "on": "send", "kind": "drop_answer" })).await;
    let mut body = bench.to(&phone, "text", text("did it arrive?"));
    body["biz_opaque_callback_data"] = json!("doubt-1");
    let url = format!("{}/v25.0/106540352242922/messages", bench.simulator.url());
    let result = bench.http.post(url).bearer_auth("simulator-access-token").json(&body).send().await;
    assert!(result.unwrap_err().is_request(), "the connection was closed without an answer");
    bench.idle().await;
    assert_eq!(bench.simulator.graph_requests().len(), 1, "and nobody has sent it twice");
    let request = bench.simulator.graph_requests().pop().unwrap();
    assert!(request.accepted && request.status.is_none());
    let statuses = bench.statuses_of(&request.wamid.unwrap());
    assert_eq!(statuses[0]["biz_opaque_callback_data"], "doubt-1", "the status settles it");
    assert_eq!(bench.simulator.chat(&phone.id).unwrap().last().unwrap().status, BubbleStatus::Delivered);
}

#[tokio::test]
async fn server_errors_may_tell_the_truth_or_lie() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::Username).await;
    let body = bench.to(&phone, "text", text("hello"));
    fault(&bench, json!({ "on": "send", "kind": "status", "code": 503 })).await;
    assert_eq!(bench.send(&body).await.0, 503);
    assert_eq!(bench.simulator.chat(&phone.id).unwrap().len(), 1, "nothing was sent");
    fault(&bench, json!({ "on": "send", "kind": "status", "code": 500, "after_accepting": true })).await;
    assert_eq!(bench.send(&body).await.0, 500);
    assert_eq!(bench.simulator.chat(&phone.id).unwrap().len(), 2, "this one was");
    bench.accepted(&body).await;
}

#[tokio::test]
async fn any_code_at_once_or_later_for_one_phone_only() {
    let bench = bench().await;
    let (one, two) = (bench.writing_phone(PhoneKind::Username).await, bench.writing_phone(PhoneKind::Phone).await);
    for code in [131_048_u32, 131_042, 130_429, 190, 368] {
        fault(&bench, json!({ "on": "send", "kind": "error", "code": code, "phone": one.id })).await;
        bench.accepted(&bench.to(&two, "text", text("not for you"))).await;
        let (_, answer) = bench.send(&bench.to(&one, "text", text("refused"))).await;
        assert_eq!(answer["error"]["code"], json!(code));
    }
    for code in [131_049, 131_050, 132_015] {
        fault(&bench, json!({ "on": "webhook", "kind": "error", "code": code, "phone": one.id })).await;
        bench.accepted(&bench.to(&two, "text", text("not for you"))).await;
        bench.fails_later(&bench.to(&one, "text", text("fails")), code).await;
    }
    assert!(bench.simulator.faults().is_empty());
}

#[tokio::test]
async fn delays_delay_and_holds_hold() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::Username).await;
    let body = bench.to(&phone, "text", text("hello"));
    fault(&bench, json!({ "on": "send", "kind": "delay", "ms": 120 })).await;
    let started = Instant::now();
    bench.accepted(&body).await;
    assert!(started.elapsed() >= Duration::from_millis(120));
    bench.idle().await;
    fault(&bench, json!({ "on": "webhook", "kind": "delay", "ms": 120 })).await;
    let started = Instant::now();
    bench.simulator.say(&phone.id, "late").unwrap();
    bench.idle().await;
    assert!(started.elapsed() >= Duration::from_millis(120));
    fault(&bench, json!({ "on": "send", "kind": "hold" })).await;
    let (_, answer) = bench.send(&body).await;
    assert_eq!(answer["messages"][0]["message_status"], "held_for_quality_assessment");
}

#[tokio::test]
async fn media_calls_have_faults_of_their_own() {
    let bench = bench().await;
    fault(&bench, json!({ "on": "media", "kind": "status", "code": 500 })).await;
    assert_eq!(bench.upload("image/png", b"\x89PNG").await.0, 500);
    let (_, file) = bench.upload("image/png", b"\x89PNG").await;
    let id = file["id"].as_str().unwrap();
    fault(&bench, json!({ "on": "media", "kind": "error", "code": 131_052 })).await;
    assert_eq!(bench.graph_get(id).await.1["error"]["code"], 131_052);
    let url = bench.graph_get(id).await.1["url"].as_str().unwrap().to_owned();
    fault(&bench, json!({ "on": "media", "kind": "drop_answer" })).await;
    let get = || bench.http.get(&url).bearer_auth("simulator-access-token").send();
    assert!(get().await.is_err());
    assert_eq!(get().await.unwrap().status(), 200);
}

#[tokio::test]
async fn senseless_faults_are_refused_and_waiting_ones_can_be_cleared() {
    let bench = bench().await;
    for bad in [
        json!({ "on": "send", "kind": "duplicate" }),
        json!({ "on": "webhook", "kind": "hold" }),
        json!({ "on": "send", "kind": "status", "code": 200 }),
        json!({ "on": "send", "kind": "drop_answer", "times": 0 }),
        json!({ "on": "moon", "kind": "drop_answer" }),
    ] {
        let (status, answer) = bench.sim("POST", "faults", &bad).await;
        assert_eq!(status, 400, "{bad}");
        assert!(answer["error"].is_string());
    }
    fault(&bench, json!({ "on": "send", "kind": "drop_answer", "times": 3 })).await;
    let (_, listed) = bench.sim("GET", "faults", &Value::Null).await;
    assert_eq!(listed["faults"], json!([{ "on": "send", "kind": "drop_answer", "times": 3 }]));
    assert_eq!(bench.sim("DELETE", "faults", &Value::Null).await.1, json!({ "faults": [] }));
}
