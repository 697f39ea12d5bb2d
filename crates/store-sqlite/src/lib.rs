//! The embedded store: one SQLite file, one process.
//!
//! - `threads`: the store's own threads, on which all SQL runs: one that writes, and a few that read
//! - `session`: a connection, its transactions, and its recovery after an error
//! - `files`: locks the file, and detects that it was deleted or replaced
//! - `schema`: creates, checks and migrates the file
//! - `leases`: the leases, in memory, because only one process uses the file
//! - `ledger`: the changes of counts in a transaction, which are written at its end
//! - `webhook_rowids`: a cache of webhooks' rowids
//! - `rows`: conversion of columns to types and back
//! - the port, by noun: `commit`, `queue`, `history`, `webhooks`, `identity`, `tokens`, `keys`, `audit`,
//!   `maintenance`, `recoveries`, `statistics`, `deployments`, `sources`, `instance`, `backup`,
//!   `transfer`
//! - `move_marker`: marks a file that is copied to another store, so that no server serves it
//!
//! A commit is synced (`synchronous=FULL`) before the caller gets its result, and every later read sees it: invariants 1 and
//! 10. Two processes cannot share the file: the second one is refused.

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

/// The maximum number of concurrent reads. Reads are short, and more threads would only compete for two to four cores.
const READERS: usize = 3;

/// A store in one SQLite file.
///
/// Dropping it waits for all jobs, then moves the write-ahead log into the file: after a clean stop there is no `-wal` file.
#[derive(Debug)]
pub struct SqliteStore {
    // The fields are in the order in which they must be dropped. The writer's connection closes last and clears the
    // write-ahead log; only then may another process open the file.
    copier: Pool<Copier>,
    readers: Pool<Session>,
    writer: Pool<Writer>,
    _lock: FileLock,
}

impl SqliteStore {
    /// Opens the store at `path`, whose folder must exist. Creates the file, readable by its owner only, if there is none, and
    /// migrates an older one. Blocks meanwhile.
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

    /// Migrates the file at `path`, creates it if there is none, and closes it again. Returns the schema's version. Blocks
    /// meanwhile.
    ///
    /// # Errors
    /// [`OpenError`]. A migration that fails leaves the file at the version before it.
    pub fn migrate(path: &Path) -> Result<u32, OpenError> {
        let _lock = FileLock::take(path)?;
        schema::migrate(path)
    }

    /// Returns the version of the schema in the file at `path`; `None` if there is no file. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError`]. A version that this program does not know is no error.
    pub fn version(path: &Path) -> Result<Option<u32>, OpenError> {
        schema::stored_version(path)
    }

    /// Returns the version to which [`Self::migrate`] migrates.
    pub fn newest_version() -> u32 {
        schema::newest_version()
    }

    /// Runs `work` as one write transaction, after all earlier ones. It runs even if the caller stops waiting for it.
    async fn write<T: Send + 'static>(
        &self,
        context: &'static str,
        work: impl FnOnce(&Connection, &mut Leases) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let work =
            move |connection: &Connection, memory: &mut WriterMemory| work(connection, &mut memory.leases);
        self.writer.run(context, move |writer| writer.transaction(context, work)).await
    }

    /// Runs `work` as one read transaction, which sees every commit that returned before.
    async fn read<T: Send + 'static>(
        &self,
        context: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.run(context, move |session| session.transaction(context, work)).await
    }
}
