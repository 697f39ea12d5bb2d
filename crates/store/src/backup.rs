//! Copies of a store that stand by themselves. Not every store makes them: a database server has its own means.

use std::path::Path;

use async_trait::async_trait;

use crate::StoreError;

/// What a copy has of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableReport {
    /// The table's name.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
    /// SHA-256 of its columns' names and its rows' values, in the order of their keys: the same for the same content,
    /// wherever that lies in the file.
    pub sha256: [u8; 32],
}

/// What a copy holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyReport {
    /// The version of its schema.
    pub schema: u32,
    /// All its tables, by name.
    pub tables: Vec<TableReport>,
}

/// Making copies while the store is used.
#[async_trait]
pub trait Backup: Send + Sync {
    /// Writes a copy of the store as of one moment to a new file at `into`, and syncs it. Reads and writes go on.
    /// The copy has no key that would open what is sealed in it.
    ///
    /// # Errors
    /// [`StoreError`]; whatever there is at `into` then is of no use.
    async fn copy_to(&self, into: &Path) -> Result<(), StoreError>;
}
