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
    /// It got in the way of another transaction and nobody is to blame: the same again, at once, is likely to succeed.
    /// Lanes do so by themselves.
    #[error("the database had to choose between two transactions: {0}")]
    Conflict(String),
    /// The schema is not one that this program can work with.
    #[error("{0}")]
    Schema(String),
    /// The database cannot be used as it is set up: somebody has to change a setting.
    #[error("{0}")]
    Misconfigured(String),
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Conflict(_))
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
/// Of these classes, what concerns the database all the same: a right that is missing, a table that is not there. Nobody's
/// message may be put aside for that.
const POSTGRES_SETUP_CODES: [&str; 2] = ["42501", "42P01"];
/// Serialization failure, deadlock, lock not available: one of two transactions had to give way.
const POSTGRES_CONFLICT_CODES: [&str; 3] = ["40001", "40P01", "55P03"];
/// The statement was ended by a limit on its time.
const POSTGRES_TIMED_OUT: &str = "57014";

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => of_code(&database.code().unwrap_or_default(), database.message()),
            sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => Self::Refused(error.to_string()),
            sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::TypeNotFound { .. }
            | sqlx::Error::RowNotFound => Self::Unreadable(error.to_string()),
            sqlx::Error::PoolTimedOut => Self::Unavailable(
                "no connection became free in time: the server cannot be reached, or all of \
                 MICAI_DATABASE_CONNECTIONS_MAX are in use"
                    .to_owned(),
            ),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

/// SQLite's extended codes carry the primary code in their lowest byte; a SQLSTATE has five places.
fn of_code(code: &str, message: &str) -> StoreError {
    let text = format!("{message} (code {code})");
    let about_data = match code.parse::<u32>() {
        Ok(number) if code.len() < 5 => SQLITE_DATA_CODES.contains(&(number & 0xff)),
        _ => POSTGRES_DATA_CLASSES.iter().any(|class| code.starts_with(class)) && !POSTGRES_SETUP_CODES.contains(&code),
    };
    match code {
        _ if about_data => StoreError::Refused(text),
        _ if POSTGRES_CONFLICT_CODES.contains(&code) => StoreError::Conflict(text),
        POSTGRES_TIMED_OUT => {
            StoreError::Unavailable(format!("{text}; MICAI_DATABASE_STATEMENT_TIMEOUT_SECONDS is the limit"))
        }
        _ => StoreError::Unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_the_caller_can_do() {
        let refused = |code| matches!(of_code(code, "m"), StoreError::Refused(_));
        let conflict = |code| matches!(of_code(code, "m"), StoreError::Conflict(_));
        let unavailable = |code| matches!(of_code(code, "m"), StoreError::Unavailable(_));
        assert!(["22P05", "23505", "42804", "54000", "19", "2067", "18"].into_iter().all(refused));
        assert!(["40001", "40P01", "55P03"].into_iter().all(conflict));
        let outages =
            ["53300", "53100", "57P01", "57P02", "57P03", "57014", "08006", "42501", "42P01", "25006", "", "5", "13"];
        for code in outages {
            assert!(unavailable(code), "{code}");
        }
    }
}
