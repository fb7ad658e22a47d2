//! One process at a time for a SQLite file that a process believes to have to itself.

use std::fs::{File, TryLockError};

use anyhow::{Context, bail};

use crate::config::DatabaseUrl;

/// Held while the process lives; the system lets go of it however the process ends.
#[derive(Debug)]
pub struct DatabaseLock {
    _file: File,
}

impl DatabaseLock {
    /// Takes the lock beside the SQLite file; a Postgres server needs none.
    ///
    /// # Errors
    /// A sentence when another process holds it or the file cannot be made.
    pub fn take(database: &DatabaseUrl) -> anyhow::Result<Option<Self>> {
        let DatabaseUrl::Sqlite(path) = database else { return Ok(None) };
        let mut lock_path = path.clone().into_os_string();
        lock_path.push("-lock");
        let shown = lock_path.to_string_lossy().into_owned();
        let file =
            File::create(&lock_path).with_context(|| format!("{shown} cannot be made: is the folder writable?"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => bail!(
                "another `micai serve` or `micai dev` uses {}: stop it, or set MICAI_DATABASE_URL to another file",
                path.display()
            ),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("{shown} cannot be locked")),
        }
    }
}
