//! Migrations: the same numbers and names for both databases, forward only, compiled in.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::sqlite::SqlitePool;
use sqlx::{Connection as _, SqlSafeStr};

use super::Store;
use super::db::Db;
use super::error::StoreError;

/// How long a process waits for another one that is changing the schema. A migration that needs longer is run by hand,
/// with `micai migrate`, before the processes start.
const WAIT_SECONDS_MAX: i64 = 60;
/// The pause between two tries to become the one that changes the schema.
const WAIT_PAUSE: SignedDuration = SignedDuration::from_millis(200);
/// Names the advisory lock on Postgres: "micai" in ASCII. Such locks belong to one database.
const LOCK_KEY: i64 = 0x6d_6963_6169;
/// How long closing a connection politely may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

macro_rules! migrations {
    ($folder:literal: $($number:literal $name:literal),* $(,)?) => {
        Migrator::with_migrations(vec![$(Migration::new(
            $number,
            $name.into(),
            MigrationType::Simple,
            include_str!(concat!("../../migrations/", $folder, "/", $name, ".sql")).into_sql_str(),
            false,
        )),*])
    };
}

fn postgres() -> Migrator {
    migrations!("postgres": 1 "0001_spine", 2 "0002_room_to_move", 3 "0003_delivery", 4 "0004_time")
}

fn sqlite() -> Migrator {
    migrations!("sqlite": 1 "0001_spine", 2 "0002_room_to_move", 3 "0003_delivery", 4 "0004_time")
}

/// How far the schema of a database has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaStatus {
    /// Each migration that this program or the database knows, by number.
    pub migrations: Vec<MigrationStatus>,
}

/// One migration and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Its number.
    pub number: i64,
    /// Its name; empty when only the database knows it.
    pub name: String,
    /// Whether the database has it.
    pub state: MigrationState,
}

/// Where a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationState {
    /// The database has it.
    Applied,
    /// The database has one of this number that reads otherwise.
    Differs,
    /// The database lacks it.
    Missing,
    /// The database has it and this program does not: a newer program made it.
    FromNewer,
}

impl SchemaStatus {
    /// Whether this program and the database agree.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.migrations.iter().all(|one| one.state == MigrationState::Applied)
    }

    /// How many migrations are in this state.
    #[must_use]
    pub fn count(&self, state: MigrationState) -> usize {
        self.migrations.iter().filter(|one| one.state == state).count()
    }
}

impl Store {
    /// Brings the schema up to date. Any number of processes may do it at once: one changes the schema, the others wait
    /// for it. A schema that is up to date is only looked at, which needs no right to create tables.
    ///
    /// # Errors
    /// [`StoreError::Schema`] when the database is newer than this program, was changed by hand, may not be changed by
    /// this role, or is being changed by somebody else for too long.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        if self.schema_status().await?.is_current() {
            return Ok(());
        }
        let give_up_at = self.clock.now() + SignedDuration::from_secs(WAIT_SECONDS_MAX);
        let changed = match &self.db {
            Db::Pg { general: pool, .. } => self.migrate_postgres(pool, give_up_at).await?,
            Db::Lite { writer, .. } => self.migrate_sqlite(writer, give_up_at).await?,
        };
        if changed > 0 {
            tracing::info!(migrations = changed, "the database schema was brought up to date");
        }
        Ok(())
    }

    /// Which migrations the database has. Writes nothing.
    pub async fn schema_status(&self) -> Result<SchemaStatus, StoreError> {
        Ok(status(&known(&self.db), &applied(&self.db).await?))
    }

    /// The lock is the session's: it is held on a connection of its own, which ends with it, whatever happens. Such a
    /// connection has no limit on its statements, since a migration may have to rewrite a large table.
    async fn migrate_postgres(&self, pool: &PgPool, give_up_at: Timestamp) -> Result<usize, StoreError> {
        let mut connection = pool.acquire().await?.detach();
        let outcome = async {
            sqlx::query("SET statement_timeout = 0").execute(&mut connection).await?;
            sqlx::query("SET idle_in_transaction_session_timeout = 0").execute(&mut connection).await?;
            let mut waiting = Waiting { give_up_at, has_said: false };
            while !is_locked(&mut connection).await? {
                waiting.pause(self).await?;
            }
            // Whoever had the lock may have done everything meanwhile.
            let missing = self.schema_status().await?.count(MigrationState::Missing);
            let mut migrator = postgres();
            migrator.set_locking(false);
            migrator.run_direct(None, &mut connection, false).await.map_err(explain)?;
            Ok(missing)
        };
        let outcome = outcome.await;
        // A server that does not say good-bye lets go of the lock by itself.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, connection.close()).await;
        outcome
    }

    /// All in one transaction that keeps other writers out: the migrations are savepoints in it.
    async fn migrate_sqlite(&self, writer: &SqlitePool, give_up_at: Timestamp) -> Result<usize, StoreError> {
        let mut waiting = Waiting { give_up_at, has_said: false };
        let mut tx = loop {
            match writer.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::from) {
                Ok(tx) => break tx,
                Err(StoreError::Unavailable(_)) => waiting.pause(self).await?,
                Err(error) => return Err(error),
            }
        };
        // Whoever kept us out may have done everything meanwhile.
        let missing = self.schema_status().await?.count(MigrationState::Missing);
        sqlite().run_direct(None, &mut *tx, false).await.map_err(explain)?;
        tx.commit().await?;
        Ok(missing)
    }
}

/// Waits for whoever is changing the schema.
struct Waiting {
    give_up_at: Timestamp,
    has_said: bool,
}

impl Waiting {
    async fn pause(&mut self, store: &Store) -> Result<(), StoreError> {
        if store.clock.now() >= self.give_up_at {
            return Err(StoreError::Schema(format!(
                "another process has been changing the schema for more than {WAIT_SECONDS_MAX} seconds: let it finish, or \
                 stop it, then start again; `micai migrate status` shows how far it is"
            )));
        }
        if !self.has_said {
            self.has_said = true;
            tracing::info!(
                seconds_max = WAIT_SECONDS_MAX,
                "another process is bringing the database schema up to date: waiting for it"
            );
        }
        store.clock.sleep_until(store.clock.now() + WAIT_PAUSE).await;
        Ok(())
    }
}

async fn is_locked(connection: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK_KEY).fetch_one(connection).await?)
}

/// The migrations of this program for this database.
fn known(db: &Db) -> Migrator {
    match db {
        Db::Pg { .. } => postgres(),
        Db::Lite { .. } => sqlite(),
    }
}

/// Number and checksum of each migration that the database has.
async fn applied(db: &Db) -> Result<BTreeMap<i64, Vec<u8>>, StoreError> {
    const LIST: &str = "SELECT version, checksum FROM _sqlx_migrations ORDER BY version";
    let rows: Vec<(i64, Vec<u8>)> = match db {
        Db::Pg { general: pool, .. } => {
            let table: Option<String> =
                sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations')::text").fetch_one(pool).await?;
            match table {
                Some(_) => sqlx::query_as(LIST).fetch_all(pool).await?,
                None => Vec::new(),
            }
        }
        Db::Lite { readers, .. } => {
            let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'")
                .fetch_one(readers)
                .await?;
            match tables {
                0 => Vec::new(),
                _ => sqlx::query_as(LIST).fetch_all(readers).await?,
            }
        }
    };
    Ok(rows.into_iter().collect())
}

fn status(known: &Migrator, applied: &BTreeMap<i64, Vec<u8>>) -> SchemaStatus {
    let ours = known.iter().map(|migration| MigrationStatus {
        number: migration.version,
        // The number stands before it.
        name: migration.description.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_').to_owned(),
        state: match applied.get(&migration.version) {
            Some(checksum) if checksum[..] == migration.checksum[..] => MigrationState::Applied,
            Some(_) => MigrationState::Differs,
            None => MigrationState::Missing,
        },
    });
    let newer = applied.keys().filter(|number| !known.version_exists(**number)).map(|number| MigrationStatus {
        number: *number,
        name: String::new(),
        state: MigrationState::FromNewer,
    });
    let mut migrations: Vec<_> = ours.chain(newer).collect();
    migrations.sort_by_key(|one| one.number);
    SchemaStatus { migrations }
}

fn explain(error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMissing(version) => StoreError::Schema(format!(
            "the database has migration {version}, which this program does not know: it was made by a newer version \
             of mic.ai; start that version, or restore a backup from before the upgrade"
        )),
        MigrateError::VersionMismatch(version) => StoreError::Schema(format!(
            "migration {version} of the database differs from the one in this program: the schema was changed by \
             hand or by another build; restore a backup or start the build that made it"
        )),
        MigrateError::Dirty(version) => StoreError::Schema(format!(
            "migration {version} was begun and not finished: restore a backup from before it and start again"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => explain_sql(error),
        other => StoreError::Schema(format!("the schema could not be brought up to date: {other}")),
    }
}

fn explain_sql(error: sqlx::Error) -> StoreError {
    /// `insufficient_privilege`.
    const NOT_ALLOWED: &str = "42501";
    match &error {
        sqlx::Error::Database(database) if database.code().is_some_and(|code| code == NOT_ALLOWED) => {
            StoreError::Schema(format!(
                "this role may not create tables ({}): grant it CREATE on the schema, or run `micai migrate` with the \
                 role that owns the database and start again",
                database.message()
            ))
        }
        _ => error.into(),
    }
}
