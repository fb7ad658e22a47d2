//! The wake queue of many processes: Redis or Valkey. Keys are spread over shards; all that a process has to say and to
//! ask goes out in shared round trips. While Redis is away each process works from a queue of its own.

mod driver;
mod hints;
mod scripts;
mod view;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{MemoryQueue, QueueDepth, QueueLink, Topic, WakeQueue};
use crate::clock::SharedClock;
use crate::ids::ConversationId;
use crate::redis_link::{RedisServer, RedisStartError};
use driver::Driver;
use scripts::{Names, Post, Token, Word};
use view::View;

/// Keys that one topic holds, ready or delayed; further ones are dropped, and the sweeper makes up for them.
const KEYS_MAX: usize = 1_000_000;
/// Things to say that wait for the next round trip; further ones are dropped. What is then not announced the sweeper
/// finds, and what is then not done comes back when its lease ends.
const POSTS_WAITING_MAX: usize = 65_536;
/// Callers of `next` that went away are forgotten at the latest when so many wait.
const WAITING_TIDY: usize = 1_024;
/// What a stop may take to say what is left.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// How a process uses the queue.
#[derive(Debug, Clone)]
pub struct RedisQueueSettings {
    /// The beginning of every name; installations that share a server differ in it.
    pub prefix: String,
    /// Shards; the same in every process.
    pub shards: usize,
    /// How long a key stays out without word from whom it was handed to.
    pub lease_seconds: i64,
    /// Whether this process takes keys out, or only announces.
    pub consumes: bool,
}

/// A queue on Redis. Clones share it.
#[derive(Clone)]
pub struct RedisQueue {
    shared: Arc<Shared>,
    posts: mpsc::Sender<Post>,
    driver: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What callers and the driver have in common.
struct Shared {
    clock: SharedClock,
    names: Names,
    lease_microseconds: i64,
    /// What this process works from while Redis is away; none where nobody works.
    local: Option<MemoryQueue>,
    /// Whether Redis heard us the last time.
    is_linked: AtomicBool,
    /// The last place in the line that was given away.
    last_since: AtomicI64,
    state: Mutex<State>,
    /// Somebody waits, or there is a hint.
    stirred: Notify,
    closing: CancellationToken,
}

struct State {
    waiting: HashMap<Topic, VecDeque<oneshot::Sender<ConversationId>>>,
    held: HashMap<(Topic, ConversationId), Held>,
    view: View,
}

/// A key that this process has out.
#[derive(Debug, Default, Clone)]
struct Held {
    /// Redis handed it out, with this token and from this place in the line.
    from_redis: Option<(Token, i64)>,
    is_local: bool,
    /// It came a second time, from the other queue or after its lease: ready again when it is done.
    again: bool,
}

impl RedisQueue {
    /// Connects and begins to work. `chance` gives the process its name and the pauses between tries their jitter.
    ///
    /// # Errors
    /// A sentence about what is wrong with the server. Later nothing that happens to it is an error any more.
    pub async fn start(
        server: RedisServer,
        settings: &RedisQueueSettings,
        clock: SharedClock,
        mut chance: StdRng,
    ) -> Result<Self, RedisStartError> {
        let connection = server.check().await?;
        let instance = format!("{:016x}", chance.next_u64());
        let closing = CancellationToken::new();
        let shared = Arc::new(Shared {
            names: Names::new(&settings.prefix, instance, settings.shards, KEYS_MAX),
            lease_microseconds: settings.lease_seconds.saturating_mul(1_000_000),
            local: settings.consumes.then(|| MemoryQueue::start(clock.clone(), closing.clone())),
            clock,
            is_linked: AtomicBool::new(true),
            last_since: AtomicI64::new(0),
            state: Mutex::new(State {
                waiting: HashMap::new(),
                held: HashMap::new(),
                view: View::new(settings.shards),
            }),
            stirred: Notify::new(),
            closing,
        });
        let (posts, to_post) = mpsc::channel(POSTS_WAITING_MAX);
        if settings.consumes {
            tokio::spawn(hints::listen(shared.clone(), server.clone(), StdRng::from_rng(&mut chance)));
        }
        let driver = Driver::new(shared.clone(), server, to_post, chance);
        let driver = Arc::new(Mutex::new(Some(tokio::spawn(driver.run(connection)))));
        Ok(Self { shared, posts, driver })
    }

    fn post(&self, topic: Topic, conversation: ConversationId, since: i64, word: Word) {
        // Over the bound it is dropped, as the constant says.
        let _ = self.posts.try_send(Post { topic, conversation, since, word });
    }

    /// The queue of this process alone, while Redis is away. Inside: none where nobody works.
    fn stand_in(&self) -> Option<Option<&MemoryQueue>> {
        (!self.shared.is_linked.load(Ordering::Relaxed)).then_some(self.shared.local.as_ref())
    }

    fn wait(&self, topic: Topic) -> Waiting<'_> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.shared.lock();
        let waiting = state.waiting.entry(topic).or_default();
        if waiting.len() >= WAITING_TIDY {
            waiting.retain(|sender| !sender.is_closed());
        }
        waiting.push_back(sender);
        drop(state);
        self.shared.stirred.notify_one();
        Waiting { queue: self, topic, receiver }
    }

    /// Takes a key of the local queue out; not if Redis has handed it to us as well.
    fn hold_local(&self, topic: Topic, conversation: ConversationId) -> bool {
        let mut state = self.shared.lock();
        let held = state.held.entry((topic, conversation)).or_default();
        if held.from_redis.is_some() {
            held.again = true;
            return false;
        }
        held.is_local = true;
        true
    }

    /// A key that reached nobody goes back to its place.
    fn give_back(&self, topic: Topic, conversation: ConversationId) {
        let held = self.shared.lock().held.remove(&(topic, conversation));
        if let Some((token, since)) = held.and_then(|held| held.from_redis) {
            self.post(topic, conversation, since, Word::Back(token));
        }
    }
}

impl WakeQueue for RedisQueue {
    fn announce(&self, topic: Topic, conversations: &[ConversationId]) {
        match self.stand_in() {
            Some(Some(local)) => local.announce(topic, conversations),
            // The sweepers of those who work find it in the database.
            Some(None) => {}
            None => {
                for conversation in conversations {
                    self.post(topic, *conversation, self.shared.since(), Word::Announce);
                }
            }
        }
    }

    fn announce_at(&self, topic: Topic, conversation: ConversationId, instant: Timestamp) {
        match self.stand_in() {
            Some(Some(local)) => local.announce_at(topic, conversation, instant),
            Some(None) => {}
            None => self.post(topic, conversation, self.shared.since(), Word::At(instant.as_microsecond())),
        }
    }

    fn next(&self, topic: Topic) -> BoxFuture<'_, ConversationId> {
        Box::pin(async move {
            let local_next = || async {
                match &self.shared.local {
                    Some(local) => local.next(topic).await,
                    None => std::future::pending().await,
                }
            };
            let mut local = std::pin::pin!(local_next());
            let mut waiting = self.wait(topic);
            loop {
                tokio::select! {
                    biased;
                    handed = &mut waiting.receiver => match handed {
                        Ok(conversation) => return conversation,
                        // The driver has ended: nothing comes any more.
                        Err(_) => std::future::pending().await,
                    },
                    conversation = &mut local => {
                        if self.hold_local(topic, conversation) {
                            return conversation;
                        }
                        if let Some(queue) = &self.shared.local {
                            queue.done(topic, conversation);
                        }
                        local.set(local_next());
                    }
                }
            }
        })
    }

    fn done(&self, topic: Topic, conversation: ConversationId) {
        let Some(held) = self.shared.lock().held.remove(&(topic, conversation)) else { return };
        if held.is_local
            && let Some(local) = &self.shared.local
        {
            local.done(topic, conversation);
        }
        match held.from_redis {
            Some((token, _)) => {
                let word = if held.again { Word::Renew(token) } else { Word::Done(token) };
                self.post(topic, conversation, self.shared.since(), word);
            }
            None if held.again => self.announce(topic, &[conversation]),
            None => {}
        }
    }

    fn depth(&self, topic: Topic) -> QueueDepth {
        let shared = self.shared.lock().view.depth(topic);
        let local = self.shared.local.as_ref().map(|local| local.depth(topic)).unwrap_or_default();
        QueueDepth {
            ready: shared.ready + local.ready,
            delayed: shared.delayed + local.delayed,
            out: shared.out + local.out,
        }
    }

    fn oldest_ready_at(&self, topic: Topic) -> Option<Timestamp> {
        let since = self.shared.lock().view.oldest_since(topic);
        let shared = since.and_then(|since| Timestamp::from_microsecond(since).ok());
        let local = self.shared.local.as_ref().and_then(|local| local.oldest_ready_at(topic));
        shared.into_iter().chain(local).min()
    }

    fn link(&self) -> QueueLink {
        match self.shared.is_linked.load(Ordering::Relaxed) {
            true => QueueLink::Redis,
            false => QueueLink::RedisAway,
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.shared.closing.cancel();
            let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(mut driver) = driver else { return };
            if tokio::time::timeout(CLOSE_TIMEOUT, &mut driver).await.is_err() {
                driver.abort();
                tracing::warn!(
                    "Redis did not take what the queue had left to say; keys come back when their lease ends"
                );
            }
        })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> i64 {
        self.clock.now().as_microsecond()
    }

    /// The next place in the line: the present, but behind everything that this process has said before.
    fn since(&self) -> i64 {
        let now = self.now();
        let behind = |last: i64| last.max(now) + 1;
        let last = self.last_since.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(behind(last)));
        behind(last.unwrap_or(now))
    }
}

/// A caller of `next`. One who leaves with a key already handed to it gives it back.
struct Waiting<'a> {
    queue: &'a RedisQueue,
    topic: Topic,
    receiver: oneshot::Receiver<ConversationId>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        if let Ok(conversation) = self.receiver.try_recv() {
            self.queue.give_back(self.topic, conversation);
        }
    }
}
