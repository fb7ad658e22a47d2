//! Webhooks out: signed, escaped, tried again, in batches, raw.

use serde_json::{Value, json};
use simulator::{BubbleStatus, DeliveryState, InboundKind, PhoneKind, Simulator, SimulatorConfig, Split};

use crate::bench::{bench, bench_with};

#[tokio::test]
async fn every_webhook_is_signed_over_its_escaped_bytes() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    let id = bench.simulator.say(&phone.id, "olá 👍 a/b").unwrap();
    bench.idle().await;
    let received = &bench.received()[0];
    assert!(received.signed_well);
    assert!(received.raw.is_ascii(), "non-ASCII is escaped, as Meta does");
    assert_eq!(bench.message_of(&id)["text"]["body"], "olá 👍 a/b");
    assert_eq!(received.body["object"], "whatsapp_business_account");
    assert_eq!(received.body["entry"][0]["id"], "102290129340398");
    assert_eq!(received.body["entry"][0]["changes"][0]["field"], "messages");
    assert_eq!(bench.simulator.chat(&phone.id).unwrap()[0].status, BubbleStatus::Delivered);
}

#[tokio::test]
async fn anything_but_200_is_tried_again_with_the_same_bytes() {
    let bench = bench().await;
    bench.receiver.answers.lock().unwrap().extend([503, 500, 204, 302]);
    let phone = bench.phone(PhoneKind::Username);
    bench.simulator.say(&phone.id, "hello").unwrap();
    assert_eq!(bench.simulator.deliveries_pending(), 1);
    bench.idle().await;
    let received = bench.received();
    let answered: Vec<u16> = received.iter().map(|one| one.answered).collect();
    assert_eq!(answered, [503, 500, 204, 302, 200]);
    assert!(received.iter().all(|one| one.raw == received[0].raw && one.signed_well));
    let delivery = &bench.simulator.deliveries(1)[0];
    assert_eq!((delivery.attempts, delivery.state, delivery.status), (5, DeliveryState::Acknowledged, Some(200)));
    assert_eq!(bench.simulator.deliveries_pending(), 0);
}

#[tokio::test]
async fn a_platform_that_is_down_gets_the_webhook_when_it_is_back() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/webhook", dead.local_addr().unwrap());
    drop(dead);
    let bench = bench().await;
    let live = bench.simulator.state().webhook_url.unwrap();
    bench.simulator.set_webhook(Some(&address)).unwrap();
    let phone = bench.phone(PhoneKind::Username);
    let mut events = bench.simulator.subscribe();
    bench.simulator.say(&phone.id, "is anybody there?").unwrap();
    while !matches!(events.recv().await.unwrap(), simulator::SimEvent::Failure { .. }) {}
    bench.simulator.set_webhook(Some(&live)).unwrap();
    bench.idle().await;
    assert_eq!(bench.received().len(), 1);
    assert!(bench.simulator.deliveries(1)[0].attempts >= 2);
}

#[tokio::test]
async fn without_an_address_webhooks_go_nowhere() {
    let simulator = Simulator::start(SimulatorConfig::default()).await.unwrap();
    let phone = simulator.add_phone(simulator::PhoneSpec::default()).unwrap();
    simulator.say(&phone.id, "hello").unwrap();
    assert_eq!(simulator.deliveries(1)[0].state, DeliveryState::NoTarget);
    assert!(simulator.set_webhook(Some("ftp://example.com")).is_err());
    simulator.stop().await;
}

#[tokio::test]
async fn a_batch_spreads_over_messages_changes_or_entries() {
    for (split, entries, changes, messages) in
        [(Split::Messages, 1, 1, 3), (Split::Changes, 1, 3, 1), (Split::Entries, 3, 1, 1)]
    {
        let bench = bench().await;
        let (one, two) = (bench.phone(PhoneKind::Username), bench.phone(PhoneKind::Phone));
        let text = |words: &str| InboundKind::Text { text: words.to_owned() }.into();
        let batch = [(one.id.clone(), text("a")), (two.id.clone(), text("b")), (one.id.clone(), text("c"))];
        let wamids = bench.simulator.post_batch(&batch, split).unwrap();
        bench.idle().await;
        let received = bench.received();
        assert_eq!((received.len(), wamids.len()), (1, 3));
        let entry = &received[0].body["entry"];
        let value = &entry[0]["changes"][0]["value"];
        assert_eq!(entry.as_array().unwrap().len(), entries);
        assert_eq!(entry[0]["changes"].as_array().unwrap().len(), changes);
        assert_eq!(value["messages"].as_array().unwrap().len(), messages);
        let contacts = value["contacts"].as_array().unwrap().len();
        assert_eq!(contacts, if split == Split::Messages { 2 } else { 1 }, "each person's card once");
        assert!(bench.simulator.chat(&one.id).unwrap().iter().all(|bubble| bubble.status == BubbleStatus::Delivered));
    }
}

#[tokio::test]
async fn raw_webhooks_go_out_once_signed_as_asked() {
    let bench = bench().await;
    bench.receiver.answers.lock().unwrap().push_back(503);
    for (signature, signed_well) in [("valid", true), ("wrong", false), ("missing", false)] {
        let body = json!({ "body": { "object": "whatsapp_business_account", "entry": [] }, "signature": signature });
        assert_eq!(bench.sim("POST", "webhooks/raw", &body).await.0, 200);
        bench.idle().await;
        assert_eq!(bench.received().last().unwrap().signed_well, signed_well, "{signature}");
    }
    assert_eq!(bench.received().len(), 3, "503 or not, each went out once");
    bench.sim("POST", "webhooks/raw", &json!({ "body": "{\"entry\":[" })).await;
    bench.idle().await;
    assert_eq!(&bench.received()[3].raw[..], b"{\"entry\":[");
}

#[tokio::test]
async fn the_handshake_is_performed_on_demand() {
    let bench = bench().await;
    let (status, done) = bench.sim("POST", "webhook/verify", &Value::Null).await;
    assert_eq!((status, &done["ok"], &done["status"]), (200, &json!(true), &json!(200)));
    let other = bench_with(|config| config.verify_token = "another".to_owned()).await;
    let refused = other.simulator.verify_webhook().await;
    assert_eq!((refused.ok, refused.status), (false, Some(403)));
}
