//! What is paused waits, and only that; what is resumed goes out once and in order.

use jiff::SignedDuration;
use micai::domain::outbound::MessageBody;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{FaultKind, PhoneKind, PhoneSpec, SimulatorConfig};

use super::{on_send, with_templates};
use crate::harness::{ADMIN_KEY, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_whatsapp_restricts_is_silent_until_it_is_resumed() {
    let stage = Stage::open().await;
    let number = SimulatorConfig::default().phone_number_id;
    let (ana, bo) = (stage.phone("Ana", PhoneKind::Phone), stage.phone("Bo", PhoneKind::Username));
    stage.simulator.add_fault(on_send(FaultKind::Error { code: 131_048 }, 1, None)).unwrap();
    stage.simulator.say(&ana, "one").unwrap();
    stage.until_state(&ana, "held").await;
    for (phone, text) in [(&ana, "two"), (&ana, "three"), (&bo, "one"), (&bo, "two")] {
        stage.simulator.say(phone, text).unwrap();
        stage.settle().await;
    }
    stage.advance(12 * 3_600);
    stage.settle().await;
    assert_eq!((stage.outbound("held").await.len(), stage.calls().len()), (5, 1), "nothing more is called");
    let alert = &stage.open_alerts("number_paused").await[0];
    assert_eq!(alert["subject"], number);
    let told = alert["sentence"].as_str().unwrap();
    assert!(told.starts_with(&format!("Sending is paused (number:{number}). WhatsApp refused")), "{told}");
    assert!(told.ends_with(&format!("Resume with DELETE /admin/pauses/number/{number}; what is held goes out then.")));
    // Another number of ours goes on: its call is made, and this WhatsApp does not know the number.
    let carl = stage.phone("Carl", PhoneKind::Phone);
    stage.queue(&carl, "900009", MessageBody::Text { text: "from the other number".to_owned() }).await;
    stage.until_state(&carl, "failed").await;
    let other = stage.simulator.graph_requests().into_iter().filter(|call| call.path.contains("/900009/"));
    assert_eq!(other.count(), 1);

    assert_eq!(stage.resume(&format!("number/{number}")).await["conversations"], 2);
    for (phone, texts) in [(&ana, ["one", "two", "three"].as_slice()), (&bo, &["one", "two"])] {
        let heard = stage.replies(phone, texts.len()).await;
        assert!(heard.iter().zip(texts).all(|(heard, text)| heard.contains(&format!(": {text}."))), "{heard:?}");
    }
    assert!(stage.open_alerts("number_paused").await.is_empty());
    stage.settle().await;
    stage.advance(3_600);
    stage.settle().await;
    assert_eq!((stage.heard(&ana).len(), stage.heard(&bo).len()), (3, 2), "once each");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_revoked_in_mid_run_stops_everything_until_it_works_again() {
    let stage = Stage::open().await;
    let phones: Vec<String> = (0..6).map(|n| stage.phone(&format!("Ana {n}"), PhoneKind::Username)).collect();
    stage.simulator.say(&phones[0], "before").unwrap();
    stage.replies(&phones[0], 1).await;
    stage.settle().await;
    stage.simulator.add_fault(on_send(FaultKind::Error { code: 190 }, 1_000, None)).unwrap();
    for phone in &phones {
        stage.simulator.say(phone, "hello").unwrap();
        stage.settle().await;
    }
    assert_eq!((stage.outbound("held").await.len(), stage.calls().len()), (6, 2), "the first refusal stops the others");
    assert_eq!(stage.open_alerts("token_rejected").await.len(), 1);
    // Resumed too early: it is paused again, and nothing is lost.
    stage.resume("account").await;
    stage.until("it is paused again", async || stage.outbound("held").await.len() == 6).await;
    stage.until("it is paused again", async || stage.paused().await == ["account"]).await;
    stage.settle().await;
    stage.simulator.clear_faults();
    stage.resume("account").await;
    stage.replies(&phones[0], 2).await;
    for phone in &phones[1..] {
        stage.replies(phone, 1).await;
    }
    stage.settle().await;
    assert!(stage.paused().await.is_empty() && stage.open_alerts("token_rejected").await.is_empty());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_ends_by_the_clock_whether_it_is_short_or_long() {
    let stage = Stage::open().await;
    let number = SimulatorConfig::default().phone_number_id;
    for (seconds, state) in [(60, "queued"), (7_200, "held")] {
        let phone = stage.phone("Ana", PhoneKind::Phone);
        let until = stage.now() + SignedDuration::from_secs(seconds);
        let pause = json!({ "scope": "number", "subject": number, "reason": "We move house.", "until": until });
        stage.admin(Method::POST, "/admin/pauses", Some(pause)).await;
        stage.simulator.say(&phone, "hello").unwrap();
        stage.until_state(&phone, state).await;
        stage.until_quiet().await;
        stage.advance(seconds - 2);
        stage.until_quiet().await;
        assert!(stage.arrived(&phone).is_empty(), "not before its end");
        stage.advance(2);
        stage
            .until("it went out by itself", async || {
                stage.advance(1);
                stage.arrived(&phone).len() == 1
            })
            .await;
        stage.settle().await;
        assert!(stage.paused().await.is_empty() || state == "queued");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_pauses_a_country_and_the_others_go_on() {
    let stage = Stage::open().await;
    let person = |phone: &str| {
        let spec = PhoneSpec { phone: Some(phone.to_owned()), kind: Some(PhoneKind::Phone), ..PhoneSpec::default() };
        stage.simulator.add_phone(spec).unwrap().id
    };
    let (ana, bo) = (person("5511987650001"), person("4915112345678"));
    let pause = json!({ "scope": "country", "subject": "BR", "reason": "The law changes today." });
    stage.admin(Method::POST, "/admin/pauses", Some(pause)).await;
    for phone in [&ana, &bo] {
        stage.simulator.say(phone, "hello").unwrap();
    }
    stage.replies(&bo, 1).await;
    let held = stage.until_state(&ana, "held").await;
    let told = held["error"]["detail"].as_str().unwrap();
    assert!(told.contains("The law changes today.") && told.contains("DELETE /admin/pauses/country/BR"), "{told}");
    stage.resume("country/BR").await;
    stage.replies(&ana, 1).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_cannot_be_paused_and_nobody_believes_that_it_is() {
    let stage = with_templates("", &[]).await;
    for (scope, subject, field, message) in [
        ("country", "Brazil", "subject", "is no country; give two capital letters such as BR"),
        ("country", "br", "subject", "is no country; give two capital letters such as BR"),
        ("number", "+15550783881", "subject", "is no id of a number of ours; it has digits only"),
        ("number", "", "subject", "must name one"),
        ("account", "x", "subject", "leave it out"),
        ("template", "remainder", "subject", "names no template that is known"),
        ("template", "reminder/fr", "subject", "names a language that the template does not have: it has en_US"),
        ("planet", "", "scope", "`planet` is no word for it"),
    ] {
        let body = json!({ "scope": scope, "subject": subject, "reason": "It is late." });
        refused(&stage, body, field, message).await;
    }
    for (until, message) in [
        ("tomorrow", "it is no instant; write it as 2026-11-24T13:00:00Z"),
        ("2026-11-24", "it is no instant"),
        ("2020-01-01T00:00:00Z", "must be in the future"),
    ] {
        refused(&stage, json!({ "scope": "account", "reason": "It is late.", "until": until }), "until", message).await;
    }
    assert!(stage.paused().await.is_empty());
    for subject in ["reminder", "reminder/en_US"] {
        let pause = json!({ "scope": "template", "subject": subject, "reason": "It is late." });
        stage.admin(Method::POST, "/admin/pauses", Some(pause)).await;
    }
    assert_eq!(stage.paused().await, ["template/reminder", "template/reminder/en_US"]);
    stage.end().await;
}

async fn refused(stage: &Stage, body: Value, field: &str, message: &str) {
    let call = stage.http.post(stage.url("/admin/pauses")).header("x-admin-key", ADMIN_KEY).json(&body);
    let answer = call.send().await.unwrap();
    assert_eq!(answer.status(), 422, "{body}");
    let problem: Value = answer.json().await.unwrap();
    let told = &problem["errors"][0];
    assert!(told["field"] == field && told["message"].as_str().unwrap().contains(message), "{body}: {problem}");
}
