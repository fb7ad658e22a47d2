//! Server-sent events: what happens in the world, as it happens.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::simulator::Simulator;
use crate::view::SimEvent;

/// How often a silent stream says that it is alive.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// `GET /sim/events`, until the listener goes or the simulator stops.
pub(super) async fn stream(
    State(simulator): State<Simulator>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
    let listening = (simulator.subscribe(), simulator.stopping());
    let events = futures_util::stream::unfold(listening, |(mut events, stopping)| async move {
        let event = next(&mut events, &stopping).await?;
        Some((Ok(written(&event)), (events, stopping)))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_INTERVAL))
}

async fn next(events: &mut Receiver<SimEvent>, stopping: &CancellationToken) -> Option<SimEvent> {
    match stopping.run_until_cancelled(events.recv()).await? {
        Ok(event) => Some(event),
        Err(RecvError::Lagged(missed)) => Some(SimEvent::Lagged { missed }),
        Err(RecvError::Closed) => None,
    }
}

fn written(event: &SimEvent) -> Event {
    let value = serde_json::to_value(event).unwrap_or_default();
    let name = value["event"].as_str().unwrap_or("unknown").to_owned();
    Event::default().event(name).data(value.to_string())
}
