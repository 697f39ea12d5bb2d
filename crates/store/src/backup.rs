//! Copies of a store that stand by themselves. Not every store makes them: a database server has its own means.

use std::path::Path;

use async_trait::async_trait;

use crate::StoreError;

/// A table and how many rows a copy has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableCount {
    /// The table's name.
    pub table: String,
    /// Its rows.
    pub rows: u64,
}

/// What a copy holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyReport {
    /// The version of its schema.
    pub schema: u32,
    /// All its tables, by name.
    pub tables: Vec<TableCount>,
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
