//! The same on SQLite: it is asked how it would find the rows of each statement that a platform put to it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use micai::store::Location;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _, SqliteConnection};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::one_of_everything;
use crate::scheduler::crowd::Crowd;
use crate::store::world;

/// Tables of a few rows, of which reading all is the best that can be done.
const SMALL: [&str; 9] =
    ["agents", "alerts", "budgets", "number_news", "pauses", "people_versions", "rules", "template_syncs", "templates"];

/// Rows of the longest list, and what SQLite takes in one statement.
const BATCH_ROWS_MAX: usize = 1_000;
const PARAMETERS_MAX: usize = 30_000;

/// Every statement that was put to the database.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<BTreeSet<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            let mut asked = Asked::default();
            event.record(&mut asked);
            let text = if asked.statement.trim().is_empty() { asked.summary } else { asked.statement };
            // What goes together is one text.
            self.0.lock().unwrap().extend(text.split(';').map(|one| one.trim().to_owned()));
        }
    }
}

/// sqlx says a long statement in full beside its first words.
#[derive(Default)]
struct Asked {
    summary: String,
    statement: String,
}

impl Visit for Asked {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => self.summary = value.to_owned(),
            "db.statement" => self.statement = value.to_owned(),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_of_a_lane_or_of_due_schedules_reads_a_table_whole_on_sqlite() {
    let statements = Statements::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(statements.clone())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("micai.db");
    let location = Location::Sqlite { path: path.clone(), readers_max: 2 };
    let world = world(location.clone()).await;
    one_of_everything(&world, "empty").await;
    let due_at = jiff::Timestamp::from_second(1_790_100_000).unwrap();
    Crowd { from: 0, people: 40, each: 1, due_at }.write(&location).await;
    world.clock.advance(SignedDuration::from_hours(48));
    let fired = world.store.fire_due(micai::scheduler::firing).await.unwrap();
    assert_eq!(fired.schedules, 40);
    world.store.close().await;
    let asked = statements.0.lock().unwrap().clone();
    let (settings, asked): (Vec<_>, Vec<_>) = asked
        .iter()
        .filter(|statement| ["WITH ", "PRAGMA automatic_index"].iter().any(|start| statement.starts_with(start)))
        .partition(|statement| statement.starts_with("PRAGMA"));
    assert!(asked.len() > 15, "{asked:#?}");
    let mut connection = SqliteConnectOptions::new().filename(Path::new(&path)).connect().await.unwrap();
    // What the platform's own connections are told, so that the answers are theirs.
    for setting in settings {
        sqlx::query(AssertSqlSafe(setting.clone())).execute(&mut connection).await.unwrap();
    }
    let tables =
        sqlx::query("SELECT name FROM sqlite_master WHERE type = 'table'").fetch_all(&mut connection).await.unwrap();
    let tables: Vec<String> =
        tables.iter().map(|row| row.get::<String, _>(0)).filter(|name| !SMALL.contains(&name.as_str())).collect();
    let mut found = Vec::new();
    for statement in asked.into_iter().flat_map(|statement| [statement.clone(), of_a_full_batch(statement)]) {
        for step in plan(&mut connection, &statement).await {
            if reads_whole(&step, &statement, &tables) {
                found.push(format!("{step}: {}", statement.replace("(?, ", "").replace("?, ", "")));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

/// The same statement over as many rows as a batch may have: with few, another plan may be the better one.
fn of_a_full_batch(statement: &str) -> String {
    let Some((before, rest)) = statement.split_once("(VALUES (") else { return statement.to_owned() };
    let (row, after) = rest.split_once(')').unwrap();
    let (_, after) = after.split_once(" LIMIT ? + 0)").unwrap();
    let parameters = row.split(',').count();
    let rows = vec![format!("({row})"); (PARAMETERS_MAX / parameters).min(BATCH_ROWS_MAX)];
    format!("{before}(VALUES {}) LIMIT ? + 0){}", rows.join(", "), of_a_full_batch(after))
}

async fn plan(connection: &mut SqliteConnection, statement: &str) -> Vec<String> {
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = sqlx::query(explain).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("detail")).collect()
}

/// Whether a step of a plan goes through a table (or an index of one) from end to end. Steps name a table by its alias.
fn reads_whole(step: &str, statement: &str, tables: &[String]) -> bool {
    let Some(name) = step.strip_prefix("SCAN ").and_then(|rest| rest.split_whitespace().next()) else { return false };
    let words: Vec<&str> = statement.split(|one: char| !one.is_alphanumeric() && one != '_').collect();
    let stands_for = |table: &String| words.windows(2).any(|pair| pair[0] == table && pair[1] == name);
    tables.iter().any(|table| name == table || stands_for(table))
}
