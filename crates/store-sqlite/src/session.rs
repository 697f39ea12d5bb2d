//! A connection and its transactions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use stackbell_model::Chain;
use stackbell_store::StoreError;

use crate::error::{Fault, refused, refused_commit, wants_reopening};
use crate::files::Files;
use crate::leases::Leases;
use crate::threads::Worker;
use crate::webhook_rowids::WebhookRowids;

/// The time to wait for another program that has locked the file, such as `sqlite3`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// More than the number of statements, so that each is prepared only once.
const STATEMENTS_MAX: usize = 128;

/// The size of the write-ahead log, in pages, at which a commit also checkpoints it: 16 MiB. It bounds the log, and it is large
/// enough that a page which many commits write is copied into the file only once.
const CHECKPOINT_PAGES: u32 = 4096;

/// The access of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

impl Access {
    const fn begin(self) -> &'static str {
        match self {
            Self::Read => "/* begin_read */ BEGIN",
            Self::Write => "/* begin_write */ BEGIN IMMEDIATE",
        }
    }

    /// The size of the page cache in KiB. The writer's cache holds the ends of all indexes, and the busiest pages of the index
    /// with random keys. A larger cache would cost more than it saves: after a commit that split a page, SQLite scans the whole
    /// cache because it renumbers pages. The system's cache holds the other pages.
    const fn cache_kib(self) -> u32 {
        match self {
            Self::Read => 4 * 1024,
            Self::Write => 12 * 1024,
        }
    }
}

/// One connection. It is reopened after an error that may have left it in an unknown state.
#[derive(Debug)]
pub(crate) struct Session {
    path: PathBuf,
    access: Access,
    connection: Option<Connection>,
}

impl Session {
    pub(crate) fn open(path: &Path, access: Access) -> Result<Self, rusqlite::Error> {
        let connection = connect(path, access)?;
        Ok(Self { path: path.to_owned(), access, connection: Some(connection) })
    }

    /// Runs `work` as one transaction. After an error it is rolled back, and the session can run the next one.
    pub(crate) fn transaction<T>(
        &mut self,
        context: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.path, self.access).map_err(|error| refused(context, &self.path, error))?,
        };
        // The connection is moved out while `work` uses it, so that a panic drops it.
        let (result, is_sound) = run(&connection, (&self.path, self.access), context, work);
        if is_sound {
            self.connection = Some(connection);
        }
        result
    }
}

/// Returns the result, and whether the connection can be used again.
fn run<T>(
    connection: &Connection,
    (path, access): (&Path, Access),
    context: &'static str,
    work: impl FnOnce(&Connection) -> Result<T, Fault>,
) -> (Result<T, StoreError>, bool) {
    if let Err(error) = execute(connection, access.begin()) {
        let is_sound = connection.is_autocommit() && !wants_reopening(&error);
        return (Err(refused(context, path, error)), is_sound);
    }
    match work(connection) {
        Ok(value) => match execute(connection, "/* commit */ COMMIT") {
            Ok(()) => (Ok(value), true),
            Err(error) => {
                let is_sound = roll_back(connection) && !wants_reopening(&error);
                (Err(refused_commit(context, path, error)), is_sound)
            }
        },
        Err(fault) => {
            let is_sound =
                roll_back(connection) && !matches!(&fault, Fault::Driver(error) if wants_reopening(error));
            (Err(fault.into_store_error(context, path)), is_sound)
        }
    }
}

/// Rolls back. Returns whether no transaction is open now. SQLite may have rolled back by itself before.
fn roll_back(connection: &Connection) -> bool {
    connection.is_autocommit() || execute(connection, "/* roll_back */ ROLLBACK").is_ok()
}

fn execute(connection: &Connection, sql: &str) -> Result<(), rusqlite::Error> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}

impl Worker for Session {
    fn recover(&mut self) {
        self.connection = None;
    }

    fn idle(&mut self) {}
}

/// The writer's state in memory, which outlives a transaction.
#[derive(Debug, Default)]
pub(crate) struct WriterMemory {
    /// Changes are undone if their transaction is rolled back.
    pub(crate) leases: Leases,
    /// Entries stay valid if their transaction is rolled back.
    pub(crate) webhook_rowids: WebhookRowids,
}

/// The one session that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    session: Session,
    files: Files,
    memory: WriterMemory,
    /// Whether the write-ahead log may have content.
    has_written: bool,
}

impl Writer {
    pub(crate) fn new(session: Session, files: Files) -> Self {
        Self { session, files, memory: WriterMemory::default(), has_written: true }
    }

    /// Runs `work` as one transaction, which includes the leases. Fails if the file was deleted or replaced, because the commit
    /// would be lost.
    pub(crate) fn transaction<T>(
        &mut self,
        context: &'static str,
        work: impl FnOnce(&Connection, &mut WriterMemory) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let (memory, files) = (&mut self.memory, &mut self.files);
        if self.session.connection.is_none() {
            files.forget_log();
        }
        let result = self.session.transaction(context, |connection| {
            files.check()?;
            work(connection, memory)
        });
        self.has_written = true;
        if result.is_ok() {
            self.memory.leases.keep();
        } else {
            self.memory.leases.undo();
        }
        result
    }
}

impl Worker for Writer {
    fn recover(&mut self) {
        self.session.recover();
        self.memory.leases.undo();
    }

    /// Checkpoints and empties the write-ahead log, so that an idle store is a single file.
    fn idle(&mut self) {
        let Some(connection) = self.session.connection.as_ref().filter(|_| self.has_written) else {
            return;
        };
        match empty_log(connection) {
            Ok(is_empty) => self.has_written = !is_empty,
            Err(error) => tracing::warn!(
                error = %Chain(&error),
                "the write-ahead log cannot be emptied now"
            ),
        }
    }
}

/// Empties the write-ahead log. Returns false if readers still use it: it does not wait for them.
fn empty_log(connection: &Connection) -> Result<bool, rusqlite::Error> {
    connection.busy_timeout(Duration::ZERO)?;
    let is_busy = connection
        .query_row("/* empty_log */ PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>("busy"));
    connection.busy_timeout(BUSY_TIMEOUT)?;
    is_busy.map(|is_busy| !is_busy)
}

/// Syncs every commit.
///
/// A build with the feature `planted-unsynced` never syncs and can lose committed data. `scripts/chaos` uses it to prove that it
/// detects such a loss.
const SYNCHRONOUS: &str = if cfg!(feature = "planted-unsynced") { "OFF" } else { "FULL" };

#[cfg(all(feature = "planted-unsynced", not(debug_assertions)))]
compile_error!("planted-unsynced loses committed data and must not be in a release");

/// Opens a connection to an existing file. The caller sets the journal mode of a new file.
pub(crate) fn connect(path: &Path, access: Access) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Plans do not depend on parameters: otherwise SQLite recompiles a statement with a range for each new bound.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "synchronous", SYNCHRONOUS)?;
    // Matters on macOS only, where a plain fsync leaves data in the drive's cache.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -i64::from(access.cache_kib()))?;
    match access {
        Access::Read => connection.pragma_update(None, "query_only", true)?,
        Access::Write => {
            let ignored = |_: &rusqlite::Row<'_>| Ok(());
            connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, ignored)?;
            let log_bytes_max = i64::from(CHECKPOINT_PAGES) * 4096;
            connection.pragma_update_and_check(None, "journal_size_limit", log_bytes_max, ignored)?;
        }
    }
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use stackbell_model::Timestamp;
    use stackbell_model::ids::LeaseToken;
    use stackbell_store::commit::Lease;
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;
    use crate::files::FileLock;
    use crate::schema;

    const COUNT: &str = "SELECT checks FROM meta";
    const RAISE: &str = "UPDATE meta SET checks = checks + 1";

    fn writer() -> (TempDir, Writer) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        schema::migrate(&path).expect("a new file");
        let files = Files::of(&FileLock::take(&path).expect("free")).expect("there");
        let session = Session::open(&path, Access::Write).expect("a session");
        (folder, Writer::new(session, files))
    }

    fn lease() -> Lease {
        Lease { token: LeaseToken::from_uuid(Uuid::nil()), until: Timestamp::from_millis(1) }
    }

    /// Checks that the failed transaction left nothing, and that the next one commits.
    fn check_recovered(writer: &mut Writer) {
        let count = writer.transaction("test", |connection, memory| {
            assert_eq!(memory.leases.get(1), None);
            let before = connection.query_row(COUNT, [], |row| row.get::<_, i64>(0))?;
            connection.execute(RAISE, [])?;
            Ok(before)
        });
        assert_eq!(count.expect("the next transaction commits"), 0);
    }

    #[test]
    fn a_refused_commit_is_rolled_back() {
        let (_folder, mut writer) = writer();
        let refused = writer.transaction("test", |connection, memory| {
            memory.leases.grant(1, lease());
            connection.execute(RAISE, [])?;
            // Checked at the commit only.
            connection.pragma_update(None, "defer_foreign_keys", true)?;
            connection.execute("INSERT INTO memberships VALUES (8, 9, 'admin')", [])?;
            Ok(())
        });
        assert!(matches!(refused, Err(StoreError::Unavailable { context: "test", .. })), "{refused:?}");
        check_recovered(&mut writer);
    }

    #[test]
    fn a_full_disk_is_reported_and_rolled_back() {
        let (_folder, mut writer) = writer();
        let full = writer.transaction("test", |connection, memory| {
            memory.leases.grant(1, lease());
            connection.execute(RAISE, [])?;
            connection.pragma_update_and_check(None, "max_page_count", 1, |_| Ok(()))?;
            let sql = "INSERT INTO data_keys VALUES (randomblob(16), 'seal', zeroblob(100000), 0)";
            connection.execute(sql, [])?;
            Ok(())
        });
        assert!(matches!(full, Err(StoreError::Full { context: "test", .. })), "{full:?}");
        check_recovered(&mut writer);
    }

    #[test]
    fn a_panic_is_rolled_back() {
        let (_folder, mut writer) = writer();
        let work = || {
            writer.transaction("test", |connection, memory| -> Result<(), Fault> {
                memory.leases.grant(1, lease());
                connection.execute(RAISE, [])?;
                panic!("on purpose")
            })
        };
        assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
        writer.recover();
        check_recovered(&mut writer);
    }

    #[test]
    fn a_deleted_or_replaced_file_refuses_commits() {
        let (folder, mut writer) = writer();
        check_recovered(&mut writer);
        let aside = folder.path().join("aside");
        let raise = |writer: &mut Writer| {
            writer.transaction("test", |connection, _| Ok(connection.execute(RAISE, []).map(|_| ())?))
        };
        for name in ["store.db", "store.db-wal", "store.db-shm"] {
            let path = folder.path().join(name);
            std::fs::rename(&path, &aside).expect("moved");
            let gone = raise(&mut writer);
            assert!(matches!(gone, Err(StoreError::Unavailable { .. })), "{name}: {gone:?}");
            std::fs::write(&path, "").expect("written");
            let replaced = raise(&mut writer);
            assert!(matches!(replaced, Err(StoreError::Unavailable { .. })), "{name}: {replaced:?}");
            std::fs::rename(&aside, &path).expect("moved");
            raise(&mut writer).expect("it is back");
        }
        let count = writer.transaction("test", |connection, _| {
            Ok(connection.query_row(COUNT, [], |row| row.get::<_, i64>(0))?)
        });
        assert_eq!(count.expect("read"), 4);
    }

    #[test]
    fn an_idle_writer_empties_its_log() {
        let (folder, mut writer) = writer();
        check_recovered(&mut writer);
        let log_bytes = || folder.path().join("store.db-wal").metadata().expect("a log").len();
        assert_ne!(log_bytes(), 0);
        writer.idle();
        assert_eq!(log_bytes(), 0);
        assert!(!writer.has_written);
    }
}
