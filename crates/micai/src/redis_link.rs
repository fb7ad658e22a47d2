//! The way to Redis or Valkey: its address, connections with every wait bounded, what must hold at the start, and how
//! long to wait between two tries when it is away.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult, ServerErrorKind};
use secrecy::{ExposeSecret, SecretString};

/// How long a connection may take until it can be used.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an answer may take. Redis stands still while a script runs, so this is far above what any of ours needs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The oldest major version that is known to work.
const VERSION_MAJOR_MIN: u32 = 7;
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A server, by its address.
#[derive(Clone)]
pub struct RedisServer {
    client: Client,
    /// The address without its password.
    shown: String,
}

/// Why a process cannot start with this Redis. Each sentence says what to do; none holds a password.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the sentences are the documentation")]
pub enum RedisStartError {
    #[error("MICAI_REDIS_URL ({shown}) is no address that Redis knows: write redis://USER:PASSWORD@HOST:6379/0")]
    Address { shown: String },
    #[error(
        "the Redis at {shown} cannot be reached ({reason}): start it, or correct the host and port in MICAI_REDIS_URL"
    )]
    Unreachable { shown: String, reason: String },
    #[error(
        "the Redis at {shown} refused the user name or password: put the right ones into MICAI_REDIS_URL \
         (redis://USER:PASSWORD@HOST:6379/0)"
    )]
    Credentials { shown: String },
    #[error(
        "the Redis at {shown} does not let this user work ({reason}): allow it what micai uses (ACL SETUSER NAME on \
         >PASSWORD ~* &* +@all), or name another user in MICAI_REDIS_URL"
    )]
    Forbidden { shown: String, reason: String },
    #[error(
        "the Redis at {shown} has version {version}, and micai needs Redis {VERSION_MAJOR_MIN} or newer, or Valkey: \
         update it, or name another server in MICAI_REDIS_URL"
    )]
    Old { shown: String, version: String },
    #[error("the Redis at {shown} cannot be used ({reason}): mend it, or name another server in MICAI_REDIS_URL")]
    Unusable { shown: String, reason: String },
}

impl RedisServer {
    /// The server that `url` names; `shown` is the same address without its password.
    ///
    /// # Errors
    /// When it is no address.
    pub fn at(url: &SecretString, shown: String) -> Result<Self, RedisStartError> {
        // The client's own error may repeat the address with its password.
        match Client::open(url.expose_secret()) {
            Ok(client) => Ok(Self { client, shown }),
            Err(_) => Err(RedisStartError::Address { shown }),
        }
    }

    /// The address without its password.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Connects, and makes sure that the server is one to work with.
    ///
    /// # Errors
    /// A sentence for whoever starts the process.
    pub async fn check(&self) -> Result<MultiplexedConnection, RedisStartError> {
        let mut connection = self.connect().await.map_err(|error| self.start_error(&error))?;
        let info: String = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut connection)
            .await
            .map_err(|error| self.start_error(&error))?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("unknown").trim();
        let major = version.split('.').next().and_then(|number| number.parse::<u32>().ok());
        if major.is_none_or(|major| major < VERSION_MAJOR_MIN) {
            return Err(RedisStartError::Old { shown: self.shown.clone(), version: version.to_owned() });
        }
        Ok(connection)
    }

    /// A connection for commands; it must not be blocked or subscribed with.
    ///
    /// # Errors
    /// When the server cannot be reached within the bound, or refuses us.
    pub async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let limits = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT));
        self.client.get_multiplexed_async_connection_with_config(&limits).await
    }

    /// A connection of its own that hears what is published on `channel`.
    ///
    /// # Errors
    /// As [`RedisServer::connect`].
    pub async fn subscribe(&self, channel: &str) -> RedisResult<(PubSubSink, PubSubStream)> {
        let subscribing = async {
            let (mut sink, stream) = self.client.get_async_pubsub().await?.split();
            sink.subscribe(channel).await?;
            Ok((sink, stream))
        };
        let subscribed = tokio::time::timeout(CONNECT_TIMEOUT, subscribing).await;
        subscribed.unwrap_or_else(|_| Err(RedisError::from((ErrorKind::Io, "the subscription took too long"))))
    }

    fn start_error(&self, error: &RedisError) -> RedisStartError {
        let shown = self.shown.clone();
        let reason = error.to_string();
        match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS" | "NOAUTH")) => {
                RedisStartError::Credentials { shown }
            }
            (ErrorKind::Server(ServerErrorKind::NoPerm), _) => RedisStartError::Forbidden { shown, reason },
            (ErrorKind::Io, _) => RedisStartError::Unreachable { shown, reason },
            _ => RedisStartError::Unusable { shown, reason },
        }
    }
}

/// Whether a subscription still answers; a peer that vanished without a word would be waited for forever.
pub async fn answers(sink: &mut PubSubSink) -> bool {
    let pinging = tokio::time::timeout(ANSWER_TIMEOUT, sink.ping::<redis::Value>());
    matches!(pinging.await, Ok(Ok(_)))
}

/// Pauses between tries, longer each time and never quite the same, so that processes do not come back in step.
pub struct Pauses {
    next: Duration,
    dice: StdRng,
}

impl Pauses {
    /// Short ones first.
    pub fn new(dice: StdRng) -> Self {
        Self { next: PAUSE_MIN, dice }
    }

    /// The next pause: between half of the present bound and all of it.
    pub fn draw(&mut self) -> Duration {
        let pause = self.next.mul_f64(self.dice.random_range(0.5..1.0));
        self.next = (self.next * 2).min(PAUSE_MAX);
        pause
    }

    /// It works again: begin with short ones the next time.
    pub fn reset(&mut self) {
        self.next = PAUSE_MIN;
    }
}
