//! Every kind of message that the business can send, and how the phone shows it.

use serde_json::{Value, json};
use simulator::{Author, BubbleStatus, BubbleView, ButtonView, InboundKind, PhoneKind, PhoneView};

use crate::bench::{Bench, bench, ogg_opus, text};

async fn shown(bench: &Bench, phone: &PhoneView, kind: &str, payload: Value) -> BubbleView {
    let wamid = bench.accepted(&bench.to(phone, kind, payload)).await;
    bench.idle().await;
    let bubble = bench.simulator.chat(&phone.id).unwrap().into_iter().find(|bubble| bubble.id == wamid).unwrap();
    assert_eq!((bubble.author, bubble.status, bubble.kind.as_str()), (Author::Business, BubbleStatus::Delivered, kind));
    bubble
}

#[tokio::test]
async fn text_media_place_and_cards_are_shown() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::Username).await;
    assert_eq!(shown(&bench, &phone, "text", json!({ "body": "hi", "preview_url": true })).await.text, "hi");

    let (_, png) = bench.upload("image/png", b"\x89PNG").await;
    let image = shown(&bench, &phone, "image", json!({ "id": png["id"], "caption": "look" })).await;
    assert_eq!((image.text.as_str(), image.media.unwrap().mime_type.unwrap().as_str()), ("look", "image/png"));

    let link = json!({ "link": "https://example.com/a.pdf", "filename": "a.pdf" });
    let document = shown(&bench, &phone, "document", link).await.media.unwrap();
    assert_eq!((document.url.as_str(), document.filename.as_deref()), ("https://example.com/a.pdf", Some("a.pdf")));
    for (kind, mime) in [("video", "video/mp4"), ("sticker", "image/webp"), ("audio", "audio/mpeg")] {
        let (_, file) = bench.upload(mime, b"some bytes").await;
        assert!(!shown(&bench, &phone, kind, json!({ "id": file["id"] })).await.media.unwrap().voice);
    }
    let (_, note) = bench.upload("audio/ogg; codecs=opus", &ogg_opus()).await;
    assert!(shown(&bench, &phone, "audio", json!({ "id": note["id"], "voice": true })).await.media.unwrap().voice);

    let place = json!({ "latitude": 41.4, "longitude": "2.17", "name": "Here" });
    assert_eq!(shown(&bench, &phone, "location", place).await.text, "Here\n41.4, 2.17");
    let card = json!([{ "name": { "formatted_name": "Ana Lima", "first_name": "Ana" }, "phones": [] }]);
    assert_eq!(shown(&bench, &phone, "contacts", card).await.text, "Ana Lima");
}

#[tokio::test]
async fn buttons_and_lists_can_be_answered() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::Username).await;
    let payload = json!({
        "type": "button", "header": { "type": "text", "text": "Head" }, "body": { "text": "Ok?" }, "footer": { "text": "Foot" },
        "action": { "buttons": [{ "type": "reply", "reply": { "id": "y", "title": "Yes" } }] },
    });
    let bubble = shown(&bench, &phone, "interactive", payload).await;
    assert_eq!((bubble.header.as_deref(), bubble.footer.as_deref()), (Some("Head"), Some("Foot")));
    assert_eq!(bubble.buttons, [ButtonView::Reply { id: "y".to_owned(), title: "Yes".to_owned() }]);
    let tap = InboundKind::ButtonReply { message_id: bubble.id.clone(), id: "y".to_owned() };
    let answer = bench.simulator.post(&phone.id, tap.into()).unwrap();
    bench.idle().await;
    let message = bench.message_of(&answer);
    assert_eq!(
        message["interactive"],
        json!({ "type": "button_reply", "button_reply": { "id": "y", "title": "Yes" } })
    );
    assert_eq!(message["context"]["id"], bubble.id);
    let wrong = InboundKind::ButtonReply { message_id: bubble.id, id: "n".to_owned() };
    assert!(bench.simulator.post(&phone.id, wrong.into()).is_err(), "there is no such button");

    let payload = json!({
        "type": "list", "body": { "text": "Pick" },
        "action": { "button": "Open", "sections": [{ "title": "A", "rows": [{ "id": "1", "title": "One", "description": "first" }] }] },
    });
    let bubble = shown(&bench, &phone, "interactive", payload).await;
    assert_eq!((bubble.list_button.as_deref(), bubble.rows.len()), (Some("Open"), 1));
    let pick = InboundKind::ListReply { message_id: bubble.id, id: "1".to_owned() };
    let answer = bench.simulator.post(&phone.id, pick.into()).unwrap();
    bench.idle().await;
    let reply = json!({ "id": "1", "title": "One", "description": "first" });
    assert_eq!(bench.message_of(&answer)["interactive"], json!({ "type": "list_reply", "list_reply": reply }));
}

#[tokio::test]
async fn requests_for_place_and_number_and_links_are_shown() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::Username).await;
    let interactive = |kind: &str, action: Value| json!({ "type": kind, "body": { "text": "?" }, "action": action });
    let parameters = json!({ "display_text": "Go", "url": "https://example.com/" });
    let link = interactive("cta_url", json!({ "name": "cta_url", "parameters": parameters }));
    let url = ButtonView::Url { title: "Go".to_owned(), url: "https://example.com/".to_owned() };
    assert_eq!(shown(&bench, &phone, "interactive", link).await.buttons, [url]);
    let place = interactive("location_request_message", json!({ "name": "send_location" }));
    assert_eq!(shown(&bench, &phone, "interactive", place).await.buttons, [ButtonView::SendLocation]);
    let number = interactive("request_contact_info", json!({ "name": "request_contact_info" }));
    let bubble = shown(&bench, &phone, "interactive", number).await;
    let share = InboundKind::SharePhone { message_id: Some(bubble.id.clone()) };
    let answer = bench.simulator.post(&phone.id, share.into()).unwrap();
    bench.idle().await;
    let message = bench.message_of(&answer);
    assert_eq!((&message["type"], &message["context"]["id"]), (&json!("contacts"), &json!(bubble.id)));
    assert_eq!(message["contacts"][0]["origin"], "contact_request");
    assert_eq!(message["contacts"][0]["phones"][0]["wa_id"], phone.phone);
}

#[tokio::test]
async fn a_reaction_sits_on_its_bubble_and_is_only_ever_sent() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    let words = bench.simulator.say(&phone.id, "hello").unwrap();
    let reaction = |emoji: &str| bench.to(&phone, "reaction", json!({ "message_id": words, "emoji": emoji }));
    let wamid = bench.accepted(&reaction("👍")).await;
    bench.idle().await;
    assert_eq!(bench.ladder(&wamid), ["sent"]);
    let chat = bench.simulator.chat(&phone.id).unwrap();
    assert_eq!((chat.len(), chat[0].reactions[0].emoji.as_str()), (1, "👍"));
    bench.accepted(&reaction("")).await;
    assert!(bench.simulator.chat(&phone.id).unwrap()[0].reactions.is_empty());
    let unknown = bench.to(&phone, "reaction", json!({ "message_id": "wamid.unknown", "emoji": "👍" }));
    bench.fails_later(&unknown, 131_009).await;
}

#[tokio::test]
async fn reading_marks_earlier_messages_and_typing_ends() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    bench.simulator.say(&phone.id, "one").unwrap();
    let two = bench.simulator.say(&phone.id, "two").unwrap();
    bench.simulator.say(&phone.id, "three").unwrap();
    bench.idle().await;
    let mut events = bench.simulator.subscribe();
    let mut read = json!({ "messaging_product": "whatsapp", "status": "read", "message_id": two });
    read["typing_indicator"] = json!({ "type": "text" });
    assert_eq!(bench.send(&read).await, (200, json!({ "success": true })));
    let statuses: Vec<BubbleStatus> =
        bench.simulator.chat(&phone.id).unwrap().iter().map(|bubble| bubble.status).collect();
    assert_eq!(statuses, [BubbleStatus::Read, BubbleStatus::Read, BubbleStatus::Delivered]);
    assert!(bench.simulator.phone(&phone.id).unwrap().typing);
    bench.simulator.advance_clock(26);
    assert!(!bench.simulator.phone(&phone.id).unwrap().typing, "typing lasts 25 seconds");
    bench.send(&read).await;
    bench.accepted(&bench.to(&phone, "text", text("here it is"))).await;
    assert!(!bench.simulator.phone(&phone.id).unwrap().typing, "an answer ends it");
    let mut typing = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let simulator::SimEvent::Typing { on, .. } = event {
            typing.push(on);
        }
    }
    assert_eq!(typing, [true, false, true, false]);
    let unknown = json!({ "messaging_product": "whatsapp", "status": "read", "message_id": "wamid.unknown" });
    bench.refused(&unknown, 400, 100).await;
}

#[tokio::test]
async fn a_reply_keeps_its_context_and_the_log_keeps_every_call() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    let question = bench.simulator.say(&phone.id, "question").unwrap();
    let mut body = bench.to(&phone, "text", text("answer"));
    body["context"] = json!({ "message_id": question });
    let wamid = bench.accepted(&body).await;
    bench.refused(&json!({ "messaging_product": "whatsapp" }), 400, 100).await;
    assert_eq!(bench.simulator.chat(&phone.id).unwrap()[1].reply_to.as_deref(), Some(question.as_str()));
    let log = bench.simulator.graph_requests();
    assert_eq!(log.len(), 2);
    assert_eq!((log[0].accepted, log[0].status, log[0].wamid.as_deref()), (true, Some(200), Some(wamid.as_str())));
    assert_eq!((log[0].body.as_ref(), log[0].phone_id.as_deref()), (Some(&body), Some(phone.id.as_str())));
    assert_eq!((log[1].accepted, log[1].status), (false, Some(400)));
}

#[tokio::test]
async fn the_phone_number_node_tells_who_we_are() {
    let bench = bench().await;
    let (status, node) = bench.graph_get("106540352242922").await;
    assert_eq!((status, &node["display_phone_number"]), (200, &json!("+15550783881")));
    let (_, node) = bench.graph_get("106540352242922?fields=throughput,quality_rating").await;
    let expected = json!({ "id": "106540352242922", "throughput": { "level": "STANDARD" }, "quality_rating": "GREEN" });
    assert_eq!(node, expected);
}
