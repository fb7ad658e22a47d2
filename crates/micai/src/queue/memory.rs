//! The wake queue of a single process: plain memory.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{QueueDepth, QueueLink, Topic, WakeQueue};
use crate::clock::SharedClock;
use crate::ids::ConversationId;

/// Keys that one topic holds; further announcements are dropped, and the sweeper makes up for them.
const KEYS_MAX: usize = 1_000_000;

/// A queue in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryQueue {
    turn: Arc<Lane>,
    send: Arc<Lane>,
}

struct Lane {
    clock: SharedClock,
    state: Mutex<State>,
    ready: Notify,
    delayed_changed: Notify,
}

#[derive(Default)]
struct State {
    /// Who is ready, and since when.
    ready: VecDeque<(ConversationId, Timestamp)>,
    queued: HashSet<ConversationId>,
    /// Keys being worked on, and whether they were announced again meanwhile.
    out: HashMap<ConversationId, bool>,
    delayed: BTreeSet<(Timestamp, ConversationId)>,
    due: HashMap<ConversationId, Timestamp>,
}

impl MemoryQueue {
    /// A queue whose delayed keys become ready by `clock`, until `stop` is cancelled.
    pub fn start(clock: SharedClock, stop: CancellationToken) -> Self {
        let lane = || {
            let lane = Arc::new(Lane {
                clock: clock.clone(),
                state: Mutex::default(),
                ready: Notify::new(),
                delayed_changed: Notify::new(),
            });
            tokio::spawn(promote(lane.clone(), stop.clone()));
            lane
        };
        Self { turn: lane(), send: lane() }
    }

    fn lane(&self, topic: Topic) -> &Lane {
        match topic {
            Topic::Turn => &self.turn,
            Topic::Send => &self.send,
        }
    }
}

impl WakeQueue for MemoryQueue {
    fn announce(&self, topic: Topic, conversations: &[ConversationId]) {
        let lane = self.lane(topic);
        let now = lane.clock.now();
        let mut state = lane.lock();
        for conversation in conversations {
            if state.push(*conversation, now) {
                lane.ready.notify_one();
            }
        }
    }

    fn announce_at(&self, topic: Topic, conversation: ConversationId, instant: Timestamp) {
        let lane = self.lane(topic);
        lane.lock().delay(conversation, instant);
        lane.delayed_changed.notify_one();
    }

    fn next(&self, topic: Topic) -> BoxFuture<'_, ConversationId> {
        let lane = self.lane(topic);
        Box::pin(async move {
            loop {
                let ready = lane.ready.notified();
                if let Some(conversation) = lane.lock().take() {
                    return conversation;
                }
                ready.await;
            }
        })
    }

    fn done(&self, topic: Topic, conversation: ConversationId) {
        let lane = self.lane(topic);
        let mut state = lane.lock();
        if state.out.remove(&conversation) == Some(true) && state.push(conversation, lane.clock.now()) {
            lane.ready.notify_one();
        }
    }

    fn depth(&self, topic: Topic) -> QueueDepth {
        let state = self.lane(topic).lock();
        QueueDepth { ready: state.ready.len(), delayed: state.delayed.len(), out: state.out.len() }
    }

    fn oldest_ready_at(&self, topic: Topic) -> Option<Timestamp> {
        self.lane(topic).lock().ready.front().map(|(_, since)| *since)
    }

    fn link(&self) -> QueueLink {
        QueueLink::InProcess
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Makes a key ready; `true` when somebody should be woken for it.
    fn push(&mut self, conversation: ConversationId, now: Timestamp) -> bool {
        if let Some(again) = self.out.get_mut(&conversation) {
            *again = true;
            return false;
        }
        if self.queued.len() >= KEYS_MAX || !self.queued.insert(conversation) {
            return false;
        }
        self.ready.push_back((conversation, now));
        true
    }

    fn take(&mut self) -> Option<ConversationId> {
        let (conversation, _) = self.ready.pop_front()?;
        self.queued.remove(&conversation);
        self.out.insert(conversation, false);
        Some(conversation)
    }

    /// Remembers the earlier of the times a key was announced for.
    fn delay(&mut self, conversation: ConversationId, instant: Timestamp) {
        match self.due.get(&conversation) {
            Some(earlier) if *earlier <= instant => return,
            Some(later) => {
                self.delayed.remove(&(*later, conversation));
            }
            None if self.due.len() >= KEYS_MAX => return,
            None => {}
        }
        self.due.insert(conversation, instant);
        self.delayed.insert((instant, conversation));
    }

    fn promote_due(&mut self, now: Timestamp) -> usize {
        let mut woken = 0;
        while let Some((instant, conversation)) = self.delayed.first().copied() {
            if instant > now {
                break;
            }
            self.delayed.pop_first();
            self.due.remove(&conversation);
            woken += usize::from(self.push(conversation, now));
        }
        woken
    }
}

/// Makes delayed keys ready when their time has come.
async fn promote(lane: Arc<Lane>, stop: CancellationToken) {
    loop {
        let changed = lane.delayed_changed.notified();
        let first = lane.lock().delayed.first().map(|(instant, _)| *instant);
        let due = async {
            match first {
                Some(instant) => lane.clock.sleep_until(instant).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = changed => {}
            () = due => {
                let woken = lane.lock().promote_due(lane.clock.now());
                for _ in 0..woken {
                    lane.ready.notify_one();
                }
            }
        }
    }
}
