//! One span a request: its method, the route (never the path, which may hold a phone number), its id, and how it ended.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use super::error::RequestId;

/// Runs the rest in a span.
pub(super) async fn traced(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
    let request_id = request.extensions().get::<RequestId>().map(|id| tracing::field::display(id.0));
    let span = tracing::info_span!("request", http.method = %request.method(), http.route = route, request_id);
    async {
        let begun = Instant::now();
        let response = next.run(request).await;
        let (http_status, elapsed_microseconds) = (response.status().as_u16(), begun.elapsed().as_micros());
        match response.status().is_server_error() {
            true => tracing::warn!(http_status, elapsed_microseconds, "answered with an error"),
            false => tracing::debug!(http_status, elapsed_microseconds, "answered"),
        }
        response
    }
    .instrument(span)
    .await
}
