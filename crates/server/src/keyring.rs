//! The keyring of a store. It is made for an empty store and opened for any other.
//!
//! - `source`: the master key of the settings, and the search for the key that opens a store
//! - `rotation`: a change of the master key while the server runs
//! - `files`: the files of the master key in the data folder
//!
//! A change of the master key re-seals only the data keys: a few short rows, in one transaction. Values that the data keys seal
//! stay unchanged.

mod files;
mod rotation;
mod source;

use stackbell_config::GivenKey;
use stackbell_keys::{Keyring, MasterKey};
use stackbell_model::ids::AuditId;
use stackbell_model::secret::SealedDataKey;
use stackbell_model::{Entropy, Timestamp};
use stackbell_store::audit::AuditEntry;
use stackbell_store::{Store, StoreError};

pub use files::{KeyFileError, KeyFiles};
pub(crate) use rotation::MasterKeys;
pub use source::{KeySource, KeySourceError, Opening};

/// The action of a change of the master key in the audit log.
const ROTATED: &str = "master_key.rotate";

/// A keyring that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenKeyringError {
    /// No available master key opens the data keys.
    #[error(transparent)]
    Source(#[from] KeySourceError),
    /// Another process has replaced the data keys in the store in the meantime. None of our processes does that.
    #[error("another process has put data keys into the store")]
    Raced,
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<KeyFileError> for OpenKeyringError {
    fn from(error: KeyFileError) -> Self {
        Self::Source(error.into())
    }
}

/// Opens a keyring.
pub struct Opener<'a> {
    /// The store with the data keys.
    pub store: &'a dyn Store,
    /// The source of the master key.
    pub source: &'a KeySource,
    /// Random numbers for keys.
    pub entropy: &'a mut dyn Entropy,
    /// The present time.
    pub now: Timestamp,
}

impl Opener<'_> {
    /// Opens the keyring of the store. Makes data keys for a store without any, and a master key in the data folder if the
    /// settings give none. Completes a change of keys that a crash interrupted, and re-seals the data keys if only the
    /// previous master key opens them.
    ///
    /// # Errors
    /// [`OpenKeyringError`].
    pub async fn open(mut self) -> Result<Keyring, OpenKeyringError> {
        let mut stored = self.store.data_keys().await?;
        if stored.is_empty() {
            if let Some(keyring) = self.begin().await? {
                return Ok(keyring);
            }
            stored = self.store.data_keys().await?;
        }
        match self.source.find(&stored).await? {
            Opening::Current(keyring) => {
                self.source.settle_on_current()?;
                Ok(keyring)
            }
            Opening::Next(keyring) => {
                self.source.settle_on_next()?;
                Ok(keyring)
            }
            Opening::Previous { keyring, current } => self.leave_previous(keyring, current).await,
        }
    }

    /// Makes the keyring of a store without data keys; `None` if another starting node has stored its data keys first.
    async fn begin(&mut self) -> Result<Option<Keyring>, OpenKeyringError> {
        let master = match self.source.read().await? {
            Some(given) => given.key,
            None => self.make_master()?,
        };
        let (keyring, sealed) = Keyring::generate(&master, self.entropy, self.now);
        Ok(self.store.install_data_keys(&sealed).await?.then_some(keyring))
    }

    fn make_master(&mut self) -> Result<MasterKey, OpenKeyringError> {
        let files = self.source.files();
        let master = files.make_current(self.entropy)?;
        tracing::info!(path = %files.current_path().display(), "made a master key: keep a copy of it elsewhere");
        Ok(master)
    }

    async fn leave_previous(
        &mut self,
        keyring: Keyring,
        current: Option<GivenKey>,
    ) -> Result<Keyring, OpenKeyringError> {
        let master = match current {
            Some(given) => given.key,
            None => self.make_master()?,
        };
        let keys = keyring.rewrap(&master, self.entropy);
        let audit = self.audit();
        replace(self.store, &keys, audit).await?;
        tracing::info!(
            "the store's data keys are sealed with the new master key: take previous_master_key out of the settings"
        );
        Ok(keyring)
    }

    fn audit(&mut self) -> AuditEntry {
        AuditEntry {
            id: AuditId::generate(self.now, self.entropy),
            at: self.now,
            organization: None,
            actor: "stackbell".into(),
            token: None,
            remote: None,
            action: ROTATED,
            target: "the master key".into(),
            fields: Vec::new(),
        }
    }
}

/// Replaces the data keys in the store by the same keys under another master key.
async fn replace(
    store: &dyn Store,
    keys: &[SealedDataKey],
    audit: AuditEntry,
) -> Result<(), OpenKeyringError> {
    if store.replace_data_keys(keys, audit).await? { Ok(()) } else { Err(OpenKeyringError::Raced) }
}

#[cfg(test)]
mod tests;
