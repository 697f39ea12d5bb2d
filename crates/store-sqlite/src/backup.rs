//! Copies of the store, and their inspection.

mod tables;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags};
use stackbell_store::StoreError;
use stackbell_store::backup::{Backup, CopyReport};

use crate::SqliteStore;
use crate::error::{OpenError, refused};
use crate::files::is_out_of_room;
use crate::schema;
use crate::session::{Access, connect};
use crate::threads::Worker;

/// Makes copies, one at a time, on its own connection. The writer and the readers continue; new commits stay in the write-ahead
/// log until the copy is complete.
#[derive(Debug)]
pub(crate) struct Copier {
    path: PathBuf,
}

impl Copier {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn copy_to(&self, into: &Path) -> Result<(), StoreError> {
        const CONTEXT: &str = "copy_to";
        let connection =
            connect(&self.path, Access::Write).map_err(|error| refused(CONTEXT, &self.path, error))?;
        write_copy(&connection, into).map_err(|fault| match fault {
            CopyFault::File(error) => refused_io(CONTEXT, error),
            CopyFault::Database(error) => refused(CONTEXT, into, error),
        })
    }
}

/// The reason why a copy could not be written.
pub(crate) enum CopyFault {
    File(io::Error),
    Database(rusqlite::Error),
}

/// Writes a copy to a new file, which only its owner can read, and syncs the file and its folder.
pub(crate) fn write_copy(connection: &Connection, into: &Path) -> Result<(), CopyFault> {
    // SQLite accepts an empty file. A file that SQLite creates would be readable by everybody.
    schema::private_file().create_new(true).open(into).map_err(CopyFault::File)?;
    let target = into.to_str().ok_or(CopyFault::File(io::ErrorKind::InvalidFilename.into()))?;
    connection.execute("/* copy_to */ VACUUM INTO ?1", [target]).map_err(CopyFault::Database)?;
    File::open(into).and_then(|file| file.sync_all()).map_err(CopyFault::File)?;
    let folder = into.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()).map_err(CopyFault::File)
}

impl Worker for Copier {
    fn recover(&mut self) {}

    fn idle(&mut self) {}
}

#[async_trait]
impl Backup for SqliteStore {
    async fn copy_to(&self, into: &Path) -> Result<(), StoreError> {
        let into = into.to_owned();
        self.copier.run("copy_to", move |copier| copier.copy_to(&into)).await
    }
}

/// Checks a copy that no process uses: its integrity, the references between its rows, and its schema. Returns its contents.
/// Changes nothing. Blocks while it reads the whole file.
///
/// # Errors
/// [`OpenError`].
pub fn inspect_copy(path: &Path) -> Result<CopyReport, OpenError> {
    // SQLite would create a missing file.
    fs::metadata(path)?;
    let at_path = |error| OpenError::at(path, error);
    let connection = open_copy(path)?;
    schema::check_owner(path, &connection)?;
    if schema::check_version(path, &connection)? == 0 {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let inconsistent = |problem| OpenError::Inconsistent { path: path.to_owned(), problem };
    let verdict: String = connection
        .query_row("/* inspect.integrity */ PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(at_path)?;
    if verdict != "ok" {
        return Err(inconsistent(verdict));
    }
    let mut check =
        connection.prepare("/* inspect.references */ PRAGMA foreign_key_check").map_err(at_path)?;
    let mut rows = check.query([]).map_err(at_path)?;
    if let Some(row) = rows.next().map_err(at_path)? {
        let table: String = row.get(0).map_err(at_path)?;
        return Err(inconsistent(format!("a row of {table} refers to a missing row")));
    }
    // This reference is no foreign key: see the schema.
    let has_orphans: bool = connection
        .query_row(
            "/* inspect.events */ SELECT EXISTS (SELECT 1 FROM deliveries d WHERE event_number IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM events e WHERE e.number = d.event_number))",
            [],
            |row| row.get(0),
        )
        .map_err(at_path)?;
    if has_orphans {
        return Err(inconsistent("a delivery refers to a missing event".to_owned()));
    }
    report(&connection).map_err(at_path)
}

/// Returns the contents of a copy without checking it. Blocks while it reads all rows.
///
/// # Errors
/// [`OpenError`].
pub fn describe_copy(path: &Path) -> Result<CopyReport, OpenError> {
    report(&open_copy(path)?).map_err(|error| OpenError::at(path, error))
}

/// Opens the file only: no write-ahead log is read or created.
fn open_copy(path: &Path) -> Result<Connection, OpenError> {
    let absolute = std::path::absolute(path)?;
    let text = absolute.to_str().ok_or(io::Error::from(io::ErrorKind::InvalidFilename))?;
    // These characters have a meaning in a URI.
    let escaped = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("file://{escaped}?immutable=1"), flags)
        .map_err(|error| OpenError::at(path, error))
}

fn report(connection: &Connection) -> Result<CopyReport, rusqlite::Error> {
    Ok(CopyReport { schema: schema::version(connection)?, tables: tables::reports(connection)? })
}

fn refused_io(context: &'static str, error: io::Error) -> StoreError {
    let is_full = is_out_of_room(&error);
    let source = Box::new(error);
    if is_full { StoreError::Full { context, source } } else { StoreError::Unavailable { context, source } }
}
