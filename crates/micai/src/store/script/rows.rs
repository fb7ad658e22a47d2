//! Batches of rows under a name, by which statements of either database can read them.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, FromRow};
use uuid::Uuid;

use super::super::db::{LITE_BEGIN, Ts, Tx, answered};
use super::super::error::StoreError;

/// How long the lists of values are in SQLite: statements over them are prepared once for each length. A batch takes the
/// next longer list and says where it ends. Longer than the last, a statement is prepared for itself: so the memory of what
/// is prepared has a bound.
const LIST_LENGTHS: [usize; 4] = [1, 4, 16, 64];

/// The type of a column in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    Id,
    Text,
    Whole,
    Instant,
    Flag,
    Json,
}

/// A value of a batch.
#[derive(Debug, Clone)]
pub(in crate::store) enum Cell<'a> {
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
pub(in crate::store) struct Rows<'a> {
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
                Ok(query.persistent(self.list_length().is_some()).fetch_all(tx.connection()).await?)
            }
        }
    }

    /// `name (columns) AS (SELECT … FROM unnest(arrays))`: the text depends on the columns alone.
    pub(super) fn arrays(&self, text: &mut String, arguments: &mut PgArguments) -> Result<(), StoreError> {
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

    fn count(&self) -> usize {
        self.cells.len() / self.columns.len()
    }

    /// The length of its list in SQLite; none for a batch that is too long for a prepared one.
    pub(super) fn list_length(&self) -> Option<usize> {
        LIST_LENGTHS.into_iter().find(|length| self.count() <= *length)
    }

    /// `name (columns) AS (SELECT * FROM (VALUES (…), …) LIMIT count + 0)`.
    pub(super) fn values(&self, text: &mut String, arguments: &mut SqliteArguments) -> Result<(), StoreError> {
        self.head(text);
        if self.is_empty() {
            // A list of no values cannot be written.
            let nulls = vec!["NULL"; self.columns.len()].join(", ");
            write_all(text, &["SELECT ", &nulls, " WHERE false)"]);
            return Ok(());
        }
        let rows = self.list_length().unwrap_or_else(|| self.count());
        text.push_str("SELECT * FROM (VALUES ");
        for row in 0..rows {
            text.push_str(if row == 0 { "(?" } else { ", (?" });
            (1..self.columns.len()).for_each(|_| text.push_str(", ?"));
            text.push(')');
        }
        // A bare `?` would have SQLite prepare the statement anew whenever the count changes.
        text.push_str(") LIMIT ? + 0)");
        let refused = |error: sqlx::error::BoxDynError| StoreError::Refused(error.to_string());
        for cell in &self.cells {
            let added = match cell {
                Cell::Null => arguments.add(None::<i64>),
                Cell::Id(id) => arguments.add(id),
                Cell::Text(text) => arguments.add(*text),
                Cell::Whole(number) => arguments.add(number),
                Cell::Instant(instant) => arguments.add(Ts(*instant)),
                Cell::Flag(flag) => arguments.add(flag),
                Cell::Json(json) => arguments.add(json),
            };
            added.map_err(refused)?;
        }
        for _ in self.cells.len()..rows * self.columns.len() {
            arguments.add(None::<i64>).map_err(refused)?;
        }
        arguments.add(i64::try_from(self.count()).unwrap_or(i64::MAX)).map_err(refused)
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

pub(super) fn write_all(text: &mut String, parts: &[&str]) {
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
