//! What holds for every answer: how long it may take, that a panic does not cost the connection, and the headers that
//! keep a browser from reading more into it than it says.

use std::any::Any;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;

use super::error::Problem;
use super::state::RETRY_AFTER;

/// What an answer gets unless its handler has said otherwise.
const SAFE_HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
];

type PanicHandler = fn(Box<dyn Any + Send>) -> Response;

/// Answers 503 when the rest takes longer than `timeout`; what it was doing is dropped. The sender of a webhook comes
/// back, and what had been committed by then is recognised as known.
pub(super) async fn time_limit(State(timeout): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable(
            "request_timeout",
            format!(
                "The request was not finished within {} seconds: send its body faster, or try again a little later.",
                timeout.as_secs_f32()
            ),
            RETRY_AFTER,
        )
        .into_response(),
    }
}

/// Turns a panic of a handler into a problem. What it said is on the error output and not in the answer.
pub(super) fn catch_panics() -> CatchPanicLayer<PanicHandler> {
    CatchPanicLayer::custom(|_| Problem::internal("a handler panicked").into_response())
}

/// Adds [`SAFE_HEADERS`].
pub(super) async fn safe_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in SAFE_HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}
