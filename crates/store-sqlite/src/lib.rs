//! The embedded store: one SQLite file, one process.
//!
//! - `threads`: all SQL runs on threads of the store's own, one that writes and a few that read
//! - `session`: one connection and its transactions, and how it comes back after a fault
//! - `files`: locking the file, and noticing that it was deleted or replaced
//! - `schema`: making, checking and migrating the file
//! - `leases`: who may attempt what; in memory, as one process has the file
//! - `ledger`: what a transaction changes of the counts, added up and written at its end
//! - `rows`: columns to types and back
//! - by noun, the port: `commit`, `queue`, `history`, `webhooks`, `identity`, `tokens`, `keys`, `audit`,
//!   `maintenance`, `recoveries`, `statistics`, `deployments`, `sources`, `instance`, `backup`,
//!   `transfer`
//! - `move_marker`: marks a file that is copied to another store, so that no server serves it
//!
//! What is committed is synced (`synchronous=FULL`) before it is answered, and readers begin after it: invariants 1 and 10.
//! Not promised: that two processes can share the file. The second is refused.

mod audit;
mod backup;
mod commit;
mod deployments;
mod error;
mod files;
mod history;
mod identity;
mod instance;
mod keys;
mod leases;
mod ledger;
mod maintenance;
mod move_marker;
#[cfg(test)]
mod plans;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
mod queue;
mod recoveries;
mod rows;
mod schema;
mod session;
mod sources;
mod statistics;
mod threads;
mod tokens;
mod transfer;
mod webhook_rowids;
mod webhooks;

use std::path::Path;

use rusqlite::Connection;
use stackbell_store::StoreError;

use crate::backup::Copier;
pub use crate::backup::{describe_copy, inspect_copy};
use crate::error::Fault;
pub use crate::error::OpenError;
pub use crate::files::has_no_room;
use crate::files::{FileLock, Files};
use crate::leases::Leases;
pub use crate::move_marker::Move;
use crate::session::{Access, Session, Writer, WriterMemory};
use crate::threads::Pool;

/// The most reads that go on at once. Reads are short, and more threads than this only compete for two to four cores.
const READERS: usize = 3;

/// A store in one SQLite file.
///
/// Dropping it waits until all that was asked for is done, then brings everything into the file itself:
/// a clean stop leaves no `-wal` beside it.
#[derive(Debug)]
pub struct SqliteStore {
    // In the order in which they are to end: the last connection to close, the writer's, clears the write-ahead log,
    // and another process may have the file only after that.
    copier: Pool<Copier>,
    readers: Pool<Session>,
    writer: Pool<Writer>,
    _lock: FileLock,
}

impl SqliteStore {
    /// Opens the store at `path`, whose folder must exist. Makes the file (readable by its owner alone) when there is none,
    /// and brings an older one up to date. Blocks while it does so.
    ///
    /// # Errors
    /// [`OpenError`]. A migration that fails leaves the file at the version before it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let lock = FileLock::take(path)?;
        schema::migrate(path)?;
        move_marker::check_not_marked(path)?;
        Self::start(path, lock)
    }

    /// Opens the existing store at `path` for a copy, or to take it back. It can have a mark: see [`Move`].
    /// Migrates the file, and blocks while it does so.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_to_move(path: &Path) -> Result<Self, OpenError> {
        // Opening a file that does not exist would create it.
        std::fs::metadata(path)?;
        let lock = FileLock::take(path)?;
        schema::migrate(path)?;
        Self::start(path, lock)
    }

    fn start(path: &Path, lock: FileLock) -> Result<Self, OpenError> {
        let readers = (0..READERS).map(|_| Session::open(path, Access::Read));
        let readers = readers.collect::<Result<Vec<_>, _>>().map_err(|error| OpenError::at(path, error))?;
        let writer = Session::open(path, Access::Write).map_err(|error| OpenError::at(path, error))?;
        let writer = Writer::new(writer, Files::of(&lock)?);
        Ok(Self {
            copier: Pool::start("store-copier", vec![Copier::new(path)])?,
            readers: Pool::start("store-reader", readers)?,
            writer: Pool::start("store-writer", vec![writer])?,
            _lock: lock,
        })
    }

    /// Brings the file at `path` up to date, making it when there is none, and closes it again.
    /// Answers the schema's version. Blocks while it does so.
    ///
    /// # Errors
    /// [`OpenError`]. A migration that fails leaves the file at the version before it.
    pub fn migrate(path: &Path) -> Result<u32, OpenError> {
        let _lock = FileLock::take(path)?;
        schema::migrate(path)
    }

    /// The version of the schema in the file at `path`; `None` when there is no file. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError`]; not when the version is one that this program does not know.
    pub fn version(path: &Path) -> Result<Option<u32>, OpenError> {
        schema::stored_version(path)
    }

    /// The version that [`Self::migrate`] brings files to.
    pub fn newest_version() -> u32 {
        schema::newest_version()
    }

    /// Runs `work` as one writing transaction, after all that were asked for before it.
    /// Once asked for it is done, whether or not the caller still waits for it.
    async fn write<T: Send + 'static>(
        &self,
        context: &'static str,
        work: impl FnOnce(&Connection, &mut Leases) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let work =
            move |connection: &Connection, memory: &mut WriterMemory| work(connection, &mut memory.leases);
        self.writer.run(context, move |writer| writer.transaction(context, work)).await
    }

    /// Runs `work` as one reading transaction, which sees all that was answered before.
    async fn read<T: Send + 'static>(
        &self,
        context: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.run(context, move |session| session.transaction(context, work)).await
    }
}
