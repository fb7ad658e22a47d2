//! The wake queue: which conversations have something to do. It carries keys, never content, and may be lost at any
//! moment: the sweeper announces again whatever the database says is unfinished.

mod dispatch;
mod memory;
mod redis;
mod unheard;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

pub use dispatch::dispatch;
pub use memory::MemoryQueue;
pub use redis::{RedisQueue, RedisQueueSettings};
pub use unheard::UnheardQueue;

use crate::ids::ConversationId;

/// What a conversation has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Messages wait for a turn.
    Turn,
    /// Sends wait in the outbox.
    Send,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 2] = [Self::Turn, Self::Send];
}

/// Announces work and hands it out. A key is out at most once at a time; an announcement while it is out comes back
/// when it is done. Announcing is best effort: a full queue drops keys and relies on the sweeper.
pub trait WakeQueue: Send + Sync + 'static {
    /// These conversations have something to do now.
    fn announce(&self, topic: Topic, conversations: &[ConversationId]);

    /// This conversation has something to do from `instant` on.
    fn announce_at(&self, topic: Topic, conversation: ConversationId, instant: Timestamp);

    /// Waits for a key and takes it out for this caller.
    fn next(&self, topic: Topic) -> BoxFuture<'_, ConversationId>;

    /// The key is dealt with. If it was announced meanwhile it is ready again.
    fn done(&self, topic: Topic, conversation: ConversationId);

    /// How many keys are ready, and how many wait for their time.
    fn depth(&self, topic: Topic) -> QueueDepth;

    /// Since when the oldest ready key waits.
    fn oldest_ready_at(&self, topic: Topic) -> Option<Timestamp>;

    /// Where the keys are.
    fn link(&self) -> QueueLink;

    /// Says what is left to say, within a bound; nothing is handed out any more.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Where a queue keeps its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueLink {
    /// In this process.
    InProcess,
    /// In Redis, with those of other processes.
    Redis,
    /// In this process, since Redis does not answer.
    RedisAway,
}

/// How much a queue holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Keys that are ready.
    pub ready: usize,
    /// Keys that wait for their time.
    pub delayed: usize,
    /// Keys that are being worked on.
    pub out: usize,
}
