//! Sends of unknown fate: what is shown, and a person's word.

use serde_json::{Value, json};
use simulator::{FaultKind, FaultOn, PhoneKind};

use super::fault;
use crate::harness::Stage;

/// Somebody writes, and nobody can say whether the answer went out. It did not.
async fn unknown(stage: &Stage, name: &str) -> (String, Value) {
    let phone = stage.phone(name, PhoneKind::Phone);
    let before = stage.outbound("unknown").await.len();
    stage.simulator.add_fault(fault(FaultOn::Send, FaultKind::Error { code: 131_000 })).unwrap();
    stage.simulator.say(&phone, "hello").unwrap();
    stage.until("its fate is unknown", async || stage.outbound("unknown").await.len() > before).await;
    let send = stage.outbound("unknown").await[0].clone();
    (phone, send)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_speaks_for_and_against_an_unknown_send_is_shown() {
    let stage = Stage::open().await;
    let (_, send) = unknown(&stage, "Ana").await;
    let path = format!("/admin/outbound/{}", send["id"].as_str().unwrap());
    let fresh = stage.get(&path).await;
    assert_eq!(
        (&fresh["calls"][0]["outcome"], &fresh["calls"][0]["error"]["code"]),
        (&json!("unknown"), &json!(131_000))
    );
    let evidence = &fresh["unknown"];
    assert_eq!((&evidence["line"], &evidence["line_since"]), (&json!("silent"), &Value::Null), "{fresh:#}");
    assert_eq!(
        (&evidence["deadline_passed"], evidence["next"].as_str().unwrap().contains("until")),
        (&json!(false), true)
    );
    assert_eq!(send["unknown"], *evidence, "the list shows the same");
    assert_eq!(stage.get("/health/ready").await["unknown_sends"], 1);

    stage.advance(600);
    stage.settle().await;
    let silent = stage.get(&path).await["unknown"].clone();
    assert_eq!(silent["deadline_passed"], true);
    assert!(silent["next"].as_str().unwrap().contains("silence proves nothing"), "{silent}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_settles_it_either_way_and_only_once() {
    let stage = Stage::open().await;
    let (ana, sent) = unknown(&stage, "Ana").await;
    let (bo, again) = unknown(&stage, "Bo").await;
    let (cy, never) = unknown(&stage, "Cy").await;
    let settle = |send: &Value| format!("/admin/outbound/{}/settle", send["id"].as_str().unwrap());
    for (body, field) in [
        (json!({ "fate": "sent", "reason": "" }), "reason"),
        (json!({ "fate": "lost", "reason": "so" }), "fate"),
        (
            json!({ "fate": "not_sent_discard", "reason": "so", "provider_message_id": "wamid.1" }),
            "provider_message_id",
        ),
    ] {
        let (status, problem) = stage.refused(&settle(&sent), body).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)), "{problem}");
    }
    let stale = json!({ "fate": "sent", "reason": "she has it", "attempts": 7 });
    assert_eq!(stage.refused(&settle(&sent), stale).await.1["code"], "send_not_unknown");

    let body = json!({ "fate": "sent", "reason": "she has it", "provider_message_id": "wamid.seen", "attempts": 1 });
    let settled = stage.post(&settle(&sent), body.clone()).await;
    assert_eq!((&settled["state"], &settled["provider_message_id"]), (&json!("sent"), &json!("wamid.seen")));
    let action = &settled["actions"][0];
    assert_eq!((&action["action"], &action["after"]["reason"]), (&json!("send_settled"), &json!("she has it")));
    assert_eq!(stage.refused(&settle(&sent), body).await.0, 409, "once");

    stage.post(&settle(&again), json!({ "fate": "not_sent_send_again", "reason": "he has nothing" })).await;
    stage.replies(&bo, 1).await;
    let away = stage.post(&settle(&never), json!({ "fate": "not_sent_discard", "reason": "too late now" })).await;
    assert_eq!(away["state"], "cancelled");
    let nobody = "/admin/outbound/00000000-0000-0000-0000-000000000001/settle";
    assert_eq!(stage.refused(nobody, json!({ "fate": "sent", "reason": "so" })).await.0, 404);
    stage.settle().await;
    stage.advance(3_600);
    stage.settle().await;
    assert_eq!((stage.heard(&ana).len(), stage.heard(&bo).len(), stage.heard(&cy).len()), (0, 1, 0));
    assert_eq!(stage.get("/health/ready").await["unknown_sends"], 0);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_line_is_shown_with_the_time_since_when() {
    let stage = Stage::open().await;
    let (_, send) = unknown(&stage, "Ana").await;
    stage.advance(5);
    let bo = stage.phone("Bo", PhoneKind::Phone);
    stage.simulator.say(&bo, "hello").unwrap();
    stage.replies(&bo, 1).await;
    stage.settle().await;
    let evidence = stage.get(&format!("/admin/outbound/{}", send["id"].as_str().unwrap())).await["unknown"].clone();
    assert_eq!(evidence["line"], "open", "{evidence}");
    assert!(evidence["line_since"].as_str().unwrap() > evidence["attempted_at"].as_str().unwrap(), "{evidence}");
    stage.end().await;
}
