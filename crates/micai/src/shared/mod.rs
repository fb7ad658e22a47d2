//! What the processes of one installation share beside the database and the queue: how fast something may go, and what
//! has just happened. In this process, or through Redis.

mod changes;
mod charges;
mod events;
mod in_process;
mod pace;
mod redis;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

pub use changes::{Changed, Changes, Subject};
pub use events::{EventTooLong, Events, Heard};
pub use in_process::InProcess;
pub use pace::{Pace, Permit};
pub use redis::SharedRedis;

/// Bytes of one event. It says what changed and where to look, not what it is.
pub const EVENT_BYTES_MAX: usize = 8_192;

/// The key of a number's throughput.
pub fn number_key(phone_number_id: &str) -> String {
    format!("number:{phone_number_id}")
}

/// Pace limits and live events that all processes of an installation keep together.
pub trait Shared: Send + Sync + 'static {
    /// Takes one step of `key` at this pace, or says when the next is allowed. While the other processes cannot be asked,
    /// this one decides by what it knows.
    fn take<'a>(&'a self, key: &'a str, pace: Pace, now: Timestamp) -> BoxFuture<'a, Permit>;

    /// Notes steps that were taken without asking, such as messages that came in; best effort.
    fn charge(&self, key: &str, pace: Pace, steps: u32, now: Timestamp);

    /// Tells everybody who listens, in every process; best effort.
    ///
    /// # Errors
    /// When the event is longer than [`EVENT_BYTES_MAX`].
    fn publish(&self, event: &str) -> Result<(), EventTooLong>;

    /// Whether anybody may be listening: nothing that is published while this is `false` is heard by anybody.
    fn is_heard(&self) -> bool;

    /// What is published from now on.
    fn subscribe(&self) -> Events;

    /// Where it is shared.
    fn link(&self) -> SharedLink;
}

/// Between whom pace and events are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedLink {
    /// Within this process.
    InProcess,
    /// Between all processes, through Redis.
    Redis,
    /// Within this process, since Redis does not answer.
    RedisAway,
}
