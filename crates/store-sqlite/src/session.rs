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

/// How long to wait for another program that has the file locked, such as somebody's `sqlite3`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// More than there are statements, so that each is prepared once.
const STATEMENTS_MAX: usize = 128;

/// Pages after which a commit also moves the write-ahead log into the file: 16 MiB.
/// Often enough to bound the log, seldom enough that pages written again and again are moved once.
const CHECKPOINT_PAGES: u32 = 4096;

/// What a session may do.
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

    /// Page cache in KiB: the writer's holds the ends of all indices and the busiest middle of the random one.
    /// More would cost more than it saves: after a commit that split a page SQLite looks through all that is cached, as it
    /// numbers pages anew by way of the one page that no file has. What is not here is in the system's cache.
    const fn cache_kib(self) -> u32 {
        match self {
            Self::Read => 4 * 1024,
            Self::Write => 12 * 1024,
        }
    }
}

/// One connection, opened anew when it has become doubtful.
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

    /// Runs `work` as one transaction. After an error nothing of it is visible, and the connection is fit for the next.
    pub(crate) fn transaction<T>(
        &mut self,
        context: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.path, self.access).map_err(|error| refused(context, &self.path, error))?,
        };
        // While `work` has it the connection is not in its place: should it panic, the connection goes with it.
        let (result, is_sound) = run(&connection, (&self.path, self.access), context, work);
        if is_sound {
            self.connection = Some(connection);
        }
        result
    }
}

/// The result, and whether the connection can go on.
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

/// Whether no transaction is open afterwards. SQLite may have rolled back by itself already.
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

/// What the writer keeps in memory from one transaction to the next.
#[derive(Debug, Default)]
pub(crate) struct WriterMemory {
    /// Part of the transactions, and undone with them.
    pub(crate) leases: Leases,
    /// As they were read.
    pub(crate) webhook_rowids: WebhookRowids,
}

/// The one session that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    session: Session,
    files: Files,
    memory: WriterMemory,
    /// Whether something may lie in the write-ahead log.
    has_written: bool,
}

impl Writer {
    pub(crate) fn new(session: Session, files: Files) -> Self {
        Self { session, files, memory: WriterMemory::default(), has_written: true }
    }

    /// Runs `work` as one transaction, leases included. Refused when the file was deleted or replaced: nobody would find what
    /// it commits.
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

    /// Brings the write-ahead log into the file and empties it, so that a quiet store is one file of its true size.
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

/// Whether it is empty now. Does not wait for readers: what they keep in the log stays there until the next time.
fn empty_log(connection: &Connection) -> Result<bool, rusqlite::Error> {
    connection.busy_timeout(Duration::ZERO)?;
    let is_busy = connection
        .query_row("/* empty_log */ PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>("busy"));
    connection.busy_timeout(BUSY_TIMEOUT)?;
    is_busy.map(|is_busy| !is_busy)
}

/// When what is written is synced: with every commit.
///
/// A build with the feature `planted-unsynced` never syncs and loses committed data: `scripts/chaos` proves with it that it
/// notices such a loss.
const SYNCHRONOUS: &str = if cfg!(feature = "planted-unsynced") { "OFF" } else { "FULL" };

#[cfg(all(feature = "planted-unsynced", not(debug_assertions)))]
compile_error!("planted-unsynced loses what was accepted: no release has it");

/// Opens a connection to a file that exists. Reading ones see it as it is; the writing one sees to its journal mode first.
pub(crate) fn connect(path: &Path, access: Access) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Plans do not depend on what is bound: without this, statements with a range are compiled anew for each new bound.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "synchronous", SYNCHRONOUS)?;
    // Only macOS knows the difference: there a plain fsync leaves data in the drive's cache.
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

    /// Something was tried that did not commit: it left nothing, and the next transaction goes through.
    fn check_unharmed(writer: &mut Writer) {
        let count = writer.transaction("test", |connection, memory| {
            assert_eq!(memory.leases.get(1), None);
            let before = connection.query_row(COUNT, [], |row| row.get::<_, i64>(0))?;
            connection.execute(RAISE, [])?;
            Ok(before)
        });
        assert_eq!(count.expect("the next goes through"), 0);
    }

    #[test]
    fn a_refused_commit_leaves_nothing() {
        let (_folder, mut writer) = writer();
        let refused = writer.transaction("test", |connection, memory| {
            memory.leases.grant(1, lease());
            connection.execute(RAISE, [])?;
            // Looked at only when it commits.
            connection.pragma_update(None, "defer_foreign_keys", true)?;
            connection.execute("INSERT INTO memberships VALUES (8, 9, 'admin')", [])?;
            Ok(())
        });
        assert!(matches!(refused, Err(StoreError::Unavailable { context: "test", .. })), "{refused:?}");
        check_unharmed(&mut writer);
    }

    #[test]
    fn a_full_disk_says_so_and_leaves_nothing() {
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
        check_unharmed(&mut writer);
    }

    #[test]
    fn a_panic_leaves_nothing() {
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
        check_unharmed(&mut writer);
    }

    #[test]
    fn nothing_is_committed_to_a_file_that_is_not_the_store_any_more() {
        let (folder, mut writer) = writer();
        check_unharmed(&mut writer);
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
        check_unharmed(&mut writer);
        let log_bytes = || folder.path().join("store.db-wal").metadata().expect("a log").len();
        assert_ne!(log_bytes(), 0);
        writer.idle();
        assert_eq!(log_bytes(), 0);
        assert!(!writer.has_written);
    }
}
