//! Agents, rules, bindings, conversations and the ledger.

use axum::http::{StatusCode, header};
use serde_json::{Value, json};

use super::harness::{PAGE_ROWS_MAX, Platform, rule};

#[tokio::test]
async fn a_rule_of_an_older_client_is_saved_with_its_defaults() {
    let platform = Platform::start().await;
    let body = json!({"id": "r1", "agent_id": "new-agent", "rule_type": "keyword", "action": "reply_text",
                      "keywords": ["weather"]});
    assert_eq!(platform.post("/admin/rules", body).await.ok(), &json!({"status": "ok", "rule_id": "r1"}));
    assert_eq!(
        platform.get("/admin/rules/r1").await.ok(),
        &json!({"id": "r1", "agent_id": "new-agent", "rule_type": "keyword", "enabled": true, "priority": 100,
                "keywords": ["weather"], "whole_word": false, "prefix": null, "action": "reply_text", "reply_text": ""})
    );
    let full = json!({"id": "r1", "agent_id": "default-agent", "rule_type": "prefix", "enabled": false, "priority": -5,
                      "keywords": [], "prefix": "forecast", "action": "call_weather", "reply_text": "x"});
    platform.post("/admin/rules", full).await.ok();
    let replaced = platform.get("/admin/rules/r1").await;
    assert_eq!((&replaced.ok()["prefix"], &replaced.json["agent_id"]), (&json!("forecast"), &json!("default-agent")));
    assert_eq!(platform.get("/admin/agents/new-agent").await.ok()["id"], "new-agent", "the agent was made");

    let scheduled = json!({"id": "s", "agent_id": "a", "rule_type": "scheduled", "action": "reply_text", "prefix": null});
    platform.post("/admin/rules", scheduled).await.ok();
    let regex = rule("re", "a", json!({"rule_type": "regex", "keywords": ["a+", "b"]}));
    platform.post("/admin/rules", regex).await.ok();
    let one = rule("re1", "a", json!({"rule_type": "regex", "keywords": [], "pattern": "^c"}));
    platform.post("/admin/rules", one).await.ok();
    assert_eq!(platform.get("/admin/rules/re1").await.ok()["keywords"], json!(["^c"]));

    assert_eq!(platform.admin("DELETE", "/admin/rules/r1", "").await.status, StatusCode::NO_CONTENT);
    platform.get("/admin/rules/r1").await.problem(404, "rule_not_found");
    platform.admin("DELETE", "/admin/rules/r1", "").await.problem(404, "rule_not_found");
}

#[tokio::test]
async fn a_rule_that_does_not_fit_is_refused_by_name_and_bound() {
    let platform = Platform::start().await;
    let long = "x".repeat(129);
    for (more, code, field, message) in [
        (json!({"colour": 1}), "body_invalid", "colour", "is not known here"),
        (json!({"rule_type": "odd"}), "body_invalid", "rule_type", "expected one of `keyword`"),
        (json!({"action": "shout"}), "body_invalid", "action", "expected `reply_text` or `call_weather`"),
        (json!({"priority": 3_000_000_000_u64}), "body_invalid", "priority", "expected i32"),
        (json!({"id": long}), "rule_field_too_long", "id", "at most 128"),
        (json!({"id": " "}), "rule_field_empty", "id", "is empty"),
        (json!({"agent_id": "a\u{0}b"}), "rule_control_character", "agent_id", "U+0000"),
        (json!({"keywords": []}), "rule_field_missing", "keywords", "needs `keywords`"),
        (json!({"keywords": ["a", " "]}), "rule_field_empty", "keywords[1]", "is empty"),
        (json!({"keywords": vec!["a"; 10_001]}), "rule_list_too_long", "keywords", "at most 10000"),
        (json!({"keywords": ["x".repeat(201)]}), "rule_field_too_long", "keywords[0]", "at most 200"),
        (json!({"reply_text": "x".repeat(4_097)}), "rule_field_too_long", "reply_text", "at most 4096"),
        (json!({"priority": 1_000_001}), "rule_priority_out_of_range", "priority", "1000000"),
        (json!({"rule_type": "prefix"}), "rule_field_missing", "prefix", "needs `prefix`"),
        (json!({"rule_type": "regex", "keywords": ["a("]}), "rule_pattern_invalid", "keywords[0]", "at character"),
        (json!({"rule_type": "regex", "pattern": "b"}), "rule_pattern_misplaced", "pattern", "one of the two"),
        (json!({"pattern": "b"}), "rule_pattern_misplaced", "pattern", "regex only"),
    ] {
        let answer = platform.post("/admin/rules", rule("r", "a", more.clone())).await;
        let problem = answer.problem(422, code);
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
        assert!(problem["errors"][0]["message"].as_str().unwrap().contains(message), "{problem}");
    }
    let two = platform.post("/admin/rules", rule("", "a", json!({"priority": 1_000_001}))).await;
    assert_eq!(two.problem(422, "rule_field_empty")["errors"].as_array().unwrap().len(), 2);
    assert!(two.json["detail"].as_str().unwrap().contains("all 2 faults"), "{two:?}");
    for missing in ["id", "agent_id", "rule_type", "action"] {
        let mut body = rule("r", "a", json!({}));
        body.as_object_mut().unwrap().remove(missing);
        let answer = platform.post("/admin/rules", body).await;
        assert_eq!(answer.problem(422, "body_invalid")["errors"], json!([{"field": missing, "message": "is missing"}]));
    }
    platform.admin("POST", "/admin/rules", "{").await.problem(400, "body_not_json");
    platform.admin("POST", "/admin/rules", " ".repeat(1_048_577)).await.problem(413, "body_too_large");
    assert_eq!(platform.get("/admin/rules").await.ok()["items"], json!([]), "nothing of it was saved");
}

#[tokio::test]
async fn an_agent_has_room_for_so_many_expressions() {
    let platform = Platform::start().await;
    for number in 0..5 {
        let patterns: Vec<String> = (0..20).map(|place| format!("p{number}x{place}")).collect();
        let body = rule(&format!("r{number}"), "a", json!({"rule_type": "regex", "keywords": patterns}));
        platform.post("/admin/rules", body).await.ok();
    }
    let full = platform.post("/admin/rules", rule("r5", "a", json!({"rule_type": "regex", "keywords": ["one more"]}))).await;
    assert!(full.problem(422, "agent_rules_limit")["detail"].as_str().unwrap().contains("100"), "{full:?}");
    platform.get("/admin/rules/r5").await.problem(404, "rule_not_found");
}

#[tokio::test]
async fn an_agent_lives_from_its_making_to_its_end() {
    let platform = Platform::start().await;
    let made = platform.post("/admin/agents", json!({"id": "help desk/1", "name": "Help"})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!((&made.json["stale_after_seconds"], &made.json["stale_policy"]), (&json!(21_600), &json!("ignore")));
    assert_eq!(made.json["fallback_reply"], Value::Null);
    let path = made.headers[header::LOCATION].to_str().unwrap().to_owned();
    assert_eq!(path, "/admin/agents/help%20desk%2F1");
    assert_eq!(platform.get(&path).await.ok(), &made.json);
    platform.post("/admin/agents", json!({"id": "help desk/1"})).await.problem(409, "agent_exists");

    let change = json!({"purpose": "Answers questions.", "fallback_reply": "Hm: {text}", "stale_policy": "apologise"});
    let changed = platform.admin("PUT", &path, change.to_string()).await;
    assert_eq!((&changed.ok()["purpose"], &changed.json["name"]), (&json!("Answers questions."), &json!("")));
    assert!(changed.json["version"].as_i64() > made.json["version"].as_i64());
    platform.admin("PUT", "/admin/agents/nobody", "{}").await.problem(404, "agent_not_found");

    platform.post("/admin/rules", rule("r", "help desk/1", json!({}))).await.ok();
    assert_eq!(platform.admin("DELETE", &path, "").await.status, StatusCode::NO_CONTENT);
    platform.get("/admin/rules/r").await.problem(404, "rule_not_found");
    platform.get(&path).await.problem(404, "agent_not_found");
    platform.admin("DELETE", &path, "").await.problem(404, "agent_not_found");
    platform.admin("DELETE", "/admin/agents/default-agent", "").await.problem(409, "default_agent_stays");
}

#[tokio::test]
async fn an_agent_that_does_not_fit_is_refused_by_name_and_bound() {
    let platform = Platform::start().await;
    for (body, code, field, message) in [
        (json!({"id": "a", "colour": 1}), "body_invalid", "colour", "is not known here"),
        (json!({}), "body_invalid", "id", "is missing"),
        (json!({"id": ""}), "agent_id_invalid", "id", "is empty"),
        (json!({"id": "x".repeat(129)}), "agent_id_invalid", "id", "at most 128"),
        (json!({"id": "a\nb"}), "agent_id_invalid", "id", "control character"),
        (json!({"id": "a", "name": "x".repeat(201)}), "agent_invalid", "name", "at most 200"),
        (json!({"id": "a", "purpose": "x".repeat(2_001)}), "agent_invalid", "purpose", "at most 2000"),
        (json!({"id": "a", "persona": "x".repeat(8_001)}), "agent_invalid", "persona", "at most 8000"),
        (json!({"id": "a", "persona": "\u{0}"}), "agent_invalid", "persona", "U+0000"),
        (json!({"id": "a", "fallback_reply": "x".repeat(4_097)}), "agent_invalid", "fallback_reply", "at most 4096"),
        (json!({"id": "a", "stale_after_seconds": 59}), "agent_invalid", "stale_after_seconds", "between 60 and 2592000"),
        (json!({"id": "a", "stale_after_seconds": 2_592_001}), "agent_invalid", "stale_after_seconds", "is 2592001"),
        (json!({"id": "a", "stale_policy": "panic"}), "body_invalid", "stale_policy", "`ignore` or `apologise`"),
    ] {
        let answer = platform.post("/admin/agents", body).await;
        let problem = answer.problem(422, code);
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
        assert!(problem["errors"][0]["message"].as_str().unwrap().contains(message), "{problem}");
    }
    let put = platform.admin("PUT", "/admin/agents/default-agent", r#"{"id": "default-agent"}"#).await;
    assert_eq!(put.problem(422, "body_invalid")["errors"][0]["field"], "id");
    platform.get(&format!("/admin/agents/{}", "x".repeat(129))).await.problem(422, "agent_id_invalid");
    platform.get("/admin/agents/%FF").await.problem(404, "path_invalid");
}

#[tokio::test]
async fn lists_are_walked_to_their_end_in_pages() {
    let platform = Platform::start().await;
    for number in 0..5 {
        platform.post("/admin/rules", rule(&format!("r{number}"), "default-agent", json!({}))).await.ok();
        platform.post("/admin/rules", rule(&format!("q{number}"), &format!("agent-{number}"), json!({}))).await.ok();
        platform.write(&format!("1555000000{number}"), &["one", "two", "three"]).await.ok();
        let conversation = platform.conversation_of(&format!("1555000000{number}")).await;
        platform.answer(conversation, &["reply"]).await;
    }
    let conversation = platform.conversation_of("15550000000").await.0;
    for (list, count) in [
        ("/admin/agents".to_owned(), 6),
        ("/admin/rules".to_owned(), 10),
        ("/admin/rules?agent_id=default-agent".to_owned(), 5),
        ("/admin/rules?agent_id=nobody".to_owned(), 0),
        ("/admin/conversations".to_owned(), 5),
        (format!("/admin/conversations/{conversation}/messages"), 4),
        ("/admin/outbound".to_owned(), 5),
        ("/admin/outbound?state=queued".to_owned(), 5),
        ("/admin/outbound?state=delivered".to_owned(), 0),
    ] {
        let whole = platform.all(&list, PAGE_ROWS_MAX).await;
        assert_eq!(whole.len(), count, "{list}");
        for limit in 1..=4 {
            assert_eq!(platform.all(&list, limit).await, whole, "{list} in pages of {limit}");
        }
    }
    let ids: Vec<Value> = platform.all("/admin/rules", 3).await.iter().map(|rule| rule["id"].clone()).collect();
    assert_eq!(ids, ["q0", "q1", "q2", "q3", "q4", "r0", "r1", "r2", "r3", "r4"]);
}

#[tokio::test]
async fn pages_and_filters_that_do_not_fit_are_refused_by_name() {
    let platform = Platform::start().await;
    let lists = ["agents", "rules", "conversations", "outbound"];
    for list in lists {
        for (query, code, field) in [
            ("limit=0", "limit_out_of_range", "limit"),
            ("limit=101", "limit_out_of_range", "limit"),
            ("limit=-1", "query_invalid", "limit"),
            ("limit=many", "query_invalid", "limit"),
            ("limits=1", "query_invalid", "limits"),
            ("cursor=zz", "cursor_invalid", "cursor"),
            ("cursor=", "cursor_invalid", "cursor"),
        ] {
            let answer = platform.get(&format!("/admin/{list}?{query}")).await;
            let problem = answer.problem(400, code);
            assert_eq!(problem["errors"][0]["field"], field, "{list}?{query}: {problem}");
        }
        platform.get(&format!("/admin/{list}?limit=100")).await.ok();
    }
    let state = platform.get("/admin/outbound?state=lost").await;
    let problem = state.problem(400, "query_invalid");
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("`suppressed`"), "{problem}");
    platform.get(&format!("/admin/rules?agent_id={}", "x".repeat(129))).await.problem(422, "agent_id_invalid");
}

#[tokio::test]
async fn a_person_is_bound_before_and_after_they_write() {
    let platform = Platform::start().await;
    for wa_id in ["%2B15551234567", "15551234567", "BR.88123", "BR.ENT.7"] {
        let answer = platform.post(&format!("/admin/bind/{wa_id}/support"), Value::Null).await;
        let asked = wa_id.replace("%2B", "+");
        assert_eq!(answer.ok(), &json!({"status": "ok", "wa_id": asked, "agent_id": "support"}));
    }
    platform.get("/admin/agents/support").await.ok();
    assert_eq!(platform.all("/admin/conversations", 100).await.len(), 3, "the two spellings of a phone are one person");

    // They write to a number that nobody had configured: the binding counts there, too.
    platform.write("15551234567", &["hello"]).await.ok();
    let conversation = platform.conversation_of("15551234567").await;
    assert_eq!(platform.claim(conversation).await.agent_id.as_str(), "support");
    platform.write("15559999999", &["hello"]).await.ok();
    let stranger = platform.conversation_of("15559999999").await;
    assert_eq!(platform.claim(stranger).await.agent_id.as_str(), "default-agent");

    platform.admin("POST", "/admin/bind/15551234567/sales", "").await.ok();
    let bound = platform.get(&format!("/admin/conversations/{}", conversation.0)).await;
    assert_eq!(bound.ok()["agent_id"], "sales");
    for wa_id in ["1234", "+", "hello", "br.1", "BR.", "%00", "123456789012345678901"] {
        let answer = platform.admin("POST", &format!("/admin/bind/{wa_id}/support"), "").await;
        assert_eq!(answer.problem(422, "wa_id_invalid")["errors"][0]["field"], "wa_id");
    }
    let long = "x".repeat(129);
    platform.admin("POST", &format!("/admin/bind/15551234567/{long}"), "").await.problem(422, "agent_id_invalid");
}

#[tokio::test]
async fn a_conversation_is_read_from_its_list_to_one_message() {
    let platform = Platform::start().await;
    platform.write("15551234567", &["michael: weather"]).await.ok();
    let id = platform.conversation_of("15551234567").await;
    let sends = platform.answer(id, &["sunny", "and warm"]).await;
    let detail = platform.get(&format!("/admin/conversations/{}", id.0)).await;
    assert_eq!(detail.ok()["addresses"], json!({"phone": "15551234567"}));
    assert_eq!((&detail.json["name"], &detail.json["mode"]), (&json!("Ana"), &json!("bot")));

    let transcript = platform.get(&format!("/admin/conversations/{}/messages", id.0)).await.ok()["items"].clone();
    let lines: Vec<(&str, &Value)> = transcript
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["direction"].as_str().unwrap(), if line["direction"] == "in" { &line["text"] } else { &line["body"]["text"] }))
        .collect();
    assert_eq!(lines, [("out", &json!("and warm")), ("out", &json!("sunny")), ("in", &json!("michael: weather"))]);

    let message = transcript[2]["id"].as_str().unwrap();
    let timeline = platform.get(&format!("/admin/conversations/{}/messages/{message}", id.0)).await;
    let stations: Vec<&str> =
        timeline.ok()["stations"].as_array().unwrap().iter().map(|station| station["what"].as_str().unwrap()).collect();
    assert_eq!(stations, ["received", "claimed", "decided", "outbox", "outbox"]);
    assert_eq!(timeline.json["stations"][2]["detail"]["rule_id"], "r");
    assert_eq!(timeline.json["message"]["state"], "done");

    let nowhere = "00000000-0000-0000-0000-000000000001";
    platform.get(&format!("/admin/conversations/{nowhere}")).await.problem(404, "conversation_not_found");
    platform.get(&format!("/admin/conversations/{nowhere}/messages")).await.problem(404, "conversation_not_found");
    platform.get(&format!("/admin/conversations/{nowhere}/messages/{message}")).await.problem(404, "conversation_not_found");
    let ours = format!("/admin/conversations/{}/messages/{}", id.0, sends[0].0);
    platform.get(&ours).await.problem(404, "message_not_found");
    for path in ["conversations/7", "conversations/7/messages", "outbound/7", "outbound/%FF"] {
        platform.get(&format!("/admin/{path}")).await.problem(404, "path_invalid");
    }
}

#[tokio::test]
async fn the_ledger_shows_what_a_dry_run_would_have_sent() {
    let platform = Platform::start().await;
    platform.write("15551234567", &["michael: weather"]).await.ok();
    let conversation = platform.conversation_of("15551234567").await;
    let sends = platform.answer(conversation, &["sunny", "and warm"]).await;
    let request = json!({"messaging_product": "whatsapp", "to": "15551234567", "text": {"body": "sunny"}});
    platform.suppress_next(conversation, request.clone()).await;

    let suppressed = platform.get("/admin/outbound?state=suppressed").await.ok()["items"].clone();
    assert_eq!(suppressed.as_array().unwrap().len(), 1);
    let send = &suppressed[0];
    assert_eq!((&send["id"], &send["request"]), (&json!(sends[0].0), &request));
    for field in ["id", "conversation_id", "to", "kind", "body", "state", "attempts", "error", "provider_message_id", "created_at"] {
        assert!(send.get(field).is_some(), "{field} is missing in {send}");
    }
    assert_eq!((&send["to"], &send["kind"], &send["attempts"]), (&json!("15551234567"), &json!("text"), &json!(0)));
    assert_eq!(platform.get(&format!("/admin/outbound/{}", sends[0].0)).await.ok(), send);
    let queued = platform.get("/admin/outbound?state=queued").await;
    assert_eq!(queued.ok()["items"][0]["id"], json!(sends[1].0));
    platform.get("/admin/outbound/00000000-0000-0000-0000-000000000001").await.problem(404, "outbound_not_found");
}
