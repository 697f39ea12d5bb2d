//! Another master key while the server runs.
//!
//! The keyring stays as it is: the data keys do not change, only what they are sealed with. A master key that is a file's
//! or a command's is read again; the data folder's own is made anew. What came from a variable cannot change while
//! we run.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use stackbell_app::instance::master_key;
use stackbell_config::{GivenKey, MasterKeySetting};
use stackbell_keys::{Keyring, MasterKey};
use stackbell_model::Chain;
use stackbell_model::secret::SealedDataKey;
use stackbell_store::audit::AuditEntry;
use stackbell_store::{Store, StoreError};
use stackbell_system::SystemEntropy;
use tokio::task::JoinError;

use super::{KeyFileError, KeyFiles, KeySource, KeySourceError, Opening};

/// The master key of a server that runs, seen from where it may be changed.
pub(crate) struct MasterKeys {
    source: KeySource,
    store: Arc<dyn Store>,
    keyring: Arc<Keyring>,
    entropy: Mutex<SystemEntropy>,
    /// One change at a time.
    turn: tokio::sync::Mutex<()>,
}

/// Why the master key was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RotateError {
    /// It cannot change while we run.
    #[error(
        "the master key is set by {0}, which cannot change while the server runs: set the new key there and the old one \
         as previous_master_key and start the server anew, or use master_key_file or master_key_command"
    )]
    Fixed(String),
    /// There is no other key.
    #[error(
        "{0} still gives the key that the store is sealed with: put the new key there, then ask again (the old one \
         is not needed any more after that)"
    )]
    Same(String),
    /// There is no key that it could be changed to, or none that opens the store.
    #[error("there is no new master key")]
    Source(#[from] KeySourceError),
    /// The store holds other data keys than the keyring. Nothing was changed.
    #[error("the store holds other data keys than this server")]
    Raced,
    /// The store is sealed with the new key, whose file could not be given its name.
    #[error(
        "the master key was changed, and its file keeps the name master.key.next until the next start gives it its own"
    )]
    NotRenamed(#[source] KeyFileError),
    /// The store could not be asked. After [`StoreError::Unknown`] the key may have changed: the next start, or
    /// asking again, finds out.
    #[error("the data keys could not be sealed anew")]
    Store(#[from] StoreError),
    /// The process is ending.
    #[error("it was cut")]
    Cut(#[from] JoinError),
}

impl From<KeyFileError> for RotateError {
    fn from(error: KeyFileError) -> Self {
        Self::Source(error.into())
    }
}

/// In words of the control plane: whoever asks hears what they can do about it, and the log hears the rest.
impl From<RotateError> for master_key::RotateError {
    fn from(error: RotateError) -> Self {
        match error {
            RotateError::Fixed(_) | RotateError::Same(_) => Self::Refused(error.to_string()),
            RotateError::Store(source) => Self::Store(source),
            RotateError::Source(KeySourceError::OwnFile(ref file)) if file.is_out_of_room() => {
                Self::NoRoom(Box::new(error))
            }
            RotateError::Source(_)
            | RotateError::Raced
            | RotateError::NotRenamed(_)
            | RotateError::Cut(_) => Self::Failed(Box::new(error)),
        }
    }
}

#[async_trait]
impl master_key::MasterKeySource for MasterKeys {
    async fn rotate(&self, audit: AuditEntry) -> Result<usize, master_key::RotateError> {
        Ok(Self::rotate(self, audit).await?)
    }
}

impl MasterKeys {
    /// Of a store that `keyring` was opened for, with a key from `source`.
    pub(crate) fn new(
        source: KeySource,
        store: Arc<dyn Store>,
        keyring: Arc<Keyring>,
        entropy: SystemEntropy,
    ) -> Self {
        let (entropy, turn) = (Mutex::new(entropy), tokio::sync::Mutex::new(()));
        Self { source, store, keyring, entropy, turn }
    }

    /// Seals the data keys with another master key, in one transaction with its audit entry; answers how many there are.
    /// Whenever we crash, the next start finds the key that holds.
    ///
    /// # Errors
    /// [`RotateError`].
    pub(crate) async fn rotate(&self, audit: AuditEntry) -> Result<usize, RotateError> {
        let _turn = self.turn.lock().await;
        let stored = self.store.data_keys().await?;
        match self.source.setting() {
            MasterKeySetting::Given(given) => Err(RotateError::Fixed(given.origin.clone())),
            MasterKeySetting::DataFolder => {
                self.settle(&stored).await?;
                let key = self.prepare().await?;
                match self.seal_anew(&key, audit).await {
                    Ok(count) => {
                        self.promote().await?;
                        Ok(count)
                    }
                    Err(error) => {
                        // Where the outcome is not known, the store may be sealed with it.
                        if !matches!(error, RotateError::Store(StoreError::Unknown { .. })) {
                            self.drop_next().await;
                        }
                        Err(error)
                    }
                }
            }
            MasterKeySetting::File { .. } | MasterKeySetting::Command(_) => {
                let given = self.source.read_again().await?;
                let GivenKey { key, origin } = given.expect("only the data folder may have none");
                if Keyring::open(&key, &stored).is_ok() {
                    return Err(RotateError::Same(origin));
                }
                self.seal_anew(&key, audit).await
            }
        }
    }

    /// Ends what an earlier change left undone whose outcome was not known.
    async fn settle(&self, stored: &[SealedDataKey]) -> Result<(), RotateError> {
        match self.source.find(stored).await? {
            Opening::Current(_) => Ok(()),
            Opening::Next(_) => self.promote().await,
            Opening::Previous { .. } => Err(RotateError::Raced),
        }
    }

    /// Makes the next key and its file.
    pub(super) async fn prepare(&self) -> Result<MasterKey, RotateError> {
        let key = self.chance(|entropy| MasterKey::generate(entropy));
        let next = key.clone();
        self.on_thread(move |files| files.write_next(&next)).await??;
        Ok(key)
    }

    pub(super) async fn seal_anew(&self, key: &MasterKey, audit: AuditEntry) -> Result<usize, RotateError> {
        let keys = self.chance(|entropy| self.keyring.rewrap(key, entropy));
        if !self.store.replace_data_keys(&keys, audit).await? {
            return Err(RotateError::Raced);
        }
        tracing::info!(data_keys = keys.len(), "the store's data keys are sealed with another master key");
        Ok(keys.len())
    }

    /// Removes a next key that the store is not sealed with. The next start does that where it cannot be done now.
    async fn drop_next(&self) {
        match self.on_thread(KeyFiles::remove_next).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(error = %Chain(&error), "the next master key was not removed"),
            Err(error) => tracing::warn!(%error, "the next master key was not removed"),
        }
    }

    async fn promote(&self) -> Result<(), RotateError> {
        self.on_thread(KeyFiles::promote_next).await?.map_err(RotateError::NotRenamed)
    }

    /// Files are synced on a thread that may wait for the disk.
    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&KeyFiles) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let files = self.source.files().clone();
        tokio::task::spawn_blocking(move || work(&files)).await
    }

    fn chance<T>(&self, use_it: impl FnOnce(&mut SystemEntropy) -> T) -> T {
        use_it(&mut self.entropy.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
