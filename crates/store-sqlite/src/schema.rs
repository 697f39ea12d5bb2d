//! Creates, checks and migrates the file.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use crate::backup::{CopyFault, write_copy};
use crate::error::OpenError;
use crate::files::{FileLock, beside};
use crate::session::{Access, connect};

/// Identifies a file of Stackbell: "Bell".
const APPLICATION_ID: i64 = 0x4265_6c6c;

struct Migration {
    name: &'static str,
    sql: &'static str,
}

/// All migrations in order; the first one leads to version 1. Append-only: a published migration is never edited.
///
/// A migration only adds to the schema, so that programs from version `meta.oldest_reader` on can still use the file. One that
/// removes something sets `oldest_reader` to the first version that does not need it.
const MIGRATIONS: &[Migration] = &[
    Migration { name: "0001_initial", sql: include_str!("../migrations/0001_initial.sql") },
    Migration { name: "0002_moves", sql: include_str!("../migrations/0002_moves.sql") },
    Migration { name: "0003_retry_after", sql: include_str!("../migrations/0003_retry_after.sql") },
    Migration { name: "0004_source_cursors", sql: include_str!("../migrations/0004_source_cursors.sql") },
    Migration { name: "0005_pending_by_id", sql: include_str!("../migrations/0005_pending_by_id.sql") },
];

/// Creates the file if there is none, and runs the missing migrations, each in its own transaction. Returns the new version.
pub(crate) fn migrate(path: &Path) -> Result<u32, OpenError> {
    make_file(path)?;
    let at_path = |error| OpenError::at(path, error);
    let mut connection = connect(path, Access::Write).map_err(at_path)?;
    check_owner(path, &connection)?;
    let found = check_version(path, &connection)?;
    use_write_ahead_log(path, &connection)?;
    if found > 0 && found < newest_version() {
        keep_copy(path, &connection, found)?;
    }
    for (version, migration) in (1..).zip(MIGRATIONS).skip_while(|(version, _)| *version <= found) {
        run(&mut connection, version, migration).map_err(|source| OpenError::Migration {
            path: path.to_owned(),
            name: migration.name,
            source,
        })?;
        tracing::info!(migration = migration.name, "the store is migrated");
    }
    version(&connection).map_err(at_path)
}

/// Copies the file before a migration, so that a user can go back to the older program. There is one copy for each version.
fn keep_copy(path: &Path, connection: &Connection, version: u32) -> Result<(), OpenError> {
    let (kept, unfinished) = (beside(path, &format!(".version-{version}")), beside(path, ".unfinished"));
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    write_copy(connection, &unfinished).map_err(|fault| {
        // An incomplete copy is useless, and the disk may be full.
        let _ = fs::remove_file(&unfinished);
        match fault {
            CopyFault::File(error) => error.into(),
            CopyFault::Database(error) => OpenError::at(path, error),
        }
    })?;
    fs::rename(&unfinished, &kept)?;
    tracing::info!(copy = %kept.display(), "copied the store before its migration: delete the copy when you no longer need the older version");
    Ok(())
}

/// Creates the file. SQLite gives its `-wal` and `-shm` files the same permissions.
fn make_file(path: &Path) -> Result<(), OpenError> {
    match private_file().create_new(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

pub(crate) fn check_owner(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let at_path = |error| OpenError::at(path, error);
    let application: i64 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(at_path)?;
    let has_tables = connection
        .query_row("/* check_owner */ SELECT 1 FROM sqlite_schema LIMIT 1", [], |_| Ok(()))
        .optional()
        .map_err(at_path)?
        .is_some();
    match (application, has_tables) {
        (APPLICATION_ID, _) | (0, false) => Ok(()),
        _ => Err(OpenError::Foreign { path: path.to_owned() }),
    }
}

pub(crate) fn check_version(path: &Path, connection: &Connection) -> Result<u32, OpenError> {
    let at_path = |error| OpenError::at(path, error);
    let found = version(connection).map_err(at_path)?;
    let known = newest_version();
    if found > known {
        let oldest_reader: u32 = connection
            .query_row("/* check_version */ SELECT oldest_reader FROM meta", [], |row| row.get(0))
            .map_err(at_path)?;
        if oldest_reader > known {
            return Err(OpenError::TooNew { path: path.to_owned(), found, known });
        }
    }
    Ok(found)
}

/// The version to which the last migration leads.
pub(crate) fn newest_version() -> u32 {
    u32::try_from(MIGRATIONS.len()).expect("a handful")
}

/// The version of the file at `path`. Neither creates nor changes the file.
pub(crate) fn stored_version(path: &Path) -> Result<Option<u32>, OpenError> {
    if !path.try_exists()? {
        return Ok(None);
    }
    // Closing the lock file would drop SQLite's locks, so the connection is closed first.
    let _lock = FileLock::take_existing(path)?;
    let at_path = |error| OpenError::at(path, error);
    let connection = connect(path, Access::Read).map_err(at_path)?;
    check_owner(path, &connection)?;
    version(&connection).map(Some).map_err(at_path)
}

pub(crate) fn version(connection: &Connection) -> Result<u32, rusqlite::Error> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn use_write_ahead_log(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(|error| OpenError::at(path, error))?;
    if mode == "wal" { Ok(()) } else { Err(OpenError::NoWriteAheadLog { path: path.to_owned(), mode }) }
}

fn run(connection: &mut Connection, version: u32, migration: &Migration) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch(migration.sql)?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()
}
