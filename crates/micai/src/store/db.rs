//! The two databases behind one enum, and the words in which each statement is written once for both.

use std::path::PathBuf;
use std::time::Duration;

use jiff_sqlx::ToSqlx as _;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgConnectOptions, PgPool, PgTypeInfo, PgValueRef, Postgres};
use sqlx::sqlite::{
    Sqlite, SqliteArgumentsBuffer, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous, SqliteTypeInfo, SqliteValueRef,
};
use sqlx::{Connection as _, Decode, Encode, Type};

use super::error::StoreError;
use super::postgres;

/// How long a SQLite write waits for another process's lock before it is reported as unavailable.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// Pages of 4 KiB that the write-ahead log takes before they are moved into the database: 8 MiB. Measured at 1,000
/// webhooks a second: 500 and 1,000 pages stop the writer too often, 8,000 for too long.
const SQLITE_CHECKPOINT_PAGES: &str = "2000";
/// Cache of a connection; negative means KiB to SQLite.
const SQLITE_CACHE_KIBIBYTES: &str = "-8000";
/// How long a caller waits for a free connection.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// What a Postgres server gets beyond its own limit on a statement before it counts as gone.
const SILENCE_MARGIN: Duration = Duration::from_secs(5);
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

/// A pool of either kind. SQLite allows one writer, so it has a pool of one for that and another for readers.
#[derive(Clone)]
pub(crate) enum Db {
    /// `patience` is how long a statement may go without an answer, the server's own limit included.
    Pg {
        pool: PgPool,
        patience: Duration,
    },
    Lite {
        readers: SqlitePool,
        writer: SqlitePool,
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
                    .statement_cache_capacity(PREPARED_STATEMENTS);
                let pool = |connections| {
                    SqlitePoolOptions::new()
                        .max_connections(connections)
                        .acquire_timeout(ACQUIRE_TIMEOUT)
                        .idle_timeout(None)
                        .max_lifetime(None)
                };
                // SQLite ends a transaction by itself when the disk is full; sqlx 0.9.0 does not notice and could never
                // begin another one on that connection.
                let writer = pool(1)
                    .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
                    .connect_with(options.clone())
                    .await?;
                let readers = pool(*readers_max).connect_with(options.read_only(true)).await?;
                Ok(Self::Lite { readers, writer })
            }
            Location::Postgres { options, connections_max, statement_timeout } => {
                let options = options.as_ref().clone().statement_cache_capacity(PREPARED_STATEMENTS);
                let pool = postgres::connect(options, *connections_max, *statement_timeout).await?;
                Ok(Self::Pg { pool, patience: *statement_timeout + SILENCE_MARGIN })
            }
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Pg { pool, patience } => {
                // Waits for connections that are out; a server that has gone silent must not hold up the end.
                let _ = tokio::time::timeout(*patience, pool.close()).await;
            }
            Self::Lite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }
}

/// Begins a Postgres transaction. sqlx 0.9.0 leaves the pooled connection inside a transaction when the future of
/// `begin` is dropped half-way, so it runs to its end in a task of its own. Only a server that has gone silent is given up
/// on before; should it speak again, its own limit on idle transactions ends that one.
#[allow(clippy::disallowed_methods)]
async fn begin_pg(pool: &PgPool, patience: Duration) -> Result<sqlx::Transaction<'static, Postgres>, StoreError> {
    let pool = pool.clone();
    let begun = tokio::spawn(answered(patience, async move { Ok(pool.begin().await?) })).await;
    begun.map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))?
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
    Pg { tx: sqlx::Transaction<'static, Postgres>, patience: Duration },
    Lite(sqlx::Transaction<'static, Sqlite>),
}

impl Db {
    pub(super) async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match self {
            Self::Pg { pool, patience } => Tx::Pg { tx: begin_pg(pool, *patience).await?, patience: *patience },
            // IMMEDIATE: a transaction that starts as a reader could not become a writer under load.
            Self::Lite { writer, .. } => Tx::Lite(writer.begin_with("BEGIN IMMEDIATE").await?),
        })
    }
}

impl Tx {
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Pg { tx, patience } => answered(patience, async { Ok(tx.commit().await?) }).await,
            Self::Lite(tx) => Ok(tx.commit().await?),
        }
    }
}

/// Runs `$body` on a connection for reading; compiled once for each database, whose type is `$dialect`.
macro_rules! read {
    ($db:expr, |$pool:ident, $dialect:ident| $body:expr) => {
        match $db {
            $crate::store::db::Db::Pg { pool: $pool, patience } => {
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
            $crate::store::db::Tx::Pg { tx, patience } => {
                #[allow(dead_code)]
                type $dialect = sqlx::Postgres;
                let $connection = &mut **tx;
                let answer = async { Ok::<_, $crate::store::error::StoreError>($body) };
                $crate::store::db::answered(*patience, answer).await?
            }
            $crate::store::db::Tx::Lite(tx) => {
                #[allow(dead_code)]
                type $dialect = sqlx::Sqlite;
                let $connection = &mut **tx;
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
