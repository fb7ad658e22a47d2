//! Pace and events of a process that is the only one.

use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::events::{EventTooLong, Events, Heard, Listeners, checked};
use super::pace::{Pace, Paces, Permit};
use super::{Shared, SharedLink};

/// Shared by nobody else.
#[derive(Debug)]
pub struct InProcess {
    paces: Mutex<Paces>,
    pub(super) listeners: Listeners,
}

impl Default for InProcess {
    fn default() -> Self {
        Self { paces: Mutex::default(), listeners: Listeners::new() }
    }
}

impl InProcess {
    /// Decides by what this process knows.
    pub(super) fn take_here(&self, key: &str, pace: Pace, now: Timestamp) -> Permit {
        self.paces.lock().unwrap_or_else(PoisonError::into_inner).take(key, pace, now)
    }
}

impl Shared for InProcess {
    fn take<'a>(&'a self, key: &'a str, pace: Pace, now: Timestamp) -> BoxFuture<'a, Permit> {
        Box::pin(std::future::ready(self.take_here(key, pace, now)))
    }

    fn charge(&self, key: &str, pace: Pace, steps: u32, now: Timestamp) {
        self.paces.lock().unwrap_or_else(PoisonError::into_inner).charge(key, pace, steps, now);
    }

    fn publish(&self, event: &str) -> Result<(), EventTooLong> {
        self.listeners.tell(Heard::Event(checked(event)?));
        Ok(())
    }

    fn is_heard(&self) -> bool {
        self.listeners.are_there()
    }

    fn subscribe(&self) -> Events {
        self.listeners.subscribe()
    }

    fn link(&self) -> SharedLink {
        SharedLink::InProcess
    }
}
