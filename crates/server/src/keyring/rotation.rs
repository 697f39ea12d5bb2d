//! A change of the master key while the server runs.
//!
//! Only the key that seals the data keys changes. The data keys and the keyring stay the same. A master key from a file or a
//! command is read again; one in the data folder is replaced by a new one. A key from a variable cannot change while the server
//! runs.

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

/// The master key of a running server, for changing it.
pub(crate) struct MasterKeys {
    source: KeySource,
    store: Arc<dyn Store>,
    keyring: Arc<Keyring>,
    entropy: Mutex<SystemEntropy>,
    /// Held during a change, so that only one runs at a time.
    turn: tokio::sync::Mutex<()>,
}

/// A master key that was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RotateError {
    /// The key cannot change while the server runs.
    #[error(
        "the master key is set by {0}, which cannot change while the server runs: set the new key there and the old one \
         as previous_master_key and restart the server, or use master_key_file or master_key_command"
    )]
    Fixed(String),
    /// There is no other key.
    #[error(
        "{0} still gives the key that the store is sealed with: put the new key there, then ask again (the old one \
         is not needed any more after that)"
    )]
    Same(String),
    /// The new key cannot be read, or no key opens the store.
    #[error("there is no new master key")]
    Source(#[from] KeySourceError),
    /// The store holds other data keys than the keyring. Nothing was changed.
    #[error("the store holds other data keys than this server")]
    Raced,
    /// The store is sealed with the new key, but its file could not be renamed.
    #[error(
        "the master key was changed, but its file is still named master.key.next; the next start renames it"
    )]
    NotRenamed(#[source] KeyFileError),
    /// The store cannot be read or written. After [`StoreError::Unknown`] the key may have changed. The next start, or another
    /// request, finds the valid key.
    #[error("the data keys could not be sealed with the new master key")]
    Store(#[from] StoreError),
    /// The process ends.
    #[error("the rotation was interrupted: the process is ending")]
    Cut(#[from] JoinError),
}

impl From<KeyFileError> for RotateError {
    fn from(error: KeyFileError) -> Self {
        Self::Source(error.into())
    }
}

/// The error for the control plane: its message names the remedy, and the log has the cause.
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
    /// For the store that `keyring` belongs to, with keys from `source`.
    pub(crate) fn new(
        source: KeySource,
        store: Arc<dyn Store>,
        keyring: Arc<Keyring>,
        entropy: SystemEntropy,
    ) -> Self {
        let (entropy, turn) = (Mutex::new(entropy), tokio::sync::Mutex::new(()));
        Self { source, store, keyring, entropy, turn }
    }

    /// Seals the data keys with another master key, in one transaction with the audit entry. Returns the number of data keys.
    /// After a crash at any point the next start finds the current key.
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
                match self.reseal(&key, audit).await {
                    Ok(count) => {
                        self.promote().await?;
                        Ok(count)
                    }
                    Err(error) => {
                        // If the outcome is unknown, the store may be sealed with this key.
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
                self.reseal(&key, audit).await
            }
        }
    }

    /// Completes an earlier change whose outcome was unknown.
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

    pub(super) async fn reseal(&self, key: &MasterKey, audit: AuditEntry) -> Result<usize, RotateError> {
        let keys = self.chance(|entropy| self.keyring.rewrap(key, entropy));
        if !self.store.replace_data_keys(&keys, audit).await? {
            return Err(RotateError::Raced);
        }
        tracing::info!(data_keys = keys.len(), "the store's data keys are sealed with another master key");
        Ok(keys.len())
    }

    /// Removes the next key. The store must not be sealed with it. If the removal fails, the next start repeats it.
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

    /// Runs `work` on a blocking thread, because syncing waits for the disk.
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
