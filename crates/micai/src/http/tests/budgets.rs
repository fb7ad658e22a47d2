//! Budgets and spend, as operators write and read them.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::harness::Platform;

async fn put(platform: &Platform, id: &str, body: Value) -> super::harness::Answer {
    platform.admin("PUT", &format!("/admin/budgets/{id}"), body.to_string()).await
}

#[tokio::test]
async fn a_budget_lives_from_its_making_to_its_end() {
    let platform = Platform::start().await;
    let body = json!({"scope": "agent", "subject": "default-agent", "period": "month", "zone": "Europe/Berlin",
                      "currency": "USD", "limit_micros": 12_500_000});
    assert_eq!(put(&platform, "shop", body).await.ok(), &json!({"status": "ok", "budget_id": "shop"}));
    let budget = platform.get("/admin/budgets/shop").await;
    assert_eq!(budget.ok()["period_starts_at"], "2026-08-31T22:00:00Z", "midnight in Berlin");
    assert_eq!((&budget.json["spent_micros"], &budget.json["reserved_micros"]), (&json!(0), &json!(0)));
    let body = json!({"scope": "installation", "period": "day", "limit_micros": 0});
    put(&platform, "all", body).await.ok();
    let page = platform.get("/admin/budgets?limit=1").await;
    assert_eq!(page.ok()["items"][0]["id"], "all");
    let cursor = page.json["next_cursor"].as_str().unwrap();
    let rest = platform.get(&format!("/admin/budgets?cursor={cursor}")).await;
    assert_eq!((&rest.ok()["items"][0]["id"], &rest.json["next_cursor"]), (&json!("shop"), &Value::Null));
    assert_eq!(platform.admin("DELETE", "/admin/budgets/shop", "").await.status, StatusCode::NO_CONTENT);
    platform.get("/admin/budgets/shop").await.problem(404, "budget_not_found");
    platform.admin("DELETE", "/admin/budgets/shop", "").await.problem(404, "budget_not_found");
}

#[tokio::test]
async fn a_budget_that_does_not_fit_is_refused_by_name() {
    let platform = Platform::start().await;
    for (more, code, field, message) in [
        (json!({"colour": 1}), "body_invalid", "colour", "is not known here"),
        (json!({"scope": "planet"}), "body_invalid", "scope", "expected one of `installation`"),
        (json!({"limit_micros": -1}), "budget_invalid", "limit_micros", "between 0 and"),
        (json!({"limit_micros": 0.5}), "body_invalid", "limit_micros", "expected a whole number"),
        (json!({"subject": "x"}), "budget_invalid", "subject", "does not go with `scope` installation"),
        (json!({"scope": "contact", "subject": "ana"}), "budget_invalid", "subject", "no contact's id"),
        (json!({"scope": "number", "subject": "+15551"}), "budget_invalid", "subject", "digits only"),
        (json!({"scope": "country", "subject": "br"}), "budget_invalid", "subject", "two capital letters"),
        (json!({"scope": "agent", "subject": ""}), "budget_invalid", "subject", "is empty"),
        (json!({"scope": "agent", "subject": "nobody"}), "budget_invalid", "subject", "is no agent"),
        (json!({"zone": "Mars/Olympus"}), "budget_invalid", "zone", "IANA name"),
        (json!({"currency": "EUR"}), "budget_invalid", "currency", "must be USD"),
    ] {
        let mut body = json!({"scope": "installation", "period": "day", "limit_micros": 1});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = put(&platform, "b", body.clone()).await;
        let problem = answer.problem(422, code);
        assert_eq!(problem["errors"][0]["field"], field, "{body}: {problem}");
        assert!(problem["errors"][0]["message"].as_str().unwrap().contains(message), "{body}: {problem}");
    }
    let long = "x".repeat(129);
    let body = json!({"scope": "installation", "period": "day", "limit_micros": 1});
    put(&platform, &long, body).await.problem(422, "budget_id_invalid");
}

#[tokio::test]
async fn spend_is_told_for_days_that_make_sense() {
    let platform = Platform::start().await;
    let spend = platform.get("/admin/spend").await;
    assert_eq!((&spend.ok()["from"], &spend.json["to"]), (&json!("2026-09-01"), &json!("2026-09-20")));
    assert_eq!((&spend.json["groups"], &spend.json["prices"]["effective_from"]), (&json!([]), &json!("2026-10-01")));
    for (query, code) in [
        ("from=2026-09-02&to=2026-09-01", "days_invalid"),
        ("from=2025-01-01&to=2026-09-01", "days_invalid"),
        ("from=yesterday", "days_invalid"),
        ("from=2026-02-30", "days_invalid"),
        ("from=9999-12-31&to=9999-12-31", "days_invalid"),
        ("group_by=planet", "query_invalid"),
        ("colour=red", "query_invalid"),
    ] {
        let answer = platform.get(&format!("/admin/spend?{query}")).await;
        answer.problem(400, code);
    }
}
