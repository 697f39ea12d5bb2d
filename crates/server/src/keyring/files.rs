//! The files of the master key in a data folder: the current key, and the next one during a change.
//!
//! ```text
//! master.key          the current key
//! master.key.next     written and synced; then the data keys are re-sealed; then it is renamed to master.key
//! ```
//!
//! After a crash at any point one of the two keys opens the store. The start tries both.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use stackbell_keys::{MasterKey, MasterKeyError};
use stackbell_model::Entropy;
use zeroize::Zeroizing;

use crate::data_folder::sync_folder;

const CURRENT: &str = "master.key";
const NEXT: &str = "master.key.next";

/// The files, which need not exist.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    folder: PathBuf,
}

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("cannot use {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The file holds no master key.
    #[error("{path} holds no master key")]
    NoMasterKey {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: MasterKeyError,
    },
}

impl KeyFileError {
    /// Whether space ran out: on the disk, in a quota, or by the limit of file sizes.
    pub(super) fn is_out_of_room(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }
}

impl KeyFiles {
    /// The files in the folder at `path`.
    pub fn at(path: &Path) -> Self {
        Self { folder: path.to_owned() }
    }

    /// The path of the current key.
    pub fn current_path(&self) -> PathBuf {
        self.folder.join(CURRENT)
    }

    /// The path of the next key, during a change.
    pub fn next_path(&self) -> PathBuf {
        self.folder.join(NEXT)
    }

    /// The current key; `None` if there is no file.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn current(&self) -> Result<Option<MasterKey>, KeyFileError> {
        read(&self.current_path())
    }

    /// The next key; `None` if there is no file.
    ///
    /// # Errors
    /// [`KeyFileError`], also if a crash left only a part of it.
    pub fn next(&self) -> Result<Option<MasterKey>, KeyFileError> {
        read(&self.next_path())
    }

    /// Makes a key and its file. On return the file is synced to disk, or does not exist.
    ///
    /// # Errors
    /// [`KeyFileError::Io`], also if there is a key already.
    pub fn make_current(&self, entropy: &mut dyn Entropy) -> Result<MasterKey, KeyFileError> {
        let key = MasterKey::generate(entropy);
        let path = self.current_path();
        let made = || {
            // Made with the rights 0600.
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            write(file.as_file_mut(), &key)?;
            file.persist_noclobber(&path).map_err(|error| error.error)?;
            sync_folder(&self.folder)
        };
        made().map_err(|source| KeyFileError::Io { path: path.clone(), source })?;
        Ok(key)
    }

    /// Writes and syncs the next key, in place of an existing one.
    ///
    /// # Errors
    /// [`KeyFileError::Io`]; the incomplete file is removed then.
    pub fn write_next(&self, key: &MasterKey) -> Result<(), KeyFileError> {
        self.remove_next()?;
        let path = self.next_path();
        let written = || {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            write(&mut options.open(&path)?, key)?;
            sync_folder(&self.folder)
        };
        written().map_err(|source| {
            // An incomplete key is useless. If the file cannot be removed now, the next start removes it.
            let _ = std::fs::remove_file(&path);
            KeyFileError::Io { path: path.clone(), source }
        })
    }

    /// Makes the next key the current one. The rename is atomic.
    ///
    /// # Errors
    /// [`KeyFileError::Io`].
    pub fn promote_next(&self) -> Result<(), KeyFileError> {
        let renamed = std::fs::rename(self.next_path(), self.current_path());
        let renamed = renamed.and_then(|()| sync_folder(&self.folder));
        renamed.map_err(|source| KeyFileError::Io { path: self.next_path(), source })
    }

    /// Removes the next key; `false` if there was none.
    ///
    /// # Errors
    /// [`KeyFileError::Io`].
    pub fn remove_next(&self) -> Result<bool, KeyFileError> {
        let path = self.next_path();
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(KeyFileError::Io { path, source }),
        }
    }
}

fn read(path: &Path) -> Result<Option<MasterKey>, KeyFileError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(KeyFileError::Io { path: path.to_owned(), source }),
    };
    match MasterKey::from_base64(&text) {
        Ok(key) => Ok(Some(key)),
        Err(source) => Err(KeyFileError::NoMasterKey { path: path.to_owned(), source }),
    }
}

fn write(file: &mut File, key: &MasterKey) -> io::Result<()> {
    writeln!(file, "{}", key.to_base64().as_str())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use stackbell_system::SystemEntropy;

    use super::*;

    struct Bench {
        _folder: tempfile::TempDir,
        files: KeyFiles,
        entropy: SystemEntropy,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let files = KeyFiles::at(folder.path());
            Self { _folder: folder, files, entropy: SystemEntropy::seeded().expect("randomness") }
        }

        fn current(&self) -> Option<String> {
            text(self.files.current().expect("read"))
        }

        fn next(&self) -> Option<String> {
            text(self.files.next().expect("read"))
        }
    }

    fn text(key: Option<MasterKey>) -> Option<String> {
        key.map(|key| key.to_base64().to_string())
    }

    #[test]
    fn the_master_key_is_made_once_and_read_back() {
        let mut bench = Bench::new();
        assert_eq!(bench.current(), None);
        let made = bench.files.make_current(&mut bench.entropy).expect("made");
        assert_eq!(bench.current(), text(Some(made)));
        let before = bench.current();
        bench.files.make_current(&mut bench.entropy).expect_err("there is one");
        assert_eq!(bench.current(), before);
    }

    #[test]
    fn the_next_key_takes_over() {
        let mut bench = Bench::new();
        bench.files.make_current(&mut bench.entropy).expect("made");
        let next = MasterKey::generate(&mut bench.entropy);
        std::fs::write(bench.files.next_path(), "a part of a k").expect("written");
        bench.files.write_next(&next).expect("written");
        assert_eq!(bench.next(), text(Some(next.clone())));
        assert_ne!(bench.current(), bench.next());
        bench.files.promote_next().expect("renamed");
        assert_eq!((bench.current(), bench.next()), (text(Some(next)), None));
        assert!(!bench.files.remove_next().expect("nothing there"));
        bench.files.promote_next().expect_err("there is none");
    }

    #[cfg(unix)]
    #[test]
    fn for_the_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let mut bench = Bench::new();
        let key = bench.files.make_current(&mut bench.entropy).expect("made");
        bench.files.write_next(&key).expect("written");
        for path in [bench.files.current_path(), bench.files.next_path()] {
            let mode = std::fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
    }

    #[test]
    fn a_file_without_a_key_is_an_error() {
        let bench = Bench::new();
        std::fs::write(bench.files.current_path(), "hidden").expect("written");
        let error = bench.files.current().expect_err("refused");
        assert!(matches!(error, KeyFileError::NoMasterKey { .. }));
        assert!(!format!("{error:?}").contains("hidden"));
    }
}
