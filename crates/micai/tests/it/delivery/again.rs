//! Templates that WhatsApp refuses are decided again by what the list of templates says then.

use serde_json::{Value, json};
use simulator::{FaultKind, PhoneKind, SimulatorConfig};

use super::failed::reminder;
use super::{on_send, with_templates};
use crate::harness::{ACCESS_TOKEN, Stage};

const DAY: i64 = 24 * 3_600;
const REMINDER: &str = "template/reminder/en_US";

impl Stage {
    /// Changes a template at WhatsApp, and no webhook tells.
    async fn silently(&self, status: &str) {
        self.simulator.set_webhook(None).unwrap();
        self.simulator.set_template_status("reminder", status, None).unwrap();
        self.simulator.wait_idle().await;
        self.simulator.set_webhook(Some(&self.url("/webhook"))).unwrap();
    }

    /// `reminder` for somebody, refused by this code; gives the phone.
    async fn refused_reminder(&self, code: u32, times: u32) -> String {
        let phone = self.phone("Ana", PhoneKind::Phone);
        self.simulator.add_fault(on_send(FaultKind::Error { code }, times, Some(&phone))).unwrap();
        self.queue(&phone, &SimulatorConfig::default().phone_number_id, reminder()).await;
        phone
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_is_gone_is_a_letter_as_soon_as_the_list_says_so() {
    let stage = with_templates("", &[]).await;
    let waba_id = SimulatorConfig::default().waba_id;
    let url = format!("{}/v25.0/{waba_id}/message_templates?name=reminder", stage.simulator.url());
    assert!(stage.http.delete(url).bearer_auth(ACCESS_TOKEN).send().await.unwrap().status().is_success());
    let phone = stage.refused_reminder(132_001, 1).await;
    let held = stage.until_state(&phone, "held").await;
    assert_eq!((&held["error"]["code"], stage.paused().await), (&json!(132_001), vec![REMINDER.to_owned()]));
    stage.in_time("it is a letter", async || stage.youngest(&phone).await.unwrap()["state"] == "failed").await;
    let letter = stage.youngest(&phone).await.unwrap();
    assert_eq!(letter["error"]["reason"], "template_not_approved", "{letter:#}");
    assert!(letter["error"]["detail"].as_str().unwrap().contains("deleted"), "{letter:#}");
    assert_eq!(stage.calls().len(), 1, "decided without another call");
    assert!(stage.paused().await.is_empty());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_template_waits_until_whatsapp_lets_it_go_on() {
    let stage = with_templates("", &[]).await;
    stage.silently("PAUSED").await;
    let phone = stage.refused_reminder(132_015, 1).await;
    stage.until_state(&phone, "held").await;
    stage
        .in_time("the list says so, too", async || {
            let all = stage.get("/admin/templates/reminder").await;
            all["languages"].as_array().unwrap().iter().any(|one| one["status"] == "paused")
        })
        .await;
    stage.settle().await;
    let waiting = (stage.paused().await, stage.open_alerts("template_paused").await.len());
    assert_eq!(waiting, (vec![REMINDER.to_owned()], 1));
    stage.advance(3 * 3_600);
    stage.simulator.set_template_status("reminder", "APPROVED", None).unwrap();
    stage.simulator.wait_idle().await;
    assert!(stage.paused().await.is_empty());
    stage.in_time("it went out by itself", async || stage.arrived(&phone).len() == 1).await;
    assert!(stage.open_alerts("template_paused").await.is_empty());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_the_list_approves_and_whatsapp_refuses_is_not_tried_for_ever() {
    let stage = with_templates("", &[]).await;
    let phone = stage.refused_reminder(132_001, 1_000).await;
    stage.in_time("it is a letter", async || stage.youngest(&phone).await.unwrap()["state"] == "failed").await;
    let letter = stage.youngest(&phone).await.unwrap();
    let told = (&letter["error"]["reason"], &letter["error"]["code"], &letter["attempts"]);
    assert_eq!(told, (&json!("retries_exhausted"), &json!(132_001), &json!(8)), "{letter:#}");
    assert_eq!(stage.calls().len(), 8);
    stage.simulator.clear_faults();
    // The last refusal's pause ends with the next list.
    stage.in_time("it may be sent again", async || stage.paused().await.is_empty()).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_account_to_ask_a_template_that_is_not_there_is_a_letter_at_once() {
    let stage = Stage::open().await;
    let phone = stage.refused_reminder(132_001, 1).await;
    let letter = stage.until_state(&phone, "failed").await;
    assert_eq!(letter["error"]["code"], 132_001, "{letter:#}");
    assert_eq!(stage.paused().await, [REMINDER]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_template_stands_in_for_one_that_is_refused() {
    let stage = with_templates("news", &[]).await;
    stage.make_news().await;
    let agent = json!({
        "name": "Shop",
        "fallback_template": { "name": "reminder", "language": "en_US", "body": [{ "text": "there" }, { "text": "{text}" }] }
    });
    stage.admin(reqwest::Method::PUT, "/admin/agents/default-agent", Some(agent)).await;
    for (code, expected) in [(132_015, "reminder"), (132_016, "reminder"), (132_001, "reminder")] {
        let phone = stage.phone("Ana", PhoneKind::Phone);
        stage.simulator.add_fault(on_send(FaultKind::Error { code: 131_049 }, 1, Some(&phone))).unwrap();
        stage.simulator.say(&phone, "hello").unwrap();
        stage
            .until("it waits a day", async || {
                stage.youngest(&phone).await.is_some_and(|send| send["error"]["code"] == 131_049)
            })
            .await;
        stage.simulator.wait_idle().await;
        stage.simulator.add_fault(on_send(FaultKind::Error { code }, 1, Some(&phone))).unwrap();
        let before = stage.calls().len();
        stage.advance(DAY + 60);
        let send = stage.until_state(&phone, "delivered").await;
        let names: Vec<Value> = stage.calls()[before..]
            .iter()
            .map(|call| call.body.as_ref().unwrap()["template"]["name"].clone())
            .collect();
        assert_eq!(names, [expected, "news"], "{code}");
        assert_eq!((&send["body"]["template"]["name"], &send["attempts"]), (&json!("news"), &json!(3)), "{send:#}");
        assert!(stage.arrived(&phone)[0].starts_with("Your answer: I heard: hello."), "{code}");
        // The next one is not kept waiting by the last one's pause.
        let _ = stage.in_time("the list lifts it", async || stage.paused().await.is_empty()).await;
    }
    stage.end().await;
}
