//! What people write and what agents answer, from webhook to ticks.

use reqwest::Method;
use serde_json::json;
use simulator::{BubbleStatus, InboundKind, InboundSpec, PhoneKind};

use crate::harness::Stage;

const EVERY_KIND: [PhoneKind; 4] =
    [PhoneKind::Phone, PhoneKind::PhoneAndBsuid, PhoneKind::Username, PhoneKind::ParentBsuid];

fn spec(kind: InboundKind) -> InboundSpec {
    InboundSpec::from(kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_answers_everybody_whatever_whatsapp_shows_of_them() {
    let stage = Stage::open().await;
    stage.keyword_rule("weather", "weather", "Sunny.").await;
    for kind in EVERY_KIND {
        let phone = stage.phone("Ana", kind);
        stage.simulator.say(&phone, "ＷＥＡＴＨＥＲ  please").unwrap();
        assert_eq!(stage.replies(&phone, 1).await, ["Sunny."], "{kind:?}");
        stage.settle().await;
        stage.simulator.read(&phone, &[]).unwrap();
        stage.settle().await;
        assert_eq!(stage.bubbles(&phone)[0].status, BubbleStatus::Read);
    }
    let read = stage.outbound("read").await;
    assert_eq!(read.len(), 4, "each answer went up its whole ladder");
    assert_eq!(read[0]["price"]["category"], "service");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_invoke_prefix_nobody_is_answered_where_one_is_required() {
    let stage = Stage::with(&[("require_invoke_prefix", "true")]).await;
    stage.keyword_rule("weather", "weather", "Sunny.").await;
    let phone = stage.phone("Ana", PhoneKind::Username);
    stage.simulator.say(&phone, "weather please").unwrap();
    stage.settle().await;
    stage.simulator.say(&phone, "Michael: weather please").unwrap();
    assert_eq!(stage.replies(&phone, 1).await, ["Sunny."]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_rule_knows_gets_the_fallback_with_the_words_as_written() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    stage.simulator.say(&phone, "  Tell me  a JOKE ").unwrap();
    let heard = stage.replies(&phone, 1).await;
    assert_eq!(heard, ["I heard:   Tell me  a JOKE . I can help with weather or reminders."]);
    stage.end().await;
}

/// As somebody who is bound to an agent at the moment in which it is deleted.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_bound_to_an_agent_that_is_gone_is_answered_by_the_default_one() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    stage.simulator.say(&phone, "hello").unwrap();
    stage.replies(&phone, 1).await;
    stage.settle().await;
    stage.sql("UPDATE conversations SET agent_id = 'gone'").await;
    stage.simulator.say(&phone, "are you there").unwrap();
    assert!(stage.replies(&phone, 2).await[1].contains("are you there"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_messages_are_answered_once_each_and_in_order() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::PhoneAndBsuid);
    for number in 0..20 {
        stage.simulator.say(&phone, &format!("number {number:02}")).unwrap();
        // WhatsApp promises no order between webhooks: each must be in before the next leaves.
        stage.simulator.wait_idle().await;
    }
    let heard = stage.replies(&phone, 20).await;
    let expected: Vec<String> =
        (0..20).map(|number| format!("I heard: number {number:02}. I can help with weather or reminders.")).collect();
    assert_eq!(heard, expected);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_three_times_is_answered_once() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Username);
    let (body, signature) = stage.simulator.compose(&phone, spec(InboundKind::Text { text: "hello".into() })).unwrap();
    let mut counts = Vec::new();
    for _ in 0..3 {
        let answer = stage
            .http
            .post(stage.url("/webhook"))
            .header("x-hub-signature-256", &signature)
            .body(body.clone())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        counts.push(answer.json::<serde_json::Value>().await.unwrap());
    }
    let answer = |processed| json!({ "status": "accepted", "processed": processed });
    assert_eq!(counts, [answer(1), answer(0), answer(0)]);
    assert_eq!(stage.replies(&phone, 1).await.len(), 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_takes_the_place_of_a_message_and_a_revoked_one_is_forgotten() {
    let mut stage = Stage::open().await;
    stage.keyword_rule("secret", "secret", "I know.").await;
    let phone = stage.phone("Ana", PhoneKind::Username);
    stage.stop().await;
    let first = stage.simulator.say(&phone, "tell me a joke").unwrap();
    let edit = InboundKind::Edit { message_id: first, text: "tell me the secret".into() };
    stage.simulator.post(&phone, spec(edit)).unwrap();
    let second = stage.simulator.say(&phone, "my pin is 1234").unwrap();
    stage.simulator.post(&phone, spec(InboundKind::Revoke { message_id: second })).unwrap();
    // All four wait for the platform; they are redelivered when it is back.
    stage.start().await;
    stage.settle().await;
    let conversations = stage.get("/admin/conversations").await;
    let id = conversations["items"][0]["id"].as_str().unwrap();
    let transcript = stage.get(&format!("/admin/conversations/{id}/messages")).await.to_string();
    assert!(!transcript.contains("1234"), "revoked words are gone: {transcript}");
    assert!(stage.heard(&phone).iter().any(|text| text == "I know."), "{:?}", stage.heard(&phone));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_means_stop_until_start() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    stage.simulator.say(&phone, "STOP").unwrap();
    let heard = stage.replies(&phone, 1).await;
    assert!(heard[0].contains("START"), "the confirmation says how to come back: {heard:?}");
    for text in ["hello", "stop", "weather"] {
        stage.simulator.say(&phone, text).unwrap();
        stage.settle().await;
    }
    assert_eq!(stage.heard(&phone).len(), 1, "confirmed once, then silence");
    stage.simulator.say(&phone, "start").unwrap();
    stage.replies(&phone, 2).await;
    stage.settle().await;
    stage.simulator.say(&phone, "hello").unwrap();
    stage.replies(&phone, 3).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_waited_for_hours_get_an_apology_and_after_a_day_silence() {
    let mut stage = Stage::open().await;
    let (late, too_late) = (stage.phone("Ana", PhoneKind::Phone), stage.phone("Bo", PhoneKind::Username));
    stage.stop().await;
    stage.simulator.say(&too_late, "hello").unwrap();
    stage.advance(20 * 3_600);
    stage.simulator.say(&late, "hello").unwrap();
    stage.advance(7 * 3_600);
    stage.start().await;
    stage.settle().await;
    assert!(stage.replies(&late, 1).await[0].starts_with("Sorry for the late answer. "));
    assert!(stage.heard(&too_late).is_empty());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_rule_holds_from_the_next_message_on() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Username);
    for reply in ["Sunny.", "Rain.", "Snow."] {
        stage.keyword_rule("weather", "weather", reply).await;
        stage.simulator.say(&phone, "weather").unwrap();
        stage.settle().await;
    }
    assert_eq!(stage.heard(&phone), ["Sunny.", "Rain.", "Snow."]);
    stage.admin(Method::DELETE, "/admin/rules/weather", None).await;
    stage.simulator.say(&phone, "weather").unwrap();
    assert!(
        stage.replies(&phone, 4).await[3].starts_with("For which place?"),
        "no rule any more: the default agent's tool"
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_contact_is_answered_by_their_agent() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Username);
    let bsuid = stage.simulator.phone(&phone).unwrap().user_id.unwrap();
    let body = json!({
        "id": "shop-hello", "agent_id": "shop", "rule_type": "exact", "keywords": ["hello"],
        "action": "reply_text", "reply_text": "The shop greets you.",
    });
    stage.admin(Method::POST, "/admin/rules", Some(body)).await;
    let bound = stage.admin(Method::POST, &format!("/admin/bind/{bsuid}/shop"), None).await;
    assert_eq!(bound, json!({ "status": "ok", "wa_id": bsuid, "agent_id": "shop" }));
    stage.simulator.say(&phone, "Hello").unwrap();
    assert_eq!(stage.replies(&phone, 1).await, ["The shop greets you."]);
    let conversations = stage.get("/admin/conversations").await;
    assert_eq!(conversations["items"].as_array().unwrap().len(), 1, "bound before and after is one person");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_number_or_user_id_is_still_the_same_person() {
    let stage = Stage::open().await;
    for (kind, change) in [
        (PhoneKind::PhoneAndBsuid, InboundKind::NumberChange { phone: None }),
        (PhoneKind::Username, InboundKind::UserIdChange),
    ] {
        let phone = stage.phone("Ana", kind);
        stage.simulator.say(&phone, "before").unwrap();
        stage.settle().await;
        stage.simulator.post(&phone, spec(change)).unwrap();
        stage.settle().await;
        stage.simulator.say(&phone, "after").unwrap();
        stage.settle().await;
        assert_eq!(stage.heard(&phone).len(), 2, "the change itself is not answered");
    }
    let conversations = stage.get("/admin/conversations").await;
    assert_eq!(conversations["items"].as_array().unwrap().len(), 2, "two people, two conversations: {conversations}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeline_tells_the_way_of_a_message() {
    let stage = Stage::open().await;
    stage.keyword_rule("weather", "weather", "Sunny.").await;
    let phone = stage.phone("Ana", PhoneKind::Username);
    stage.simulator.say(&phone, "weather").unwrap();
    stage.replies(&phone, 1).await;
    stage.settle().await;
    let conversations = stage.get("/admin/conversations").await;
    let id = conversations["items"][0]["id"].as_str().unwrap();
    let transcript = stage.get(&format!("/admin/conversations/{id}/messages")).await;
    let message = transcript["items"].as_array().unwrap().iter().find(|one| one["direction"] == "in").unwrap();
    let timeline = stage.get(&format!("/admin/conversations/{id}/messages/{}", message["id"].as_str().unwrap())).await;
    let stations: Vec<&str> =
        timeline["stations"].as_array().unwrap().iter().map(|station| station["what"].as_str().unwrap()).collect();
    for expected in ["received", "claimed", "decided", "outbox", "attempt", "answer", "sent", "delivered"] {
        assert!(stations.contains(&expected), "{expected} is missing in {stations:?}");
    }
    let decided = timeline["stations"].as_array().unwrap().iter().find(|one| one["what"] == "decided").unwrap();
    assert_eq!(decided["detail"]["rule_id"], "weather");
    stage.end().await;
}
