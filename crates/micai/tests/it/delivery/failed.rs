//! What WhatsApp had taken and then fails for a policy of its takes the road of the refusal: the same pause, alert, hold and
//! resume.

use micai::domain::outbound::MessageBody;
use micai::domain::template::{TemplateUse, TextValue};
use serde_json::json;
use simulator::{DeliveryView, FaultKind, FaultOn, FaultSpec, PhoneKind, Signing, SimulatorConfig};

use super::with_templates;
use crate::harness::Stage;

const DAY: i64 = 24 * 3_600;

/// A `failed` status for the next message that is accepted.
pub fn fails_later(code: u32) -> FaultSpec {
    FaultSpec { on: FaultOn::Webhook, kind: FaultKind::Error { code }, times: 1, phone: None }
}

/// The template `reminder`, filled in.
pub fn reminder() -> MessageBody {
    let body = vec![TextValue::numbered("Bo"), TextValue::numbered("dentist at 9")];
    let template = Box::new(TemplateUse { body, ..TemplateUse::plain("reminder", "en_US") });
    MessageBody::Template { template, text: None }
}

impl Stage {
    /// The webhook that last told of a status.
    pub fn told(&self, kind: &str) -> DeliveryView {
        self.simulator.deliveries(1_000).into_iter().find(|one| one.kind == kind).expect("a webhook")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_status_that_blocks_pauses_holds_and_is_resumed_like_a_refusal() {
    let stage = with_templates("", &[]).await;
    let number = format!("number/{}", SimulatorConfig::default().phone_number_id);
    for (code, pause, alert, is_template) in [
        (190, "account", "token_rejected", false),
        (368, "account", "account_paused", false),
        (131_031, "account", "account_paused", false),
        (131_042, "account", "account_paused", false),
        (131_048, number.as_str(), "number_paused", false),
        (133_010, number.as_str(), "number_paused", true),
        (130_497, "country/", "country_paused", false),
        (131_064, "account_templates", "account_paused", true),
        (132_001, "template/reminder/en_US", "template_paused", true),
        (132_015, "template/reminder/en_US", "template_paused", true),
    ] {
        let phone = stage.phone(&format!("Ana {code}"), PhoneKind::Phone);
        stage.simulator.add_fault(fails_later(code)).unwrap();
        match is_template {
            true => _ = stage.queue(&phone, &SimulatorConfig::default().phone_number_id, reminder()).await,
            false => _ = stage.simulator.say(&phone, "hello").unwrap(),
        }
        let held = stage.until_state(&phone, "held").await;
        let advice = whatsapp::error::describe(i64::from(code)).unwrap().advice;
        let detail = held["error"]["detail"].as_str().unwrap();
        assert_eq!(held["error"]["code"], code, "{held:#}");
        assert!(detail.ends_with(advice) && !detail.contains(".."), "{detail}");
        stage.settle().await;
        let paused = stage.paused().await;
        assert!(paused.len() == 1 && paused[0].starts_with(pause), "{code}: {paused:?}");
        let list = stage.get("/admin/pauses").await;
        let item = &list["items"][0];
        assert_eq!(
            (&item["code"], &item["held"], &item["cause"]),
            (&json!(code), &json!(1), &json!("refusal")),
            "{item}"
        );
        assert_eq!(item["sentence"], detail);
        assert_eq!(stage.open_alerts(alert).await.len(), 1, "{code}");
        // What it concerns is held without a call; the same status again, after the end of the pause, pauses nothing.
        let failed = stage.told("failed").body.unwrap();
        stage.resume(&paused[0]).await;
        stage.until_state(&phone, "delivered").await;
        stage.simulator.send_raw_json(&failed, Signing::Valid).unwrap();
        stage.settle().await;
        assert!(stage.paused().await.is_empty() && stage.open_alerts(alert).await.is_empty(), "{code}");
        let send = stage.youngest(&phone).await.unwrap();
        assert_eq!((&send["state"], &send["attempts"]), (&json!("delivered"), &json!(2)), "{code}: {send:#}");
        assert_eq!(stage.arrived(&phone).len(), 1, "{code}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_failed_status_pauses_the_number_nothing_is_called() {
    let stage = Stage::open().await;
    let (ana, bo) = (stage.phone("Ana", PhoneKind::Phone), stage.phone("Bo", PhoneKind::Username));
    stage.simulator.add_fault(fails_later(131_048)).unwrap();
    stage.simulator.say(&ana, "one").unwrap();
    stage.until_state(&ana, "held").await;
    for phone in [&ana, &bo] {
        stage.simulator.say(phone, "two").unwrap();
        stage.settle().await;
    }
    assert_eq!((stage.outbound("held").await.len(), stage.calls().len()), (3, 1));
    stage.resume(&format!("number/{}", SimulatorConfig::default().phone_number_id)).await;
    stage.until("all arrived", async || stage.arrived(&ana).len() == 2 && stage.arrived(&bo).len() == 1).await;
    let arrived = stage.arrived(&ana);
    assert!(arrived[0].contains("one") && arrived[1].contains("two"), "in order: {arrived:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_status_that_asks_to_wait_waits_and_is_not_repeated_for_ever() {
    let stage = with_templates("", &[("queue_max_attempts", "2")]).await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    stage.simulator.add_fault(FaultSpec { times: 2, ..fails_later(131_049) }).unwrap();
    stage.queue(&phone, &SimulatorConfig::default().phone_number_id, reminder()).await;
    stage
        .until("it waits", async || stage.youngest(&phone).await.is_some_and(|send| send["error"]["code"] == 131_049))
        .await;
    let send = stage.youngest(&phone).await.unwrap();
    let not_before: jiff::Timestamp = send["not_before"].as_str().unwrap().parse().unwrap();
    assert_eq!((&send["state"], not_before.duration_since(stage.now()).as_secs()), (&json!("queued"), DAY), "{send:#}");
    stage.simulator.wait_idle().await;
    stage.advance(DAY - 120);
    stage.until_quiet().await;
    assert_eq!(stage.calls().len(), 1, "not before its time");
    stage.advance(121);
    let letter = stage.until_state(&phone, "failed").await;
    assert_eq!((&letter["attempts"], &letter["error"]["code"]), (&json!(2), &json!(131_049)), "{letter:#}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_is_disabled_is_a_letter_and_pauses_its_language_alone() {
    let stage = with_templates("", &[]).await;
    let number = SimulatorConfig::default().phone_number_id;
    let (ana, bo) = (stage.phone("Ana", PhoneKind::Phone), stage.phone("Bo", PhoneKind::Phone));
    stage.simulator.add_fault(fails_later(132_016)).unwrap();
    stage.queue(&ana, &number, reminder()).await;
    stage.until_state(&ana, "failed").await;
    stage.settle().await;
    assert_eq!(stage.paused().await, ["template/reminder/en_US"]);
    stage.queue(&bo, &number, reminder()).await;
    let held = stage.until_state(&bo, "held").await;
    let told = held["error"]["detail"].as_str().unwrap();
    assert!(told.contains("DELETE /admin/pauses/template/reminder/en_US;"), "{told}");
    stage.resume("template/reminder/en_US").await;
    stage.until_state(&bo, "delivered").await;
    stage.end().await;
}
