//! Migrations: the same numbers and names for both databases, forward only, compiled in.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};

use super::Store;
use super::db::Db;
use super::error::StoreError;

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
    migrations!("postgres": 1 "0001_spine")
}

fn sqlite() -> Migrator {
    migrations!("sqlite": 1 "0001_spine")
}

/// How far the schema of a database has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaStatus {
    /// Number and name of each migration, and whether the database has it.
    pub migrations: Vec<(i64, String, bool)>,
}

impl Store {
    /// Brings the schema up to date. Safe to call from several processes at once.
    ///
    /// # Errors
    /// [`StoreError::Schema`] when the database is newer than this program or was changed by hand.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let outcome = match &self.db {
            Db::Pg { general, .. } => postgres().run(general).await,
            Db::Lite { writer, .. } => sqlite().run(writer).await,
        };
        outcome.map_err(explain)
    }

    /// Which migrations the database has.
    pub async fn schema_status(&self) -> Result<SchemaStatus, StoreError> {
        let applied = match &self.db {
            Db::Pg { general, .. } => {
                let mut connection = general.acquire().await?;
                connection.ensure_migrations_table("_sqlx_migrations").await.map_err(explain)?;
                connection.list_applied_migrations("_sqlx_migrations").await.map_err(explain)?
            }
            Db::Lite { writer, .. } => {
                let mut connection = writer.acquire().await?;
                connection.ensure_migrations_table("_sqlx_migrations").await.map_err(explain)?;
                connection.list_applied_migrations("_sqlx_migrations").await.map_err(explain)?
            }
        };
        let migrations = sqlite()
            .iter()
            .map(|known| {
                let is_applied = applied.iter().any(|one| one.version == known.version);
                (known.version, known.description.to_string(), is_applied)
            })
            .collect();
        Ok(SchemaStatus { migrations })
    }
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
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => StoreError::Schema(format!("the schema could not be brought up to date: {other}")),
    }
}
