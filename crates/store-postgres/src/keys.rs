//! Data keys.

use async_trait::async_trait;
use stackbell_model::ids::DataKeyId;
use stackbell_model::secret::{Purpose, SealedDataKey};
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::keys::Keys;
use stackbell_store::rows::Id as _;
use stackbell_store::rows::key::read_data_key;

use crate::PostgresStore;
use crate::audit::insert_audit;
use crate::error::Fault;
use crate::session::Transaction;
use crate::statement::statement;

statement!(DATA_KEYS =
    "/* data_keys */ SELECT id, purpose, bytes, created_at FROM data_keys ORDER BY created_at, id";);

// If several nodes start at the same time, one installs its keys; the others wait and find them. Reads do not wait.
statement!(LOCK = "/* lock_data_keys */ LOCK TABLE data_keys IN SHARE ROW EXCLUSIVE MODE";);

statement!(INSERT = "/* install_data_keys */ INSERT INTO data_keys (id, purpose, bytes, created_at) \
    VALUES ($1, $2, $3, $4)"; UUID, TEXT, BYTEA, INT8);

statement!(REPLACE = "/* replace_data_keys */ UPDATE data_keys SET bytes = $2 WHERE id = $1"; UUID, BYTEA);

#[async_trait]
impl Keys for PostgresStore {
    async fn data_keys(&self) -> Result<Vec<SealedDataKey>, StoreError> {
        self.read("data_keys", |tx| async move { stored(&tx).await }).await
    }

    async fn install_data_keys(&self, keys: &[SealedDataKey]) -> Result<bool, StoreError> {
        self.write("install_data_keys", |tx| async move {
            tx.change(&LOCK, &[]).await?;
            if !stored(&tx).await?.is_empty() {
                return Ok(false);
            }
            for key in keys {
                let (purpose, created_at) = (key.purpose.as_str(), key.created_at.as_millis());
                tx.change(&INSERT, &[&key.id.uuid(), &purpose, &&*key.bytes, &created_at]).await?;
            }
            Ok(true)
        })
        .await
    }

    async fn replace_data_keys(&self, keys: &[SealedDataKey], audit: AuditEntry) -> Result<bool, StoreError> {
        let audit = &audit;
        self.write("replace_data_keys", |tx| async move {
            tx.change(&LOCK, &[]).await?;
            if identities(keys) != identities(&stored(&tx).await?) {
                return Ok(false);
            }
            for key in keys {
                tx.change(&REPLACE, &[&key.id.uuid(), &&*key.bytes]).await?;
            }
            insert_audit(&tx, audit).await?;
            Ok(true)
        })
        .await
    }
}

async fn stored(tx: &Transaction) -> Result<Vec<SealedDataKey>, Fault> {
    tx.list(&DATA_KEYS, &[], "data_keys", |cursor| read_data_key(cursor)).await
}

/// The ids and purposes of keys, sorted.
fn identities(keys: &[SealedDataKey]) -> Vec<(DataKeyId, Purpose)> {
    let mut identities: Vec<_> = keys.iter().map(|key| (key.id, key.purpose)).collect();
    identities.sort();
    identities
}
