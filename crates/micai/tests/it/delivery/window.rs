//! The window closes: a template that fits says it, whether we know or WhatsApp tells us, at once or later.

use jiff::SignedDuration;
use serde_json::{Value, json};
use simulator::{FaultKind, PhoneKind, Signing, SimulatorConfig};

use super::failed::fails_later;
use super::{on_send, with_templates};
use crate::harness::Stage;

const DAY: i64 = 24 * 3_600;

async fn stage() -> Stage {
    let stage = with_templates("news", &[]).await;
    stage.make_news().await;
    stage
}

/// The reply to "hello" waits for its next attempt.
async fn reply_waits(stage: &Stage, phone: &str) {
    stage.simulator.add_fault(on_send(FaultKind::Error { code: 131_049 }, 1, Some(phone))).unwrap();
    stage.simulator.say(phone, "hello").unwrap();
    stage
        .until("it waits a day", async || {
            stage.youngest(phone).await.is_some_and(|send| send["error"]["code"] == 131_049)
        })
        .await;
}

fn is_news(heard: &[String]) -> bool {
    heard.len() == 1 && heard[0].starts_with("Your answer: I heard: hello.") && heard[0].ends_with("at any time.")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_closes_while_a_reply_is_queued_and_a_template_says_it() {
    let stage = stage().await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    reply_waits(&stage, &phone).await;
    stage.advance(DAY + 60);
    let heard = stage.replies(&phone, 1).await;
    assert!(is_news(&heard), "{heard:?}");
    let send = stage.until_state(&phone, "delivered").await;
    assert_eq!((&send["kind"], &send["body"]["template"]["name"]), (&json!("template"), &json!("news")));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatsapp_says_at_once_that_the_window_is_closed() {
    let stage = stage().await;
    let phone = stage.phone("Ana", PhoneKind::Username);
    stage.simulator.add_fault(on_send(FaultKind::Error { code: 131_047 }, 1, None)).unwrap();
    stage.simulator.say(&phone, "hello").unwrap();
    let heard = stage.replies(&phone, 1).await;
    assert!(is_news(&heard), "{heard:?}");
    stage.until_state(&phone, "delivered").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_status_for_want_of_a_template_begins_a_new_life_that_the_old_one_cannot_move() {
    let stage = stage().await;
    for kind in [PhoneKind::Phone, PhoneKind::Username] {
        let phone = stage.phone("Ana", kind);
        stage.simulator.add_fault(fails_later(131_047)).unwrap();
        stage.simulator.say(&phone, "hello").unwrap();
        stage.until("a template arrived", async || is_news(&stage.arrived(&phone))).await;
        stage.until_state(&phone, "delivered").await;
        stage.settle().await;
        // The dead message's statuses come again, and late.
        let failed = stage.told("failed").body.unwrap();
        let mut sent = failed.clone();
        let status = &mut sent["entry"][0]["changes"][0]["value"]["statuses"][0];
        status["status"] = json!("sent");
        status.as_object_mut().unwrap().remove("errors");
        for body in [&failed, &sent, &failed] {
            stage.simulator.send_raw_json(body, Signing::Valid).unwrap();
            stage.settle().await;
        }
        let send = stage.until_state(&phone, "delivered").await;
        assert_eq!((&send["kind"], &send["attempts"]), (&json!("template"), &json!(2)), "{send:#}");
        assert_eq!(send["error"], Value::Null);
        let shown: Vec<_> = stage.bubbles(&phone).into_iter().map(|bubble| bubble.id).collect();
        assert_eq!(
            (shown.len(), &send["provider_message_id"]),
            (2, &json!(shown[1])),
            "the id of the life that counts"
        );
        let story = stage.get(&format!("/admin/outbound/{}", send["id"].as_str().unwrap())).await;
        assert_eq!(story["calls"].as_array().unwrap().len(), 2, "{story:#}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_new_life_waits_the_old_one_moves_nothing_and_the_window_frees_it() {
    // No template can say it.
    let stage = with_templates("", &[]).await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    stage.simulator.add_fault(fails_later(131_047)).unwrap();
    stage.simulator.say(&phone, "hello").unwrap();
    let held = stage.until_state(&phone, "held").await;
    assert_eq!(held["error"]["reason"], "window_closed");
    stage.settle().await;
    let failed = stage.told("failed").body.unwrap();
    stage.simulator.send_raw_json(&failed, Signing::Valid).unwrap();
    stage.settle().await;
    assert_eq!(stage.youngest(&phone).await.unwrap()["state"], "held");
    // WhatsApp tells the time of a message in whole seconds.
    stage.advance(2);
    stage.simulator.say(&phone, "again").unwrap();
    stage.until("both arrived", async || stage.arrived(&phone).len() == 2).await;
    let arrived = stage.arrived(&phone);
    assert!(arrived[0].contains("hello") && arrived[1].contains("again"), "{arrived:?}");
    stage.settle().await;
    assert!(stage.outbound("failed").await.is_empty());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_whatsapp_refuses_for_want_of_a_template_is_a_letter() {
    let stage = stage().await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    stage.simulator.add_fault(on_send(FaultKind::Error { code: 131_047 }, 1, None)).unwrap();
    stage.simulator.add_fault(fails_later(131_047)).unwrap();
    stage.simulator.say(&phone, "hello").unwrap();
    let letter = stage.until_state(&phone, "failed").await;
    assert_eq!((&letter["error"]["code"], &letter["attempts"]), (&json!(131_047), &json!(2)), "{letter:#}");
    assert!(stage.arrived(&phone).is_empty());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_paused_between_check_and_send_waits_with_its_message() {
    let stage = stage().await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    reply_waits(&stage, &phone).await;
    stage.simulator.add_fault(on_send(FaultKind::Error { code: 132_015 }, 1, None)).unwrap();
    stage.advance(DAY + 60);
    // There is no other template: it waits for this one, in its own words.
    let held = stage.until_state(&phone, "held").await;
    assert_eq!((&held["error"]["reason"], &held["kind"]), (&json!("paused"), &json!("text")), "{held:#}");
    assert_eq!(stage.paused().await, ["template/news/en_US"]);
    assert_eq!(stage.open_alerts("template_paused").await.len(), 1);
    // Plain words go on.
    let bo = stage.phone("Bo", PhoneKind::Phone);
    stage.simulator.say(&bo, "hello").unwrap();
    stage.replies(&bo, 1).await;
    stage.resume("template/news/en_US").await;
    let heard = stage.replies(&phone, 1).await;
    assert!(is_news(&heard), "{heard:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_opens_the_window_whether_or_not_somebody_takes_it() {
    let stage = with_templates("", &[]).await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    reply_waits(&stage, &phone).await;
    stage.simulator.wait_idle().await;
    // Our clock alone: the simulated WhatsApp knows of no calls, and would close its window.
    stage.clock.advance(SignedDuration::from_secs(DAY + 60));
    stage.until_state(&phone, "held").await;
    let config = SimulatorConfig::default();
    let call = json!({ "object": "whatsapp_business_account", "entry": [{ "id": config.waba_id, "changes": [{
        "field": "calls",
        "value": {
            "messaging_product": "whatsapp",
            "metadata": { "display_phone_number": config.display_phone_number, "phone_number_id": config.phone_number_id },
            "calls": [{
                "id": "wacid.1", "from": stage.simulator.phone(&phone).unwrap().phone, "to": config.display_phone_number,
                "event": "connect", "direction": "USER_INITIATED", "timestamp": stage.now().as_second().to_string(),
            }],
        },
    }] }] });
    stage.simulator.send_raw_json(&call, Signing::Valid).unwrap();
    let send = stage.until_state(&phone, "delivered").await;
    assert_eq!(send["kind"], "text", "plain words again");
    let conversation = send["conversation_id"].as_str().unwrap();
    let transcript = stage.get(&format!("/admin/conversations/{conversation}/messages")).await;
    let kinds: Vec<&Value> = transcript["items"].as_array().unwrap().iter().map(|one| &one["kind"]).collect();
    assert!(kinds.contains(&&json!("call")), "it can be seen: {transcript:#}");
    assert_eq!(stage.heard(&phone).len(), 1, "and nobody is answered who calls");
    stage.end().await;
}
