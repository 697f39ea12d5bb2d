//! The port's suite, each case on a file of its own, with real reopening.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use stackbell_store::Store;
use stackbell_store::conformance::Harness;
use stackbell_store_sqlite::SqliteStore;
use tempfile::TempDir;

struct FileHarness {
    folder: TempDir,
}

impl FileHarness {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }
}

#[async_trait]
impl Harness for FileHarness {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.path()).expect("the store opens"))
    }
}

stackbell_store::conformance_tests!(crate::FileHarness::new());
