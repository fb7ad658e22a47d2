//! Refusals as a client sees them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    id: String,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    keywords: Vec<String>,
    #[serde(default)]
    inner: Option<Inner>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    kind: Kind,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Keyword,
    Prefix,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    limit: u16,
}

fn router() -> Router {
    let save = |StrictJson(rule): StrictJson<Rule>| async move {
        let kinds = rule.inner.iter().filter(|inner| matches!(inner.kind, Kind::Keyword | Kind::Prefix)).count();
        format!("{} {} {} {kinds}", rule.id, rule.priority, rule.keywords.len())
    };
    Router::new()
        .route("/rules", post(save))
        .route("/page", get(|StrictQuery(page): StrictQuery<Page>| async move { page.limit.to_string() }))
        .route("/broken", get(|| async { Problem::internal("the password is hunter2") }))
        .route(
            "/busy",
            get(|| async { Problem::unavailable("database_busy", "Try again.", Duration::from_millis(1_200)) }),
        )
        .route("/echo", get(|request: Request| async move { format!("{:?}", request.headers()) }))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn(with_request_id))
}

async fn call(method: &str, path: &str, body: impl Into<Body>) -> (StatusCode, axum::http::HeaderMap, Vec<u8>) {
    let request =
        Request::builder().method(method).uri(path).header("x-request-id", "from-outside").body(body.into()).unwrap();
    let response = router().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec())
}

async fn problem(method: &str, path: &str, body: impl Into<Body>) -> Value {
    let (status, headers, body) = call(method, path, body).await;
    assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
    let problem: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["status"], status.as_u16());
    assert_eq!(problem["title"], status.canonical_reason().unwrap());
    assert_eq!(problem["request_id"], headers[REQUEST_ID_HEADER].to_str().unwrap());
    problem
}

#[tokio::test]
async fn a_body_that_fits_is_taken_whatever_its_content_type() {
    let body = r#"{"id": "r", "priority": 3, "keywords": ["a", "b"], "inner": {"kind": "prefix"}}"#;
    let (status, headers, answer) = call("POST", "/rules", body).await;
    assert_eq!((status, answer.as_slice()), (StatusCode::OK, &b"r 3 2 1"[..]));
    let id: Uuid = headers[REQUEST_ID_HEADER].to_str().unwrap().parse().unwrap();
    assert_eq!(id.get_version_num(), 7);
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_refused_by_field() {
    for (body, field, message) in [
        (r#"{"id": "r", "colour": 1}"#, "colour", "is not known here; known are `id`, `priority`, `keywords`, `inner`"),
        (r#"{"priority": 1}"#, "id", "is missing"),
        (r#"{"id": "r", "id": "s"}"#, "id", "stands twice"),
        (r#"{"id": 7}"#, "id", "does not fit: invalid type: integer `7`, expected a text"),
        (
            r#"{"id": "r", "priority": "high"}"#,
            "priority",
            "does not fit: invalid type: string \"high\", expected a whole number",
        ),
        (
            r#"{"id": "r", "priority": 3000000000}"#,
            "priority",
            "does not fit: invalid value: integer `3000000000`, expected a whole number within its bounds",
        ),
        (
            r#"{"id": "r", "keywords": ["a", 1]}"#,
            "keywords[1]",
            "does not fit: invalid type: integer `1`, expected a text",
        ),
        (
            r#"{"id": "r", "inner": {"kind": "odd"}}"#,
            "inner.kind",
            "does not fit: `odd` is no word for it, expected `keyword` or `prefix`",
        ),
        (r#"{"id": "r", "keywords": {}}"#, "keywords", "does not fit: invalid type: object, expected a list"),
        (r#"{"id": "r", "inner": 1}"#, "inner", "does not fit: invalid type: integer `1`, expected an object"),
        (r#"{"id": "r", "inner": {}}"#, "inner.kind", "is missing"),
        (r#"{"id": "r", "inner": {"kind": "prefix", "x": 1}}"#, "inner.x", "is not known here; known are `kind`"),
        ("\"x\"", "", "does not fit"),
    ] {
        let problem = problem("POST", "/rules", body).await;
        assert_eq!(problem["status"], 422, "{body}");
        assert_eq!(problem["code"], "body_invalid");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
        let told = problem["errors"][0]["message"].as_str().unwrap();
        assert!(told == message || field.is_empty() && told.starts_with(message), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(field), "{problem}");
    }
}

#[tokio::test]
async fn a_list_is_not_taken_for_an_object() {
    let problem = problem("POST", "/rules", r#" ["r", 1, [], null]"#).await;
    assert_eq!((problem["status"].as_u64(), &problem["code"]), (Some(422), &json!("body_invalid")));
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused_with_its_place() {
    for (body, expected) in [
        (&b"{\"id\": "[..], "line 1 column 7"),
        (b"{\"id\": \"\xff\xfe\"}", "The body is not JSON"),
        (b"{\"id\": \"r\"} {}", "line 1 column 13"),
        (b"", "The body is empty"),
    ] {
        let problem = problem("POST", "/rules", body).await;
        assert_eq!((problem["status"].as_u64(), &problem["code"]), (Some(400), &json!("body_not_json")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(expected), "{problem}");
        assert_eq!(problem.get("errors"), None);
    }
    let deep = "[".repeat(100_000);
    assert_eq!(problem("POST", "/rules", format!("{{\"id\": {deep}")).await["status"].as_u64().unwrap() / 100, 4);
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_with_the_bound() {
    let fits = format!("{{\"id\": \"{}\"}}", "x".repeat(JSON_BODY_BYTES_MAX - 10));
    assert_eq!(fits.len(), JSON_BODY_BYTES_MAX);
    assert_eq!(call("POST", "/rules", fits.clone()).await.0, StatusCode::OK);
    let problem = problem("POST", "/rules", fits + " ").await;
    assert_eq!((problem["status"].as_u64(), &problem["code"]), (Some(413), &json!("body_too_large")));
    assert!(problem["detail"].as_str().unwrap().contains("1048576 bytes"), "{problem}");
}

#[tokio::test]
async fn a_query_that_does_not_fit_is_refused_by_parameter() {
    assert_eq!(call("GET", "/page?limit=3", "").await.2, b"3");
    let wrong = problem("GET", "/page?limit=many", "").await;
    assert_eq!((wrong["status"].as_u64(), &wrong["errors"][0]["field"]), (Some(400), &json!("limit")), "{wrong}");
    for (limit, message) in [
        ("many", "it is no whole number"),
        ("-1", "it is no whole number"),
        ("99999", "it is no whole number within its bounds"),
    ] {
        let wrong = problem("GET", &format!("/page?limit={limit}"), "").await;
        assert_eq!(wrong["errors"][0]["message"], format!("does not fit: {message}"), "{limit}");
    }
    let unknown = problem("GET", "/page?limits=3", "").await;
    assert_eq!(unknown["errors"][0]["field"], "limits");
    assert_eq!(unknown["errors"][0]["message"], "is not known here; known are `limit`");
}

#[tokio::test]
async fn our_own_fault_keeps_its_details_to_itself() {
    let problem = problem("GET", "/broken", "").await;
    assert_eq!((problem["status"].as_u64(), &problem["code"]), (Some(500), &json!("internal")));
    assert!(!problem.to_string().contains("hunter2"), "{problem}");
}

#[tokio::test]
async fn a_busy_answer_says_when_to_come_back() {
    let (status, headers, _) = call("GET", "/busy", "").await;
    assert_eq!((status, &headers[header::RETRY_AFTER]), (StatusCode::SERVICE_UNAVAILABLE, &HeaderValue::from(2)));
    let soon = Problem::unavailable("x", "y", Duration::ZERO).into_response();
    assert_eq!(soon.headers()[header::RETRY_AFTER], "1");
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist_are_problems_too() {
    assert_eq!(problem("GET", "/nowhere", "").await["code"], "no_such_path");
    assert_eq!(problem("PUT", "/rules", "").await["code"], "method_not_allowed");
    assert_eq!(call("PUT", "/rules", "").await.1[header::ALLOW], "POST");
}

#[tokio::test]
async fn a_request_id_from_outside_is_not_believed() {
    let (_, headers, body) = call("GET", "/echo", "").await;
    assert_ne!(headers[REQUEST_ID_HEADER], "from-outside");
    assert!(!String::from_utf8(body).unwrap().contains("from-outside"));
}
