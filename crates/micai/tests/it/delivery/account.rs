//! News of the account and of numbers: what is stopped, warned of, and let go again.

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{PhoneKind, Signing, SimulatorConfig};

use crate::harness::Stage;

/// A platform that knows its account, and somebody who has been answered.
async fn stage() -> (Stage, String) {
    let stage = Stage::with(&[("whatsapp_business_account_id", &SimulatorConfig::default().waba_id)]).await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    stage.simulator.say(&phone, "hello").unwrap();
    stage.replies(&phone, 1).await;
    stage.settle().await;
    (stage, phone)
}

impl Stage {
    /// WhatsApp tells news of an account.
    async fn news_of(&self, account: &str, field: &str, value: &Value) {
        let time = self.now().as_second();
        let body = json!({ "object": "whatsapp_business_account", "entry": [
            { "id": account, "time": time, "changes": [{ "field": field, "value": value }] } ] });
        self.simulator.send_raw_json(&body, Signing::Valid).unwrap();
        self.simulator.wait_idle().await;
    }

    async fn news(&self, field: &str, value: Value) {
        // The second in which something happened is told, not more.
        self.advance(1);
        self.news_of(&SimulatorConfig::default().waba_id, field, &value).await;
    }

    /// Somebody writes, and the answer is held for a pause.
    async fn held_after(&self, phone: &str, pause: &str) -> String {
        self.simulator.say(phone, "are you there?").unwrap();
        let held = self.until_state(phone, "held").await;
        assert_eq!(self.paused().await, [pause]);
        assert_eq!(held["error"]["reason"], "paused", "{held:#}");
        held["error"]["detail"].as_str().unwrap().to_owned()
    }

    /// Moves the clock until the number of answers is there.
    async fn until_heard(&self, phone: &str, count: usize) {
        self.until(&format!("{phone} has {count} answers"), async || {
            self.advance(1);
            self.arrived(phone).len() == count
        })
        .await;
    }
}

fn banned(state: &str) -> Value {
    json!({ "event": "DISABLED_UPDATE", "ban_info": { "waba_ban_state": state, "waba_ban_date": "2026-12-01" } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_account_is_silent_until_it_is_reinstated() {
    let (stage, phone) = stage().await;
    stage.news("account_update", banned("SCHEDULE_FOR_DISABLE")).await;
    let warned = stage.open_alerts("account_warning").await;
    let sentence = warned[0]["sentence"].as_str().unwrap();
    assert!(sentence.contains("will disable the account on 2026-12-01"), "{sentence}");
    assert!(stage.paused().await.is_empty(), "it still sends");

    stage.news("account_update", banned("DISABLE")).await;
    let told = stage.held_after(&phone, "account").await;
    assert!(told.contains("WhatsApp disabled the account") && told.contains("DELETE /admin/pauses/account;"), "{told}");
    let alert = &stage.open_alerts("account_paused").await[0];
    assert!(alert["sentence"].as_str().unwrap().contains("a review can be asked for"), "{alert}");
    assert_eq!((stage.calls().len(), &stage.get("/admin/pauses").await["items"][0]["cause"]), (1, &json!("news")));

    stage.news("account_update", banned("REINSTATE")).await;
    assert!(stage.paused().await.is_empty());
    stage.until_heard(&phone, 2).await;
    for kind in ["account_paused", "account_warning"] {
        assert!(stage.open_alerts(kind).await.is_empty(), "{kind}");
    }
    // The ban is told once more, late: it is no news.
    let body = stage.simulator.deliveries(1_000).into_iter().filter_map(|one| one.body);
    let ban = body.into_iter().find(|body| body.to_string().contains("\"DISABLE\"")).expect("the ban");
    stage.simulator.send_raw_json(&ban, Signing::Valid).unwrap();
    stage.settle().await;
    assert!(stage.paused().await.is_empty());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restriction_stops_what_it_says_until_its_end() {
    let (stage, phone) = stage().await;
    let until = stage.now().as_second() + 7_200;
    let restricted = |kind: &str| {
        json!({ "event": "ACCOUNT_RESTRICTION",
            "restriction_info": [{ "restriction_type": kind, "expiration": until }] })
    };
    stage.news("account_update", restricted("RESTRICTED_BIZ_INITIATED_MESSAGING")).await;
    assert_eq!(stage.paused().await, ["account_templates"]);
    stage.simulator.say(&phone, "hello again").unwrap();
    stage.replies(&phone, 2).await;
    stage.settle().await;
    stage.resume("account_templates").await;

    stage.news("account_update", restricted("RESTRICTED_CUSTOMER_INITIATED_MESSAGING")).await;
    let told = stage.held_after(&phone, "account").await;
    assert!(told.contains("nothing is sent until 20"), "{told}");
    stage.advance(7_200);
    stage.until_heard(&phone, 3).await;
    assert!(stage.paused().await.is_empty() && stage.open_alerts("account_paused").await.is_empty());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn news_of_a_number_is_about_that_number() {
    let (stage, phone) = stage().await;
    let number = SimulatorConfig::default();
    let quality = |event: &str| json!({ "display_phone_number": number.display_phone_number, "event": event, "current_limit": "TIER_1K" });
    stage.news("phone_number_quality_update", quality("FLAGGED")).await;
    let warned = stage.open_alerts("number_warning").await;
    assert_eq!(warned[0]["subject"], number.phone_number_id);
    assert!(warned[0]["sentence"].as_str().unwrap().contains("people block or report it"), "{warned:?}");
    stage.news("phone_number_quality_update", quality("RESTRICTED")).await;
    let told = stage.held_after(&phone, &format!("number/{}", number.phone_number_id)).await;
    assert!(told.contains("WhatsApp stopped the number"), "{told}");
    assert_eq!(stage.open_alerts("number_paused").await.len(), 1);
    stage.news("phone_number_quality_update", quality("UNFLAGGED")).await;
    stage.until_heard(&phone, 2).await;
    for kind in ["number_paused", "number_warning"] {
        assert!(stage.open_alerts(kind).await.is_empty(), "{kind}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn better_news_does_not_lift_what_a_person_paused_and_other_accounts_are_not_ours() {
    let (stage, phone) = stage().await;
    stage.news_of("somebody-elses", "account_update", &banned("DISABLE")).await;
    assert!(stage.paused().await.is_empty());
    let pause = json!({ "scope": "account", "reason": "We take stock." });
    stage.admin(Method::POST, "/admin/pauses", Some(pause)).await;
    stage.news("account_update", banned("DISABLE")).await;
    assert_eq!(stage.open_alerts("account_paused").await.len(), 1, "told all the same");
    stage.news("account_update", banned("REINSTATE")).await;
    let told = stage.held_after(&phone, "account").await;
    assert!(told.contains("We take stock."), "{told}");
    stage.resume("account").await;
    stage.until_heard(&phone, 2).await;
    assert!(stage.open_alerts("account_paused").await.is_empty());
    stage.end().await;
}
