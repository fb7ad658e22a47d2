//! Every refusal and failure that the reference names (§5), each provoked as a client would.

use serde_json::{Value, json};
use simulator::{PhoneKind, WindowRefusal};

use crate::bench::{Bench, answer, bench, bench_with, text};

#[tokio::test]
async fn a_wrong_token_is_190_and_none_is_200() {
    let bench = bench().await;
    let url = format!("{}/v25.0/106540352242922/messages", bench.simulator.url());
    let (status, body) = answer(bench.http.post(&url).bearer_auth("wrong").json(&json!({}))).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!(190)));
    assert_eq!(body["error"]["type"], "OAuthException");
    let (status, body) = answer(bench.http.post(&url).json(&json!({}))).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!(200)));
}

#[tokio::test]
async fn a_wrong_phone_number_id_is_100_with_subcode_33() {
    let bench = bench().await;
    let (status, body) = bench.graph("999/messages", &json!({})).await;
    assert_eq!((status, &body["error"]["code"], &body["error"]["error_subcode"]), (400, &json!(100), &json!(33)));
    let (status, body) = bench.graph_get("999").await;
    assert_eq!((status, &body["error"]["error_subcode"]), (400, &json!(33)));
}

#[tokio::test]
async fn bad_parameters_are_100() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::PhoneAndBsuid).await;
    let good = bench.to(&phone, "text", text("hi"));
    let with = |key: &str, value: Value| {
        let mut body = good.clone();
        body[key] = value;
        body
    };
    let without = |key: &str| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(key);
        body
    };
    let bad = [
        without("messaging_product"),
        with("messaging_product", json!("telegram")),
        without("to"),
        with("type", json!("hologram")),
        with("recipient_type", json!("crowd")),
        with("txet", json!("misspelt")),
        with("text", json!({ "body": "x".repeat(4_097) })),
        with("text", json!({ "body": 7 })),
        with("text", json!({ "body": "x", "boddy": "x" })),
        with("text", json!("x")),
        with("biz_opaque_callback_data", json!("x".repeat(513))),
        json!([]),
        bench.to(&phone, "image", json!({ "id": "404" })),
        bench.to(&phone, "image", json!({ "link": "file:///etc/passwd" })),
        bench.to(&phone, "audio", json!({ "link": "https://example.com/a.ogg", "caption": "no" })),
    ];
    for body in &bad {
        bench.refused(body, 400, 100).await;
    }
    let mut reaction = bench.to(&phone, "reaction", json!({ "message_id": "wamid.X", "emoji": "👍" }));
    reaction["context"] = json!({ "message_id": "wamid.X" });
    bench.refused(&reaction, 400, 100).await;
    assert_eq!(bench.send(&with("text", json!({ "body": "é".repeat(4_096) }))).await.0, 200, "characters, not bytes");
}

#[tokio::test]
async fn missing_parts_are_131008_and_bad_values_131009() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::PhoneAndBsuid).await;
    for (kind, payload) in [
        ("text", json!({})),
        ("text", json!({ "body": "" })),
        ("image", json!({ "caption": "no file" })),
        ("reaction", json!({ "message_id": "wamid.X" })),
        ("interactive", json!({ "type": "button", "body": { "text": "Ok?" } })),
        ("template", json!({ "language": { "code": "en_US" } })),
        ("location", json!({ "latitude": 1.0 })),
    ] {
        bench.refused(&bench.to(&phone, kind, payload), 400, 131_008).await;
    }
    for (kind, payload) in [
        ("location", json!({ "latitude": 91.0, "longitude": 0.0 })),
        ("image", json!({ "id": "1", "link": "https://example.com/x.png" })),
        ("contacts", json!([{ "name": { "formatted_name": "Ana" } }])),
        ("contacts", json!([])),
    ] {
        bench.refused(&bench.to(&phone, kind, payload), 400, 131_009).await;
    }
    let mut body = bench.to(&phone, "text", text("hi"));
    body["to"] = json!("not a number");
    bench.refused(&body, 400, 131_009).await;
}

#[tokio::test]
async fn interactive_limits_are_131009() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::Username).await;
    let button = |id: &str, title: &str| json!({ "type": "reply", "reply": { "id": id, "title": title } });
    let buttons =
        |items: Vec<Value>| json!({ "type": "button", "body": { "text": "?" }, "action": { "buttons": items } });
    let row = |id: String, title: &str| json!({ "id": id, "title": title });
    let list = |rows: Vec<Value>| json!({ "type": "list", "body": { "text": "?" }, "action": { "button": "Open", "sections": [{ "rows": rows }] } });
    let mut long_footer = buttons(vec![button("a", "A")]);
    long_footer["footer"] = json!({ "text": "x".repeat(61) });
    let mut image_header = list(vec![row("1".to_owned(), "One")]);
    image_header["header"] = json!({ "type": "image", "image": { "link": "https://example.com/x.png" } });
    let bad = [
        buttons(vec![]),
        buttons((0..4).map(|n| button(&n.to_string(), &n.to_string())).collect()),
        buttons(vec![button("a", &"x".repeat(21))]),
        buttons(vec![button(&"x".repeat(257), "A")]),
        buttons(vec![button("a", "Same"), button("b", "Same")]),
        long_footer,
        list(vec![]),
        list((0..11).map(|n| row(n.to_string(), "Row")).collect()),
        list(vec![row("1".to_owned(), &"x".repeat(25))]),
        list(vec![row("x".repeat(201), "Row")]),
        list(vec![row("1".to_owned(), "One"), row("1".to_owned(), "Two")]),
        image_header,
        json!({ "type": "cta_url", "body": { "text": "?" },
            "action": { "name": "cta_url", "parameters": { "display_text": "Go", "url": "javascript:alert(1)" } } }),
        json!({ "type": "hologram", "body": { "text": "?" }, "action": {} }),
    ];
    for payload in bad {
        bench.refused(&bench.to(&phone, "interactive", payload), 400, 131_009).await;
    }
    let sections: Vec<Value> = (0..2)
        .map(|s| json!({ "title": format!("S{s}"), "rows": (0..6).map(|n| row(format!("{s}{n}"), "Row")).collect::<Vec<_>>() }))
        .collect();
    let twelve =
        json!({ "type": "list", "body": { "text": "?" }, "action": { "button": "Open", "sections": sections } });
    bench.refused(&bench.to(&phone, "interactive", twelve), 400, 131_009).await;
}

#[tokio::test]
async fn writing_to_oneself_is_131021_and_to_a_stranger_fails_with_131026() {
    let bench = bench().await;
    let mut body = json!({ "messaging_product": "whatsapp", "to": "15550783881", "text": { "body": "me" } });
    bench.refused(&body, 400, 131_021).await;
    body["to"] = json!("4915112345678");
    let status = bench.fails_later(&body, 131_026).await;
    assert_eq!(status["recipient_id"], "4915112345678");
    let body = json!({ "messaging_product": "whatsapp", "recipient": "DE.nobody", "text": { "body": "x" } });
    let status = bench.fails_later(&body, 131_026).await;
    assert_eq!((&status["recipient_user_id"], status.get("recipient_id")), (&json!("DE.nobody"), None));
}

#[tokio::test]
async fn a_test_number_writes_to_its_list_only_131030() {
    let bench = bench_with(|config| config.recipient_allow_list = vec!["4915100000001".to_owned()]).await;
    let phone = bench.writing_phone(PhoneKind::Phone).await;
    bench.refused(&bench.to(&phone, "text", text("hi")), 400, 131_030).await;
}

#[tokio::test]
async fn groups_are_unknown_131041() {
    let bench = bench().await;
    let body =
        json!({ "messaging_product": "whatsapp", "recipient_type": "group", "to": "1203", "text": { "body": "x" } });
    bench.refused(&body, 400, 131_041).await;
}

#[tokio::test]
async fn the_window_closes_after_24_hours_131047() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::Username).await;
    let body = bench.to(&phone, "text", text("hello"));
    bench.simulator.advance_clock(24 * 3_600 - 60);
    bench.accepted(&body).await;
    bench.simulator.advance_clock(60);
    bench.fails_later(&body, 131_047).await;
    let template = bench.to(&phone, "template", json!({ "name": "hello_world", "language": { "code": "en_US" } }));
    let wamid = bench.accepted(&template).await;
    bench.idle().await;
    assert_eq!(bench.ladder(&wamid), ["sent", "delivered"], "templates may leave");
    bench.simulator.say(&phone.id, "I am back").unwrap();
    let wamid = bench.accepted(&body).await;
    bench.idle().await;
    assert_eq!(bench.ladder(&wamid), ["sent", "delivered"], "the window is open again");
}

#[tokio::test]
async fn the_window_can_refuse_at_once() {
    let bench = bench_with(|config| config.window_refusal = WindowRefusal::Answer).await;
    let phone = bench.phone(PhoneKind::Username);
    bench.refused(&bench.to(&phone, "text", text("hello")), 400, 131_047).await;
    assert!(bench.simulator.chat(&phone.id).unwrap().is_empty());
}

#[tokio::test]
async fn a_burst_to_one_person_is_131056_until_it_is_paid_off() {
    let bench = bench_with(|config| {
        config.enforce_pace = true;
        config.throughput_messages_per_second = 1_000;
    })
    .await;
    let phone = bench.writing_phone(PhoneKind::Username).await;
    let other = bench.writing_phone(PhoneKind::Phone).await;
    let body = bench.to(&phone, "text", text("hello"));
    // On a slow machine the six seconds of the burst end before its 45 messages.
    let (accepted, code) = burst(&bench, &body, 60).await;
    assert!((1..=45).contains(&accepted));
    assert_eq!(code, 131_056);
    let debt_seconds = i64::from(accepted) * 6;
    bench.accepted(&bench.to(&other, "text", text("others are not affected"))).await;
    bench.simulator.advance_clock(debt_seconds - 60);
    bench.refused(&body, 400, 131_056).await;
    bench.simulator.advance_clock(61);
    bench.accepted(&body).await;
}

#[tokio::test]
async fn more_than_the_number_carries_is_130429() {
    let bench = bench_with(|config| {
        config.enforce_pace = true;
        config.throughput_messages_per_second = 1;
    })
    .await;
    let phone = bench.phone(PhoneKind::Phone);
    let (accepted, code) = burst(&bench, &bench.to(&phone, "text", text("hello")), 50).await;
    assert!(accepted >= 1);
    assert_eq!(code, 130_429);
    bench.simulator.advance_clock(2);
    bench.accepted(&bench.to(&phone, "text", text("a moment later"))).await;
}

/// Sends until refused: how many were accepted, and the code of the refusal.
async fn burst(bench: &Bench, body: &Value, most: u32) -> (u32, u64) {
    for accepted in 0..most {
        let (status, answer) = bench.send(body).await;
        if status != 200 {
            return (accepted, answer["error"]["code"].as_u64().unwrap());
        }
    }
    panic!("nothing was refused");
}

#[tokio::test]
async fn an_authentication_template_to_a_user_id_is_131062() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::Username).await;
    let template = json!({
        "name": "sign_in_code", "language": { "code": "en_US" },
        "components": [{ "type": "body", "parameters": [{ "type": "text", "text": "123456" }] }],
    });
    let mut body = bench.to(&phone, "template", template);
    bench.refused(&body, 400, 131_062).await;
    body["to"] = json!(phone.phone);
    let wamid = bench.accepted(&body).await;
    bench.idle().await;
    assert_eq!(bench.statuses_of(&wamid)[0]["pricing"]["category"], "authentication");
}

#[tokio::test]
async fn unknown_paths_and_bad_json_are_refused_as_graph_errors() {
    let bench = bench().await;
    let (status, body) = answer(bench.http.get(format!("{}/nonsense/1", bench.simulator.url()))).await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!(2_500)));
    let url = format!("{}/v25.0/106540352242922/messages", bench.simulator.url());
    let request = bench.http.post(url).bearer_auth("simulator-access-token").body("{\"messaging_product\":");
    let (status, body) = answer(request).await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!(100)));
}
