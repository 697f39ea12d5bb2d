//! The data folder: one process at a time, and the master key's file.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use stackbell_keys::{MasterKey, MasterKeyError};
use stackbell_model::Entropy;

const LOCK_FILE: &str = "stackbell.lock";
const MASTER_KEY_FILE: &str = "master.key";

/// A data folder that this process alone uses, until this is dropped.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    _lock: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataFolderError {
    /// It cannot be made.
    #[error("cannot make the data folder {path}")]
    Make {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its lock cannot be taken or asked for.
    #[error("cannot lock the data folder {path}")]
    Lock {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "another process{} uses the data folder {path}: stop it, or name another folder with --data",
        id(process)
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process's id, if it could be told.
        process: Option<u32>,
    },
    /// The master key's file cannot be read or written.
    #[error("cannot use {path}")]
    MasterKeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The master key's file holds no master key.
    #[error("{path} holds no master key")]
    NoMasterKey {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: MasterKeyError,
    },
}

/// Who has a data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Nobody.
    Nobody,
    /// A process, by its id if that could be told.
    Process(Option<u32>),
}

fn id(process: &Option<u32>) -> String {
    process.map_or_else(String::new, |id| format!(" ({id})"))
}

impl DataFolder {
    /// Makes the folder if it is not there, readable by its owner alone, and locks it.
    ///
    /// # Errors
    /// [`DataFolderError`].
    pub(crate) fn open(path: &Path) -> Result<Self, DataFolderError> {
        make(path).map_err(|source| DataFolderError::Make { path: path.to_owned(), source })?;
        let failed = |source| DataFolderError::Lock { path: path.to_owned(), source };
        let mut lock = open_lock(path, true).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataFolderError::InUse { path: path.to_owned(), process: read_id(&mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        write_id(&mut lock).map_err(failed)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Who has the folder at `path` now. Makes nothing and keeps nothing.
    ///
    /// # Errors
    /// [`DataFolderError::Lock`], when it could not be asked.
    pub(crate) fn holder(path: &Path) -> Result<Holder, DataFolderError> {
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
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the master key's file is, or would be.
    pub(crate) fn master_key_path(path: &Path) -> PathBuf {
        path.join(MASTER_KEY_FILE)
    }

    /// Reads the master key's file in the folder at `path`; `None` when there is none.
    ///
    /// # Errors
    /// [`DataFolderError`].
    pub(crate) fn read_master_key(path: &Path) -> Result<Option<MasterKey>, DataFolderError> {
        let path = Self::master_key_path(path);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => zeroize::Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(DataFolderError::MasterKeyFile { path, source }),
        };
        match MasterKey::from_base64(&text) {
            Ok(key) => Ok(Some(key)),
            Err(source) => Err(DataFolderError::NoMasterKey { path, source }),
        }
    }

    /// Makes a master key and its file, which its owner alone may read; it is synced to disk, or not there at all.
    ///
    /// # Errors
    /// [`DataFolderError::MasterKeyFile`], also when there is one already.
    pub(crate) fn make_master_key(&self, entropy: &mut dyn Entropy) -> Result<MasterKey, DataFolderError> {
        let key = MasterKey::generate(entropy);
        let path = Self::master_key_path(&self.path);
        match self.write_master_key(&key, &path) {
            Ok(()) => Ok(key),
            Err(source) => Err(DataFolderError::MasterKeyFile { path, source }),
        }
    }

    fn write_master_key(&self, key: &MasterKey, path: &Path) -> io::Result<()> {
        // Made with the rights 0600.
        let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
        writeln!(file, "{}", key.to_base64().as_str())?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path).map_err(|error| error.error)?;
        sync_folder(&self.path)
    }
}

fn make(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn open_lock(folder: &Path, create: bool) -> io::Result<File> {
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

/// Makes a file's name as durable as the file.
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(path)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Whether others than its owner may use the folder.
pub(crate) fn is_open_to_others(path: &Path) -> io::Result<bool> {
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
    use crate::entropy::SystemEntropy;

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
    fn the_master_key_is_made_once_and_read_back() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = DataFolder::open(&parent.path().join("data")).expect("opened");
        let mut entropy = SystemEntropy::seeded().expect("randomness");
        let read = || DataFolder::read_master_key(folder.path()).expect("read");
        assert!(read().is_none());
        let made = folder.make_master_key(&mut entropy).expect("made");
        assert_eq!(read().map(|key| key.to_base64()), Some(made.to_base64()));
        folder.make_master_key(&mut entropy).expect_err("there is one");
        assert_eq!(read().map(|key| key.to_base64()), Some(made.to_base64()));
    }

    #[cfg(unix)]
    #[test]
    fn for_the_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let parent = tempfile::tempdir().expect("a folder");
        let folder = DataFolder::open(&parent.path().join("data")).expect("opened");
        folder.make_master_key(&mut SystemEntropy::seeded().expect("randomness")).expect("made");
        let check = |path: &Path, expected: u32| {
            let mode = std::fs::metadata(path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, expected, "{}", path.display());
        };
        check(folder.path(), 0o700);
        check(&DataFolder::master_key_path(folder.path()), 0o600);
        check(&folder.path().join(LOCK_FILE), 0o600);
        assert!(!is_open_to_others(folder.path()).expect("asked"));
    }

    #[test]
    fn a_file_without_a_key_is_an_error() {
        let parent = tempfile::tempdir().expect("a folder");
        std::fs::write(parent.path().join(MASTER_KEY_FILE), "hidden").expect("written");
        let error = DataFolder::read_master_key(parent.path()).expect_err("refused");
        assert!(matches!(error, DataFolderError::NoMasterKey { .. }));
        assert!(!format!("{error:?}").contains("hidden"));
    }
}
