//! Probes: whether the process lives, and whether it can work.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::state::SharedState;
use crate::queue::{QueueLink, Topic, WakeQueue};
use crate::shared::SharedLink;
use crate::store::{Backlog, StoreError};

/// How long the database may take to answer a probe.
const DATABASE_PROBE_TIMEOUT: Duration = Duration::from_secs(2);

const IN_PROCESS: &str = "in_process";
const REDIS: &str = "redis";
const REDIS_AWAY: &str = "in_process_while_redis_is_away";

/// The process is up.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the process can work, and how far behind the work is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// `ready` or `unavailable`.
    #[schema(example = "ready")]
    status: &'static str,
    /// `ok` or `unavailable`.
    #[schema(example = "ok")]
    database: &'static str,
    /// Conversations in the wake queue.
    queue: QueueDepths,
    /// Where pace limits and live events are kept: `in_process`, `redis`, or `in_process_while_redis_is_away`.
    #[schema(example = "in_process")]
    shared: &'static str,
    /// Seconds that the oldest unanswered message waits; none when nothing waits or the database is unavailable.
    oldest_pending_age_seconds: Option<f64>,
    /// Seconds that the oldest queued send waits.
    oldest_queued_age_seconds: Option<f64>,
    /// Sends whose fate is unknown, counted up to 10,001; none when the database is unavailable.
    unknown_sends: Option<i64>,
    /// Dead letters in both directions, counted up to 10,001.
    dead_letters: Option<i64>,
}

/// Conversations in the wake queue, by what they have to do.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct QueueDepths {
    /// Where the keys are: `in_process`, `redis`, or `in_process_while_redis_is_away`.
    #[schema(example = "in_process")]
    link: &'static str,
    /// Messages wait for a turn.
    turn: Depth,
    /// Sends wait in the outbox.
    send: Depth,
}

/// How many conversations.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Depth {
    /// Ready to be worked on.
    ready: usize,
    /// Waiting for their time.
    delayed: usize,
    /// Being worked on.
    out: usize,
    /// Seconds that the oldest ready one waits; none when none is ready.
    oldest_ready_age_seconds: Option<f64>,
}

/// The process is up.
#[utoipa::path(
    get,
    path = "/health",
    tag = "health",
    responses((status = 200, body = Health, description = "It is up.")),
)]
pub(super) async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// The process is up: the same as `/health`, under the name that probes use.
#[utoipa::path(
    get,
    path = "/health/live",
    tag = "health",
    responses((status = 200, body = Health, description = "It is up.")),
)]
pub(super) async fn live() -> Json<Health> {
    health().await
}

/// Whether the process can work: the database answers. With the depth of the queue and the age of the oldest work.
#[utoipa::path(
    get,
    path = "/health/ready",
    tag = "health",
    responses(
        (status = 200, body = Readiness, description = "It can work."),
        (status = 503, body = Readiness, description = "The database does not answer."),
    ),
)]
pub(super) async fn ready(State(state): State<SharedState>) -> (StatusCode, Json<Readiness>) {
    let asked = async {
        let backlog = state.store.backlog().await?;
        Ok((backlog, state.store.unknown_count().await?, state.store.letter_count().await?))
    };
    let asked: Result<Result<_, StoreError>, _> = tokio::time::timeout(DATABASE_PROBE_TIMEOUT, asked).await;
    let counts = match asked {
        Ok(Ok(counts)) => Some(counts),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready: the database could not answer");
            None
        }
        Err(_) => {
            tracing::warn!("not ready: the database took too long");
            None
        }
    };
    let backlog = counts.map(|(backlog, ..)| backlog);
    let (code, status, database) = match backlog {
        Some(_) => (StatusCode::OK, "ready", "ok"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "unavailable"),
    };
    let now = state.clock.now();
    let age_of = |at: fn(Backlog) -> Option<Timestamp>| Some(age_seconds(at(backlog?)?, now));
    let readiness = Readiness {
        status,
        database,
        queue: QueueDepths::of(state.queue.as_ref(), now),
        shared: match state.shared.link() {
            SharedLink::InProcess => IN_PROCESS,
            SharedLink::Redis => REDIS,
            SharedLink::RedisAway => REDIS_AWAY,
        },
        oldest_pending_age_seconds: age_of(|backlog| backlog.oldest_pending_at),
        oldest_queued_age_seconds: age_of(|backlog| backlog.oldest_queued_at),
        unknown_sends: counts.map(|(_, unknown, _)| unknown),
        dead_letters: counts.map(|(_, _, letters)| letters),
    };
    (code, Json(readiness))
}

/// Never negative: another machine's clock may run ahead.
fn age_seconds(at: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(at).as_secs_f64().max(0.0)
}

impl QueueDepths {
    fn of(queue: &dyn WakeQueue, now: Timestamp) -> Self {
        let depth = |topic| {
            let depth = queue.depth(topic);
            let oldest = queue.oldest_ready_at(topic).filter(|_| depth.ready > 0);
            Depth {
                ready: depth.ready,
                delayed: depth.delayed,
                out: depth.out,
                oldest_ready_age_seconds: oldest.map(|at| age_seconds(at, now)),
            }
        };
        let link = match queue.link() {
            QueueLink::InProcess => IN_PROCESS,
            QueueLink::Redis => REDIS,
            QueueLink::RedisAway => REDIS_AWAY,
        };
        Self { link, turn: depth(Topic::Turn), send: depth(Topic::Send) }
    }
}
