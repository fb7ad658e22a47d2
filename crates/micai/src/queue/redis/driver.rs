//! The one task that speaks with Redis: in each round trip it says all that has gathered and asks for as many keys as
//! callers wait for. An idle queue answers at once, a loaded one shares its round trips.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::scripts::{Answer, Call, Post, Scripts, Token, Wish, Word};
use super::{Held, Shared, State};
use crate::ids::ConversationId;
use crate::queue::{Topic, WakeQueue};
use crate::redis_link::{Pauses, RedisServer};

/// Things said in one round trip.
const POSTS_MAX: usize = 4_096;
/// Keys of one topic that one round trip asks for.
const KEYS_ASKED_MAX: usize = 256;
/// How often all shards are asked how they stand, whatever was heard or not.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// A process that only announces and has said so many things within this time waits for its end with the next ones.
const CHATTER_MIN: usize = 8;
const CHATTER_TIME: Duration = Duration::from_millis(1);
/// Keys that are done or given back while Redis is away and told to it later; of more, the lease must end.
const ENDED_KEPT_MAX: usize = 10_000;
/// Lost questions that are remembered; what more of them took out, the lease gives back.
const LOST_KEPT_MAX: usize = 1_000;

pub(super) struct Driver {
    shared: Arc<Shared>,
    server: RedisServer,
    to_post: mpsc::Receiver<Post>,
    /// Taken from the channel and not said yet.
    posts: Vec<Post>,
    /// Questions whose answer was lost with the connection; keys may have been in it.
    lost: Vec<(Topic, usize, Token)>,
    /// Every handle of the queue is gone.
    is_deserted: bool,
    fetches: u64,
    pauses: Pauses,
}

/// How much was said lately.
struct Chatter {
    since: Instant,
    said: usize,
}

impl Chatter {
    fn note(&mut self, calls: &[Call]) {
        if self.since.elapsed() >= CHATTER_TIME {
            *self = Self { since: Instant::now(), said: 0 };
        }
        let posts = calls.iter().map(|call| if let Wish::Post(posts) = &call.wish { posts.len() } else { 0 });
        self.said += posts.sum::<usize>();
    }
}

impl Driver {
    pub fn new(shared: Arc<Shared>, server: RedisServer, to_post: mpsc::Receiver<Post>, dice: StdRng) -> Self {
        let pauses = Pauses::new(dice);
        Self { shared, server, to_post, posts: Vec::new(), lost: Vec::new(), is_deserted: false, fetches: 0, pauses }
    }

    /// Works until the queue closes or every handle of it is gone.
    pub async fn run(mut self, connection: MultiplexedConnection) {
        let mut connection = Some(connection);
        while let Some(linked) = connection {
            match self.work(linked).await {
                Ok(()) => break,
                Err(error) => {
                    self.lose(&error.to_string());
                    connection = self.reconnect().await;
                }
            }
        }
        self.shared.closing.cancel();
    }

    /// Round trips until the end, or until one fails.
    async fn work(&mut self, mut connection: MultiplexedConnection) -> RedisResult<()> {
        let mut scripts = Scripts::load(&mut connection).await?;
        let (mut polled_at, mut chatter) = (None, Chatter { since: Instant::now(), said: 0 });
        loop {
            // What is gathered after this was looked at is said by a later round.
            let is_last = self.shared.closing.is_cancelled() || self.is_deserted;
            if !is_last {
                self.listen_a_moment(&chatter).await;
            }
            self.gather();
            let is_poll = polled_at.is_none_or(|at: Instant| at.elapsed() >= POLL_INTERVAL);
            let now = self.shared.now();
            let calls = self.plan(now, is_poll && !is_last, is_last);
            if !calls.is_empty() {
                chatter.note(&calls);
                let answers = scripts.call(&mut connection, &self.shared.names, now, &calls).await;
                let answers = answers.inspect_err(|_| self.keep(&calls))?;
                self.found(&calls, answers);
                if is_poll {
                    polled_at = Some(Instant::now());
                    self.regain();
                }
            } else if is_last {
                return Ok(());
            } else {
                self.rest(polled_at.unwrap_or_else(Instant::now) + POLL_INTERVAL).await;
            }
        }
    }

    /// Webhooks are answered many at a time, and each announces for itself: where many do, a process that only announces lets them
    /// gather.
    async fn listen_a_moment(&self, chatter: &Chatter) {
        if self.shared.local.is_none() && chatter.said >= CHATTER_MIN {
            tokio::select! {
                () = tokio::time::sleep_until(chatter.since + CHATTER_TIME) => {}
                () = self.shared.closing.cancelled() => {}
            }
        }
    }

    fn gather(&mut self) {
        while self.posts.len() < POSTS_MAX {
            match self.to_post.try_recv() {
                Ok(post) => self.posts.push(post),
                Err(mpsc::error::TryRecvError::Empty) => return,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    self.is_deserted = true;
                    return;
                }
            }
        }
    }

    /// The calls of the next round trip: what is to be said, then the questions.
    fn plan(&mut self, now: i64, is_poll: bool, is_last: bool) -> Vec<Call> {
        let mut by_shard: BTreeMap<(Topic, usize), Vec<Post>> = BTreeMap::new();
        for post in self.posts.drain(..) {
            by_shard.entry((post.topic, self.shared.names.shard(post.conversation))).or_default().push(post);
        }
        let mut questions = Vec::new();
        if !is_last {
            let mut state = self.shared.lock();
            for topic in Topic::ALL {
                questions.extend(ask(&mut state, &self.shared, topic, now, is_poll, &by_shard));
            }
        }
        self.fetches += 1;
        let token: Token = format!("{}-{}", self.shared.names.instance, self.fetches).into();
        let lease_end = now.saturating_add(self.shared.lease_microseconds);
        let lost = self.lost.drain(..).map(|(topic, shard, token)| Call { topic, shard, wish: Wish::Reclaim(token) });
        let said = by_shard.into_iter().map(|((topic, shard), posts)| Call { topic, shard, wish: Wish::Post(posts) });
        let asked = questions.into_iter().map(|(topic, shard, count)| Call {
            topic,
            shard,
            wish: Wish::Next { count, token: token.clone(), lease_end },
        });
        lost.chain(said).chain(asked).collect()
    }

    /// Takes the answers in and hands the keys out, the oldest first.
    fn found(&mut self, calls: &[Call], answers: Vec<Answer>) {
        let mut state = self.shared.lock();
        let mut taken: Vec<(i64, Topic, ConversationId, Token)> = Vec::new();
        for (call, answer) in calls.iter().zip(answers) {
            if let Wish::Next { token, .. } = &call.wish {
                let keys = answer.taken.iter();
                taken.extend(keys.map(|(conversation, since)| (*since, call.topic, *conversation, token.clone())));
            }
            state.view.answered(call.topic, call.shard, answer);
        }
        taken.sort_unstable_by_key(|(since, _, conversation, _)| (*since, *conversation));
        for (since, topic, conversation, token) in taken {
            if !state.hand_out(topic, conversation, (token.clone(), since)) {
                self.posts.push(Post { topic, conversation, since, word: Word::Back(token) });
            }
        }
    }

    /// Sleeps until there is something to do.
    async fn rest(&mut self, poll_at: Instant) {
        let next_due = match &self.shared.local {
            Some(_) => self.shared.lock().view.next_due().and_then(|due| Timestamp::from_microsecond(due).ok()),
            // Where nobody works, nobody needs to make keys ready in time.
            None => None,
        };
        let due = async {
            match next_due {
                Some(instant) => self.shared.clock.sleep_until(instant).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            post = self.to_post.recv() => match post {
                Some(post) => self.posts.push(post),
                None => self.is_deserted = true,
            },
            () = self.shared.stirred.notified() => {}
            () = due => {}
            () = tokio::time::sleep_until(poll_at) => {}
            () = self.shared.closing.cancelled() => {}
        }
    }

    /// Redis did not hear these calls, or did not say so: what is to be worked on comes to the local queue, what has
    /// ended is said again later (a token counts once, so twice does no harm), and what was taken out is asked back.
    fn keep(&mut self, calls: &[Call]) {
        for call in calls {
            match &call.wish {
                Wish::Post(posts) => posts.iter().cloned().for_each(|post| self.turn_aside(post)),
                Wish::Next { token, count: 1.., .. } | Wish::Reclaim(token) => {
                    if self.lost.len() < LOST_KEPT_MAX {
                        self.lost.push((call.topic, call.shard, token.clone()));
                    }
                }
                Wish::Next { .. } => {}
            }
        }
    }

    fn turn_aside(&mut self, post: Post) {
        let local = self.shared.local.as_ref();
        match post.word {
            Word::Done(_) | Word::Renew(_) | Word::Back(_) => {
                if self.posts.len() < ENDED_KEPT_MAX {
                    self.posts.push(post);
                }
            }
            Word::Announce => local.into_iter().for_each(|local| local.announce(post.topic, &[post.conversation])),
            Word::At(due) => {
                if let (Some(local), Ok(instant)) = (local, Timestamp::from_microsecond(due)) {
                    local.announce_at(post.topic, post.conversation, instant);
                }
            }
        }
    }

    fn lose(&mut self, reason: &str) {
        if self.shared.is_linked.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                reason,
                server = self.shared_name(),
                "Redis does not answer: until it is back, this process works on what its sweeper finds in the database"
            );
        }
        for post in std::mem::take(&mut self.posts) {
            self.turn_aside(post);
        }
    }

    /// A first round trip has been answered.
    fn regain(&mut self) {
        self.pauses.reset();
        if !self.shared.is_linked.swap(true, Ordering::Relaxed) {
            tracing::info!(server = self.shared_name(), "Redis is back");
        }
    }

    fn shared_name(&self) -> &str {
        self.server.shown()
    }

    /// Tries until there is a connection; none when the queue closes. What is said meanwhile is turned aside.
    async fn reconnect(&mut self) -> Option<MultiplexedConnection> {
        loop {
            let server = self.server.clone();
            let pause = self.pauses.draw();
            let mut trying = std::pin::pin!(async move {
                tokio::time::sleep(pause).await;
                server.connect().await
            });
            let connected = loop {
                tokio::select! {
                    connected = &mut trying => break connected,
                    post = self.to_post.recv() => self.turn_aside(post?),
                    () = self.shared.closing.cancelled() => return None,
                }
            };
            if let Ok(connection) = connected {
                // What was heard of the shards before may be long gone.
                self.shared.lock().view.hint_all();
                return Some(connection);
            }
        }
    }
}

/// The questions about one topic: topic, shard, how many keys. None where nothing can be new.
fn ask(
    state: &mut State,
    shared: &Shared,
    topic: Topic,
    now: i64,
    is_poll: bool,
    posts: &BTreeMap<(Topic, usize), Vec<Post>>,
) -> Vec<(Topic, usize, usize)> {
    let wanted = state.wanted(topic);
    let posted: HashMap<usize, i64> = posts
        .iter()
        .filter(|((of, _), _)| *of == topic)
        .filter_map(|((_, shard), posts)| Some((*shard, posts.iter().filter_map(ready_since).min()?)))
        .collect();
    let mut counts: BTreeMap<usize, usize> = state.view.allot(topic, wanted, now, &posted).into_iter().collect();
    if is_poll {
        (0..shared.names.shards).for_each(|shard| _ = counts.entry(shard).or_default());
    } else if shared.local.is_some() {
        state.view.due(topic, now).for_each(|shard| _ = counts.entry(shard).or_default());
    }
    counts
        .into_iter()
        .map(|(shard, count)| {
            state.view.asked(topic, shard);
            (topic, shard, count)
        })
        .collect()
}

/// Since when the key is ready that this makes ready for certain.
fn ready_since(post: &Post) -> Option<i64> {
    matches!(post.word, Word::Announce | Word::Renew(_) | Word::Back(_)).then_some(post.since)
}

impl State {
    /// How many callers wait.
    fn wanted(&mut self, topic: Topic) -> usize {
        let Some(waiting) = self.waiting.get_mut(&topic) else { return 0 };
        waiting.retain(|sender| !sender.is_closed());
        waiting.len().min(KEYS_ASKED_MAX)
    }

    /// Hands a key to whoever has waited longest; `false` when nobody waits any more. A key that this process still has
    /// out (its lease ended, or the local queue had it) comes back when it is done, under the new token.
    fn hand_out(&mut self, topic: Topic, conversation: ConversationId, from_redis: (Token, i64)) -> bool {
        if let Some(held) = self.held.get_mut(&(topic, conversation)) {
            held.from_redis = Some(from_redis);
            held.again = true;
            return true;
        }
        while let Some(waiting) = self.waiting.get_mut(&topic).and_then(|waiting| waiting.pop_front()) {
            let held = Held { from_redis: Some(from_redis.clone()), ..Held::default() };
            self.held.insert((topic, conversation), held);
            if waiting.send(conversation).is_ok() {
                return true;
            }
            self.held.remove(&(topic, conversation));
        }
        false
    }
}
