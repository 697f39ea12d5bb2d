//! The source of the master key, and the search for the key that opens a store.

use std::path::{Path, PathBuf};

use stackbell_config::{ConfigError, GivenKey, KeyCommandError, KeySettings, MasterKeySetting, read_secret};
use stackbell_keys::{Keyring, KeyringError, MasterKey, MasterKeyError};
use stackbell_model::secret::SealedDataKey;

use super::{KeyFileError, KeyFiles};

/// The source of the master key.
#[derive(Debug)]
pub struct KeySource {
    setting: MasterKeySetting,
    previous: Option<GivenKey>,
    files: KeyFiles,
}

/// There is no master key, or none that opens the store.
#[derive(Debug, thiserror::Error)]
pub enum KeySourceError {
    /// The store holds data keys, and there is no master key.
    #[error(
        "this store needs its master key, and there is none: put the key back at {0}, or set master_key_file, \
         master_key_command or STACKBELL_MASTER_KEY"
    )]
    None(PathBuf),
    /// The key belongs to another store.
    #[error(
        "the master key from {origin} does not open this store, whose data keys were sealed with another one: put the \
         key back that it was made with, or, if the key was changed on purpose, set previous_master_key to the old one"
    )]
    Wrong {
        /// The origin of the key.
        origin: String,
    },
    /// Neither of two keys opens the store.
    #[error(
        "neither the master key from {origin} nor the previous one from {previous} opens this store, whose data keys \
         were sealed with another one: put the key back that it was made with"
    )]
    BothWrong {
        /// The origin of the current key.
        origin: String,
        /// The origin of the previous key.
        previous: String,
    },
    /// The key is right, but the data keys are damaged.
    #[error(
        "the data keys cannot be opened with the master key from {origin}: restore the store from a backup"
    )]
    Keyring {
        /// The origin of the key.
        origin: String,
        /// The reason.
        #[source]
        source: KeyringError,
    },
    /// The key file in the data folder cannot be used.
    #[error(transparent)]
    OwnFile(#[from] KeyFileError),
    /// The file that a setting names cannot be read again.
    #[error("the master key cannot be read again")]
    File(#[source] ConfigError),
    /// The file that a setting names holds no master key.
    #[error("{path} holds no master key")]
    NoKey {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: MasterKeyError,
    },
    /// The command prints no key.
    #[error("master_key_command gives no key")]
    Command(#[from] KeyCommandError),
}

/// The key that opens a store.
pub enum Opening {
    /// The current key.
    Current(Keyring),
    /// The next key in the data folder: a crash interrupted a change after the data keys were re-sealed.
    Next(Keyring),
    /// The previous key alone.
    Previous {
        /// The keyring.
        keyring: Keyring,
        /// The current key; `None` if the data folder has none yet.
        current: Option<GivenKey>,
    },
}

impl KeySource {
    /// The source of the settings, with the files of the data folder at `data`.
    pub fn new(settings: KeySettings, data: &Path) -> Self {
        let KeySettings { master, previous } = settings;
        Self { setting: master, previous, files: KeyFiles::at(data) }
    }

    /// The data folder's own files.
    pub fn files(&self) -> &KeyFiles {
        &self.files
    }

    /// The setting.
    pub(super) fn setting(&self) -> &MasterKeySetting {
        &self.setting
    }

    /// The current key by the settings; `None` if they name the data folder and it has no key.
    ///
    /// # Errors
    /// [`KeySourceError`].
    pub async fn read(&self) -> Result<Option<GivenKey>, KeySourceError> {
        match &self.setting {
            MasterKeySetting::DataFolder => {
                let origin = || self.files.current_path().display().to_string();
                Ok(self.files.current()?.map(|key| GivenKey { key, origin: origin() }))
            }
            MasterKeySetting::Given(given) | MasterKeySetting::File { key: given, .. } => {
                Ok(Some(given.clone()))
            }
            MasterKeySetting::Command(command) => {
                let origin = format!("master_key_command ({})", command.program());
                Ok(Some(GivenKey { key: command.run().await?, origin }))
            }
        }
    }

    /// The current key; a file is read again.
    ///
    /// # Errors
    /// [`KeySourceError`].
    pub(super) async fn read_again(&self) -> Result<Option<GivenKey>, KeySourceError> {
        let MasterKeySetting::File { key, path } = &self.setting else { return self.read().await };
        let text = read_secret(path, &key.origin).map_err(KeySourceError::File)?;
        let text = zeroize::Zeroizing::new(text);
        let no_key = |source| KeySourceError::NoKey { path: path.clone(), source };
        let read = MasterKey::from_base64(&text).map_err(no_key)?;
        Ok(Some(GivenKey { key: read, origin: key.origin.clone() }))
    }

    /// Finds the key that opens `stored`, which holds at least one data key. Changes nothing.
    ///
    /// # Errors
    /// [`KeySourceError`].
    pub async fn find(&self, stored: &[SealedDataKey]) -> Result<Opening, KeySourceError> {
        let current = self.read().await?;
        if let Some(given) = &current
            && let Some(keyring) = open(given, stored)?
        {
            return Ok(Opening::Current(keyring));
        }
        if matches!(self.setting, MasterKeySetting::DataFolder)
            && let Some(next) = self.next(stored)?
        {
            return Ok(Opening::Next(next));
        }
        let Some(previous) = &self.previous else {
            return Err(match current {
                Some(GivenKey { origin, .. }) => KeySourceError::Wrong { origin },
                None => KeySourceError::None(self.files.current_path()),
            });
        };
        match (open(previous, stored)?, current) {
            (Some(keyring), current) => Ok(Opening::Previous { keyring, current }),
            (None, Some(GivenKey { origin, .. })) => {
                Err(KeySourceError::BothWrong { origin, previous: previous.origin.clone() })
            }
            (None, None) => Err(KeySourceError::Wrong { origin: previous.origin.clone() }),
        }
    }

    fn next(&self, stored: &[SealedDataKey]) -> Result<Option<Keyring>, KeySourceError> {
        let origin = || self.files.next_path().display().to_string();
        match self.files.next()? {
            Some(key) => open(&GivenKey { key, origin: origin() }, stored),
            None => Ok(None),
        }
    }

    /// Removes the next key after the current one has opened the store: the next key was never used.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub(super) fn settle_on_current(&self) -> Result<(), KeyFileError> {
        if matches!(self.setting, MasterKeySetting::DataFolder) && self.files.remove_next()? {
            tracing::info!("removed a next master key that was never used: a rotation was interrupted");
        }
        if let Some(previous) = &self.previous {
            tracing::info!(origin = previous.origin, "previous_master_key is not needed: take it out");
        }
        Ok(())
    }

    /// Makes the next key the current one, after it has opened the store.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub(super) fn settle_on_next(&self) -> Result<(), KeyFileError> {
        self.files.promote_next()?;
        tracing::info!(
            path = %self.files.current_path().display(),
            "the next master key is in use now, because the store is sealed with it: a rotation was interrupted"
        );
        Ok(())
    }
}

/// Opens `stored` with a key; `None` if another key sealed it.
fn open(given: &GivenKey, stored: &[SealedDataKey]) -> Result<Option<Keyring>, KeySourceError> {
    match Keyring::open(&given.key, stored) {
        Ok(keyring) => Ok(Some(keyring)),
        Err(KeyringError::WrongMasterKey) => Ok(None),
        Err(source) => Err(KeySourceError::Keyring { origin: given.origin.clone(), source }),
    }
}
