//! Agents, and who is bound to them.

use axum::http::{StatusCode, header};
use serde_json::{Value, json};

use super::harness::{Platform, rule};

#[tokio::test]
async fn an_agent_lives_from_its_making_to_its_end() {
    let platform = Platform::start().await;
    let made = platform.post("/admin/agents", json!({"id": "help desk/1", "name": "Help"})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!((&made.json["stale_after_seconds"], &made.json["stale_policy"]), (&json!(21_600), &json!("apologise")));
    assert_eq!(made.json["fallback_reply"], Value::Null);
    let path = made.headers[header::LOCATION].to_str().unwrap().to_owned();
    assert_eq!(path, "/admin/agents/help%20desk%2F1");
    assert_eq!(platform.get(&path).await.ok(), &made.json);
    platform.post("/admin/agents", json!({"id": "help desk/1"})).await.problem(409, "agent_exists");

    let change = json!({"purpose": "Answers questions.", "fallback_reply": "Hm: {text}", "stale_policy": "ignore"});
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
        (
            json!({"id": "a", "stale_after_seconds": 59}),
            "agent_invalid",
            "stale_after_seconds",
            "between 60 and 2592000",
        ),
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
    // Whoever has written is bound where they wrote, and nowhere else.
    let before = platform.all("/admin/conversations", 100).await.len();
    platform.post("/admin/bind/15551234567/support", Value::Null).await.ok();
    assert_eq!(platform.all("/admin/conversations", 100).await.len(), before);
    platform.write("15559999999", &["hello"]).await.ok();
    let stranger = platform.conversation_of("15559999999").await;
    platform.post("/admin/bind/15559999999/default-agent", Value::Null).await.ok();
    assert_eq!(platform.all("/admin/conversations", 100).await.len(), before + 1);
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
