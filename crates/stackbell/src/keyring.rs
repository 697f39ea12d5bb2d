//! The keyring of a store: made for an empty one, opened for any other, never guessed.

use std::path::PathBuf;

use stackbell_keys::{Keyring, KeyringError, MasterKey};
use stackbell_model::{Entropy, Timestamp};
use stackbell_store::{Store, StoreError};

use crate::data_folder::{DataFolder, DataFolderError};

/// Why there is no keyring.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenKeyringError {
    /// The store holds data keys, and there is nothing to open them with.
    #[error(
        "this store needs its master key, and there is none: set STACKBELL_MASTER_KEY (or _FILE), or put the key back at {0}"
    )]
    NoMasterKey(PathBuf),
    /// The data keys do not open.
    #[error("the data keys cannot be opened with the master key from {origin}")]
    Keyring {
        /// Where the master key comes from.
        origin: String,
        /// Why.
        #[source]
        source: KeyringError,
    },
    /// Somebody else put data keys there meanwhile, which the lock on the folder rules out.
    #[error("another process has put data keys into the store")]
    Raced,
    /// The master key's file cannot be used.
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens the keyring of `store` with the configured master key, else with the one in the folder.
/// Makes data keys for a store without any, and a master key if there is none either.
///
/// # Errors
/// [`OpenKeyringError`].
pub(crate) async fn open_keyring(
    store: &dyn Store,
    folder: &DataFolder,
    configured: Option<&MasterKey>,
    entropy: &mut dyn Entropy,
    now: Timestamp,
) -> Result<Keyring, OpenKeyringError> {
    let stored = store.data_keys().await?;
    let file = DataFolder::master_key_path(folder.path());
    let (master, origin) = match configured {
        Some(master) => (master.clone(), "the setting master_key".to_owned()),
        None => match DataFolder::read_master_key(folder.path())? {
            Some(master) => (master, file.display().to_string()),
            None if stored.is_empty() => {
                let master = folder.make_master_key(entropy)?;
                tracing::info!(path = %file.display(), "made a master key: keep a copy of it elsewhere");
                (master, file.display().to_string())
            }
            None => return Err(OpenKeyringError::NoMasterKey(file)),
        },
    };
    if !stored.is_empty() {
        return Keyring::open(&master, &stored)
            .map_err(|source| OpenKeyringError::Keyring { origin, source });
    }
    let (keyring, sealed) = Keyring::generate(&master, entropy, now);
    if store.install_data_keys(&sealed).await? { Ok(keyring) } else { Err(OpenKeyringError::Raced) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;
    use stackbell_store_memory::MemoryStore;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    struct Bench {
        store: MemoryStore,
        entropy: SystemEntropy,
        _parent: tempfile::TempDir,
        folder: DataFolder,
    }

    impl Bench {
        fn new() -> Self {
            let parent = tempfile::tempdir().expect("a folder");
            let folder = DataFolder::open(&parent.path().join("data")).expect("opened");
            let entropy = SystemEntropy::seeded().expect("randomness");
            Self { store: MemoryStore::default(), entropy, _parent: parent, folder }
        }

        async fn open(&mut self, configured: Option<&MasterKey>) -> Result<Keyring, OpenKeyringError> {
            open_keyring(&self.store, &self.folder, configured, &mut self.entropy, NOW).await
        }

        fn file(&self) -> PathBuf {
            DataFolder::master_key_path(self.folder.path())
        }
    }

    #[tokio::test]
    async fn an_empty_store_gets_keys_that_open_again() {
        let mut bench = Bench::new();
        let first = bench.open(None).await.expect("made");
        let again = bench.open(None).await.expect("opened");
        assert_eq!(first.token_hash("t"), again.token_hash("t"));
    }

    #[tokio::test]
    async fn a_configured_key_makes_no_file() {
        let mut bench = Bench::new();
        let master = MasterKey::generate(&mut bench.entropy);
        let first = bench.open(Some(&master)).await.expect("made");
        assert!(!bench.file().exists());
        let again = bench.open(Some(&master)).await.expect("opened");
        assert_eq!(first.token_hash("t"), again.token_hash("t"));
    }

    #[tokio::test]
    async fn data_keys_without_their_master_key_are_refused() {
        let mut bench = Bench::new();
        bench.open(None).await.expect("made");
        let other = MasterKey::generate(&mut bench.entropy);
        let error = bench.open(Some(&other)).await.expect_err("refused");
        assert!(
            matches!(error, OpenKeyringError::Keyring { source: KeyringError::WrongMasterKey, .. }),
            "{error}"
        );
        std::fs::remove_file(bench.file()).expect("removed");
        let error = bench.open(None).await.expect_err("refused");
        assert!(matches!(error, OpenKeyringError::NoMasterKey(_)), "{error}");
        assert!(!bench.file().exists(), "none is made in its place");
    }
}
