//! Self-contained copies of a store. Some stores do not make them: a database server has its own tools.

use std::path::Path;

use async_trait::async_trait;

use crate::StoreError;

/// The content of a table in a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableReport {
    /// The table's name.
    pub table: String,
    /// The number of rows.
    pub rows: u64,
    /// SHA-256 of the column names and the row values, in the order of the rows' keys. It is equal for equal
    /// content, wherever the content is in the file.
    pub sha256: [u8; 32],
}

/// The content of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyReport {
    /// The version of its schema.
    pub schema: u32,
    /// All tables, by name.
    pub tables: Vec<TableReport>,
}

/// Makes copies while the store is in use.
#[async_trait]
pub trait Backup: Send + Sync {
    /// Writes a consistent copy of the store to a new file at `into`, and syncs it. Reads and writes continue
    /// in the meantime. The copy does not contain the master key, so its sealed values cannot be opened.
    ///
    /// # Errors
    /// [`StoreError`]; a file at `into` is then useless.
    async fn copy_to(&self, into: &Path) -> Result<(), StoreError>;
}
