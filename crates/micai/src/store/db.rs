//! The two databases behind one enum, and the words in which each statement is written once for both.

use std::path::PathBuf;
use std::time::Duration;

use jiff_sqlx::ToSqlx as _;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArgumentBuffer, PgConnectOptions, PgHasArrayType, PgPool, PgTypeInfo, PgValueRef, Postgres};
use sqlx::sqlite::{
    Sqlite, SqliteArgumentsBuffer, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous, SqliteTypeInfo, SqliteValueRef,
};
use sqlx::{Decode, Encode, Executor as _, Type};

use super::checkpoint::{self, Checkpoints};
use super::error::StoreError;
use super::postgres;

/// How long a SQLite write waits for another process's lock before it is reported as unavailable.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// Pages of 4 KiB in the write-ahead log at which the writer moves them itself: 256 MiB. It comes to that only where the log
/// cannot be moved beside it.
const SQLITE_CHECKPOINT_PAGES: &str = "64000";
/// Cache of a connection; negative means KiB to SQLite.
const SQLITE_CACHE_KIBIBYTES: &str = "-8000";
/// How long a caller waits for a free connection.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// What a Postgres server gets beyond its own limit on a statement before it counts as gone.
const SILENCE_MARGIN: Duration = Duration::from_secs(5);
/// Rows that SQLite's thread may be ahead of us; at the bound it waits, and each wait costs two hand-overs.
const SQLITE_ROWS_AHEAD_MAX: usize = 4_096;
/// Statements kept prepared per connection.
const PREPARED_STATEMENTS: usize = 256;

/// Where the database is, and how many connections it gets.
#[derive(Clone)]
pub enum Location {
    /// A SQLite file.
    Sqlite {
        /// The file; made if it is not there.
        path: PathBuf,
        /// Connections that read at the same time. There is one that writes.
        readers_max: u32,
    },
    /// A Postgres server.
    Postgres {
        /// Address, user, password, database.
        options: Box<PgConnectOptions>,
        /// Connections at the same time.
        connections_max: u32,
        /// How long the server may work on one statement.
        statement_timeout: Duration,
    },
}

impl std::fmt::Debug for Location {
    /// Without the options of Postgres: they hold the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite { path, .. } => write!(f, "Sqlite({})", path.display()),
            Self::Postgres { options, .. } => write!(f, "Postgres({}:{})", options.get_host(), options.get_port()),
        }
    }
}

/// The pools of either kind. Postgres: one for the lanes, whose statements are all of the kind "these keys, through their
/// index", and one for everything else. SQLite allows one writer, so it has a pool of one for that, another for readers, and
/// a connection that moves the write-ahead log.
#[derive(Clone)]
pub(crate) enum Db {
    /// `patience` is how long a statement may go without an answer, the server's own limit included.
    Pg {
        general: PgPool,
        lanes: PgPool,
        patience: Duration,
    },
    Lite {
        readers: SqlitePool,
        writer: SqlitePool,
        checkpoints: Checkpoints,
    },
}

impl Db {
    pub(super) async fn connect(location: &Location) -> Result<Self, StoreError> {
        match location {
            Location::Sqlite { path, readers_max } => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    // An answer of 200 must survive a power cut; shared commits pay for the flush.
                    .synchronous(SqliteSynchronous::Full)
                    .foreign_keys(true)
                    .busy_timeout(SQLITE_BUSY_TIMEOUT)
                    .pragma("wal_autocheckpoint", SQLITE_CHECKPOINT_PAGES)
                    .pragma("cache_size", SQLITE_CACHE_KIBIBYTES)
                    // Statements over many rows keep an undo log of their own; in a file it would cost more than they do.
                    .pragma("temp_store", "MEMORY")
                    // Left to itself, SQLite indexes a list of some hundred rows for one statement and walks through the
                    // whole table beside it.
                    .pragma("automatic_index", "OFF")
                    .row_buffer_size(SQLITE_ROWS_AHEAD_MAX)
                    .statement_cache_capacity(PREPARED_STATEMENTS);
                let pool = |connections| {
                    SqlitePoolOptions::new()
                        .max_connections(connections)
                        .acquire_timeout(ACQUIRE_TIMEOUT)
                        .idle_timeout(None)
                        .max_lifetime(None)
                };
                let writer = pool(1).test_before_acquire(false).connect_with(options.clone()).await?;
                let checkpoints = Checkpoints::new(pool(1).connect_lazy_with(options.clone()));
                let readers = pool(*readers_max).connect_with(options.read_only(true)).await?;
                Ok(Self::Lite { readers, writer, checkpoints })
            }
            Location::Postgres { options, connections_max, statement_timeout } => {
                let options = options.as_ref().clone().statement_cache_capacity(PREPARED_STATEMENTS);
                let (general, lanes) = postgres::connect(options, *connections_max, *statement_timeout).await?;
                Ok(Self::Pg { general, lanes, patience: *statement_timeout + SILENCE_MARGIN })
            }
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Pg { general, lanes, patience } => {
                // Waits for connections that are out; a server that has gone silent must not hold up the end.
                let closed = async { tokio::join!(lanes.close(), general.close()) };
                let _ = tokio::time::timeout(*patience, closed).await;
            }
            Self::Lite { readers, writer, checkpoints } => {
                checkpoints.close().await;
                readers.close().await;
                writer.close().await;
            }
        }
    }
}

/// Waits for an answer as long as a live server may need. Nothing else tells a silent one from a slow one.
pub(super) async fn answered<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(patience, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(StoreError::Unavailable(format!(
            "the server has not answered for {} seconds: this connection is given up",
            patience.as_secs()
        ))),
    }
}

/// A transaction on either database; rolled back when it is dropped without [`Tx::commit`].
pub(super) enum Tx {
    /// With how long a statement may go without an answer.
    Pg(Open<Postgres>, Duration),
    Lite(Open<Sqlite>),
}

/// A connection, inside a transaction once that was asked for.
///
/// sqlx 0.9.0's own `begin` leaves a pooled connection inside a transaction when its future is dropped half-way, so this
/// one says BEGIN itself and has the connection closed, not reused, unless it comes to COMMIT or ROLLBACK.
pub(super) struct Open<D: sqlx::Database> {
    connection: PoolConnection<D>,
    is_begun: bool,
}

impl<D: sqlx::Database> Open<D> {
    fn new(connection: PoolConnection<D>) -> Self {
        Self { connection, is_begun: false }
    }

    pub fn connection(&mut self) -> &mut D::Connection {
        &mut self.connection
    }

    /// The BEGIN that must stand before the next statement, if one is needed. What it is put in front of must be run.
    pub fn beginning(&mut self, begin: &'static str) -> &'static str {
        if std::mem::replace(&mut self.is_begun, true) { "" } else { begin }
    }
}

impl<D: sqlx::Database> Drop for Open<D> {
    fn drop(&mut self) {
        if self.is_begun {
            self.connection.close_on_drop();
        }
    }
}

/// IMMEDIATE: a transaction that starts as a reader could not become a writer under load.
pub(super) const LITE_BEGIN: &str = "BEGIN IMMEDIATE;";

impl Db {
    /// A transaction.
    pub(super) async fn begin(&self) -> Result<Tx, StoreError> {
        match self {
            Self::Pg { general, patience, .. } => Self::begin_in(general, *patience).await,
            Self::Lite { writer, .. } => {
                let mut open = Open::new(writer.acquire().await?);
                let begin = open.beginning(LITE_BEGIN);
                open.connection.execute(begin).await?;
                Ok(Tx::Lite(open))
            }
        }
    }

    /// A transaction whose statements find a few rows for each of many, as a lane's do: on Postgres it plans as lanes do.
    pub(super) async fn begin_narrow(&self) -> Result<Tx, StoreError> {
        match self {
            Self::Pg { lanes, patience, .. } => Self::begin_in(lanes, *patience).await,
            Self::Lite { .. } => self.begin().await,
        }
    }

    async fn begin_in(pool: &PgPool, patience: Duration) -> Result<Tx, StoreError> {
        let mut tx = Tx::Pg(Open::new(pool.acquire().await?), patience);
        tx.together().await?;
        Ok(tx)
    }

    /// A transaction for a lane. It begins with its first statement: in SQLite together with it, to save a hand-over
    /// between threads; in Postgres only with [`Tx::together`], since a verb of one statement needs none.
    pub(super) async fn open(&self) -> Result<Tx, StoreError> {
        Ok(match self {
            Self::Pg { lanes, patience, .. } => Tx::Pg(Open::new(lanes.acquire().await?), *patience),
            Self::Lite { writer, checkpoints, .. } => {
                let mut open = Open::new(writer.acquire().await?);
                if checkpoints.needs_the_writer() {
                    open.connection.execute(checkpoint::MOVE).await?;
                }
                Tx::Lite(open)
            }
        })
    }
}

impl Tx {
    /// What follows is committed together or not at all. In SQLite it is so anyway, from the first batch on.
    pub(super) async fn together(&mut self) -> Result<(), StoreError> {
        self.begin_with("BEGIN").await
    }

    /// As [`Tx::together`], and Postgres need not flush it before it answers: for what is done again if a crash takes it
    /// back. Any later commit that is flushed, such as the intent of a call that follows from it, brings it along.
    pub(super) async fn together_unflushed(&mut self) -> Result<(), StoreError> {
        self.begin_with("BEGIN; SET LOCAL synchronous_commit = off").await
    }

    async fn begin_with(&mut self, begin: &'static str) -> Result<(), StoreError> {
        if let Self::Pg(open, patience) = self {
            let begin = open.beginning(begin);
            if !begin.is_empty() {
                answered(*patience, async { Ok(open.connection.execute(sqlx::raw_sql(begin)).await?) }).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        self.commit_and_keep().await.map(drop)
    }

    /// Commits; what remains is good for the next transaction, on the same connection.
    pub(super) async fn commit_and_keep(mut self) -> Result<Self, StoreError> {
        match &mut self {
            Self::Pg(open, patience) if open.is_begun => {
                answered(*patience, async { Ok(open.connection.execute("COMMIT").await?) }).await?;
                open.is_begun = false;
            }
            Self::Lite(open) if open.is_begun => {
                open.connection.execute("COMMIT").await?;
                open.is_begun = false;
            }
            _ => {}
        }
        Ok(self)
    }

    /// What stands behind a SELECT to keep others from changing its rows before we do. SQLite has one writer anyway.
    pub(super) fn row_lock(&self) -> &'static str {
        match self {
            Self::Pg(..) => " FOR UPDATE",
            Self::Lite(_) => "",
        }
    }

    /// Gives up what was begun. A transaction that is dropped is rolled back, too, but costs its connection, as does one
    /// that cannot be rolled back any more: SQLite ends it by itself when the disk is full.
    pub(super) async fn roll_back(mut self) {
        match &mut self {
            Self::Pg(open, patience) if open.is_begun => {
                let rolled_back = answered(*patience, async { Ok(open.connection.execute("ROLLBACK").await?) });
                open.is_begun = rolled_back.await.is_err();
            }
            Self::Lite(open) if open.is_begun => open.is_begun = open.connection.execute("ROLLBACK").await.is_err(),
            _ => {}
        }
    }
}

/// Runs `$body` on a connection for reading; compiled once for each database, whose type is `$dialect`.
macro_rules! read {
    ($db:expr, |$pool:ident, $dialect:ident| $body:expr) => {
        match $db {
            $crate::store::db::Db::Pg { general: $pool, patience, .. } => {
                #[allow(dead_code)]
                type $dialect = sqlx::Postgres;
                let answer = async { Ok::<_, $crate::store::error::StoreError>($body) };
                $crate::store::db::answered(*patience, answer).await?
            }
            $crate::store::db::Db::Lite { readers: $pool, .. } => {
                #[allow(dead_code)]
                type $dialect = sqlx::Sqlite;
                $body
            }
        }
    };
}

/// Runs `$body` inside a transaction; compiled once for each database, whose type is `$dialect`.
macro_rules! on {
    ($tx:expr, |$connection:ident, $dialect:ident| $body:expr) => {
        match $tx {
            $crate::store::db::Tx::Pg(tx, patience) => {
                #[allow(dead_code)]
                type $dialect = sqlx::Postgres;
                let $connection = tx.connection();
                let answer = async { Ok::<_, $crate::store::error::StoreError>($body) };
                $crate::store::db::answered(*patience, answer).await?
            }
            $crate::store::db::Tx::Lite(tx) => {
                #[allow(dead_code)]
                type $dialect = sqlx::Sqlite;
                let $connection = tx.connection();
                $body
            }
        }
    };
}

/// A struct that either database's row can be read into, field by field, by column name.
macro_rules! row {
    ($(#[$meta:meta])* $visibility:vis struct $name:ident { $($field:ident : $type:ty),* $(,)? }) => {
        $(#[$meta])* $visibility struct $name { $(pub $field: $type),* }
        impl<'r, R: sqlx::Row> sqlx::FromRow<'r, R> for $name
        where
            &'static str: sqlx::ColumnIndex<R>,
            $($type: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>),*
        {
            fn from_row(row: &'r R) -> sqlx::Result<Self> {
                Ok(Self { $($field: row.try_get(stringify!($field))?),* })
            }
        }
    };
}

pub(super) use {on, read, row};

/// An instant in a column: `timestamptz` in Postgres, whole microseconds as INTEGER in SQLite, where text of varying
/// length would not sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ts(pub jiff::Timestamp);

impl Type<Postgres> for Ts {
    fn type_info() -> PgTypeInfo {
        <jiff_sqlx::Timestamp as Type<Postgres>>::type_info()
    }

    fn compatible(info: &PgTypeInfo) -> bool {
        <jiff_sqlx::Timestamp as Type<Postgres>>::compatible(info)
    }
}

impl PgHasArrayType for Ts {
    fn array_type_info() -> PgTypeInfo {
        <jiff_sqlx::Timestamp as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Ts {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <jiff_sqlx::Timestamp as Encode<Postgres>>::encode_by_ref(&self.0.to_sqlx(), buffer)
    }
}

impl<'r> Decode<'r, Postgres> for Ts {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(<jiff_sqlx::Timestamp as Decode<Postgres>>::decode(value)?.to_jiff()))
    }
}

impl Type<Sqlite> for Ts {
    fn type_info() -> SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Ts {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        <i64 as Encode<Sqlite>>::encode(self.0.as_microsecond(), buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Ts {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(jiff::Timestamp::from_microsecond(<i64 as Decode<Sqlite>>::decode(value)?)?))
    }
}

/// A column that may hold what this program cannot read. Its row is read all the same, so that it does not stand in the way of
/// others; the error says what is wrong.
pub(crate) struct Lenient<T>(pub Result<T, String>);

impl<D: sqlx::Database, T: Type<D>> Type<D> for Lenient<T> {
    fn type_info() -> D::TypeInfo {
        T::type_info()
    }

    fn compatible(info: &D::TypeInfo) -> bool {
        T::compatible(info)
    }
}

impl<'r, D: sqlx::Database, T: Decode<'r, D>> Decode<'r, D> for Lenient<T> {
    fn decode(value: D::ValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(T::decode(value).map_err(|error| error.to_string())))
    }
}
