//! The OpenAPI document: valid, complete, and the list of routes from which the others are checked.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::harness::Platform;
use crate::domain::rule::{RuleAction, RuleKind};

async fn document(platform: &Platform) -> Value {
    let answer = platform.call(Request::get("/openapi.json").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    answer.ok().clone()
}

/// Method, path with a value for every parameter, operation.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let mut operations = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            let path = path
                .split('/')
                .map(|part| if part.starts_with('{') { "00000000-0000-0000-0000-000000000001" } else { part })
                .collect::<Vec<_>>()
                .join("/");
            operations.push((method.to_uppercase(), path, operation.clone()));
        }
    }
    operations
}

#[tokio::test]
async fn it_lists_every_route_with_its_answers() {
    let platform = Platform::start().await;
    let document = document(&platform).await;
    assert_eq!(document["openapi"], "3.1.0");
    let listed: BTreeSet<(String, &str)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.as_str()))
        })
        .collect();
    let expected = [
        ("GET", "/health"),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("GET", "/webhook"),
        ("POST", "/webhook"),
        ("GET", "/admin/agents"),
        ("POST", "/admin/agents"),
        ("GET", "/admin/agents/{id}"),
        ("PUT", "/admin/agents/{id}"),
        ("DELETE", "/admin/agents/{id}"),
        ("POST", "/admin/agents/{id}/try"),
        ("GET", "/admin/tools"),
        ("GET", "/admin/agents/{id}/tools"),
        ("GET", "/admin/rules"),
        ("POST", "/admin/rules"),
        ("GET", "/admin/rules/{id}"),
        ("DELETE", "/admin/rules/{id}"),
        ("GET", "/admin/schedules"),
        ("POST", "/admin/schedules"),
        ("GET", "/admin/schedules/{id}"),
        ("PUT", "/admin/schedules/{id}"),
        ("DELETE", "/admin/schedules/{id}"),
        ("POST", "/admin/schedules/{id}/pause"),
        ("POST", "/admin/schedules/{id}/resume"),
        ("POST", "/admin/schedules/{id}/run"),
        ("GET", "/admin/schedules/{id}/preview"),
        ("POST", "/admin/bind/{wa_id}/{agent_id}"),
        ("GET", "/admin/conversations"),
        ("GET", "/admin/conversations/{id}"),
        ("GET", "/admin/conversations/{id}/messages"),
        ("GET", "/admin/conversations/{id}/messages/{message_id}"),
        ("POST", "/admin/conversations/{id}/mode"),
        ("GET", "/admin/contacts"),
        ("GET", "/admin/contacts/{id}"),
        ("DELETE", "/admin/contacts/{id}"),
        ("GET", "/admin/erasures/{receipt_id}"),
        ("POST", "/admin/contacts/{id}/consent"),
        ("POST", "/admin/contacts/{id}/block"),
        ("DELETE", "/admin/contacts/{id}/block"),
        ("GET", "/admin/outbound"),
        ("GET", "/admin/outbound/{id}"),
        ("GET", "/admin/budgets"),
        ("GET", "/admin/budgets/{id}"),
        ("PUT", "/admin/budgets/{id}"),
        ("DELETE", "/admin/budgets/{id}"),
        ("GET", "/admin/spend"),
        ("POST", "/admin/outbound/{id}/settle"),
        ("GET", "/admin/letters"),
        ("GET", "/admin/letters/items"),
        ("GET", "/admin/letters/items/{id}"),
        ("POST", "/admin/letters/replay"),
        ("POST", "/admin/letters/discard"),
        ("GET", "/admin/templates"),
        ("POST", "/admin/templates"),
        ("POST", "/admin/templates/sync"),
        ("GET", "/admin/templates/{name}"),
        ("POST", "/admin/templates/{name}/preview"),
        ("POST", "/admin/conversations/{id}/messages"),
        ("POST", "/admin/conversations/{id}/plan"),
        ("GET", "/admin/pauses"),
        ("POST", "/admin/pauses"),
        ("DELETE", "/admin/pauses/{scope}"),
        ("DELETE", "/admin/pauses/{scope}/{subject}"),
        ("DELETE", "/admin/pauses/template/{name}/{language}"),
        ("GET", "/admin/alerts"),
        ("POST", "/admin/alerts/{id}/acknowledge"),
        ("GET", "/admin/audit"),
        ("GET", "/admin/events"),
    ];
    assert_eq!(listed, expected.map(|(method, path)| (method.to_owned(), path)).into_iter().collect());
    for (method, path, operation) in operations(&document) {
        let at = format!("{method} {path}");
        let is_admin = path.starts_with("/admin/");
        assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{at} has no summary");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{at}");
        assert!(responses.contains_key("503") && responses.contains_key("500"), "{at}");
        assert_eq!(operation["security"] == json!([{"admin_key": []}]), is_admin, "{at}");
        assert_eq!(responses.contains_key("401"), is_admin || at == "POST /webhook", "{at}");
        if is_admin && operation.get("requestBody").is_some() {
            assert_eq!(
                responses["422"]["content"].as_object().unwrap().keys().collect::<Vec<_>>(),
                ["application/problem+json"]
            );
        }
        for (status, response) in responses.iter().filter(|(status, _)| *status != "204") {
            let content = response["content"].as_object().unwrap_or_else(|| panic!("{at} {status} has no content"));
            assert!(content.values().all(|media| media.get("schema").is_some()), "{at} {status}");
        }
    }
    let scheme = &document["components"]["securitySchemes"]["admin_key"];
    assert_eq!(
        (&scheme["type"], &scheme["in"], &scheme["name"]),
        (&json!("apiKey"), &json!("header"), &json!("x-admin-key"))
    );
}

#[tokio::test]
async fn every_reference_in_it_leads_somewhere_and_every_operation_id_is_its_own() {
    let document = document(&Platform::start().await).await;
    let text = document.to_string();
    let references: BTreeSet<&str> =
        text.split("\"$ref\":\"#/").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(references.len() > 10, "{references:?}");
    for reference in references {
        assert!(document.pointer(&format!("/{reference}")).is_some(), "{reference} leads nowhere");
    }
    let mut seen = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap().to_owned();
        assert!(seen.insert(id.clone()), "{id} of {method} {path} is used twice");
    }
}

#[tokio::test]
async fn closed_sets_are_listed_word_for_word() {
    let document = document(&Platform::start().await).await;
    let words = |pointer: &str| {
        document.pointer(pointer).unwrap_or_else(|| panic!("{pointer}"))["enum"].as_array().unwrap().clone()
    };
    let kinds = words("/components/schemas/SaveRule/properties/rule_type");
    assert_eq!(kinds.len(), 5);
    assert!(kinds.into_iter().all(|word| serde_json::from_value::<RuleKind>(word).is_ok()));
    let actions = words("/components/schemas/SaveRule/properties/action");
    assert_eq!(actions.len(), 3);
    assert!(actions.into_iter().all(|word| serde_json::from_value::<RuleAction>(word).is_ok()));
}

#[tokio::test]
async fn no_admin_route_answers_without_the_key() {
    let mut platform = Platform::start().await;
    let document = document(&platform).await;
    let mut routes: Vec<(String, String)> = operations(&document)
        .into_iter()
        .map(|(method, path, _)| (method, path))
        .filter(|(_, path)| path.starts_with("/admin/"))
        .collect();
    assert!(routes.len() >= 17, "{routes:?}");
    for (method, path) in [
        ("GET", "/admin"),
        ("GET", "/admin/"),
        ("GET", "/admin/nope"),
        ("GET", "/admin//agents"),
        ("POST", "/admin/agents/x/y/z"),
        ("PATCH", "/admin/rules"),
        ("DELETE", "/admin/agents"),
        ("OPTIONS", "/admin/rules"),
        ("HEAD", "/admin/rules"),
    ] {
        routes.push((method.to_owned(), path.to_owned()));
    }
    // Whoever has the key is not kept listening.
    platform.state.event_streams.stop.cancel();
    for (method, path) in &routes {
        for key in [None, Some(""), Some("wrong"), Some("admin-key-of-the-tes"), Some("Bearer admin-key-of-the-test")] {
            let mut request = Request::builder().method(method.as_str()).uri(path);
            if let Some(key) = key {
                request = request.header("x-admin-key", key);
            }
            let answer = platform.call(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path} with {key:?}");
            if method != "HEAD" {
                answer.problem(401, "unauthorized");
            }
        }
        let opened = platform.admin(method, path, "").await;
        assert_ne!(opened.status, StatusCode::UNAUTHORIZED, "{method} {path} with the key");
        assert_ne!(opened.status, StatusCode::INTERNAL_SERVER_ERROR, "{method} {path} with the key");
    }
    platform.state.admin_api_key = None;
    for (method, path) in &routes {
        let answer = platform.admin(method, path, "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path} of a closed door");
        if method != "HEAD" {
            assert!(answer.json["detail"].as_str().unwrap().contains("MICAI_ADMIN_API_KEY"), "{answer:?}");
        }
    }
    platform.state.admin_api_key = Some("".into());
    let empty = Request::get("/admin/rules").header("x-admin-key", "").body(Body::empty()).unwrap();
    platform.call(empty).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn the_reference_page_is_open_and_loads_from_here_only() {
    let platform = Platform::start().await;
    let moved = platform.call(Request::get("/docs").body(Body::empty()).unwrap()).await;
    assert_eq!((moved.status, &moved.headers[header::LOCATION]), (StatusCode::SEE_OTHER, &"/docs/".parse().unwrap()));
    for (path, needle) in [("/docs/", "swagger-ui"), ("/docs/swagger-initializer.js", "/openapi.json")] {
        let answer = platform.call(Request::get(path).body(Body::empty()).unwrap()).await;
        let text = String::from_utf8(answer.bytes).unwrap();
        assert!(answer.status == StatusCode::OK && text.contains(needle), "{path}: {text}");
        assert!(!text.contains("https://"), "{path} loads from elsewhere: {text}");
        let policy = answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("default-src 'self'"), "{policy}");
    }
}
