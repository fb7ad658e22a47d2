//! Work for later, in one heap and one task; knows when nothing is left to do.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::world::Job;

/// Pieces of work waiting at a time; before that sends are refused with 130429.
pub const TIMERS_MAX: usize = 200_000;

#[derive(Debug)]
struct Entry {
    due: Instant,
    order: u64,
    job: Job,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}

#[derive(Debug, Default)]
struct Heap {
    entries: BinaryHeap<Reverse<Entry>>,
    order: u64,
}

/// The heap of work, and a count of what is scheduled or being done.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: Mutex<Heap>,
    changed: Notify,
    working: watch::Sender<usize>,
}

impl Timers {
    pub(crate) fn add(&self, delay_milliseconds: u64, job: Job) {
        if counts(&job) {
            self.working.send_modify(|count| *count += 1);
        }
        let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        heap.order += 1;
        let entry = Entry { due: Instant::now() + Duration::from_millis(delay_milliseconds), order: heap.order, job };
        heap.entries.push(Reverse(entry));
        drop(heap);
        self.changed.notify_one();
    }

    pub(crate) fn is_full(&self) -> bool {
        self.heap.lock().unwrap_or_else(PoisonError::into_inner).entries.len() >= TIMERS_MAX
    }

    /// The next piece of work when it is due; `None` when cancelled.
    pub(crate) async fn next(&self, cancel: &CancellationToken) -> Option<Job> {
        loop {
            if cancel.is_cancelled() {
                return None;
            }
            let due = {
                let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
                match heap.entries.peek().map(|Reverse(entry)| entry.due) {
                    Some(due) if due <= Instant::now() => return heap.entries.pop().map(|Reverse(entry)| entry.job),
                    due => due,
                }
            };
            let far = Instant::now() + Duration::from_secs(3_600);
            tokio::select! {
                () = tokio::time::sleep_until(due.unwrap_or(far)) => {}
                () = self.changed.notified() => {}
                () = cancel.cancelled() => return None,
            }
        }
    }

    /// A piece of work is done, after whatever follows from it was added.
    pub(crate) fn done(&self, job: &Job) {
        if counts(job) {
            self.working.send_modify(|count| *count -= 1);
        }
    }

    /// Waits until nothing is scheduled or being done.
    pub(crate) async fn idle(&self) {
        // The sender lives in self, so waiting cannot fail.
        _ = self.working.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// The end of typing is nothing to wait for.
fn counts(job: &Job) -> bool {
    !matches!(job, Job::TypingEnd(_))
}
