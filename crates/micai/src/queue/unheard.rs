//! The wake queue of a process in which nobody works: what is announced would only pile up, so it is dropped. The workers
//! of other processes find the work by sweeping the database.

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::{QueueDepth, QueueLink, Topic, WakeQueue};
use crate::ids::ConversationId;

/// A queue without listeners.
#[derive(Debug, Clone, Copy, Default)]
pub struct UnheardQueue;

impl WakeQueue for UnheardQueue {
    fn announce(&self, _: Topic, _: &[ConversationId]) {}

    fn announce_at(&self, _: Topic, _: ConversationId, _: Timestamp) {}

    fn next(&self, _: Topic) -> BoxFuture<'_, ConversationId> {
        Box::pin(std::future::pending())
    }

    fn done(&self, _: Topic, _: ConversationId) {}

    fn depth(&self, _: Topic) -> QueueDepth {
        QueueDepth::default()
    }

    fn oldest_ready_at(&self, _: Topic) -> Option<Timestamp> {
        None
    }

    fn link(&self) -> QueueLink {
        QueueLink::InProcess
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
