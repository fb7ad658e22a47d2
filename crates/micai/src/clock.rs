//! Time as an argument: the system's clock in production, one that a test moves by hand otherwise.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// Tells the time and waits for it.
pub trait Clock: Send + Sync + 'static {
    /// The present instant, whole microseconds: what both databases can hold.
    fn now(&self) -> Timestamp;

    /// Completes when the clock has reached `instant`; at once when it already has.
    fn sleep_until(&self, instant: Timestamp) -> BoxFuture<'static, ()>;
}

/// A clock that any part of the platform may hold.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    // The one place that reads the machine's clock.
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> Timestamp {
        whole_microseconds(Timestamp::now())
    }

    fn sleep_until(&self, instant: Timestamp) -> BoxFuture<'static, ()> {
        let wait = instant.duration_since(self.now());
        tokio::time::sleep(Duration::try_from(wait).unwrap_or(Duration::ZERO)).boxed()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: watch::Sender<Timestamp>,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn at(start: Timestamp) -> Self {
        Self { now: watch::Sender::new(whole_microseconds(start)) }
    }

    /// Moves the clock forward and wakes whoever waited for an instant that has now come.
    pub fn advance(&self, by: SignedDuration) {
        self.now.send_modify(|now| *now += by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn sleep_until(&self, instant: Timestamp) -> BoxFuture<'static, ()> {
        let mut seen = self.now.subscribe();
        async move {
            // An error means that the clock is gone: nobody can wait for it any more.
            let _ = seen.wait_for(|now| *now >= instant).await;
        }
        .boxed()
    }
}

/// The instant without what is finer than a microsecond, so that it compares equal after a round trip through a table.
pub fn whole_microseconds(instant: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(instant.as_microsecond()).unwrap_or(instant)
}
