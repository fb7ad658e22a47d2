//! What is paused waits, and only that; what is resumed goes out once and in order.

use jiff::SignedDuration;
use micai::domain::outbound::MessageBody;
use reqwest::Method;
use serde_json::json;
use simulator::{FaultKind, PhoneKind, PhoneSpec, SimulatorConfig};

use super::on_send;
use crate::harness::Stage;

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
    assert_eq!(stage.open_alerts("number_paused").await[0]["subject"], number);
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
