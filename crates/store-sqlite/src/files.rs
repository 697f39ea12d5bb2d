//! The store's files: locks that admit one process, and checks that the open files were not deleted or replaced.
//!
//! A database can have several names, by links. SQLite names its write-ahead log after the name by which the database was opened.
//! Two processes that use different names would therefore not see each other's commits.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::OpenError;
use crate::schema::private_file;

/// The endings of SQLite's write-ahead log and of the index of that log.
const LOG: &str = "-wal";
const INDEX: &str = "-shm";

/// The exclusive right of one store in one process to use a file.
///
/// It has two locks. One is on a file next to the database, which older versions know. The other one is on the database itself
/// and works under each of its names; it locks a byte that SQLite does not use, and closing another handle does not drop it.
#[derive(Debug)]
pub(crate) struct FileLock {
    /// The database, without symbolic links.
    path: PathBuf,
    // Closing any handle of the database drops SQLite's own locks, so this one is closed after all connections.
    database: File,
    _beside: File,
}

impl FileLock {
    /// Takes both locks. Creates the database if there is none, readable by its owner only.
    ///
    /// # Errors
    /// [`OpenError::InUse`], also under another name of the file; [`OpenError::Dangling`]; [`OpenError::Io`].
    pub(crate) fn take(path: &Path) -> Result<Self, OpenError> {
        let resolved = resolve(path)?;
        let beside = beside(&resolved, ".lock");
        refuse_link(&beside)?;
        let beside = private_file().create(true).truncate(false).open(beside)?;
        match beside.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let database = private_file().create(true).truncate(false).open(&resolved)?;
        if !lock_itself(&database)? {
            return Err(OpenError::InUse { path: path.to_owned() });
        }
        warn_of_other_names(&database.metadata()?, path);
        Ok(Self { path: resolved, database, _beside: beside })
    }

    /// Takes only the lock on an existing database. Creates no file. `None` if this process may not write to the database.
    ///
    /// # Errors
    /// [`OpenError::InUse`]; [`OpenError::Io`].
    pub(crate) fn take_existing(path: &Path) -> Result<Option<File>, OpenError> {
        let database = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(database) => database,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        if lock_itself(&database)? {
            Ok(Some(database))
        } else {
            Err(OpenError::InUse { path: path.to_owned() })
        }
    }
}

/// Resolves symbolic links. The file does not have to exist.
fn resolve(path: &Path) -> Result<PathBuf, OpenError> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        resolved => return Ok(resolved?),
    }
    if fs::symlink_metadata(path).is_ok() {
        let target = fs::read_link(path)?;
        return Err(OpenError::Dangling { path: path.to_owned(), target });
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::Error::from(io::ErrorKind::InvalidFilename))?;
    Ok(fs::canonicalize(folder)?.join(name))
}

fn refuse_link(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => Err(io::Error::other(format!(
            "{} is a symbolic link, which is not followed: remove it",
            path.display()
        ))),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The path with an ending appended to the file's name.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Locks the database itself; false if another process holds the lock. Does nothing on systems without such locks, where the
/// file next to the database is the only lock.
#[cfg(target_os = "linux")]
fn lock_itself(database: &File) -> io::Result<bool> {
    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc::{F_WRLCK, SEEK_SET, c_short, flock};

    /// Far beyond the bytes that SQLite locks, which begin at 2^30. Source: sqlite.org/src/file/src/os.h, PENDING_BYTE.
    const BYTE: i64 = 1 << 62;
    let wanted = flock {
        l_type: F_WRLCK as c_short,
        l_whence: SEEK_SET as c_short,
        l_start: BYTE,
        l_len: 1,
        l_pid: 0,
    };
    match fcntl(database, FcntlArg::F_OFD_SETLK(&wanted)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(
            error @ (Errno::EINVAL | Errno::ENOLCK | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EOVERFLOW),
        ) => {
            tracing::warn!(%error, "the store's file cannot be locked: use it under one name only");
            Ok(true)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn lock_itself(_: &File) -> io::Result<bool> {
    Ok(true)
}

#[cfg(unix)]
fn warn_of_other_names(metadata: &Metadata, path: &Path) {
    let names = std::os::unix::fs::MetadataExt::nlink(metadata);
    if names > 1 {
        tracing::warn!(
            path = %path.display(),
            names,
            "the store's file has several names (hard links): always use the same one, because the write-ahead log \
             next to it may have the last commits"
        );
    }
}

#[cfg(not(unix))]
fn warn_of_other_names(_: &Metadata, _: &Path) {}

/// The identity of a file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// This system has no file identities: all are equal, so only a missing file is detected.
    #[cfg(not(unix))]
    fn of(_: &Metadata) -> Self {
        Self { device: 0, inode: 0 }
    }
}

/// The path no longer leads to the file that the store has open: writes would be lost when this process ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// The file does not exist any more, or cannot be accessed.
    #[error("{path} no longer exists: put it back, or restore a backup, and start the server again")]
    Gone {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Another file has this path.
    #[error("{path} was replaced by another file: put it back, or start the server again on the new one")]
    Replaced {
        /// The file.
        path: PathBuf,
    },
}

/// The files that a store has open: the database, its log, and the log's index.
#[derive(Debug)]
pub(crate) struct Files([(PathBuf, Option<Identity>); 3]);

impl Files {
    /// The files of a locked database. The first check sets the identities of log and index.
    ///
    /// # Errors
    /// If the system cannot identify the file.
    pub(crate) fn of(lock: &FileLock) -> io::Result<Self> {
        let database = Identity::of(&lock.database.metadata()?);
        let beside = |ending| beside(&lock.path, ending);
        Ok(Self([(lock.path.clone(), Some(database)), (beside(LOG), None), (beside(INDEX), None)]))
    }

    /// Lets the next check set the identities of log and index again, because a new connection may have created them.
    pub(crate) fn forget_log(&mut self) {
        for (_, expected) in &mut self.0[1..] {
            *expected = None;
        }
    }

    /// Checks, in a transaction, that no file was deleted or replaced. It takes three system calls, which cost little compared
    /// with a sync.
    ///
    /// # Errors
    /// [`Lost`].
    pub(crate) fn check(&mut self) -> Result<(), Lost> {
        for (path, expected) in &mut self.0 {
            let found = identity(path)?;
            if *expected.get_or_insert(found) != found {
                return Err(Lost::Replaced { path: path.clone() });
            }
        }
        Ok(())
    }
}

fn identity(path: &Path) -> Result<Identity, Lost> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Identity::of(&metadata)),
        Err(source) => Err(Lost::Gone { path: path.to_owned(), source }),
    }
}

/// The number of bytes by which a write may grow a file.
const WRITE_BYTES: u64 = 64 * 1024;

/// Whether the file at `path` or its log cannot grow: the disk is full, the quota is exhausted, or the limit of file sizes is
/// reached. SQLite reports the last two like a broken disk. The check writes a small file next to the database.
pub fn has_no_room(path: &Path) -> bool {
    let largest = ["", LOG]
        .iter()
        .filter_map(|ending| fs::metadata(beside(path, ending)).ok())
        .map(|found| found.len())
        .max();
    let is_at_limit = largest.is_some_and(|bytes| bytes.saturating_add(WRITE_BYTES) > file_bytes_max());
    is_at_limit || probe(&beside(path, ".room")).is_err_and(|error| is_out_of_room(&error))
}

/// Whether an I/O error means that the disk is full, the quota is exhausted, or the limit of file sizes is reached.
pub(crate) fn is_out_of_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

#[cfg(unix)]
fn file_bytes_max() -> u64 {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_FSIZE).map_or(u64::MAX, |(current, _)| current)
}

#[cfg(not(unix))]
fn file_bytes_max() -> u64 {
    u64::MAX
}

fn probe(path: &Path) -> io::Result<()> {
    let remove = || match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    remove()?;
    let written = private_file().create_new(true).open(path).and_then(|mut file| {
        io::Write::write_all(&mut file, &[0; WRITE_BYTES as usize])?;
        file.sync_all()
    });
    remove()?;
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        (folder, path)
    }

    fn is_in_use(path: &Path) -> bool {
        match FileLock::take(path) {
            Ok(_) => false,
            Err(OpenError::InUse { .. }) => true,
            Err(error) => panic!("{error}"),
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_lock_holds_under_all_names_of_the_file() {
        let (folder, path) = folder();
        let elsewhere = folder.path().join("elsewhere");
        fs::create_dir(&elsewhere).expect("made");
        let lock = FileLock::take(&path).expect("free");
        let (link, other) = (elsewhere.join("link.db"), elsewhere.join("other.db"));
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        fs::hard_link(&path, &other).expect("linked");
        std::os::unix::fs::symlink(folder.path(), elsewhere.join("folder")).expect("linked");
        let names =
            [&path, &link, &other, &elsewhere.join("folder/store.db"), &elsewhere.join("../store.db")];
        for name in names {
            assert!(is_in_use(name), "{}", name.display());
            assert!(
                matches!(FileLock::take_existing(name), Err(OpenError::InUse { .. })),
                "{}",
                name.display()
            );
        }
        drop(lock);
        for name in names {
            assert!(!is_in_use(name), "{}", name.display());
            assert!(FileLock::take_existing(name).expect("free").is_some());
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_refusal_of_a_dangling_link_names_its_target() {
        let (folder, path) = folder();
        let target = folder.path().join("nowhere.db");
        std::os::unix::fs::symlink(&target, &path).expect("linked");
        let error = FileLock::take(&path).expect_err("refused").to_string();
        assert!(error.contains("nowhere.db") && !target.exists(), "{error}");
        fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink(&target, beside(&path, ".lock")).expect("linked");
        let error = FileLock::take(&path).expect_err("refused");
        let OpenError::Io(error) = error else { panic!("{error}") };
        assert!(
            error.to_string().contains("store.db.lock is a symbolic link") && !target.exists(),
            "{error}"
        );
    }

    #[test]
    fn the_check_for_room_leaves_no_file() {
        let (folder, path) = folder();
        fs::write(&path, "").expect("written");
        assert!(!has_no_room(&path));
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 1);
    }
}
