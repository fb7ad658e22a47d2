//! Explanations: the same answer as a real turn, with its reasons.

use serde_json::{Value, json};

use super::harness::{Platform, rule};

async fn explain(platform: &Platform, text: &str) -> Value {
    platform.post("/admin/agents/support/try", json!({ "text": text })).await.ok().clone()
}

async fn with_rules(rules: &[Value]) -> Platform {
    let platform = Platform::start().await;
    for rule in rules {
        platform.post("/admin/rules", rule.clone()).await.ok();
    }
    platform
}

#[tokio::test]
async fn every_match_is_listed_in_order_and_the_first_wins() {
    let platform = with_rules(&[
        rule("b-late", "support", json!({"priority": 200})),
        rule("c-same", "support", json!({"priority": 10, "keywords": ["please"]})),
        rule("b-same", "support", json!({"priority": 10, "whole_word": true, "reply_text": "It is sunny."})),
        rule("a-off", "support", json!({"priority": 1, "enabled": false})),
        rule("d-regex", "support", json!({"rule_type": "regex", "keywords": [], "pattern": "w.ather", "priority": 20})),
        rule("other", "other-agent", json!({"priority": 1})),
    ])
    .await;
    let explained = explain(&platform, "  MICHAEL:   Ｗｅａｔｈｅｒ please").await;
    assert_eq!(explained["agent_id"], "support");
    assert_eq!(explained["normalised"], "michael: weather please");
    assert_eq!(explained["gate"], json!({"outcome": "passed", "prefix": "michael:"}));
    let order: Vec<&str> =
        explained["matches"].as_array().unwrap().iter().map(|one| one["rule_id"].as_str().unwrap()).collect();
    assert_eq!(order, ["b-same", "c-same", "d-regex", "b-late"]);
    assert_eq!(explained["matches"][0]["on"], json!({"kind": "whole_word", "text": "weather"}));
    assert_eq!(explained["matches"][0]["because"], "the text contains the word `weather`");
    assert_eq!(explained["matches"][2]["on"], json!({"kind": "regex", "pattern": "w.ather", "text": "weather"}));
    assert_eq!(explained["matches_cut"], false);
    assert_eq!(explained["winner"]["rule_id"], "b-same");
    assert_eq!(
        explained["winner"]["because"],
        "the text contains the word `weather`; `c-same` also matches with the same priority 10, and its id comes later"
    );
    assert_eq!(explained["decision"]["decision"], "rule");
    assert_eq!(explained["reply"], "It is sunny.");
    assert_eq!(explained["reason"], "The rule `b-same` answers.");

    platform.admin("DELETE", "/admin/rules/c-same", "").await;
    let explained = explain(&platform, "/ask weather").await;
    assert_eq!(
        explained["winner"]["because"],
        "the text contains the word `weather`; its priority 10 is asked before 20 of `d-regex`, the next that matches"
    );
}

#[tokio::test]
async fn silence_is_explained_as_well() {
    let platform = with_rules(&[
        rule("weather", "support", json!({})),
        rule("mute", "support", json!({"keywords": ["quiet"], "reply_text": ""})),
        rule("sky", "support", json!({"keywords": ["sky"], "reply_text": "", "action": "call_weather"})),
    ])
    .await;
    for (text, decision, reply, reason) in [
        ("weather", "not_invoked", None, "does not begin with an invoke prefix"),
        ("michael: quiet", "rule", None, "The rule `mute` matches and has no words"),
        ("", "no_words", None, "The message has no words"),
        ("stop", "opt_out", Some("You will not hear from us any more."), "a wish to stop"),
        ("michael: Hello You", "fallback", Some("I heard: michael: Hello You. I can help"), "No rule matches"),
        ("michael: sky", "rule", Some("For which place?"), "The rule `sky` answers"),
    ] {
        let explained = explain(&platform, text).await;
        assert_eq!(explained["decision"]["decision"], decision, "{explained}");
        assert_eq!(explained["winner"].is_null(), decision != "rule", "{explained}");
        match reply {
            Some(reply) => assert!(explained["reply"].as_str().unwrap().starts_with(reply), "{explained}"),
            None => assert_eq!(explained["reply"], Value::Null, "{explained}"),
        }
        assert!(explained["reason"].as_str().unwrap().contains(reason), "{explained}");
    }
    let silent = json!({"fallback_reply": ""});
    platform.admin("PUT", "/admin/agents/support", silent.to_string()).await.ok();
    assert!(explain(&platform, "michael: hi").await["reason"].as_str().unwrap().contains("fallback reply is empty"));
}

#[tokio::test]
async fn the_gate_says_when_nothing_is_asked_for() {
    let mut platform = with_rules(&[rule("weather", "support", json!({}))]).await;
    platform.state.gate = std::sync::Arc::new(crate::agent::triggers::Gate::new(false, &[]));
    let explained = explain(&platform, "weather").await;
    assert_eq!(explained["gate"], json!({"outcome": "not_required"}));
    assert_eq!(explained["winner"]["because"], "the text contains `weather`; no other rule matches");
    assert_eq!(explained["reply"], "sunny");
}

#[tokio::test]
async fn a_try_leaves_no_trace_and_has_bounds() {
    let platform = with_rules(&[rule("weather", "support", json!({}))]).await;
    let before = platform.get("/admin/agents/support").await.json;
    explain(&platform, "michael: weather").await;
    assert_eq!(platform.get("/admin/agents/support").await.json, before);
    for list in ["conversations", "outbound"] {
        assert_eq!(platform.get(&format!("/admin/{list}")).await.ok()["items"], json!([]));
    }
    let longest = "é".repeat(4_096);
    explain(&platform, &longest).await;
    let too_long = platform.post("/admin/agents/support/try", json!({"text": format!("{longest}x")})).await;
    let problem = too_long.problem(422, "text_invalid");
    assert_eq!(problem["errors"][0]["message"], "has 4097 characters; at most 4096 are allowed");
    platform.post("/admin/agents/nobody/try", json!({"text": "x"})).await.problem(404, "agent_not_found");
    let unknown = platform.post("/admin/agents/support/try", json!({"text": "x", "colour": 1})).await;
    assert_eq!(unknown.problem(422, "body_invalid")["errors"][0]["field"], "colour");
}

#[tokio::test]
async fn a_try_knows_which_agents_may_be_chosen() {
    let platform = with_rules(&[rule("weather", "support", json!({}))]).await;
    for (id, name, listed) in [("shop", "The Shop", true), ("hidden", "Hidden", false)] {
        let agent = json!({ "id": id, "name": name, "listed": listed });
        assert_eq!(platform.post("/admin/agents", agent).await.status, 201);
    }
    let explained = explain(&platform, "switch to the shop").await;
    assert_eq!(explained["decision"], json!({"decision": "control", "wish": "switch"}), "{explained}");
    assert!(explained["reply"].as_str().unwrap().contains("The Shop"), "{explained}");
    let hidden = explain(&platform, "michael: switch to hidden").await;
    assert_eq!(hidden["decision"]["decision"], "fallback", "{hidden}");
    assert_eq!(explain(&platform, "agents").await["decision"]["wish"], "agents");
}
