//! Data keys.

use async_trait::async_trait;
use stackbell_model::ids::DataKeyId;
use stackbell_model::secret::{Purpose, SealedDataKey};
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
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

    async fn replace_data_keys(&self, keys: &[SealedDataKey], audit: AuditEntry) -> Result<bool, StoreError> {
        let mut tables = self.lock();
        if identities(keys) != identities(&tables.data_keys) {
            return Ok(false);
        }
        for stored in &mut tables.data_keys {
            if let Some(key) = keys.iter().find(|key| key.id == stored.id) {
                stored.bytes = key.bytes.clone();
            }
        }
        tables.write_audit(audit);
        Ok(true)
    }
}

/// The ids and purposes of keys, sorted.
fn identities(keys: &[SealedDataKey]) -> Vec<(DataKeyId, Purpose)> {
    let mut identities: Vec<_> = keys.iter().map(|key| (key.id, key.purpose)).collect();
    identities.sort();
    identities
}
