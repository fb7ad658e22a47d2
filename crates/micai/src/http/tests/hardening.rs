//! What holds for every answer.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request as AnyRequest;
use axum::http::{Request, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use futures_util::stream;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::harness::Platform;
use crate::http::error::with_request_id;
use crate::http::limits;

async fn probe(platform: &Platform, path: &str) -> super::harness::Answer {
    platform.call(Request::get(path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn probes_tell_life_from_readiness() {
    let platform = Platform::start().await;
    for path in ["/health", "/health/live"] {
        assert_eq!(probe(&platform, path).await.ok(), &json!({"status": "ok"}));
    }
    let idle = probe(&platform, "/health/ready").await;
    assert_eq!(
        idle.ok(),
        &json!({
            "status": "ready",
            "database": "ok",
            "queue": {
                "link": "in_process",
                "turn": {"ready": 0, "delayed": 0, "out": 0, "oldest_ready_age_seconds": null},
                "send": {"ready": 0, "delayed": 0, "out": 0, "oldest_ready_age_seconds": null},
            },
            "shared": "in_process",
            "oldest_pending_age_seconds": null,
            "oldest_queued_age_seconds": null,
            "unknown_sends": 0,
            "dead_letters": 0,
        })
    );

    platform.write("15551234567", &["hello"]).await.ok();
    platform.clock.advance(SignedDuration::from_millis(2_500));
    let behind = probe(&platform, "/health/ready").await;
    assert_eq!(behind.ok()["oldest_pending_age_seconds"], 2.5);
    assert_eq!(behind.json["queue"]["turn"]["ready"], 1);
    assert_eq!(behind.json["queue"]["turn"]["oldest_ready_age_seconds"], 2.5);

    let conversation = platform.conversation_of("15551234567").await;
    platform.answer(conversation, &["hi"]).await;
    platform.clock.advance(SignedDuration::from_secs(1));
    let answered = probe(&platform, "/health/ready").await;
    assert_eq!(answered.ok()["oldest_pending_age_seconds"], Value::Null);
    assert_eq!(answered.json["oldest_queued_age_seconds"], 1.0);

    platform.state.store.close().await;
    let away = probe(&platform, "/health/ready").await;
    assert_eq!(away.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((&away.json["status"], &away.json["database"]), (&json!("unavailable"), &json!("unavailable")));
    assert_eq!(probe(&platform, "/health").await.status, StatusCode::OK, "it lives, all the same");
}

#[tokio::test]
async fn answers_carry_what_keeps_browsers_from_guessing() {
    let platform = Platform::start().await;
    for path in ["/health", "/admin/rules", "/nowhere", "/openapi.json", "/docs/"] {
        let answer = probe(&platform, path).await;
        assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store", "{path}");
        assert!(answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("frame-ancestors 'none'"));
        assert!(answer.headers.contains_key("x-request-id"), "{path}");
    }
    probe(&platform, "/nowhere").await.problem(404, "no_such_path");
    let wrong_method = platform.call(Request::post("/health").body(Body::empty()).unwrap()).await;
    wrong_method.problem(405, "method_not_allowed");
    platform.get("/admin/nowhere").await.problem(404, "no_such_path");
    platform.admin("PATCH", "/admin/rules", "").await.problem(405, "method_not_allowed");
}

#[tokio::test]
async fn a_panic_costs_one_answer() {
    async fn panics(_: AnyRequest) -> StatusCode {
        panic!("the secret is hunter2")
    }
    let router: Router =
        Router::new().route("/", get(panics)).layer(limits::catch_panics()).layer(from_fn(with_request_id));
    let response = router.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let problem: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(problem["code"], "internal");
    assert!(!problem.to_string().contains("hunter2"), "{problem}");
}

#[tokio::test]
async fn what_takes_too_long_is_given_up() {
    let router: Router = Router::new()
        .route("/", get(std::future::pending::<StatusCode>))
        .layer(from_fn_with_state(Duration::from_millis(20), limits::time_limit));
    let response = router.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key(header::RETRY_AFTER));
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up_too() {
    let mut platform = Platform::start().await;
    platform.state.request_timeout = Duration::from_millis(50);
    let endless = stream::pending::<Result<Bytes, std::io::Error>>();
    let request = Request::post("/webhook").header("x-hub-signature-256", "sha256=00");
    let answer = platform.call(request.body(Body::from_stream(endless)).unwrap()).await;
    answer.problem(503, "request_timeout");
}

#[tokio::test]
async fn an_admin_call_without_a_database_says_when_to_come_back() {
    let platform = Platform::start().await;
    platform.state.store.close().await;
    for path in ["/admin/agents", "/admin/rules", "/admin/conversations", "/admin/outbound"] {
        let answer = platform.get(path).await;
        answer.problem(503, "database_unavailable");
        assert_eq!(answer.headers[header::RETRY_AFTER], "5");
    }
}
