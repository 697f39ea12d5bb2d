//! Data keys, sealed by the master key. The store cannot open them.

use async_trait::async_trait;
use stackbell_model::secret::SealedDataKey;

use crate::StoreError;
use crate::audit::AuditEntry;

/// Stores data keys.
#[async_trait]
pub trait Keys: Send + Sync {
    /// Returns all data keys, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn data_keys(&self) -> Result<Vec<SealedDataKey>, StoreError>;

    /// Inserts the first data keys if there are none; `false` if there are.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn install_data_keys(&self, keys: &[SealedDataKey]) -> Result<bool, StoreError>;

    /// Replaces the sealed bytes of all data keys after a rotation of the master key. Ids, purposes and times
    /// stay. `false`, and no change, unless `keys` are exactly the stored keys.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn replace_data_keys(&self, keys: &[SealedDataKey], audit: AuditEntry) -> Result<bool, StoreError>;
}
