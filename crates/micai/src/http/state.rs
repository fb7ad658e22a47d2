//! What every handler may use.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::error::Problem;
use crate::agent::consent::ConsentWords;
use crate::agent::control::ControlWords;
use crate::agent::tools::Tools;
use crate::agent::triggers::Gate;
use crate::clock::SharedClock;
use crate::cost::PriceTable;
use crate::domain::conversation::HandoverRules;
use crate::domain::fate::UnknownRules;
use crate::ingest::Ingest;
use crate::queue::WakeQueue;
use crate::sender::planner::PlanRules;
use crate::shared::{Changes, Shared};
use crate::store::{Store, StoreError};
use crate::templates::TemplateDesk;

/// When a caller may come back after the database could not answer.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The form in which handlers are given it: each request makes copies, one for each layer of the router.
pub(super) type SharedState = Arc<HttpState>;

/// What every handler may use.
#[derive(Clone)]
pub struct HttpState {
    /// The database.
    pub store: Store,
    /// The wake queue: looked at for its depth, and told what a person set going.
    pub queue: Arc<dyn WakeQueue>,
    /// Pace limits and live events: asked how it is linked, and listened to.
    pub shared: Arc<dyn Shared>,
    /// Told what an operator has changed.
    pub changes: Changes,
    /// The streams of live events.
    pub event_streams: EventStreams,
    /// Takes webhooks in.
    pub ingest: Ingest,
    /// Fetches templates, hands new ones in, shows what a send would look like.
    pub templates: TemplateDesk,
    /// The present.
    pub clock: SharedClock,
    /// What messages cost.
    pub prices: Arc<PriceTable>,
    /// The word that Meta repeats when it checks the webhook address; none means that no check succeeds.
    pub verify_token: Option<SecretString>,
    /// What `x-admin-key` must hold; none means that everything under `/admin` is closed.
    pub admin_api_key: Option<SecretString>,
    /// The invoke gate, for explanations.
    pub gate: Arc<Gate>,
    /// The words by which people stop us, for explanations.
    pub consent: Arc<ConsentWords>,
    /// The words by which they steer a conversation, for explanations.
    pub control: Arc<ControlWords>,
    /// How conversations are handed to people.
    pub handover: HandoverRules,
    /// What tools reach, for explanations.
    pub tools: Arc<Tools>,
    /// Our number on which the conversation of somebody stands who is bound before they ever wrote. The binding counts
    /// on whichever number they write to, so this may be a stand-in.
    pub default_phone_number_id: String,
    /// The most rows of a page.
    pub page_rows_max: usize,
    /// The most bytes of a webhook's body.
    pub webhook_body_bytes_max: usize,
    /// How long a request may take, its body included.
    pub request_timeout: Duration,
    /// What the sender goes by, to foresee what it will do.
    pub sending: SendingRules,
    /// The same for plans.
    pub plan_rules: Arc<PlanRules>,
}

/// How many may listen to live events at once, and when they all end.
#[derive(Debug, Clone)]
pub struct EventStreams {
    pub(super) max: usize,
    pub(super) places: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
}

impl EventStreams {
    /// At most `max` of them, until `stop` is cancelled: a stream has no end of its own that a server could wait for.
    pub fn new(max: usize, stop: CancellationToken) -> Self {
        Self { max, places: Arc::new(Semaphore::new(max)), stop }
    }
}

/// What the sender goes by.
#[derive(Debug, Clone, Copy)]
pub struct SendingRules {
    /// Nothing is sent at all until this is on.
    pub outbound_enabled: bool,
    /// How long after a person's last message plain words may be sent, the sender's margin taken off.
    pub window_seconds: i64,
    /// What time does with sends of unknown fate.
    pub unknown: UnknownRules,
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(reason) | StoreError::Conflict(reason) => {
                tracing::warn!(%reason, "the database could not answer a request");
                Self::unavailable(
                    "database_unavailable",
                    "The database cannot answer now, and nothing was changed: try again a little later.",
                    RETRY_AFTER,
                )
            }
            StoreError::Refused(_)
            | StoreError::Unreadable(_)
            | StoreError::Schema(_)
            | StoreError::Misconfigured(_) => Self::internal(error),
        }
    }
}
