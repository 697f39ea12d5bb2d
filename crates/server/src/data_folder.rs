//! The data folder, which one process uses at a time and only its owner can read.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LOCK_FILE: &str = "stackbell.lock";
const SCRATCH_FOLDER: &str = "scratch";

/// A data folder that this process has locked. Dropping it releases the lock.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    lock: Arc<File>,
}

/// A data folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// The folder cannot be made.
    #[error("cannot make the data folder {path}")]
    Make {
        /// The folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The lock cannot be taken or inspected.
    #[error("cannot lock the data folder {path}")]
    Lock {
        /// The folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// Another process has the lock.
    #[error(
        "another process{} uses the data folder {path}: stop it, or name another folder with --data",
        id(process)
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The id of the process, if it is known.
        process: Option<u32>,
    },
    /// The folder for temporary files cannot be emptied or made.
    #[error("cannot empty {path}")]
    Scratch {
        /// The folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

/// The holder of a data folder's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// No process.
    Nobody,
    /// A process, with its id if that is known.
    Process(Option<u32>),
}

fn id(process: &Option<u32>) -> String {
    process.map_or_else(String::new, |id| format!(" ({id})"))
}

impl DataFolder {
    /// Locks the folder. Makes it first if it is missing: readable by its owner alone, and synced to disk with its name.
    ///
    /// # Errors
    /// [`DataFolderError`].
    pub fn open(path: &Path) -> Result<Self, DataFolderError> {
        make_durably(path).map_err(|source| DataFolderError::Make { path: path.to_owned(), source })?;
        let failed = |source| DataFolderError::Lock { path: path.to_owned(), source };
        let mut lock = open_lock(path, true).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataFolderError::InUse { path: path.to_owned(), process: read_id(&mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // The id only informs people, so a failed write is ignored: a server must start on a full disk, too.
        if let Err(error) = write_id(&mut lock) {
            tracing::debug!(%error, "the process's id could not be written into the lock");
        }
        Ok(Self { path: path.to_owned(), lock: Arc::new(lock) })
    }

    /// The present holder of the folder at `path`. Makes nothing and takes no lock.
    ///
    /// # Errors
    /// [`DataFolderError::Lock`], if the lock cannot be inspected.
    pub fn holder(path: &Path) -> Result<Holder, DataFolderError> {
        let failed = |source| DataFolderError::Lock { path: path.to_owned(), source };
        let mut lock = match open_lock(path, false) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::Nobody),
            Err(error) => return Err(failed(error)),
        };
        match lock.try_lock() {
            Ok(()) => Ok(Holder::Nobody),
            Err(TryLockError::WouldBlock) => Ok(Holder::Process(read_id(&mut lock))),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a function that checks whether the folder still exists and still has the lock file of this process.
    pub fn presence(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let (path, lock) = (self.path.join(LOCK_FILE), Arc::clone(&self.lock));
        move || is_same_file(&path, &lock).unwrap_or(false)
    }

    /// Returns an empty subfolder for files that are useless after a restart.
    ///
    /// # Errors
    /// [`DataFolderError::Scratch`].
    pub fn empty_scratch(&self) -> Result<PathBuf, DataFolderError> {
        let path = self.path.join(SCRATCH_FOLDER);
        // The folder itself is not removed, because it could not be created again on a full disk.
        match refuse_link(&path).and_then(|()| make(&path)).and_then(|()| empty(&path)) {
            Ok(()) => Ok(path),
            Err(source) => Err(DataFolderError::Scratch { path, source }),
        }
    }
}

/// Creates a folder durably: after a loss of power it still exists, with all synced files in it.
fn make_durably(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| is_missing(folder)).collect();
    make(path)?;
    for folder in &missing {
        sync_folder(parent(folder))?;
    }
    if missing.is_empty() {
        // The process that created the folder may have been killed before its sync. The sync may fail, because the parent may be
        // unreadable for us.
        if let Err(error) = sync_folder(parent(path)) {
            tracing::debug!(%error, "the name of the data folder could not be synced");
        }
    }
    Ok(())
}

fn is_missing(folder: &Path) -> bool {
    !folder.as_os_str().is_empty() && !folder.exists()
}

/// The parent of a folder.
fn parent(folder: &Path) -> &Path {
    folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn make(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn empty(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Refuses a symbolic link in place of our own file or folder: its target must not be emptied or overwritten.
fn refuse_link(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => {
            let name = path.file_name().unwrap_or(path.as_os_str()).display();
            Err(io::Error::other(format!("{name} is a symbolic link, which is not followed: remove it")))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn is_same_file(path: &Path, file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let (found, expected) = (path.metadata()?, file.metadata()?);
    Ok((found.dev(), found.ino()) == (expected.dev(), expected.ino()))
}

#[cfg(not(unix))]
fn is_same_file(path: &Path, _: &File) -> io::Result<bool> {
    path.metadata().map(|_| true)
}

fn open_lock(folder: &Path, create: bool) -> io::Result<File> {
    refuse_link(&folder.join(LOCK_FILE))?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(folder.join(LOCK_FILE))
}

fn read_id(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_id(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// Syncs a folder, so that the names of new files in it are durable.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(path)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Whether users other than its owner may use the folder.
pub fn is_open_to_others(path: &Path) -> io::Result<bool> {
    let metadata = std::fs::metadata(path)?;
    #[cfg(unix)]
    return Ok(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0);
    #[cfg(not(unix))]
    {
        let _ = metadata;
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("a/b");
        assert_eq!(DataFolder::holder(&path).expect("asked"), Holder::Nobody);
        let first = DataFolder::open(&path).expect("opened");
        let own = Some(std::process::id());
        let error = DataFolder::open(&path).expect_err("refused");
        assert!(matches!(&error, DataFolderError::InUse { process, .. } if *process == own), "{error}");
        assert!(error.to_string().contains(&format!("another process ({})", std::process::id())), "{error}");
        assert_eq!(DataFolder::holder(&path).expect("asked"), Holder::Process(own));
        drop(first);
        assert_eq!(DataFolder::holder(&path).expect("asked"), Holder::Nobody);
        DataFolder::open(&path).expect("opened again");
    }

    #[test]
    fn a_restart_removes_temporary_files() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = DataFolder::open(parent.path()).expect("opened");
        let scratch = folder.empty_scratch().expect("made");
        std::fs::create_dir(scratch.join("folder")).expect("made");
        std::fs::write(scratch.join("folder/copy"), "half").expect("written");
        assert_eq!(folder.empty_scratch().expect("emptied"), scratch);
        assert_eq!(std::fs::read_dir(&scratch).expect("there").count(), 0);
        std::fs::remove_dir(&scratch).expect("empty");
        std::fs::write(&scratch, "a file").expect("written");
        folder.empty_scratch().expect_err("not ours to remove");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        use std::os::unix::fs::symlink;
        let parent = tempfile::tempdir().expect("a folder");
        let (path, other) = (parent.path().join("data"), parent.path().join("other"));
        std::fs::create_dir(&other).expect("made");
        std::fs::write(other.join("kept"), "text").expect("written");
        let folder = DataFolder::open(&path).expect("opened");
        symlink(&other, path.join(SCRATCH_FOLDER)).expect("linked");
        let error = format!("{:#}", anyhow::Error::new(folder.empty_scratch().expect_err("refused")));
        assert!(error.contains("scratch is a symbolic link"), "{error}");
        drop(folder);
        std::fs::remove_file(path.join(LOCK_FILE)).expect("removed");
        symlink(other.join("kept"), path.join(LOCK_FILE)).expect("linked");
        let error = format!("{:#}", anyhow::Error::new(DataFolder::open(&path).expect_err("refused")));
        assert!(error.contains("stackbell.lock is a symbolic link"), "{error}");
        DataFolder::holder(&path).expect_err("refused");
        assert_eq!(std::fs::read_to_string(other.join("kept")).expect("there"), "text");
    }

    #[test]
    fn a_folder_that_is_gone_or_another_is_noticed() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("data");
        let folder = DataFolder::open(&path).expect("opened");
        let is_there = folder.presence();
        assert!(is_there());
        std::fs::rename(&path, parent.path().join("aside")).expect("moved");
        assert!(!is_there());
        #[cfg(unix)]
        {
            let _other = DataFolder::open(&path).expect("another");
            assert!(!is_there());
        }
    }

    #[cfg(unix)]
    #[test]
    fn for_the_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let parent = tempfile::tempdir().expect("a folder");
        let folder = DataFolder::open(&parent.path().join("data")).expect("opened");
        let scratch = folder.empty_scratch().expect("made");
        let check = |path: &Path, expected: u32| {
            let mode = std::fs::metadata(path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, expected, "{}", path.display());
        };
        check(folder.path(), 0o700);
        check(&scratch, 0o700);
        check(&folder.path().join(LOCK_FILE), 0o600);
        assert!(!is_open_to_others(folder.path()).expect("asked"));
    }
}
