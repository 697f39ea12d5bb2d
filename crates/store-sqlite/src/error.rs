//! What goes wrong, and whose words say so.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rusqlite::ffi::{SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_WRITE};
use stackbell_store::StoreError;

use crate::files::{Lost, has_no_room};

/// Why a store's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its lock could not be made or opened, or a thread not started.
    #[error("the store's files cannot be used")]
    Io(#[from] io::Error),
    /// Another process has it.
    #[error("{path} is in use by another process")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is a symbolic link, and what it names is not there.
    #[error(
        "{path} is a symbolic link to {target}, which is not there: set store to sqlite:{target} to have it made"
    )]
    Dangling {
        /// The link.
        path: PathBuf,
        /// What it names.
        target: PathBuf,
    },
    /// It is a database, but not one of ours.
    #[error("{path} is a database of another program")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is no database, or one that is damaged.
    #[error("{path} is not a database, or is damaged")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// A later version of Stackbell made or migrated it.
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
    /// It lies on something that cannot hold a write-ahead log.
    #[error("{path} cannot have a write-ahead log there: the journal stays in mode {mode}")]
    NoWriteAheadLog {
        /// The file.
        path: PathBuf,
        /// The mode that SQLite chose instead.
        mode: String,
    },
    /// A migration did not go through.
    #[error("the migration {name} of {path} failed and changed nothing")]
    Migration {
        /// The file.
        path: PathBuf,
        /// The migration.
        name: &'static str,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// It is a store, but not all of it is there.
    #[error("{path} is damaged: {problem}")]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// What was found first.
        problem: String,
    },
    /// The file has the mark of a copy: the other store sends its deliveries.
    #[error(
        "{path} {} {target}: {}; where this file is to be served after all, run `stackbell store take-back sqlite:{path}`",
        if *is_there { "was moved to" } else { "is being moved to" },
        if *is_there { "serve that, or deliveries go out twice" } else { "end that with `stackbell store copy`" }
    )]
    Moved {
        /// The file.
        path: PathBuf,
        /// Where to, without a password.
        target: String,
        /// Whether all of it is there.
        is_there: bool,
    },
    /// Anything else that SQLite refused.
    #[error("{path} cannot be opened")]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
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

/// Why a transaction's work stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// SQLite refused.
    #[error("the database refused")]
    Driver(#[from] rusqlite::Error),
    /// The file that SQLite has open is not the store any more.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// See [`StoreError::Corrupt`].
    #[error("{table}.{column} of row {id} cannot be read: {problem}")]
    Unreadable { table: &'static str, column: &'static str, id: String, problem: String },
}

impl Fault {
    /// The caller named a row that is not there, or no more.
    pub(crate) fn missing(table: &'static str, id: &impl ToString) -> Self {
        Self::Unreadable {
            table,
            column: "id",
            id: id.to_string(),
            problem: "there is no such row".to_owned(),
        }
    }

    /// In the port's words, of the file at `path`. Nothing was committed.
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

/// SQLite refused something other than a commit of the file at `path`: nothing was changed.
pub(crate) fn refused(context: &'static str, path: &Path, source: rusqlite::Error) -> StoreError {
    let is_full = is_full(&source, || has_no_room(path));
    let source = Box::new(source);
    if is_full { StoreError::Full { context, source } } else { StoreError::Unavailable { context, source } }
}

/// SQLite refused a commit.
///
/// After an I/O error the transaction's last frame may have reached the disk although its sync failed.
/// This process goes on without it, but if it crashed before it wrote the next one, it would find it after all.
pub(crate) fn refused_commit(context: &'static str, path: &Path, source: rusqlite::Error) -> StoreError {
    if is_io(&source) && !is_full(&source, || has_no_room(path)) {
        return StoreError::Unknown { context, source: Box::new(source) };
    }
    refused(context, path, source)
}

/// Whether the connection should be opened anew: the file or what is cached of it is not what it was.
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
            // The shared-memory file is grown by its own call, which does not say DiskFull.
            || error.extended_code == SQLITE_IOERR_SHMSIZE
            // A quota that is used up and a file that may not grow are I/O errors to SQLite. The last frame of a commit is not
            // there as a whole then.
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
    fn a_write_that_fails_for_want_of_room_says_so() {
        let error = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        assert!(is_full(&error(ffi::SQLITE_IOERR_WRITE), || true));
        assert!(!is_full(&error(ffi::SQLITE_IOERR_READ), || true));
    }
}
