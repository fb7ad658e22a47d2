//! Live events: whoever listens hears what is published from then on, and how much it missed when it was too slow.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::EVENT_BYTES_MAX;

/// Events that a slow listener may be behind; then it misses the oldest.
const EVENTS_BEHIND_MAX: usize = 1_024;

/// What a listener hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Something happened.
    Event(Arc<str>),
    /// So many events could not be kept for it: what it shows must be read anew.
    Missed(u64),
}

/// The event is longer than [`EVENT_BYTES_MAX`]: publish where to look instead of what is there.
#[derive(Debug, thiserror::Error)]
#[error("an event of {bytes} bytes is longer than {EVENT_BYTES_MAX}: publish where to look, not what is there")]
pub struct EventTooLong {
    /// How long it is.
    pub bytes: usize,
}

/// The listeners of one process.
#[derive(Debug, Clone)]
pub(super) struct Listeners {
    sender: broadcast::Sender<Heard>,
}

/// What is published from the subscription on.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Heard>,
}

impl Listeners {
    pub fn new() -> Self {
        Self { sender: broadcast::Sender::new(EVENTS_BEHIND_MAX) }
    }

    pub fn tell(&self, heard: Heard) {
        // An error says that nobody listens.
        let _ = self.sender.send(heard);
    }

    pub fn are_there(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    pub fn subscribe(&self) -> Events {
        Events { receiver: self.sender.subscribe() }
    }
}

impl Events {
    /// Waits for what comes next; none when the process stops.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.receiver.recv().await {
            Ok(heard) => Some(heard),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Heard::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// The event, if it is short enough.
pub(super) fn checked(event: &str) -> Result<Arc<str>, EventTooLong> {
    match event.len() {
        bytes if bytes > EVENT_BYTES_MAX => Err(EventTooLong { bytes }),
        _ => Ok(event.into()),
    }
}
