//! Every kind of message a person can send, as it arrives at the webhook (reference §1.6).

use serde_json::{Value, json};
use simulator::PhoneKind;

use crate::bench::{Bench, bench, ogg_opus, text};

/// The person sends this; gives the item of `messages[]`.
async fn arrives(bench: &Bench, phone_id: &str, message: Value) -> Value {
    let (status, answer) = bench.sim("POST", &format!("phones/{phone_id}/messages"), &message).await;
    assert_eq!(status, 200, "{message} gave {answer}");
    bench.idle().await;
    bench.message_of(answer["wamid"].as_str().unwrap())
}

#[tokio::test]
async fn media_of_every_sort_arrives() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    let store = |mime: &str| bench.simulator.upload(mime, Some("file.pdf"), ogg_opus().into()).unwrap();
    for (kind, mime) in
        [("image", "image/jpeg"), ("video", "video/mp4"), ("sticker", "image/webp"), ("document", "application/pdf")]
    {
        let message = arrives(&bench, &phone.id, json!({ "type": kind, "media_id": store(mime) })).await;
        assert_eq!((&message["type"], &message[kind]["mime_type"]), (&json!(kind), &json!(mime)));
        assert!(message[kind]["sha256"].is_string() && message[kind]["url"].is_string());
    }
    let audio = arrives(&bench, &phone.id, json!({ "type": "audio", "media_id": store("audio/mpeg") })).await;
    assert_eq!(audio["audio"]["voice"], false);
    let captioned =
        json!({ "type": "document", "media_id": store("application/pdf"), "caption": "see", "filename": "b.pdf" });
    let document = arrives(&bench, &phone.id, captioned).await;
    assert_eq!((&document["document"]["caption"], &document["document"]["filename"]), (&json!("see"), &json!("b.pdf")));
    let (status, _) =
        bench.sim("POST", &format!("phones/{}/messages", phone.id), &json!({ "type": "image", "media_id": "1" })).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn places_cards_orders_and_flows_arrive() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    let place =
        arrives(&bench, &phone.id, json!({ "type": "location", "latitude": 1.5, "longitude": 2.5, "name": "Here" }))
            .await;
    assert_eq!(place["location"], json!({ "latitude": 1.5, "longitude": 2.5, "name": "Here" }));
    let cards = json!({ "type": "contacts", "contacts": [{ "phones": [] }] });
    assert_eq!(arrives(&bench, &phone.id, cards).await["contacts"], json!([{ "phones": [] }]));
    let order =
        json!({ "type": "order", "catalog_id": "7", "product_items": [{ "product_retailer_id": "a", "quantity": 2 }] });
    assert_eq!(arrives(&bench, &phone.id, order).await["order"]["catalog_id"], "7");
    let flow = arrives(&bench, &phone.id, json!({ "type": "flow_reply", "response": { "size": "L" } })).await;
    assert_eq!(flow["interactive"]["nfm_reply"]["response_json"], "{\"size\":\"L\"}", "a string");
}

#[tokio::test]
async fn reactions_come_and_go_and_do_not_open_the_window() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::Username).await;
    let wamid = bench.accepted(&bench.to(&phone, "text", text("hello"))).await;
    let put = arrives(&bench, &phone.id, json!({ "type": "reaction", "message_id": wamid, "emoji": "❤️" })).await;
    assert_eq!(put["reaction"], json!({ "message_id": wamid, "emoji": "❤️" }));
    assert_eq!(bench.simulator.chat(&phone.id).unwrap()[1].reactions.len(), 1);
    bench.simulator.advance_clock(25 * 3_600);
    let gone = arrives(&bench, &phone.id, json!({ "type": "reaction", "message_id": wamid })).await;
    assert_eq!(gone["reaction"], json!({ "message_id": wamid }), "removal has no emoji");
    assert!(bench.simulator.chat(&phone.id).unwrap()[1].reactions.is_empty());
    bench.fails_later(&bench.to(&phone, "text", text("too late")), 131_047).await;
}

#[tokio::test]
async fn edits_and_revokes_name_the_original() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    let original = bench.simulator.say(&phone.id, "helo").unwrap();
    let edit = arrives(&bench, &phone.id, json!({ "type": "edit", "message_id": original, "text": "hello" })).await;
    assert_ne!(edit["id"], json!(original));
    assert_eq!(edit["edit"]["original_message_id"], json!(original));
    assert_eq!(edit["edit"]["message"], json!({ "type": "text", "text": { "body": "hello" } }));
    let bubble = bench.simulator.chat(&phone.id).unwrap().remove(0);
    assert!(bubble.edited && bubble.text == "hello");
    let revoke = arrives(&bench, &phone.id, json!({ "type": "revoke", "message_id": original })).await;
    assert_eq!(revoke["revoke"], json!({ "original_message_id": original }));
    let bubble = bench.simulator.chat(&phone.id).unwrap().remove(0);
    assert!(bubble.revoked && bubble.text.is_empty());
    let again = json!({ "type": "edit", "message_id": original, "text": "x" });
    assert_eq!(bench.sim("POST", &format!("phones/{}/messages", phone.id), &again).await.0, 400);
}

#[tokio::test]
async fn contexts_say_what_is_answered_or_forwarded() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::Username).await;
    let wamid = bench.accepted(&bench.to(&phone, "text", text("hello"))).await;
    let reply = arrives(&bench, &phone.id, json!({ "type": "text", "text": "yes", "reply_to": wamid })).await;
    assert_eq!(reply["context"], json!({ "from": "15550783881", "id": wamid }));
    let forwarded = arrives(&bench, &phone.id, json!({ "type": "text", "text": "look", "forwarded": true })).await;
    assert_eq!(forwarded["context"], json!({ "forwarded": true }));
    let often =
        arrives(&bench, &phone.id, json!({ "type": "text", "text": "look", "frequently_forwarded": true })).await;
    assert_eq!(often["context"], json!({ "frequently_forwarded": true }));
}

#[tokio::test]
async fn unsupported_legacy_and_raw_messages_arrive() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    let poll = arrives(&bench, &phone.id, json!({ "type": "unsupported", "unsupported_type": "poll" })).await;
    assert_eq!((&poll["type"], &poll["errors"][0]["code"]), (&json!("unsupported"), &json!(131_051)));
    assert_eq!(poll["unsupported"], json!({ "type": "poll" }));
    let welcome = arrives(&bench, &phone.id, json!({ "type": "request_welcome" })).await;
    assert_eq!(welcome["type"], "request_welcome");
    let raw = json!({ "type": "raw", "message": { "type": "hologram", "hologram": { "depth": 3 }, "timestamp": 5 } });
    let message = arrives(&bench, &phone.id, raw).await;
    assert_eq!((&message["hologram"]["depth"], &message["timestamp"]), (&json!(3), &json!(5)));
    assert_eq!(message["from_user_id"], json!(phone.user_id));
}

#[tokio::test]
async fn an_interactive_without_its_body_carries_errors_beside_it() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    let raw = json!({ "type": "raw", "message": { "type": "interactive", "value_errors": { "code": 131_000 } } });
    let message = arrives(&bench, &phone.id, raw).await;
    assert!(message.get("interactive").is_none() && message.get("value_errors").is_none());
    assert_eq!(bench.value_of(message["id"].as_str().unwrap())["errors"], json!([{ "code": 131_000 }]));
}
