//! A SQLite store copied into a database: everything, once, however often it is interrupted.

mod compare;
mod fill;
mod interrupted;
mod refused;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_store::Store;
use stackbell_store::audit::AuditEntry;
use stackbell_store::conformance::Harness;
use stackbell_store::conformance::fixtures::World;
use stackbell_store::instance::Instance as _;
use stackbell_store::transfer::digest::NounDigest;
use stackbell_store::transfer::{
    Adding, CopyBegun, CopyId, Copying, Export, Import as _, Noun, PageLimits, Place,
};
use stackbell_store_postgres::PostgresStore;
use stackbell_store_sqlite::{OpenError, SqliteStore};
use stackbell_testkit::wait;
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::Site;

/// Small pages, so that there are many.
const SMALL: PageLimits = PageLimits { rows_max: 3, bytes_max: 1000 };

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

    /// What comes of opening it, once its lock is free: a program that another test starts has the lock of whoever had it
    /// until its first moment is over.
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

/// Copies what is left to copy.
async fn copy(source: &SqliteStore, target: &PostgresStore, limits: PageLimits) {
    let state = target.copy_state().await.expect("copy_state").expect("it was begun");
    let mut copying = Copying::new(source, target, state.id, state.progress, limits);
    while copying.step().await.expect("a page goes in").is_some() {}
    target.settle().await.expect("settle");
}

/// Both hold the same, to the last column, and the one as much as it says.
async fn check_same(source: &SqliteStore, target: &PostgresStore) {
    for noun in Noun::ALL {
        let (ours, theirs) = (digest(source, *noun).await, digest(target, *noun).await);
        assert_eq!(ours, theirs, "{noun:?}: {:#?} {:#?}", all(source, *noun).await, all(target, *noun).await);
        assert_eq!(source.count_rows(*noun).await.expect("count_rows"), ours.rows, "{noun:?}");
        assert_eq!(target.count_rows(*noun).await.expect("count_rows"), ours.rows, "{noun:?}");
    }
}

async fn digest(store: &dyn Export, noun: Noun) -> NounDigest {
    let mut adding = Adding::new(store, noun, PageLimits { rows_max: 7, bytes_max: 5000 });
    while adding.step().await.expect("read") {}
    adding.digest()
}

async fn all(store: &dyn Export, noun: Noun) -> String {
    let limits = PageLimits { rows_max: 1000, bytes_max: u64::MAX };
    format!("{:?}", store.export_page(noun, Place::BEGINNING, limits).await.expect("export_page").rows)
}

async fn finish(source: &SqliteStore, target: &PostgresStore, world: &World) {
    let audit = AuditEntry { organization: None, ..world.audit("instance.copy") };
    let hold = source.sending_hold().await.expect("sending_hold");
    target.finish_copy(COPY, hold.as_ref(), audit).await.expect("finish_copy");
}

/// A database, and a store on it that may be half a copy.
async fn target() -> (Site, Arc<PostgresStore>) {
    let site = Site::new().await;
    let store = site.store_to_copy().await;
    (site, store)
}
