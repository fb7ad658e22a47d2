//! Statements over many rows, written once: a batch of rows becomes arrays in Postgres, so that the text stays the same and is
//! prepared once, and a list of values in SQLite, of one of a few lengths for the same reason. Steps that do not need each
//! other's effects travel together: one round trip to Postgres, one hand-over to the thread that owns SQLite.

mod rows;

use std::borrow::Cow;
use std::collections::HashSet;

use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::sqlite::{Sqlite, SqliteArguments};
use sqlx::{Arguments as _, AssertSqlSafe, Either, Executor as _, Row as _};
use uuid::Uuid;

use super::db::{LITE_BEGIN, Tx, answered};
use super::error::StoreError;
use rows::write_all;
pub(super) use rows::{Cell, Kind, Rows};

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
                let (text, arguments, fits_lists) = self.as_sequence(begin)?;
                let query = sqlx::query_with::<Sqlite, _>(AssertSqlSafe(text), arguments).persistent(fits_lists);
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

    /// SQLite: one statement after the other, each with the batches that it reads. Says whether they all fit into lists that
    /// are worth preparing.
    fn as_sequence(&self, begin: &str) -> Result<(String, SqliteArguments, bool), StoreError> {
        let mut fits_lists = true;
        let mut arguments = SqliteArguments::default();
        let mut text = begin.to_owned();
        if let Some(guard) = self.guard {
            write_all(&mut text, &[guard.sql, ";"]);
        }
        for (_, step) in self.busy() {
            for (place, batch) in step.batches.iter().enumerate() {
                text.push_str(if place > 0 { ", " } else { "WITH " });
                self.batches[*batch].values(&mut text, &mut arguments)?;
                fits_lists &= self.batches[*batch].list_length().is_some();
            }
            write_all(&mut text, &[" ", &step.sql, ";"]);
        }
        Ok((text, arguments, fits_lists))
    }
}
