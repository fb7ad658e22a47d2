//! Statements over many rows, written once: a batch of rows becomes arrays in Postgres, so that the text stays the same and is
//! prepared once, and a list of values in SQLite. Steps that do not need each other's effects travel together: one round
//! trip to Postgres, one hand-over to the thread that owns SQLite.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use serde::Serialize;
use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Either, Executor as _, FromRow, Row as _};
use uuid::Uuid;

use super::db::{LITE_BEGIN, Ts, Tx, answered};
use super::error::StoreError;

/// The type of a column in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Id,
    Text,
    Whole,
    Instant,
    Flag,
    Json,
}

/// A value of a batch.
#[derive(Debug, Clone)]
pub(super) enum Cell<'a> {
    Null,
    Id(Uuid),
    Text(&'a str),
    Whole(i64),
    Instant(Timestamp),
    Flag(bool),
    Json(String),
}

impl<'a> Cell<'a> {
    /// A value as JSON.
    pub fn json(value: &impl Serialize) -> Result<Self, StoreError> {
        serde_json::to_string(value).map(Self::Json).map_err(|error| StoreError::Refused(error.to_string()))
    }

    /// A value as JSON, or nothing.
    pub fn json_or_null(value: Option<&impl Serialize>) -> Result<Self, StoreError> {
        value.map_or(Ok(Self::Null), Self::json)
    }
}

impl From<Uuid> for Cell<'_> {
    fn from(value: Uuid) -> Self {
        Self::Id(value)
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a String> for Cell<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a Option<String>> for Cell<'a> {
    fn from(value: &'a Option<String>) -> Self {
        value.as_deref().map_or(Self::Null, Self::Text)
    }
}

impl From<i64> for Cell<'_> {
    fn from(value: i64) -> Self {
        Self::Whole(value)
    }
}

impl From<i32> for Cell<'_> {
    fn from(value: i32) -> Self {
        Self::Whole(i64::from(value))
    }
}

impl From<Timestamp> for Cell<'_> {
    fn from(value: Timestamp) -> Self {
        Self::Instant(value)
    }
}

impl From<bool> for Cell<'_> {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A batch: rows under a name by which statements can read them.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    name: &'static str,
    columns: &'static [(&'static str, Kind)],
    /// Row after row.
    cells: Vec<Cell<'a>>,
}

impl<'a> Rows<'a> {
    pub fn new(name: &'static str, columns: &'static [(&'static str, Kind)]) -> Self {
        Self { name, columns, cells: Vec::new() }
    }

    /// Adds a row: a value for each column, in their order.
    pub fn push<const COLUMNS: usize>(&mut self, row: [Cell<'a>; COLUMNS]) {
        debug_assert_eq!(COLUMNS, self.columns.len(), "{}", self.name);
        self.cells.extend(row);
    }

    /// Adds a row that is written in two parts.
    pub fn push_parts<const FIRST: usize, const REST: usize>(
        &mut self,
        first: [Cell<'a>; FIRST],
        rest: [Cell<'a>; REST],
    ) {
        debug_assert_eq!(FIRST + REST, self.columns.len(), "{}", self.name);
        self.cells.extend(first);
        self.cells.extend(rest);
    }

    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Runs a statement that reads this batch, and reads its rows. Nothing is asked when the batch is empty.
    pub async fn fetch<T>(&self, tx: &mut Tx, sql: &str) -> Result<Vec<T>, StoreError>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        match tx {
            Tx::Pg(tx, patience) => {
                let mut arguments = PgArguments::default();
                let mut text = String::from("WITH ");
                self.arrays(&mut text, &mut arguments)?;
                write_all(&mut text, &[" ", sql]);
                let query = sqlx::query_as_with::<Postgres, T, _>(AssertSqlSafe(text), arguments);
                answered(*patience, async { Ok(query.fetch_all(tx.connection()).await?) }).await
            }
            Tx::Lite(tx) => {
                let mut arguments = SqliteArguments::default();
                let mut text = tx.beginning(LITE_BEGIN).to_owned();
                text.push_str("WITH ");
                self.values(&mut text, &mut arguments)?;
                write_all(&mut text, &[" ", sql]);
                let query = sqlx::query_as_with::<Sqlite, T, _>(AssertSqlSafe(text), arguments);
                Ok(query.persistent(false).fetch_all(tx.connection()).await?)
            }
        }
    }

    /// `name (columns) AS (SELECT … FROM unnest(arrays))`: the text depends on the columns alone.
    fn arrays(&self, text: &mut String, arguments: &mut PgArguments) -> Result<(), StoreError> {
        self.head(text);
        text.push_str("SELECT ");
        for (place, (column, kind)) in self.columns.iter().enumerate() {
            let cast = if *kind == Kind::Json { "::jsonb" } else { "" };
            write_all(text, &[if place > 0 { ", u." } else { "u." }, column, cast]);
        }
        text.push_str(" FROM unnest(");
        for (place, (_, kind)) in self.columns.iter().enumerate() {
            let array = match kind {
                Kind::Id => "uuid[]",
                Kind::Text | Kind::Json => "text[]",
                Kind::Whole => "bigint[]",
                Kind::Instant => "timestamptz[]",
                Kind::Flag => "boolean[]",
            };
            self.add_column(place, *kind, arguments)?;
            let comma = if place > 0 { ", $" } else { "$" };
            // Writing to a String cannot fail.
            let _ = write!(text, "{comma}{}::{array}", arguments.len());
        }
        text.push_str(") AS u (");
        self.column_names(text);
        text.push_str("))");
        Ok(())
    }

    fn add_column(&self, place: usize, kind: Kind, arguments: &mut PgArguments) -> Result<(), StoreError> {
        let cells = self.cells.iter().skip(place).step_by(self.columns.len());
        let added = match kind {
            Kind::Id => arguments.add(cells.map(Cell::as_id).collect::<Vec<_>>()),
            Kind::Text | Kind::Json => arguments.add(cells.map(Cell::as_text).collect::<Vec<_>>()),
            Kind::Whole => arguments.add(cells.map(Cell::as_whole).collect::<Vec<_>>()),
            Kind::Instant => arguments.add(cells.map(Cell::as_instant).collect::<Vec<_>>()),
            Kind::Flag => arguments.add(cells.map(Cell::as_flag).collect::<Vec<_>>()),
        };
        added.map_err(|error| StoreError::Refused(error.to_string()))
    }

    /// `name (columns) AS (VALUES (…), …)`.
    fn values(&self, text: &mut String, arguments: &mut SqliteArguments) -> Result<(), StoreError> {
        self.head(text);
        if self.is_empty() {
            // A list of no values cannot be written.
            let nulls = vec!["NULL"; self.columns.len()].join(", ");
            write_all(text, &["SELECT ", &nulls, " WHERE false)"]);
            return Ok(());
        }
        text.push_str("VALUES ");
        for (place, cell) in self.cells.iter().enumerate() {
            let column = place % self.columns.len();
            text.push_str(match (place, column) {
                (0, _) => "(?",
                (_, 0) => "), (?",
                _ => ", ?",
            });
            let added = match cell {
                Cell::Null => arguments.add(None::<i64>),
                Cell::Id(id) => arguments.add(id),
                Cell::Text(text) => arguments.add(*text),
                Cell::Whole(number) => arguments.add(number),
                Cell::Instant(instant) => arguments.add(Ts(*instant)),
                Cell::Flag(flag) => arguments.add(flag),
                Cell::Json(json) => arguments.add(json),
            };
            added.map_err(|error| StoreError::Refused(error.to_string()))?;
        }
        text.push_str("))");
        Ok(())
    }

    fn head(&self, text: &mut String) {
        write_all(text, &[self.name, " ("]);
        self.column_names(text);
        text.push_str(") AS (");
    }

    fn column_names(&self, text: &mut String) {
        for (place, (column, _)) in self.columns.iter().enumerate() {
            write_all(text, &[if place > 0 { ", " } else { "" }, column]);
        }
    }
}

fn write_all(text: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| text.push_str(part));
}

impl Cell<'_> {
    fn as_id(&self) -> Option<Uuid> {
        if let Self::Id(id) = self { Some(*id) } else { None }
    }

    fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(json) => Some(json),
            _ => None,
        }
    }

    fn as_whole(&self) -> Option<i64> {
        if let Self::Whole(number) = self { Some(*number) } else { None }
    }

    fn as_instant(&self) -> Option<Ts> {
        if let Self::Instant(instant) = self { Some(Ts(*instant)) } else { None }
    }

    fn as_flag(&self) -> Option<bool> {
        if let Self::Flag(flag) = self { Some(*flag) } else { None }
    }
}

/// Steps over batches that travel together. In Postgres they are one statement and all see the database as it was before
/// it; in SQLite they run one after the other. So no step may depend on what another one writes.
#[derive(Debug, Default)]
pub(super) struct Script<'a> {
    batches: Vec<Rows<'a>>,
    steps: Vec<Step>,
    guard: Option<Guard>,
}

/// What must hold for a script to write anything: a SELECT of one `id`, and what it must answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guard {
    pub sql: &'static str,
    pub expected: Uuid,
}

impl Guard {
    fn broken() -> StoreError {
        StoreError::Conflict("what was remembered has changed".to_owned())
    }
}

#[derive(Debug)]
struct Step {
    batches: Vec<usize>,
    sql: Cow<'static, str>,
    answers: bool,
}

/// Under this number a Postgres statement says that its guard is broken.
const GUARD_STEP: i32 = -1;

/// A batch of a script.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch(usize);

/// A step that answers with ids.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question(usize);

/// A step that writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written(usize);

impl Written {
    /// How another step can name what this one returns, on Postgres alone: there all steps are one statement.
    pub fn name(self) -> String {
        format!("step_{}", self.0)
    }
}

/// The ids that the steps of a script answered.
#[derive(Debug, Default)]
pub(super) struct Answers(Vec<HashSet<Uuid>>);

impl Answers {
    /// What a step answered; nothing for a step that was left out because its batch was empty.
    pub fn of(&mut self, question: Question) -> HashSet<Uuid> {
        self.0.get_mut(question.0).map(std::mem::take).unwrap_or_default()
    }

    fn add(&mut self, step: usize, id: Uuid) {
        if self.0.len() <= step {
            self.0.resize_with(step + 1, HashSet::new);
        }
        if let Some(ids) = self.0.get_mut(step) {
            ids.insert(id);
        }
    }
}

impl<'a> Script<'a> {
    /// Brings a batch in, for steps to read by its name.
    pub fn batch(&mut self, rows: Rows<'a>) -> Batch {
        self.batches.push(rows);
        Batch(self.batches.len() - 1)
    }

    /// A step that writes. It is left out when the first of its batches is empty.
    pub fn step(&mut self, batches: &[Batch], sql: impl Into<Cow<'static, str>>) -> Written {
        self.add(batches, sql.into(), false);
        Written(self.steps.len() - 1)
    }

    /// A step that answers with a column `id`: a SELECT, or a write with RETURNING.
    pub fn ask(&mut self, batches: &[Batch], sql: impl Into<Cow<'static, str>>) -> Question {
        self.add(batches, sql.into(), true);
        Question(self.steps.len() - 1)
    }

    /// Lets the script write only while something holds; otherwise it writes nothing and ends in [`StoreError::Conflict`].
    pub fn only_while(&mut self, guard: Guard) {
        self.guard = Some(guard);
    }

    fn add(&mut self, batches: &[Batch], sql: Cow<'static, str>, answers: bool) {
        self.steps.push(Step { batches: batches.iter().map(|batch| batch.0).collect(), sql, answers });
    }

    /// Steps that have something to do, with their number.
    fn busy(&self) -> impl Iterator<Item = (usize, &Step)> {
        let has_rows = |step: &Step| step.batches.first().is_some_and(|batch| !self.batches[*batch].is_empty());
        self.steps.iter().enumerate().filter(move |(_, step)| has_rows(step))
    }

    pub async fn run(&self, tx: &mut Tx) -> Result<Answers, StoreError> {
        if self.busy().next().is_none() {
            return Ok(Answers::default());
        }
        match tx {
            Tx::Pg(tx, patience) => {
                let (text, arguments) = self.as_one_statement()?;
                let query = sqlx::query_with::<Postgres, _>(AssertSqlSafe(text), arguments);
                let mut answers = Answers::default();
                let rows = answered(*patience, async { Ok(query.fetch_all(tx.connection()).await?) }).await?;
                for row in rows {
                    let step: i32 = row.try_get("step")?;
                    if step == GUARD_STEP {
                        return Err(Guard::broken());
                    }
                    answers.add(usize::try_from(step).unwrap_or_default(), row.try_get("id")?);
                }
                Ok(answers)
            }
            Tx::Lite(tx) => {
                let begin = tx.beginning(LITE_BEGIN);
                let (text, arguments) = self.as_sequence(begin)?;
                let query = sqlx::query_with::<Sqlite, _>(AssertSqlSafe(text), arguments).persistent(false);
                let mut answers = Answers::default();
                let mut running = self.busy();
                // The ends of BEGIN and of the guard come before the first step.
                let mut preludes = usize::from(!begin.is_empty()) + usize::from(self.guard.is_some());
                let mut holds = self.guard.is_none();
                let mut step = if preludes == 0 { running.next() } else { None };
                let mut results = tx.connection().fetch_many(query);
                while let Some(result) = results.try_next().await? {
                    match (result, step) {
                        (Either::Left(_), _) if preludes > 1 => preludes -= 1,
                        (Either::Left(_), _) => {
                            preludes = 0;
                            step = running.next();
                        }
                        (Either::Right(row), None) => {
                            let found: Uuid = row.try_get("id")?;
                            holds = self.guard.is_none_or(|guard| guard.expected == found);
                        }
                        (Either::Right(row), Some((number, Step { answers: true, .. }))) => {
                            answers.add(number, row.try_get("id")?);
                        }
                        (Either::Right(_), _) => {}
                    }
                }
                // Whoever called takes back what was written.
                if holds { Ok(answers) } else { Err(Guard::broken()) }
            }
        }
    }

    /// Postgres: each batch and each step becomes a common table expression of one statement.
    fn as_one_statement(&self) -> Result<(String, PgArguments), StoreError> {
        let mut arguments = PgArguments::default();
        let mut expressions = Vec::new();
        if let Some(Guard { sql, expected }) = self.guard {
            arguments.add(expected).map_err(|error| StoreError::Refused(error.to_string()))?;
            expressions.push(format!("guard AS MATERIALIZED (SELECT (SELECT id FROM ({sql}) g) = $1 AS holds)"));
        }
        let used: HashSet<usize> = self.busy().flat_map(|(_, step)| step.batches.iter().copied()).collect();
        for (_, batch) in self.batches.iter().enumerate().filter(|(number, _)| used.contains(number)) {
            let mut text = String::new();
            batch.arrays(&mut text, &mut arguments)?;
            if self.guard.is_some() {
                // Behind a broken guard every batch is empty.
                text.truncate(text.len() - 1);
                text.push_str(" WHERE (SELECT holds FROM guard))");
            }
            expressions.push(text);
        }
        expressions.extend(self.busy().map(|(number, step)| format!("step_{number} AS ({})", step.sql)));
        let asked = self.busy().filter(|(_, step)| step.answers);
        let mut answers: Vec<String> =
            asked.map(|(number, _)| format!("SELECT {number} AS step, id FROM step_{number}")).collect();
        if self.guard.is_some() {
            answers.push(format!("SELECT {GUARD_STEP} AS step, NULL::uuid AS id FROM guard WHERE holds IS NOT TRUE"));
        }
        let answers = match answers.is_empty() {
            true => "SELECT 0 AS step, NULL::uuid AS id WHERE false".to_owned(),
            false => answers.join(" UNION ALL "),
        };
        Ok((format!("WITH {} {answers}", expressions.join(", ")), arguments))
    }

    /// SQLite: one statement after the other, each with the batches that it reads.
    fn as_sequence(&self, begin: &str) -> Result<(String, SqliteArguments), StoreError> {
        let mut arguments = SqliteArguments::default();
        let mut text = begin.to_owned();
        if let Some(guard) = self.guard {
            write_all(&mut text, &[guard.sql, ";"]);
        }
        for (_, step) in self.busy() {
            for (place, batch) in step.batches.iter().enumerate() {
                text.push_str(if place > 0 { ", " } else { "WITH " });
                self.batches[*batch].values(&mut text, &mut arguments)?;
            }
            write_all(&mut text, &[" ", &step.sql, ";"]);
        }
        Ok((text, arguments))
    }
}
