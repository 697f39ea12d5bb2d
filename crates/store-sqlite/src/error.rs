//! Errors of SQLite and the file system, and their conversion to the port's errors.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rusqlite::ffi::{SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_WRITE};
use stackbell_store::StoreError;

use crate::files::{Lost, has_no_room};

/// The reason why a store's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its lock could not be created or opened, or a thread could not be started.
    #[error("the store's files cannot be used")]
    Io(#[from] io::Error),
    /// Another process uses the file.
    #[error("{path} is in use by another process")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The path is a symbolic link to a file that does not exist.
    #[error(
        "{path} is a symbolic link to {target}, which does not exist: set store to sqlite:{target} to create it"
    )]
    Dangling {
        /// The link.
        path: PathBuf,
        /// The target of the link.
        target: PathBuf,
    },
    /// The file is a database of another program.
    #[error("{path} is a database of another program")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is no database, or is damaged.
    #[error("{path} is not a database, or is damaged")]
    Broken {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        #[source]
        source: rusqlite::Error,
    },
    /// A later version of Stackbell created or migrated the file.
    #[error(
        "{path} has schema version {found}, and this program knows none above {known}: use a later version of Stackbell"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its schema's version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The file system does not support a write-ahead log.
    #[error("{path} cannot have a write-ahead log there: the journal stays in mode {mode}")]
    NoWriteAheadLog {
        /// The file.
        path: PathBuf,
        /// The journal mode that SQLite uses instead.
        mode: String,
    },
    /// A migration failed.
    #[error("the migration {name} of {path} failed and changed nothing")]
    Migration {
        /// The file.
        path: PathBuf,
        /// The migration.
        name: &'static str,
        /// SQLite's error.
        #[source]
        source: rusqlite::Error,
    },
    /// The file is a store, but parts of it are missing.
    #[error("{path} is damaged: {problem}")]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// The first problem.
        problem: String,
    },
    /// The file has the mark of a copy: the other store sends its deliveries.
    #[error(
        "{path} {} {target}: {}; to use this file nevertheless, run `stackbell store take-back sqlite:{path}`",
        if *is_there { "was moved to" } else { "is being moved to" },
        if *is_there { "use that store, or deliveries are sent twice" } else { "complete the move with `stackbell store copy`" }
    )]
    Moved {
        /// The file.
        path: PathBuf,
        /// The other store, without a password.
        target: String,
        /// Whether the copy is complete.
        is_there: bool,
    },
    /// Any other error of SQLite.
    #[error("{path} cannot be opened")]
    Database {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        #[source]
        source: rusqlite::Error,
    },
}

impl OpenError {
    pub(crate) fn at(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Broken { path, source },
            _ => Self::Database { path, source },
        }
    }
}

/// The reason why a transaction's work failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// SQLite refused a statement.
    #[error("the database refused a statement")]
    Driver(#[from] rusqlite::Error),
    /// The store's file was deleted or replaced.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// See [`StoreError::Corrupt`].
    #[error("{table}.{column} of row {id} cannot be read: {problem}")]
    Unreadable { table: &'static str, column: &'static str, id: String, problem: String },
}

impl Fault {
    /// The caller named a row that does not exist.
    pub(crate) fn missing(table: &'static str, id: &impl ToString) -> Self {
        Self::Unreadable {
            table,
            column: "id",
            id: id.to_string(),
            problem: "there is no such row".to_owned(),
        }
    }

    /// Converts the fault of a transaction on the file at `path`, which did not commit.
    pub(crate) fn into_store_error(self, context: &'static str, path: &Path) -> StoreError {
        match self {
            Self::Driver(source) => refused(context, path, source),
            Self::Lost(lost) => StoreError::Unavailable { context, source: Box::new(lost) },
            Self::Unreadable { table, column, id, problem } => {
                StoreError::Corrupt { table, column, id, problem }
            }
        }
    }
}

/// Converts an error of any statement but a commit, on the file at `path`. Nothing was changed.
pub(crate) fn refused(context: &'static str, path: &Path, source: rusqlite::Error) -> StoreError {
    let is_full = is_full(&source, || has_no_room(path));
    let source = Box::new(source);
    if is_full { StoreError::Full { context, source } } else { StoreError::Unavailable { context, source } }
}

/// Converts an error of a commit.
///
/// After an I/O error, the last frame of the transaction may be on the disk although its sync failed. This process continues
/// without the transaction. After a crash before the next write, however, the transaction would be there.
pub(crate) fn refused_commit(context: &'static str, path: &Path, source: rusqlite::Error) -> StoreError {
    if is_io(&source) && !is_full(&source, || has_no_room(path)) {
        return StoreError::Unknown { context, source: Box::new(source) };
    }
    refused(context, path, source)
}

/// Whether the connection must be reopened, because its file or its cache may have changed.
pub(crate) fn wants_reopening(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    is_io(error)
        || matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::CannotOpen))
}

fn is_io(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
}

fn is_full(error: &rusqlite::Error, has_no_room: impl FnOnce() -> bool) -> bool {
    error.sqlite_error().is_some_and(|error| {
        error.code == ErrorCode::DiskFull
            // SQLite grows the shared-memory file by another call, which does not report DiskFull.
            || error.extended_code == SQLITE_IOERR_SHMSIZE
            // SQLite reports an exhausted quota and the limit of file sizes as I/O errors. The last frame of the commit is
            // incomplete then.
            || (error.extended_code == SQLITE_IOERR_WRITE && has_no_room())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    fn check(code: i32, expected: &str, expected_of_commit: &str) {
        let error = || rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        let word = |error| match error {
            StoreError::Unavailable { .. } => "unavailable",
            StoreError::Unknown { .. } => "unknown",
            StoreError::Full { .. } => "full",
            StoreError::Corrupt { .. } => "corrupt",
        };
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        assert_eq!(word(refused("test", &path, error())), expected, "{code}");
        assert_eq!(word(refused_commit("test", &path, error())), expected_of_commit, "{code}");
    }

    #[test]
    fn codes() {
        check(ffi::SQLITE_FULL, "full", "full");
        check(ffi::SQLITE_IOERR_SHMSIZE, "full", "full");
        check(ffi::SQLITE_IOERR_FSYNC, "unavailable", "unknown");
        check(ffi::SQLITE_IOERR_READ, "unavailable", "unknown");
        check(ffi::SQLITE_IOERR_WRITE, "unavailable", "unknown");
        check(ffi::SQLITE_BUSY, "unavailable", "unavailable");
        check(ffi::SQLITE_CORRUPT, "unavailable", "unavailable");
        check(ffi::SQLITE_READONLY, "unavailable", "unavailable");
    }

    #[test]
    fn a_write_without_room_is_reported_as_full() {
        let error = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        assert!(is_full(&error(ffi::SQLITE_IOERR_WRITE), || true));
        assert!(!is_full(&error(ffi::SQLITE_IOERR_READ), || true));
    }
}
