//! Fakes of the parts that the binary gives to an instance.

use std::path::Path;

use async_trait::async_trait;
use stackbell_app::instance::master_key::{MasterKeySource, RotateError};
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::backup::Backup;

/// The content of the fake's copies: more than is read from the disk at once.
pub(crate) const COPY: &[u8] = &[7; 200_000];

/// A backup whose copies contain [`COPY`], and a master key that cannot be changed.
pub(crate) struct Fake;

#[async_trait]
impl Backup for Fake {
    async fn copy_to(&self, into: &Path) -> Result<(), StoreError> {
        std::fs::write(into, COPY).expect("the folder is ours");
        Ok(())
    }
}

#[async_trait]
impl MasterKeySource for Fake {
    async fn rotate(&self, _: AuditEntry) -> Result<usize, RotateError> {
        Err(RotateError::Refused("the master key is set by a variable".to_owned()))
    }
}
