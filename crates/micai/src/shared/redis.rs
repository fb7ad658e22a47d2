//! Pace and events through Redis. While it is away, each process decides and speaks for itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::charges::{self, Charges};
use super::events::{EventTooLong, Events, Heard, checked};
use super::pace::{CHARGED_AHEAD_MICROSECONDS_MAX, Pace, Permit, wait_until};
use super::{InProcess, Shared, SharedLink};
use crate::redis_link::{Pauses, RedisServer, RedisStartError, answers};

const TAKE: &str = include_str!("take.lua");
/// Events that wait to be told to the other processes. More are lost, and the others hear how many.
const EVENTS_WAITING_MAX: usize = 4_096;
/// Events told in one round trip.
const EVENTS_TOLD_MAX: usize = 256;
/// How often a silent connection is asked whether it still lives.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Other processes whose events are counted. Beyond, all are forgotten and counted anew.
const SPEAKERS_MAX: usize = 1_024;

/// Shared with every process on the same Redis and prefix.
pub struct SharedRedis {
    inner: Arc<Inner>,
    events: mpsc::Sender<String>,
    /// Ends the tasks when the last handle goes.
    _ends: tokio_util::sync::DropGuard,
}

struct Inner {
    here: InProcess,
    charges: Charges,
    prefix: String,
    instance: String,
    events_told: AtomicU64,
    link: watch::Sender<Option<Link>>,
    /// Somebody found the link broken.
    broken: Notify,
}

/// A connection, and the name of the script there.
#[derive(Clone)]
struct Link {
    connection: MultiplexedConnection,
    take: String,
}

impl SharedRedis {
    /// Connects and begins to listen.
    ///
    /// # Errors
    /// A sentence about what is wrong with the server. Later nothing that happens to it is an error any more.
    pub async fn start(server: RedisServer, prefix: &str, mut chance: StdRng) -> Result<Self, RedisStartError> {
        let connection = server.check().await?;
        let inner = Arc::new(Inner {
            here: InProcess::default(),
            charges: Charges::default(),
            prefix: prefix.to_owned(),
            instance: format!("{:016x}", chance.next_u64()),
            events_told: AtomicU64::new(0),
            link: watch::Sender::new(None),
            broken: Notify::new(),
        });
        let (events, to_tell) = mpsc::channel(EVENTS_WAITING_MAX);
        let ending = CancellationToken::new();
        let listening = listen(inner.clone(), server.clone(), StdRng::from_rng(&mut chance));
        let keeping = keep_link(inner.clone(), server, connection, to_tell, chance);
        for task in [Box::pin(listening) as BoxFuture<'static, ()>, Box::pin(keeping)] {
            let ending = ending.clone();
            tokio::spawn(async move { ending.run_until_cancelled(task).await });
        }
        Ok(Self { inner, events, _ends: ending.drop_guard() })
    }
}

impl Shared for SharedRedis {
    fn take<'a>(&'a self, key: &'a str, pace: Pace, now: Timestamp) -> BoxFuture<'a, Permit> {
        Box::pin(async move {
            let link = self.inner.link.borrow().clone();
            let Some(link) = link else { return self.inner.here.take_here(key, pace, now) };
            match self.inner.call_there(link, key, pace, now, None).await {
                Ok(0) => Permit::Granted,
                Ok(allowed_at) => wait_until(allowed_at),
                Err(_) => {
                    self.inner.broken.notify_one();
                    self.inner.here.take_here(key, pace, now)
                }
            }
        })
    }

    fn charge(&self, key: &str, pace: Pace, steps: u32, now: Timestamp) {
        if self.inner.link.borrow().is_none() {
            return self.inner.here.charge(key, pace, steps, now);
        }
        if self.inner.charges.add(key, pace, steps, now) {
            let inner = self.inner.clone();
            tokio::spawn(async move {
                tokio::time::sleep(charges::GATHER).await;
                inner.tell_charges().await;
            });
        }
    }

    fn publish(&self, event: &str) -> Result<(), EventTooLong> {
        self.inner.here.listeners.tell(Heard::Event(checked(event)?));
        // The number lets the others see that one is missing.
        let number = self.inner.events_told.fetch_add(1, Ordering::Relaxed);
        let _ = self.events.try_send(format!("{} {number} {event}", self.inner.instance));
        Ok(())
    }

    /// Who listens in other processes is not known here, also while Redis is away: they hear it, or how much they missed, later.
    fn is_heard(&self) -> bool {
        true
    }

    fn subscribe(&self) -> Events {
        self.inner.here.subscribe()
    }

    fn link(&self) -> SharedLink {
        match *self.inner.link.borrow() {
            Some(_) => SharedLink::Redis,
            None => SharedLink::RedisAway,
        }
    }
}

impl Inner {
    async fn call_there(
        &self,
        mut link: Link,
        key: &str,
        pace: Pace,
        now: Timestamp,
        charged_steps: Option<u32>,
    ) -> RedisResult<i64> {
        let key = format!("{}:pace:{key}", self.prefix);
        let call = |script: &str| {
            let mut command = redis::cmd("EVALSHA");
            command.arg(script).arg(1).arg(&key).arg(now.as_microsecond());
            command.arg(pace.period_microseconds).arg(pace.burst);
            if let Some(steps) = charged_steps {
                command.arg(steps).arg(CHARGED_AHEAD_MICROSECONDS_MAX);
            }
            command
        };
        match call(&link.take).query_async(&mut link.connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let script: String = load(&mut link.connection).await?;
                call(&script).query_async(&mut link.connection).await
            }
            answer => answer,
        }
    }

    /// Nobody waits for it; what fails slows its number down a little less.
    async fn tell_charges(&self) {
        for (key, charge) in self.charges.take_all() {
            let link = self.link.borrow().clone();
            let told = match link {
                Some(link) => self.call_there(link, &key, charge.pace, charge.at, Some(charge.steps)).await.is_ok(),
                None => false,
            };
            if !told {
                self.here.charge(&key, charge.pace, charge.steps, charge.at);
            }
        }
    }

    fn channel(&self) -> String {
        format!("{}:events", self.prefix)
    }

    /// What another process said: its name, the event's number, the event.
    fn hear(&self, message: &str, expected: &mut HashMap<String, u64>) {
        let mut parts = message.splitn(3, ' ');
        let (Some(speaker), Some(number), Some(event)) = (parts.next(), parts.next(), parts.next()) else { return };
        let Ok(number) = number.parse::<u64>() else { return };
        if speaker == self.instance {
            return;
        }
        if expected.len() >= SPEAKERS_MAX {
            expected.clear();
        }
        if let Some(missed) = expected.insert(speaker.to_owned(), number + 1).and_then(|next| number.checked_sub(next))
            && missed > 0
        {
            self.here.listeners.tell(Heard::Missed(missed));
        }
        self.here.listeners.tell(Heard::Event(event.into()));
    }
}

async fn load(connection: &mut MultiplexedConnection) -> RedisResult<String> {
    redis::cmd("SCRIPT").arg("LOAD").arg(TAKE).query_async(connection).await
}

/// Keeps a connection, and tells events over it.
async fn keep_link(
    inner: Arc<Inner>,
    server: RedisServer,
    first: MultiplexedConnection,
    mut to_tell: mpsc::Receiver<String>,
    dice: StdRng,
) {
    let mut pauses = Pauses::new(dice);
    let mut connection = Some(first);
    loop {
        if let Some(connection) = connection.take()
            && let Err(error) = use_link(&inner, connection, &mut to_tell, &mut pauses).await
            && inner.link.send_replace(None).is_some()
        {
            tracing::warn!(reason = %error, "pace limits and live events: this process is on its own until Redis is back");
        }
        tokio::time::sleep(pauses.draw()).await;
        connection = server.connect().await.ok();
    }
}

/// Tells events until the connection breaks.
async fn use_link(
    inner: &Inner,
    mut connection: MultiplexedConnection,
    to_tell: &mut mpsc::Receiver<String>,
    pauses: &mut Pauses,
) -> RedisResult<()> {
    let take = load(&mut connection).await?;
    pauses.reset();
    // Whoever found the last connection broken did not mean this one.
    let _ = inner.broken.notified().now_or_never();
    inner.link.send_replace(Some(Link { connection: connection.clone(), take }));
    let channel = inner.channel();
    let mut events = Vec::new();
    loop {
        tokio::select! {
            count = to_tell.recv_many(&mut events, EVENTS_TOLD_MAX) => {
                if count == 0 {
                    // Nobody is left to tell anything; whoever dropped the last handle ends this task, too.
                    return std::future::pending().await;
                }
                let mut telling = redis::pipe();
                for event in events.drain(..) {
                    telling.cmd("PUBLISH").arg(&channel).arg(event).ignore();
                }
                telling.exec_async(&mut connection).await?;
            }
            () = inner.broken.notified() => {
                return Err(RedisError::from((ErrorKind::Io, "a pace could not be asked for")));
            }
            () = tokio::time::sleep(PING_INTERVAL) => {
                redis::cmd("PING").query_async::<redis::Value>(&mut connection).await?;
            }
        }
    }
}

/// Hears what other processes tell.
async fn listen(inner: Arc<Inner>, server: RedisServer, dice: StdRng) {
    let mut pauses = Pauses::new(dice);
    let mut expected = HashMap::new();
    loop {
        if let Ok((mut sink, mut messages)) = server.subscribe(&inner.channel()).await {
            pauses.reset();
            loop {
                tokio::select! {
                    message = messages.next() => match message {
                        Some(message) => {
                            inner.hear(&String::from_utf8_lossy(message.get_payload_bytes()), &mut expected);
                        }
                        None => break,
                    },
                    () = tokio::time::sleep(PING_INTERVAL) => match answers(&mut sink).await {
                        true => {}
                        false => break,
                    },
                }
            }
        }
        tokio::time::sleep(pauses.draw()).await;
    }
}
