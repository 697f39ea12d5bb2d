//! Data keys.

use async_trait::async_trait;
use stackbell_model::secret::SealedDataKey;
use stackbell_store::StoreError;
use stackbell_store::keys::Keys;

use crate::MemoryStore;

#[async_trait]
impl Keys for MemoryStore {
    async fn data_keys(&self) -> Result<Vec<SealedDataKey>, StoreError> {
        Ok(self.lock().data_keys.clone())
    }

    async fn install_data_keys(&self, keys: &[SealedDataKey]) -> Result<bool, StoreError> {
        let mut tables = self.lock();
        if !tables.data_keys.is_empty() {
            return Ok(false);
        }
        tables.data_keys = keys.to_vec();
        tables.data_keys.sort_by_key(|key| (key.created_at, key.id));
        Ok(true)
    }
}
