//! The ladder of statuses, what each carries, and what it costs.

use serde_json::{Value, json};
use simulator::{BubbleStatus, PhoneKind, StatusLevel};

use crate::bench::{bench, bench_with, ogg_opus, text};

#[tokio::test]
async fn a_message_is_sent_then_delivered_and_read_when_the_chat_is_opened() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::PhoneAndBsuid).await;
    let mut body = bench.to(&phone, "text", text("hello"));
    body["biz_opaque_callback_data"] = json!("turn:42/1");
    let wamid = bench.accepted(&body).await;
    bench.idle().await;
    assert_eq!(bench.ladder(&wamid), ["sent", "delivered"]);
    assert_eq!(bench.simulator.phone(&phone.id).unwrap().unread, 1);
    assert_eq!(bench.simulator.read(&phone.id, &[]).unwrap(), (1, 0));
    assert_eq!(bench.simulator.read(&phone.id, &[]).unwrap(), (0, 0));
    bench.idle().await;
    assert_eq!(bench.ladder(&wamid), ["sent", "delivered", "read"]);
    for value in bench.status_values(&wamid) {
        let status = &value["statuses"][0];
        assert_eq!(status["recipient_id"], phone.phone);
        assert_eq!(status["recipient_user_id"], json!(phone.user_id));
        assert_eq!(status["biz_opaque_callback_data"], "turn:42/1");
        assert!(status["timestamp"].is_string());
        assert_eq!(value["contacts"][0]["user_id"], json!(phone.user_id));
        assert_eq!(
            status["pricing"],
            json!({ "billable": false, "pricing_model": "PMP", "type": "free_customer_service", "category": "service" })
        );
    }
}

#[tokio::test]
async fn statuses_to_a_hidden_number_carry_the_user_id_and_the_username_late() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::Username).await;
    let wamid = bench.accepted(&bench.to(&phone, "text", text("hello"))).await;
    bench.idle().await;
    for value in bench.status_values(&wamid) {
        let status = &value["statuses"][0];
        assert!(status.get("recipient_id").is_none());
        assert_eq!(status["recipient_user_id"], json!(phone.user_id));
        let named = value["contacts"][0]["profile"].get("username").is_some();
        assert_eq!(named, status["status"] != "sent");
    }
}

#[tokio::test]
async fn statuses_share_a_webhook_where_they_may_and_only_chosen_levels_are_told() {
    let bench = bench_with(|config| {
        config.status_batch_max = 3;
        config.statuses = vec![StatusLevel::Read];
    })
    .await;
    let phone = bench.writing_phone(PhoneKind::PhoneAndBsuid).await;
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.push(bench.accepted(&bench.to(&phone, "text", text("hello"))).await);
    }
    bench.idle().await;
    let told = || bench.values().into_iter().filter(|value| value["statuses"].is_array()).collect::<Vec<_>>();
    assert_eq!(told(), Vec::<Value>::new(), "neither sent nor delivered was chosen");
    assert_eq!(bench.simulator.read(&phone.id, &[]).unwrap(), (5, 0), "the bubbles have moved on all the same");
    bench.idle().await;
    let webhooks = told();
    let statuses = |value: &Value| value["statuses"].as_array().unwrap().clone();
    let mut sizes: Vec<usize> = webhooks.iter().map(|value| statuses(value).len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [2, 3], "three fill a webhook, the other two leave when nobody joins them");
    let mut ids: Vec<String> =
        webhooks.iter().flat_map(statuses).map(|status| status["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    sent.sort();
    assert_eq!(ids, sent);
    for value in webhooks {
        assert_eq!(value["contacts"].as_array().unwrap().len(), 1, "each person's card once");
    }
}

#[tokio::test]
async fn phones_that_read_by_themselves_do() {
    let bench = bench_with(|config| config.auto_read = true).await;
    let phone = bench.writing_phone(PhoneKind::Phone).await;
    let wamid = bench.accepted(&bench.to(&phone, "text", text("hello"))).await;
    bench.idle().await;
    assert_eq!(bench.ladder(&wamid), ["sent", "delivered", "read"]);
    assert!(bench.status_values(&wamid)[0].get("contacts").is_none(), "older payloads have no contacts here");
}

#[tokio::test]
async fn a_voice_note_can_be_played() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::Username).await;
    let (_, file) = bench.upload("audio/ogg; codecs=opus", &ogg_opus()).await;
    let note = bench.accepted(&bench.to(&phone, "audio", json!({ "id": file["id"], "voice": true }))).await;
    let words = bench.accepted(&bench.to(&phone, "text", text("listen"))).await;
    bench.idle().await;
    assert!(bench.simulator.read(&phone.id, std::slice::from_ref(&words)).is_err(), "words cannot be played");
    assert_eq!(bench.simulator.read(&phone.id, std::slice::from_ref(&note)).unwrap(), (2, 1));
    bench.idle().await;
    assert_eq!(bench.ladder(&note), ["sent", "delivered", "read", "played"]);
    let bubble = bench.simulator.chat(&phone.id).unwrap().into_iter().find(|bubble| bubble.id == note).unwrap();
    assert_eq!(bubble.status, BubbleStatus::Played);
}

#[tokio::test]
async fn a_failed_status_has_errors_and_neither_contacts_nor_price() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::PhoneAndBsuid);
    let by_number = bench.to(&phone, "text", text("too late"));
    let status = bench.fails_later(&by_number, 131_047).await;
    assert_eq!(status["recipient_id"], phone.phone);
    assert!(status.get("recipient_user_id").is_none() && status.get("pricing").is_none());
    let error = &status["errors"][0];
    assert!(
        error["title"].is_string() && error["message"] == error["title"] && error["error_data"]["details"].is_string()
    );
    assert!(error["href"].is_string());
    let by_id = json!({ "messaging_product": "whatsapp", "recipient": phone.user_id, "text": { "body": "x" } });
    let status = bench.fails_later(&by_id, 131_047).await;
    assert_eq!(status["recipient_user_id"], json!(phone.user_id));
    assert!(
        bench.values().iter().filter(|value| value["statuses"].is_array()).all(|value| value.get("contacts").is_none())
    );
}

#[tokio::test]
async fn the_free_allowance_ends_and_then_messages_cost() {
    let bench = bench_with(|config| config.free_service_messages_per_month = 1).await;
    let phone = bench.writing_phone(PhoneKind::Phone).await;
    let (_, file) = bench.upload("audio/mpeg", b"ID3").await;
    let mut kinds = Vec::new();
    bench.fails_later(&bench.to(&phone, "image", json!({ "id": file["id"] })), 131_053).await;
    for _ in 0..2 {
        let wamid = bench.accepted(&bench.to(&phone, "text", text("hello"))).await;
        bench.idle().await;
        kinds.push(bench.statuses_of(&wamid)[0]["pricing"].clone());
    }
    assert_eq!(kinds[0]["type"], "free_customer_service");
    assert_eq!((&kinds[1]["type"], &kinds[1]["billable"]), (&json!("regular"), &json!(true)));
}

#[tokio::test]
async fn without_a_payment_method_the_end_of_the_allowance_is_the_end() {
    let bench = bench_with(|config| {
        config.free_service_messages_per_month = 1;
        config.payment_method = false;
    })
    .await;
    let phone = bench.writing_phone(PhoneKind::Phone).await;
    bench.accepted(&bench.to(&phone, "text", text("free"))).await;
    bench.fails_later(&bench.to(&phone, "text", text("not free")), 131_042).await;
}

#[tokio::test]
async fn an_answer_to_an_ad_is_free() {
    let bench = bench_with(|config| config.free_service_messages_per_month = 0).await;
    let phone = bench.phone(PhoneKind::Username);
    let message =
        json!({ "type": "text", "text": "I saw your ad", "referral": { "source_type": "ad", "source_id": "7" } });
    let (_, answer) = bench.sim("POST", &format!("phones/{}/messages", phone.id), &message).await;
    bench.idle().await;
    assert_eq!(bench.message_of(answer["wamid"].as_str().unwrap())["referral"]["source_type"], "ad");
    let wamid = bench
        .accepted(&bench.to(
            &phone,
            "template",
            json!({
                "name": "spring_offer", "language": { "code": "en_US" },
                "components": [{ "type": "body", "parameters": [{ "type": "text", "text": "Ana" }] }],
            }),
        ))
        .await;
    bench.idle().await;
    assert_eq!(bench.statuses_of(&wamid)[0]["pricing"]["type"], "free_entry_point");
    assert_eq!(bench.statuses_of(&wamid)[0]["pricing"]["category"], "marketing");
}
