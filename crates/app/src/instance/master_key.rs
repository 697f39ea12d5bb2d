//! Rotation of the master key: the data keys are sealed with another one. The key itself never passes through here.

use std::error::Error as StdError;
use std::time::Duration;

use async_trait::async_trait;
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;

use crate::auth::Caller;
use crate::{App, Code, Error};

/// The source of the master key, for changing the key at run time.
#[async_trait]
pub trait MasterKeySource: Send + Sync {
    /// Seals all data keys with another master key, in one transaction with `audit`. Returns the number of data keys.
    ///
    /// # Errors
    /// [`RotateError`]. After [`RotateError::Store`] and [`RotateError::Failed`] the change may have been made.
    async fn rotate(&self, audit: AuditEntry) -> Result<usize, RotateError>;
}

/// The reason why the master key was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The change is not possible now; the text names the remedy.
    #[error("{0}")]
    Refused(String),
    /// The store did not respond.
    #[error("the data keys could not be sealed with the new master key")]
    Store(#[source] StoreError),
    /// The disk has no room for the new key's file. Nothing was changed.
    #[error("there is no room for the new master key")]
    NoRoom(#[source] Box<dyn StdError + Send + Sync>),
    /// Something else failed.
    #[error("the master key could not be changed")]
    Failed(#[source] Box<dyn StdError + Send + Sync>),
}

impl From<RotateError> for Error {
    fn from(error: RotateError) -> Self {
        match error {
            RotateError::Refused(text) => Self::new(Code::Conflict, text),
            RotateError::Store(error) => error.into(),
            RotateError::NoRoom(cause) => {
                let message = "the data folder has no room for a new master key, and the old one is still in use: make room, then try again";
                Self {
                    cause: Some(cause),
                    retry_after: Some(Duration::from_secs(30)),
                    ..Self::new(Code::Full, message)
                }
            }
            RotateError::Failed(cause) => {
                let message = "the master key could not be changed, see the server's log";
                Self { cause: Some(cause), ..Self::new(Code::Internal, message) }
            }
        }
    }
}

impl App {
    /// Seals the data keys with another master key. Returns the number of data keys. Operators only.
    ///
    /// # Errors
    /// [`Code::Forbidden`]; [`Code::Conflict`] if there is no other key; errors of the store.
    pub async fn rotate_master_key(&self, caller: &Caller) -> Result<usize, Error> {
        let caller = &self.renew(caller).await?;
        caller.require_operator()?;
        let audit = self.audit(caller, None, "master_key.rotate", "the master key", Vec::new());
        Ok(self.master_keys.rotate(audit).await?)
    }
}
