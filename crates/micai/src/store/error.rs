//! What can go wrong in the database, sorted by what the caller can do about it.

/// A failed verb. Nothing of it was written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database cannot take it now (locked, full, gone, busy): try again later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The data itself is refused: trying again changes nothing.
    #[error("the database refuses the data: {0}")]
    Refused(String),
    /// The database holds something that this program cannot read.
    #[error("the database holds something unreadable: {0}")]
    Unreadable(String),
    /// The database was made by a newer program.
    #[error("{0}")]
    Schema(String),
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    pub(super) fn unreadable(what: &str, value: &str) -> Self {
        Self::Unreadable(format!("{what} is {value:?}"))
    }
}

/// SQLite's primary result codes that concern the data of a statement, not the state of the database:
/// TOOBIG, CONSTRAINT, MISMATCH, RANGE.
const SQLITE_DATA_CODES: [u32; 4] = [18, 19, 20, 25];
/// Classes of Postgres SQLSTATEs that concern the data: data exception, integrity constraint, syntax or missing object,
/// program limit.
const POSTGRES_DATA_CLASSES: [&str; 4] = ["22", "23", "42", "54"];

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                let about_data = match code.parse::<u32>() {
                    // SQLite's extended codes carry the primary code in their lowest byte; a SQLSTATE has five places.
                    Ok(number) if code.len() < 5 => SQLITE_DATA_CODES.contains(&(number & 0xff)),
                    _ => POSTGRES_DATA_CLASSES.iter().any(|class| code.starts_with(class)),
                };
                let text = format!("{} (code {code})", database.message());
                if about_data { Self::Refused(text) } else { Self::Unavailable(text) }
            }
            sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => Self::Refused(error.to_string()),
            sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::TypeNotFound { .. }
            | sqlx::Error::RowNotFound => Self::Unreadable(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
