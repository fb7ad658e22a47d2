//! `/admin/events`: live events for consoles, and what changes by this interface told as such.

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::super::error::Problem;
use super::super::server::Endless;
use super::super::state::{RETRY_AFTER, SharedState};
use crate::ids::ConversationId;
use crate::shared::{Changed, Events, Heard, Subject};

/// How long a stream is silent at most: so that proxies keep it, and a listener that is gone is noticed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// A stream is of the moment, and a proxy must not hold it back to send it in larger pieces.
const HEADERS: [(HeaderName, HeaderValue); 2] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
];

/// Somebody who listens.
struct Listener {
    events: Events,
    stop: CancellationToken,
    /// Given back when the connection ends, however it does.
    _place: OwnedSemaphorePermit,
}

/// Streams what changes from now on, as server-sent events: `changed` says which conversations and what else to read anew, `missed`
/// with `{"count": 3}` that so many events were lost, so that everything must be. Subscribe first, then read: what changes in
/// between is in the stream. It ends when the process stops; without Redis it tells of this process alone.
#[utoipa::path(
    get,
    path = "/events",
    operation_id = "listen",
    tag = "events",
    responses(
        (status = 200, body = Changed, content_type = "text/event-stream", description = "The `data` of each `changed`."),
        (status = 503, body = Problem, content_type = "application/problem+json",
         description = "As many streams are open as there may be; `Retry-After` says when to come back."),
    ),
)]
pub async fn listen(
    State(state): State<SharedState>,
    endless: Option<Extension<Endless>>,
) -> Result<Response, Problem> {
    let streams = &state.event_streams;
    let Ok(place) = streams.places.clone().try_acquire_owned() else {
        return Err(Problem::unavailable(
            "too_many_event_streams",
            format!(
                "{} streams of events are open, the most there may be: close one, or listen again later.",
                streams.max
            ),
            RETRY_AFTER,
        ));
    };
    // Without a server, as in tests of the router, there is nobody to tell.
    if let Some(Extension(endless)) = endless {
        endless.declare();
    }
    let listener = Listener { events: state.shared.subscribe(), stop: streams.stop.clone(), _place: place };
    let events = stream::unfold(listener, async |mut listener| {
        let heard = listener.stop.run_until_cancelled(listener.events.next()).await??;
        Some((Ok::<Event, Infallible>(event(&heard)), listener))
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE_INTERVAL);
    Ok((HEADERS, Sse::new(events).keep_alive(keep_alive)).into_response())
}

fn event(heard: &Heard) -> Event {
    match heard {
        Heard::Event(changed) => Event::default().event("changed").data(changed),
        Heard::Missed(count) => Event::default().event("missed").data(format!(r#"{{"count":{count}}}"#)),
    }
}

/// Tells what a request has changed, from its path, so that no handler can forget it. What was a trial only is told as well where
/// its path does not say so: whoever reads anew for nothing has lost nothing.
pub(in super::super) async fn tell(State(state): State<SharedState>, request: Request, next: Next) -> Response {
    let is_write = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let touched = is_write.then(|| touched(request.uri().path())).flatten();
    let response = next.run(request).await;
    if response.status().is_success() {
        match touched {
            Some(Touched::Conversation(id)) => state.changes.conversations([id]),
            Some(Touched::Subject(subject)) => state.changes.subject(subject),
            None => {}
        }
    }
    response
}

/// What a path is about.
#[derive(Debug, PartialEq, Eq)]
enum Touched {
    Conversation(ConversationId),
    Subject(Subject),
}

/// What a write to this path below `/admin` touches; nothing where it only shows what would be.
fn touched(path: &str) -> Option<Touched> {
    let mut parts = path.trim_start_matches('/').split('/');
    let subject = match (parts.next()?, parts.next(), path.rsplit('/').next()) {
        (_, _, Some("try" | "preview" | "plan")) => return None,
        ("conversations", Some(id), _) => return id.parse().ok().map(|id| Touched::Conversation(ConversationId(id))),
        ("agents" | "rules" | "bind", ..) => Subject::Agents,
        ("alerts", ..) => Subject::Alerts,
        ("budgets", ..) => Subject::Budgets,
        ("contacts", ..) => Subject::Contacts,
        ("letters" | "outbound", ..) => Subject::Letters,
        ("pauses", ..) => Subject::Pauses,
        ("schedules", ..) => Subject::Schedules,
        ("templates", ..) => Subject::Templates,
        _ => return None,
    };
    Some(Touched::Subject(subject))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_it_touches() {
        let conversation = ConversationId(uuid::Uuid::from_u128(7));
        for (path, expected) in [
            (format!("/conversations/{conversation}/mode"), Some(Touched::Conversation(conversation))),
            (format!("/conversations/{conversation}/messages"), Some(Touched::Conversation(conversation))),
            (format!("/conversations/{conversation}/plan"), None),
            ("/conversations/nobody/mode".to_owned(), None),
            ("/rules".to_owned(), Some(Touched::Subject(Subject::Agents))),
            ("/agents/support".to_owned(), Some(Touched::Subject(Subject::Agents))),
            ("/agents/support/try".to_owned(), None),
            ("/pauses/country/BR".to_owned(), Some(Touched::Subject(Subject::Pauses))),
            ("/outbound/1/settle".to_owned(), Some(Touched::Subject(Subject::Letters))),
            ("/templates/hello/preview".to_owned(), None),
            ("/".to_owned(), None),
        ] {
            assert_eq!(touched(&path), expected, "{path}");
        }
    }
}
