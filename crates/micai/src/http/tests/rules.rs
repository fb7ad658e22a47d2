//! Rules: the bodies of older clients, the bounds, and what is new.

use axum::http::StatusCode;
use serde_json::json;

use super::harness::{Platform, rule};

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

    let scheduled =
        json!({"id": "s", "agent_id": "a", "rule_type": "scheduled", "action": "reply_text", "prefix": null});
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
        (
            json!({"action": "shout"}),
            "body_invalid",
            "action",
            "expected one of `reply_text`, `call_weather`, `call_reminder`",
        ),
        (json!({"priority": 3_000_000_000_u64}), "body_invalid", "priority", "expected a whole number"),
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
        (
            json!({"rule_type": "regex", "keywords": [], "pattern": "a("}),
            "rule_pattern_invalid",
            "pattern",
            "at character",
        ),
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
    let full =
        platform.post("/admin/rules", rule("r5", "a", json!({"rule_type": "regex", "keywords": ["one more"]}))).await;
    assert!(full.problem(422, "agent_rules_limit")["detail"].as_str().unwrap().contains("100"), "{full:?}");
    platform.get("/admin/rules/r5").await.problem(404, "rule_not_found");
}
