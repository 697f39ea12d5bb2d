//! A SQLite store copied into a database: every row once, after any number of interruptions.

mod compare;
mod fill;
mod interrupted;
mod refused;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::ids::AuditId;
use stackbell_store::audit::AuditEntry;
use stackbell_store::conformance::Harness;
use stackbell_store::instance::Instance as _;
use stackbell_store::transfer::{Compared, CopyBegun, CopyId, Export as _, TABLES};
use stackbell_store::{Store, StoreError};
use stackbell_store_postgres::PostgresStore;
use stackbell_store_sqlite::{OpenError, SqliteStore};
use stackbell_testkit::wait;
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::Site;

const COPY: CopyId = Uuid::from_u128(7);

const BEGUN_AT: Timestamp = Timestamp::from_millis(1);

/// A file to copy from.
struct File {
    folder: TempDir,
}

impl File {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    async fn to_move(&self) -> SqliteStore {
        self.opened(SqliteStore::open_to_move).await.expect("it opens")
    }

    /// Opens the file once its lock is free. A child process of another test inherits the lock briefly at its start.
    async fn opened(
        &self,
        open: fn(&Path) -> Result<SqliteStore, OpenError>,
    ) -> Result<SqliteStore, OpenError> {
        wait::until("a free file", || async {
            match open(&self.path()) {
                Err(OpenError::InUse { .. }) => None,
                opened => Some(opened),
            }
        })
        .await
    }
}

#[async_trait]
impl Harness for File {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.opened(SqliteStore::open).await.expect("the store opens"))
    }
}

async fn begin(target: &PostgresStore) {
    assert_eq!(target.begin_copy(COPY, "a file", BEGUN_AT).await.expect("begin_copy"), CopyBegun::Done);
}

/// Copies into a target that [`begin`] has claimed.
async fn copy(source: &SqliteStore, target: &PostgresStore) -> Result<Vec<Compared>, StoreError> {
    let hold = source.sending_hold().await.expect("sending_hold");
    target.copy(source, COPY, hold.as_ref(), &audit(), &|_| {}).await
}

fn audit() -> AuditEntry {
    AuditEntry {
        id: AuditId::from_uuid(Uuid::from_u128(9)),
        at: BEGUN_AT,
        organization: None,
        actor: "stackbell".into(),
        token: None,
        remote: None,
        action: "instance.copy",
        target: "a file".into(),
        fields: Vec::new(),
    }
}

/// Checks that both sides have equal rows, and that the copy has every row of the source.
async fn check_same(source: &SqliteStore, compared: &[Compared]) {
    assert_eq!(compared.len(), TABLES.len());
    for one in compared {
        assert!(one.is_same(), "{one:?}");
        let counted = source.count_rows(one.table).await.expect("count_rows");
        assert_eq!(one.source.rows, counted, "{}", one.table.name);
    }
}

/// A database, and a store on it that can be the target of a copy.
async fn target() -> (Site, Arc<PostgresStore>) {
    let site = Site::new().await;
    let store = site.store_to_copy().await;
    (site, store)
}
