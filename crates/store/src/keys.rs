//! Data keys, sealed by the master key. The store cannot open them.

use async_trait::async_trait;
use stackbell_model::secret::SealedDataKey;

use crate::StoreError;
use crate::audit::AuditEntry;

/// Keeping data keys.
#[async_trait]
pub trait Keys: Send + Sync {
    /// All data keys, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn data_keys(&self) -> Result<Vec<SealedDataKey>, StoreError>;

    /// Inserts the first data keys, if there are none yet; `false` if there are.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn install_data_keys(&self, keys: &[SealedDataKey]) -> Result<bool, StoreError>;

    /// Replaces the sealed bytes of all data keys, which are sealed anew under another master key; their ids, purposes
    /// and times stay. `false`, and nothing changed, unless `keys` are exactly those that there are.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn replace_data_keys(&self, keys: &[SealedDataKey], audit: AuditEntry) -> Result<bool, StoreError>;
}
