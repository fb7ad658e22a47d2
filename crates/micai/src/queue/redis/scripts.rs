//! What is said to Redis: the scripts, the keys of a shard, one call each, and how its answer reads.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind, Value};
use uuid::Uuid;

use crate::ids::ConversationId;
use crate::queue::Topic;

const POST: &str = concat!(include_str!("prelude.lua"), include_str!("post.lua"));
const NEXT: &str = concat!(include_str!("prelude.lua"), include_str!("next.lua"));

/// The names that a queue has on its server.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
    /// Who speaks, so that nobody is woken by what it said itself.
    pub instance: String,
    pub shards: usize,
    /// The most keys that are ready, and the most that are delayed, of one shard and topic.
    pub shard_keys_max: usize,
}

/// One thing to say about a key.
#[derive(Debug, Clone)]
pub(super) struct Post {
    pub topic: Topic,
    pub conversation: ConversationId,
    /// Its place in the line, in microseconds.
    pub since: i64,
    pub word: Word,
}

/// What is said.
#[derive(Debug, Clone)]
pub(super) enum Word {
    Announce,
    /// From this instant on, in microseconds.
    At(i64),
    Done(Token),
    /// Done, and something new is known to wait.
    Renew(Token),
    /// Given back unused.
    Back(Token),
}

/// Proves that a key was handed to this process, and when.
pub(super) type Token = Arc<str>;

/// One call of a script: a shard, a topic, and what is wanted.
pub(super) struct Call {
    pub topic: Topic,
    pub shard: usize,
    pub wish: Wish,
}

pub(super) enum Wish {
    Post(Vec<Post>),
    Next {
        count: usize,
        token: Token,
        lease_end: i64,
    },
    /// What was handed out under this token in an answer that never came is ready again.
    Reclaim(Token),
}

/// How a shard stands after a call, and what it handed out.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub ready: usize,
    pub delayed: usize,
    pub out: usize,
    pub oldest_since: Option<i64>,
    pub first_due: Option<i64>,
    pub first_lease_end: Option<i64>,
    pub taken: Vec<(ConversationId, i64)>,
}

impl Names {
    pub fn new(prefix: &str, instance: String, shards: usize, keys_max: usize) -> Self {
        Self { prefix: prefix.to_owned(), instance, shards, shard_keys_max: keys_max / shards.max(1) }
    }

    /// The channel on which sleepers are woken.
    pub fn channel(&self) -> String {
        format!("{}:wake", self.prefix)
    }

    /// The shard of a conversation: FNV-1a, which is the same in every process and version.
    pub fn shard(&self, conversation: ConversationId) -> usize {
        let hash = conversation.0.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        usize::try_from(hash % self.shards.max(1) as u64).unwrap_or(0)
    }

    /// What is published when this shard has something new.
    fn wake_word(&self, topic: Topic, shard: usize) -> String {
        format!("{}:{shard}:{}", topic_name(topic), self.instance)
    }

    /// The shard that somebody else's wake-up speaks of.
    pub fn shard_in(&self, wake_word: &str) -> Option<(Topic, usize)> {
        let (topic, rest) = wake_word.split_once(':')?;
        let (shard, speaker) = rest.split_once(':')?;
        let topic = Topic::ALL.into_iter().find(|known| topic_name(*known) == topic)?;
        let shard = shard.parse().ok().filter(|shard| *shard < self.shards)?;
        (speaker != self.instance).then_some((topic, shard))
    }

    /// All keys of a shard share a hash tag, so that they live on one node of a cluster.
    fn key(&self, topic: Topic, shard: usize, what: &str) -> String {
        format!("{{{}:q:{shard:02}}}:{}:{what}", self.prefix, topic_name(topic))
    }
}

fn topic_name(topic: Topic) -> &'static str {
    match topic {
        Topic::Turn => "turn",
        Topic::Send => "send",
    }
}

/// The scripts as a server knows them.
#[derive(Debug, Clone)]
pub(super) struct Scripts {
    post: String,
    next: String,
}

impl Scripts {
    pub async fn load(connection: &mut MultiplexedConnection) -> RedisResult<Self> {
        let mut both = redis::pipe();
        both.cmd("SCRIPT").arg("LOAD").arg(POST).cmd("SCRIPT").arg("LOAD").arg(NEXT);
        let (post, next) = both.query_async(connection).await?;
        Ok(Self { post, next })
    }

    /// Makes the calls in their order, in one round trip. A server that has forgotten the scripts is taught them again.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses a call; some of the calls may have been heard.
    pub async fn call(
        &mut self,
        connection: &mut MultiplexedConnection,
        names: &Names,
        now: i64,
        calls: &[Call],
    ) -> RedisResult<Vec<Answer>> {
        let first_try = self.try_all(connection, names, now, calls.iter()).await?;
        let forgotten = |answer: &RedisResult<Answer>| matches!(answer, Err(error) if is_forgotten(error));
        if !first_try.iter().any(forgotten) {
            return first_try.into_iter().collect();
        }
        *self = Self::load(connection).await?;
        let unheard = calls.iter().zip(&first_try).filter(|(_, answer)| forgotten(answer)).map(|(call, _)| call);
        let mut second_try = self.try_all(connection, names, now, unheard).await?.into_iter();
        first_try
            .into_iter()
            .map(|answer| if forgotten(&answer) { second_try.next().unwrap_or(answer) } else { answer })
            .collect()
    }

    async fn try_all(
        &self,
        connection: &mut MultiplexedConnection,
        names: &Names,
        now: i64,
        calls: impl Iterator<Item = &Call>,
    ) -> RedisResult<Vec<RedisResult<Answer>>> {
        let mut pipeline = redis::pipe();
        for call in calls {
            pipeline.add_command(self.command(names, now, call));
        }
        pipeline.ignore_errors().query_async(connection).await
    }

    fn command(&self, names: &Names, now: i64, call: &Call) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        let sha = match call.wish {
            Wish::Post(_) | Wish::Reclaim(_) => &self.post,
            Wish::Next { .. } => &self.next,
        };
        command.arg(sha).arg(5);
        for what in ["ready", "out", "tokens", "again", "delayed"] {
            command.arg(names.key(call.topic, call.shard, what));
        }
        command.arg(now).arg(names.shard_keys_max).arg(names.channel()).arg(names.wake_word(call.topic, call.shard));
        match &call.wish {
            Wish::Next { count, token, lease_end } => {
                command.arg(*count).arg(token.as_ref()).arg(*lease_end);
            }
            Wish::Reclaim(token) => {
                command.arg("lost").arg("").arg(now).arg(token.as_ref());
            }
            Wish::Post(posts) => posts.iter().for_each(|post| add_post(&mut command, post)),
        }
        command
    }
}

fn add_post(command: &mut Cmd, post: &Post) {
    let word = match post.word {
        Word::Announce => "announce",
        Word::At(_) => "at",
        Word::Done(_) => "done",
        Word::Renew(_) => "renew",
        Word::Back(_) => "back",
    };
    let mut key = Uuid::encode_buffer();
    command.arg(word).arg(&*post.conversation.0.hyphenated().encode_lower(&mut key)).arg(post.since);
    match &post.word {
        Word::Announce => command.arg(""),
        Word::At(due) => command.arg(*due),
        Word::Done(token) | Word::Renew(token) | Word::Back(token) => command.arg(token.as_ref()),
    };
}

fn is_forgotten(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

impl FromRedisValue for Answer {
    fn from_redis_value(value: Value) -> Result<Self, redis::ParsingError> {
        type Row = (usize, usize, usize, String, String, String, Vec<String>);
        let (ready, delayed, out, oldest_since, first_due, first_lease_end, taken) = Row::from_redis_value(value)?;
        Ok(Self {
            ready,
            delayed,
            out,
            oldest_since: microseconds(&oldest_since),
            first_due: microseconds(&first_due),
            first_lease_end: microseconds(&first_lease_end),
            taken: taken.chunks_exact(2).filter_map(|pair| taken_key(&pair[0], &pair[1])).collect(),
        })
    }
}

/// A key that is none of ours is left out; its lease keeps it away.
fn taken_key(key: &str, since: &str) -> Option<(ConversationId, i64)> {
    Some((ConversationId(Uuid::try_parse(key).ok()?), microseconds(since)?))
}

/// A score. Redis writes large ones with an exponent.
fn microseconds(score: &str) -> Option<i64> {
    score.parse::<i64>().ok().or_else(|| score.parse::<f64>().ok().map(|score| score as i64))
}
