//! The schema's story: many processes that start together, a database from an earlier version with its data, one from a
//! newer version.

mod data_set;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use micai::clock::ManualClock;
use micai::ids::Ids;
use micai::store::{Location, Store};
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Executor as _};

use crate::harness::{settings, variable};
use crate::postgres::{Postgres, location};
use crate::process::Process;

/// Nobody is called there.
const NOWHERE: &str = "http://127.0.0.1:9";
/// Makes the data sets of the newest version anew.
const WRITE: &str = "MICAI_TEST_WRITE_SCHEMA_DATA";
/// The advisory lock of whoever changes the schema.
const LOCK_KEY: i64 = 0x6d_6963_6169;

/// An empty database of either kind.
enum Empty {
    Postgres(Postgres),
    Sqlite(tempfile::TempDir),
}

impl Empty {
    async fn of(dialect: &str) -> Self {
        match dialect {
            "postgres" => Self::Postgres(Postgres::start().await),
            _ => {
                let folder = tempfile::tempdir().expect("a folder");
                std::fs::write(Self::path(&folder), "").expect("a file");
                Self::Sqlite(folder)
            }
        }
    }

    fn path(folder: &tempfile::TempDir) -> PathBuf {
        folder.path().join("micai.db")
    }

    fn location(&self) -> Location {
        match self {
            Self::Postgres(server) => location(server.options()),
            Self::Sqlite(folder) => Location::Sqlite { path: Self::path(folder), readers_max: 2 },
        }
    }

    /// The setting `database_url`.
    fn url(&self) -> String {
        match self {
            Self::Postgres(server) => server.url(),
            Self::Sqlite(folder) => format!("sqlite:///{}", Self::path(folder).display()),
        }
    }

    async fn execute(&self, sql: &str) {
        let sql = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()));
        match self {
            Self::Postgres(server) => server.options().connect().await.unwrap().execute(sql).await.map(drop).unwrap(),
            Self::Sqlite(folder) => sqlite(folder).connect().await.unwrap().execute(sql).await.map(drop).unwrap(),
        }
    }

    async fn texts(&self, sql: &str) -> Vec<String> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres(server) => {
                sqlx::query_scalar(sql).fetch_all(&mut server.options().connect().await.unwrap()).await.unwrap()
            }
            Self::Sqlite(folder) => {
                sqlx::query_scalar(sql).fetch_all(&mut sqlite(folder).connect().await.unwrap()).await.unwrap()
            }
        }
    }

    /// Migrates as far as a program of that version would.
    async fn migrate_to(&self, number: i64, dialect: &str) {
        let migrator = Migrator::new(migrations(dialect).as_path()).await.unwrap();
        match self {
            Self::Postgres(server) => {
                migrator.run_to(number, &mut server.options().connect().await.unwrap()).await.unwrap();
            }
            Self::Sqlite(folder) => {
                migrator.run_to(number, &mut sqlite(folder).connect().await.unwrap()).await.unwrap();
            }
        }
    }
}

fn sqlite(folder: &tempfile::TempDir) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(Empty::path(folder)).create_if_missing(true)
}

fn migrations(dialect: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(dialect)
}

/// Number and file name of each migration, oldest first.
fn versions(dialect: &str) -> Vec<(i64, String)> {
    let entries = std::fs::read_dir(migrations(dialect)).expect("migrations");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    let mut versions: Vec<(i64, String)> =
        names.map(|name| (name[..4].parse().expect("a name begins with its number"), name)).collect();
    versions.sort();
    versions
}

/// A command of the binary on this database, ready to run.
pub fn command(words: &[&str], database_url: &str) -> Command {
    let settings = settings(Path::new("unused"), NOWHERE, &[("database_url", database_url)]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_micai"));
    command.args(words).env_clear().envs(settings.iter().map(|(key, value)| (variable(key), value.clone())));
    command
}

/// Runs a command of the binary to its end.
pub fn micai(words: &[&str], database_url: &str) -> Output {
    command(words, database_url).output().expect("micai starts")
}

/// Everything that it said.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_every_earlier_version_is_there_after_the_upgrade() {
    for dialect in ["postgres", "sqlite"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/schema").join(dialect);
        let versions = versions(dialect);
        let newest = versions.last().expect("a migration").0;
        for (number, name) in versions {
            let file = folder.join(&name);
            if number == newest && std::env::var_os(WRITE).is_some() {
                data_set::write(&Empty::of(dialect).await, dialect, &file).await;
            }
            let data = std::fs::read_to_string(&file).unwrap_or_else(|error| {
                panic!(
                    "{}: {error}. Each version needs a data set, so that the way up from it stays tested: run this test \
                     once with {WRITE}=1 while it is the newest version, and add the file",
                    file.display()
                )
            });
            let database = Empty::of(dialect).await;
            database.migrate_to(number, dialect).await;
            database.execute(&data).await;
            let output = micai(&["migrate"], &database.url());
            assert!(output.status.success(), "{dialect} from {name}: {}", said(&output));
            data_set::check(database.location(), &format!("{dialect} from {name}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_processes_that_start_together_migrate_once() {
    for dialect in ["postgres", "sqlite"] {
        let database = Empty::of(dialect).await;
        let url = database.url();
        let roles = ["api", "worker", "scheduler", "api", "worker", "scheduler", "api", "worker", "scheduler", "api"];
        let processes: Vec<Process> = std::thread::scope(|threads| {
            let starting: Vec<_> = roles
                .iter()
                .map(|role| {
                    let url = &url;
                    threads.spawn(move || {
                        let mut command = Command::new(env!("CARGO_BIN_EXE_micai"));
                        command.arg(role);
                        let changes = [("database_url", url.as_str()), ("database_connections_max", "4")];
                        Process::run(command, Path::new("unused"), NOWHERE, &changes, &[])
                    })
                })
                .collect();
            starting.into_iter().map(|thread| thread.join().expect("it becomes ready")).collect()
        });
        let migrated =
            processes.iter().filter(|one| one.has_said("the database schema was brought up to date")).count();
        assert_eq!(migrated, 1, "{dialect}: one of them did it");
        let applied = database.texts("SELECT CAST(count(*) AS text) FROM _sqlx_migrations").await;
        assert_eq!(applied, [versions(dialect).len().to_string()], "{dialect}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_newer_stops_the_start() {
    for dialect in ["postgres", "sqlite"] {
        let database = Empty::of(dialect).await;
        let url = database.url();
        let before = said(&micai(&["migrate", "status"], &url));
        assert!(before.contains("0001  spine") && before.contains("missing"), "{before}");
        assert!(before.contains("The schema is behind: `micai migrate`"), "{before}");
        let up = micai(&["migrate", "up"], &url);
        assert!(up.status.success() && said(&up).contains("The schema is up to date."), "{}", said(&up));
        let blob = if dialect == "postgres" { "'\\x00'" } else { "x'00'" };
        database
            .execute(&format!(
                "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, '9999_tomorrow', TRUE, {blob}, 0)"
            ))
            .await;
        for role in ["serve", "worker", "migrate"] {
            let output = micai(&[role], &url);
            let said = said(&output);
            assert!(!output.status.success(), "{dialect} {role}");
            assert!(said.contains("migration 9999") && said.contains("a newer version of mic.ai"), "{said}");
        }
        let status = said(&micai(&["migrate", "--status"], &url));
        assert!(status.contains("9999") && status.contains("applied by a newer program"), "{status}");
    }
}

#[test]
fn who_only_looks_makes_no_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("micai.db");
    for words in [&["migrate", "status"][..], &["dlq", "list"]] {
        let output = micai(words, &format!("sqlite:///{}", path.display()));
        let said = said(&output);
        assert!(!output.status.success() && said.contains("there is no database at"), "{words:?}: {said}");
        assert!(!path.exists(), "{words:?} made one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_another_process_gives_up_in_the_end() {
    let server = Postgres::start().await;
    let clock = ManualClock::at(Timestamp::from_second(1_790_000_000).unwrap());
    let open = async || {
        Store::open(&location(server.options()), Arc::new(Ids::seeded(1)), Arc::new(clock.clone())).await.unwrap()
    };
    let mut other = server.options().connect().await.unwrap();
    sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK_KEY).execute(&mut other).await.unwrap();
    let store = open().await;
    let mut migrating = Box::pin(store.migrate());
    let mut waited = SignedDuration::ZERO;
    let given_up = loop {
        tokio::select! {
            outcome = &mut migrating => break outcome,
            () = tokio::time::sleep(std::time::Duration::from_millis(2)) => {
                clock.advance(SignedDuration::from_secs(1));
                waited += SignedDuration::from_secs(1);
            }
        }
    };
    let sentence = given_up.unwrap_err().to_string();
    assert!(sentence.contains("another process has been changing the schema"), "{sentence}");
    assert!(waited >= SignedDuration::from_secs(60), "not before its time: {waited}");
    drop(migrating);
    // It ends, as a process does that is killed: its lock goes with it.
    drop(other);
    let mut migrating = Box::pin(store.migrate());
    loop {
        tokio::select! {
            outcome = &mut migrating => break outcome.unwrap(),
            () = tokio::time::sleep(std::time::Duration::from_millis(2)) => clock.advance(SignedDuration::from_millis(250)),
        }
    }
    assert!(store.schema_status().await.unwrap().is_current());
    drop(migrating);
    store.close().await;
}
