//! The conformance suite. Each case has its own file, which is really closed and reopened.

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

/// The stored counts, and the same counts computed from the rows.
const COUNTS: &str = "SELECT o.pending, o.stored_bytes,
    (SELECT COUNT(*) FROM deliveries d JOIN webhooks w ON w.number = d.webhook_number
        WHERE w.organization_number = o.number AND d.state = 'pending'),
    (SELECT TOTAL(length(e.payload)) FROM events e WHERE e.organization_number = o.number)
    + (SELECT TOTAL(length(d.body)) FROM deliveries d JOIN webhooks w ON w.number = d.webhook_number
        WHERE w.organization_number = o.number)
    + (SELECT TOTAL(length(a.request_headers) + ifnull(length(a.response_headers), 0)
            + ifnull(length(a.response_body), 0))
        FROM attempts a JOIN webhooks w ON w.number = a.webhook_number WHERE w.organization_number = o.number)
    FROM organizations o";

/// Checks after each case that the stored counts are exact.
impl Drop for FileHarness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let connection = rusqlite::Connection::open(self.path()).expect("a connection");
        let mut statement = connection.prepare(COUNTS).expect("the tables are there");
        let mut rows = statement.query([]).expect("a query");
        while let Some(row) = rows.next().expect("a row") {
            let number = |column| row.get::<_, i64>(column).expect("a number");
            let recounted = row.get::<_, f64>(3).expect("a sum");
            assert_eq!((number(0), number(1)), (number(2), recounted as i64));
        }
    }
}

stackbell_store::conformance_tests!(crate::FileHarness::new());
