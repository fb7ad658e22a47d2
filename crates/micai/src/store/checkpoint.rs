//! SQLite's write-ahead log is moved into the database beside the writer, not by it. A writer that does it itself stops for
//! tens of milliseconds each time, and everybody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use sqlx::Row as _;
use sqlx::sqlite::SqlitePool;

/// The pause between two moves while there is something to move.
const PAUSE: Duration = Duration::from_millis(250);
/// Pages of 4 KiB in the log from which on the writer gives a hand: 32 MiB. Without a pause of its own it would be written
/// to faster than it can be moved, and grow.
const LOG_PAGES_MAX: u32 = 8_000;

/// Moves the log. Clones share it.
#[derive(Clone)]
pub(super) struct Checkpoints {
    connection: SqlitePool,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Something was committed since the last move.
    is_due: AtomicBool,
    log_pages: AtomicU32,
}

impl Checkpoints {
    /// `connection` is a pool of one, apart from the writer's.
    pub fn new(connection: SqlitePool) -> Self {
        Self { connection, state: Arc::default() }
    }

    /// Something was committed.
    pub fn note_commit(&self) {
        self.state.is_due.store(true, Ordering::Relaxed);
    }

    /// Whether the writer must give a hand: what has been moved leaves little to do, and then it may begin the log anew.
    pub fn needs_the_writer(&self) -> bool {
        self.state.log_pages.load(Ordering::Relaxed) > LOG_PAGES_MAX
            && self.state.log_pages.swap(0, Ordering::Relaxed) > LOG_PAGES_MAX
    }

    /// Moves the log now and then, until it is dropped.
    pub async fn run(self) {
        loop {
            tokio::time::sleep(PAUSE).await;
            if !self.state.is_due.swap(false, Ordering::Relaxed) {
                continue;
            }
            // Locked or full: the log grows on, the writer gives a hand in the end, and says what is wrong.
            if let Ok(row) = sqlx::query(MOVE).fetch_one(&self.connection).await {
                let pages = row.try_get::<i32, _>(1).ok().and_then(|pages| u32::try_from(pages).ok());
                self.state.log_pages.store(pages.unwrap_or_default(), Ordering::Relaxed);
            }
        }
    }

    pub async fn close(&self) {
        self.connection.close().await;
    }
}

/// Moves what it can without getting in anybody's way. Answers with: busy, pages in the log, pages moved.
pub(super) const MOVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";
