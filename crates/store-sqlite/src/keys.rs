//! Data keys.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use stackbell_model::ids::DataKeyId;
use stackbell_model::secret::{Purpose, SealedDataKey};
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::keys::Keys;

use crate::SqliteStore;
use crate::error::Fault;
use crate::rows::audit::insert_audit;
use crate::rows::{change, first, list};
use stackbell_store::rows::Id;
use stackbell_store::rows::key::read_data_key;

const DATA_KEYS: &str =
    "/* data_keys */ SELECT id, purpose, bytes, created_at FROM data_keys ORDER BY created_at, id";

const ANY: &str = "/* install_data_keys.any */ SELECT 1 FROM data_keys LIMIT 1";

const INSERT: &str = "/* install_data_keys */ INSERT INTO data_keys (id, purpose, bytes, created_at) \
    VALUES (?1, ?2, ?3, ?4)";

const REPLACE: &str = "/* replace_data_keys */ UPDATE data_keys SET bytes = ?2 WHERE id = ?1";

#[async_trait]
impl Keys for SqliteStore {
    async fn data_keys(&self) -> Result<Vec<SealedDataKey>, StoreError> {
        self.read("data_keys", |connection| {
            list(connection, DATA_KEYS, [], "data_keys", |cursor| read_data_key(cursor))
        })
        .await
    }

    async fn install_data_keys(&self, keys: &[SealedDataKey]) -> Result<bool, StoreError> {
        let keys = keys.to_vec();
        self.write("install_data_keys", move |connection, _| install(connection, &keys)).await
    }

    async fn replace_data_keys(&self, keys: &[SealedDataKey], audit: AuditEntry) -> Result<bool, StoreError> {
        let keys = keys.to_vec();
        self.write("replace_data_keys", move |connection, _| {
            let stored = list(connection, DATA_KEYS, [], "data_keys", |cursor| read_data_key(cursor))?;
            if identities(&keys) != identities(&stored) {
                return Ok(false);
            }
            for key in &keys {
                change(connection, REPLACE, params![key.id.bytes(), key.bytes])?;
            }
            insert_audit(connection, &audit)?;
            Ok(true)
        })
        .await
    }
}

/// The ids and purposes of keys, sorted.
fn identities(keys: &[SealedDataKey]) -> Vec<(DataKeyId, Purpose)> {
    let mut identities: Vec<_> = keys.iter().map(|key| (key.id, key.purpose)).collect();
    identities.sort();
    identities
}

fn install(connection: &Connection, keys: &[SealedDataKey]) -> Result<bool, Fault> {
    if first(connection, ANY, [], "data_keys", |_| Ok(()))?.is_some() {
        return Ok(false);
    }
    for key in keys {
        let parameters = params![key.id.bytes(), key.purpose.as_str(), key.bytes, key.created_at.as_millis()];
        change(connection, INSERT, parameters)?;
    }
    Ok(true)
}
