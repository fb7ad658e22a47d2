//! Templates: sent, refused, listed, created, decided about.

use serde_json::{Value, json};
use simulator::{ButtonView, InboundKind, PhoneKind};

use crate::bench::{answer, bench};

fn used(name: &str, language: &str, parameters: Value) -> Value {
    json!({
        "name": name, "language": { "code": language },
        "components": [{ "type": "body", "parameters": parameters }],
    })
}

fn words(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn named(name: &str, text: &str) -> Value {
    json!({ "type": "text", "parameter_name": name, "text": text })
}

#[tokio::test]
async fn positional_and_named_templates_are_rendered() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    let reminder = used("reminder", "en_US", json!([words("Ana"), words("dentist")]));
    let (status, reply) = bench.send(&bench.to(&phone, "template", reminder)).await;
    assert_eq!((status, &reply["messages"][0]["message_status"]), (200, &json!("accepted")));
    let order = used("order_ready", "pt_BR", json!([named("order", "77"), named("first_name", "Ana")]));
    let wamid = bench.accepted(&bench.to(&phone, "template", order)).await;
    bench.idle().await;
    let chat = bench.simulator.chat(&phone.id).unwrap();
    assert_eq!(chat[0].text, "Hi Ana, this is your reminder: dentist. Have a good day.");
    assert_eq!(chat[1].text, "Olá Ana, seu pedido 77 está pronto para retirada.");
    assert_eq!(chat[1].buttons[0], ButtonView::QuickReply { index: 0, title: "Yes".to_owned() });
    assert_eq!(bench.statuses_of(&wamid)[0]["pricing"]["category"], "utility");
    assert_eq!(bench.statuses_of(&wamid)[0]["pricing"]["type"], "regular");
}

#[tokio::test]
async fn a_quick_reply_answers_with_the_payload_it_was_sent_with() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    let mut order = used("order_ready", "pt_BR", json!([named("order", "77"), named("first_name", "Ana")]));
    let button = json!({ "type": "button", "sub_type": "quick_reply", "index": "1",
        "parameters": [{ "type": "payload", "payload": "order:77:no" }] });
    order["components"].as_array_mut().unwrap().push(button);
    let wamid = bench.accepted(&bench.to(&phone, "template", order)).await;
    let tap =
        |index, without_context| InboundKind::TemplateButton { message_id: wamid.clone(), index, without_context };
    let no = bench.simulator.post(&phone.id, tap(1, false).into()).unwrap();
    let yes = bench.simulator.post(&phone.id, tap(0, true).into()).unwrap();
    bench.idle().await;
    assert_eq!(bench.message_of(&no)["button"], json!({ "payload": "order:77:no", "text": "No" }));
    assert_eq!(bench.message_of(&no)["context"]["id"], wamid);
    assert_eq!(bench.message_of(&yes)["button"], json!({ "payload": "Yes", "text": "Yes" }));
    assert!(bench.message_of(&yes).get("context").is_none());
}

#[tokio::test]
async fn templates_that_do_not_fit_are_refused_with_their_codes() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    let image = json!({ "type": "image", "image": { "link": "https://example.com/x.png" } });
    let one = json!([words("Ana")]);
    let cases = [
        (used("unknown", "en_US", json!([])), 404, 132_001),
        (used("reminder", "fr", one.clone()), 404, 132_001),
        (used("reminder", "en_US", one.clone()), 400, 132_000),
        (used("hello_world", "en_US", one), 400, 132_000),
        (used("order_ready", "pt_BR", json!([named("order", "1"), named("order", "2")])), 400, 132_000),
        (used("order_ready", "pt_BR", json!([words("77"), words("Ana")])), 400, 132_012),
        (used("reminder", "en_US", json!([named("1", "a"), named("2", "b")])), 400, 132_012),
        (used("reminder", "en_US", json!([words("Ana"), image])), 400, 132_012),
        (used("reminder", "en_US", json!([words("Ana"), words("two\nlines")])), 400, 132_018),
        (used("reminder", "en_US", json!([words("Ana"), words(&"x".repeat(1_024))])), 400, 132_005),
        (used("reminder", "en_US", json!([words("Ana"), words("")])), 400, 131_008),
    ];
    for (payload, status, code) in cases {
        bench.refused(&bench.to(&phone, "template", payload), status, code).await;
    }
    let mut button = used("hello_world", "en_US", json!([]));
    button["components"] = json!([{ "type": "button", "sub_type": "quick_reply", "index": 0, "parameters": [] }]);
    bench.refused(&bench.to(&phone, "template", button), 400, 132_012).await;
}

#[tokio::test]
async fn paused_disabled_and_rejected_templates_are_refused_and_announced() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    let hello = bench.to(&phone, "template", json!({ "name": "hello_world", "language": { "code": "en_US" } }));
    for (state, status, code) in [("PAUSED", 400, 132_015), ("DISABLED", 400, 132_016), ("REJECTED", 404, 132_001)] {
        let (given, view) = bench.sim("POST", "templates/hello_world/status", &json!({ "status": state })).await;
        assert_eq!((given, &view["status"]), (200, &json!(state)));
        bench.refused(&hello, status, code).await;
    }
    bench.idle().await;
    let events: Vec<Value> = bench.values().iter().map(|value| value["event"].clone()).collect();
    assert_eq!(events.len(), 3);
    assert!(["PAUSED", "DISABLED", "REJECTED"].iter().all(|state| events.contains(&json!(state))));
    assert!(bench.values()[0]["message_template_id"].is_u64(), "an integer in webhooks");
    assert!(bench.received()[0].body["entry"][0]["time"].is_i64());
    bench.sim("POST", "templates/hello_world/status", &json!({ "status": "APPROVED" })).await;
    bench.accepted(&hello).await;
}

#[tokio::test]
async fn the_list_comes_in_pages() {
    let bench = bench().await;
    let mut names = Vec::new();
    let mut path = "102290129340398/message_templates?limit=2&fields=name,status".to_owned();
    loop {
        let (status, page) = bench.graph_get(&path).await;
        assert_eq!(status, 200, "{page}");
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= 2 && data.iter().all(|node| node.get("components").is_none() && node["id"].is_string()));
        names.extend(data.iter().map(|node| node["name"].as_str().unwrap().to_owned()));
        if page["paging"].get("next").is_none() {
            break;
        }
        let after = page["paging"]["cursors"]["after"].as_str().unwrap();
        path = format!("102290129340398/message_templates?limit=2&fields=name,status&after={after}");
    }
    assert_eq!(names, ["hello_world", "reminder", "order_ready", "spring_offer", "sign_in_code"]);
    let (_, page) = bench.graph_get("102290129340398/message_templates?category=MARKETING").await;
    assert_eq!(page["data"].as_array().unwrap().len(), 1);
    assert_eq!(page["data"][0]["parameter_format"], "POSITIONAL");
}

#[tokio::test]
async fn a_new_template_is_reviewed_then_usable_then_deleted() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    let created = json!({
        "name": "parcel", "language": "en_US", "category": "UTILITY", "parameter_format": "NAMED",
        "components": [{ "type": "BODY", "text": "Dear {{who}}, your parcel is here.",
            "example": { "body_text_named_params": [{ "param_name": "who", "example": "Ana" }] } }],
    });
    let (status, reply) = bench.graph("102290129340398/message_templates", &created).await;
    assert_eq!((status, &reply["status"], &reply["category"]), (200, &json!("PENDING"), &json!("UTILITY")));
    assert!(reply["id"].is_string());
    bench.idle().await;
    let value = bench.values()[0].clone();
    assert_eq!((&value["event"], &value["message_template_name"]), (&json!("APPROVED"), &json!("parcel")));
    let use_it = bench.to(&phone, "template", used("parcel", "en_US", json!([named("who", "Ana")])));
    bench.accepted(&use_it).await;
    let (status, reply) = bench.graph("102290129340398/message_templates", &created).await;
    assert_eq!((status, &reply["error"]["error_subcode"]), (400, &json!(2_388_024)), "it exists already");
    let url = format!("{}/v25.0/102290129340398/message_templates?name=parcel", bench.simulator.url());
    let delete = || bench.http.delete(&url).bearer_auth("simulator-access-token");
    assert_eq!(answer(delete()).await, (200, json!({ "success": true })));
    assert_eq!(answer(delete()).await.0, 400);
    bench.refused(&use_it, 404, 132_001).await;
}

#[tokio::test]
async fn badly_made_templates_are_refused() {
    let bench = bench().await;
    let body = |text: &str, example: bool| {
        let mut body = json!({ "type": "BODY", "text": text });
        if example {
            body["example"] = json!({ "body_text": [["a"]] });
        }
        body
    };
    let make = |name: &str, components: Value| json!({ "name": name, "language": "en_US", "category": "UTILITY", "components": components });
    let cases = [
        (make("Bad Name", json!([body("hello", false)])), 0),
        (make("no_body", json!([{ "type": "FOOTER", "text": "bye" }])), 2_388_073),
        (make("edge", json!([body("{{1}} is here now", true)])), 2_388_299),
        (make("gap", json!([body("this is {{2}} for you", true)])), 2_388_073),
        (make("dominated", json!([body("a {{1}} {{2}} {{3}} b", true)])), 2_388_293),
        (make("no_example", json!([body("this is {{1}} for you", false)])), 2_388_043),
        (make("long", json!([body(&"x".repeat(1_025), false)])), 2_388_073),
    ];
    for (template, subcode) in cases {
        let (status, reply) = bench.graph("102290129340398/message_templates", &template).await;
        assert_eq!((status, &reply["error"]["code"]), (400, &json!(100)), "{template}");
        if subcode != 0 {
            assert_eq!(reply["error"]["error_subcode"], json!(subcode), "{template} gave {reply}");
        }
    }
}

#[tokio::test]
async fn quality_category_and_words_change_with_the_webhooks_that_tell_so() {
    let bench = bench().await;
    let (status, view) = bench.sim("POST", "templates/reminder/quality", &json!({ "quality": "RED" })).await;
    assert_eq!((status, &view["quality"]), (200, &json!("RED")));
    let announced = json!({ "category": "MARKETING", "only_announced": true });
    let (_, view) = bench.sim("POST", "templates/reminder/category", &announced).await;
    assert_eq!(view["category"], "UTILITY", "not yet");
    let (_, view) = bench.sim("POST", "templates/reminder/category", &json!({ "category": "MARKETING" })).await;
    assert_eq!(view["category"], "MARKETING");
    let words = json!({ "text": "Hi {{1}}, think of {{2}}. Bye." });
    assert_eq!(bench.sim("POST", "templates/reminder/body", &words).await.0, 200);
    bench.idle().await;
    let values = bench.values();
    let find = |key: &str| values.iter().filter(|value| value.get(key).is_some()).cloned().collect::<Vec<Value>>();
    assert_eq!(find("new_quality_score")[0]["previous_quality_score"], "UNKNOWN");
    let categories = find("new_category");
    let announcement = categories.iter().find(|value| value.get("correct_category").is_some()).unwrap();
    assert_eq!(
        (&announcement["new_category"], &announcement["correct_category"]),
        (&json!("UTILITY"), &json!("MARKETING"))
    );
    let change = categories.iter().find(|value| value.get("previous_category").is_some()).unwrap();
    assert_eq!((&change["previous_category"], &change["new_category"]), (&json!("UTILITY"), &json!("MARKETING")));
    assert_eq!(find("message_template_element")[0]["message_template_element"], words["text"]);
    let (_, page) = bench.graph_get("102290129340398/message_templates?name=reminder").await;
    assert_eq!(page["data"][0]["quality_score"]["score"], "RED");
    assert_eq!(page["data"][0]["components"][0]["text"], words["text"]);

    for (path, body, status) in [
        ("templates/reminder/quality", json!({ "quality": "PURPLE" }), 400),
        ("templates/reminder/category", json!({ "category": "OTHER" }), 400),
        ("templates/nobody/quality", json!({ "quality": "RED" }), 404),
        ("templates/nobody/body", json!({ "text": "a" }), 404),
    ] {
        assert_eq!(bench.sim("POST", path, &body).await.0, status, "{path} {body}");
    }
}

#[tokio::test]
async fn calls_about_templates_fail_when_a_fault_asks_for_it() {
    let bench = bench().await;
    let fault = json!({ "on": "templates", "kind": "error", "code": 190 });
    bench.sim("POST", "faults", &fault).await;
    let (status, reply) = bench.graph_get("102290129340398/message_templates").await;
    assert_eq!((status, &reply["error"]["code"]), (401, &json!(190)), "{reply}");
    assert_eq!(bench.graph_get("102290129340398/message_templates").await.0, 200, "once");
    let senseless = json!({ "on": "templates", "kind": "duplicate" });
    assert_eq!(bench.sim("POST", "faults", &senseless).await.0, 400);
}
