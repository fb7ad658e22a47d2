//! What ties this process to the others and to those who watch: the queue, what is shared, live events.

use std::sync::Arc;

use jiff::SignedDuration;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{App, Roles, seconds};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::http::state::EventStreams;
use crate::queue::{MemoryQueue, RedisQueue, RedisQueueSettings, UnheardQueue, WakeQueue};
use crate::redis_link::RedisServer;
use crate::shared::{Changes, InProcess, Shared, SharedRedis, Subject};
use crate::store::{Store, StoreError};

/// Streams of live events at once: consoles of an installation's people, not of its customers.
const EVENT_STREAMS_MAX: usize = 64;
/// Open alerts that are looked at for changes, the youngest.
const ALERTS_LOOKED_AT_MAX: i64 = 100;

/// The queue and what else processes share: through Redis when the settings name one, else in this process.
pub(super) async fn open(
    config: &Config,
    roles: Roles,
    clock: &SharedClock,
    stop: &CancellationToken,
    chance: &mut StdRng,
) -> anyhow::Result<(Arc<dyn WakeQueue>, Arc<dyn Shared>)> {
    let (Some(url), Some(shown)) = (&config.redis_url, config.redis_shown()) else {
        let queue: Arc<dyn WakeQueue> = match roles.worker {
            true => Arc::new(MemoryQueue::start(clock.clone(), stop.clone())),
            false => Arc::new(UnheardQueue),
        };
        return Ok((queue, Arc::new(InProcess::default())));
    };
    let server = RedisServer::at(url, shown)?;
    let settings = RedisQueueSettings {
        prefix: config.redis_prefix.clone(),
        shards: config.queue_shards,
        lease_seconds: seconds(config.queue_lease_seconds),
        consumes: roles.worker,
    };
    let queue = RedisQueue::start(server.clone(), &settings, clock.clone(), StdRng::from_rng(chance)).await?;
    let shared = SharedRedis::start(server, &config.redis_prefix, StdRng::from_rng(chance)).await?;
    Ok((Arc::new(queue), Arc::new(shared)))
}

/// Streams hold their connections for hours: half of all stays free for webhooks and calls.
pub(super) fn event_streams(config: &Config, stop: &CancellationToken) -> EventStreams {
    EventStreams::new(EVENT_STREAMS_MAX.min(config.http_connections_max / 2), stop.clone())
}

impl App {
    /// Tells when alerts change, where anybody may be listening.
    pub(super) fn start_alert_watch(&mut self, config: &Config, clock: &SharedClock) {
        let (store, changes, clock, stop) =
            (self.store.clone(), self.changes.clone(), clock.clone(), self.stop.clone());
        let interval_seconds = seconds(config.sweep_interval_seconds);
        self.loops.push(tokio::spawn(watch_alerts(store, changes, clock, interval_seconds, stop)));
    }
}

/// Alerts are raised and cleared in the transactions that find their causes, in any process: one look now and then sees them all.
async fn watch_alerts(
    store: Store,
    changes: Changes,
    clock: SharedClock,
    interval_seconds: i64,
    stop: CancellationToken,
) {
    let mut seen = None;
    loop {
        // What changed while nobody listened is not known, so the first look after that tells.
        let open = match changes.is_heard() {
            true => open_alerts(&store).await.map(Some),
            false => Ok(None),
        };
        match open {
            Ok(open) if open == seen => {}
            Ok(open) => {
                if open.is_some() {
                    changes.subject(Subject::Alerts);
                    // Whatever WhatsApp pauses is an alert as well.
                    changes.subject(Subject::Pauses);
                }
                seen = open;
            }
            Err(error) => tracing::warn!(%error, "alerts could not be looked at; next time"),
        }
        let next = clock.now() + SignedDuration::from_secs(interval_seconds);
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep_until(next) => {}
        }
    }
}

/// Which alerts are open, how often each was raised, and whether somebody has seen it.
async fn open_alerts(store: &Store) -> Result<Vec<(Uuid, i64, bool)>, StoreError> {
    let alerts = store.alerts(true, None, ALERTS_LOOKED_AT_MAX).await?;
    Ok(alerts.iter().map(|alert| (alert.id, alert.times, alert.acknowledged_at.is_some())).collect())
}
