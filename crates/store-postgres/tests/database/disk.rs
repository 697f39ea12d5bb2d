//! A full disk. The server has its own small one: see [`stackbell_testkit::small_disk`].

use std::sync::Arc;

use stackbell_model::webhook::Webhook;
use stackbell_store::StoreError;
use stackbell_store::commit::NewEvent;
use stackbell_store::conformance::fixtures::World;
use stackbell_store::maintenance::Maintenance as _;
use stackbell_testkit::{Postgres, PostgresSettings};

use crate::support::{Site, migrated};

/// The size in MiB: a new server, this database twice, and some segments of the log.
const DISK: u32 = 200;

/// More than fits on the existing pages.
const EVENTS_MAX: u32 = 10_000;

/// Commits until one is refused.
async fn refused(world: &World, webhook: &Webhook) -> StoreError {
    for _ in 0..EVENTS_MAX {
        let (event, delivery) = (world.new_event(), world.new_delivery(webhook));
        let new = NewEvent { event, deliveries: vec![delivery] };
        let batch = world.batch(vec![world.intake(vec![new]).await], Vec::new());
        if let Err(error) = world.store.commit(Arc::new(batch)).await {
            return error;
        }
    }
    panic!("the disk is never full");
}

#[track_caller]
fn check_full(found: &Result<(), StoreError>) {
    assert!(matches!(found, Err(StoreError::Full { .. })), "{found:?}");
}

/// A check reports a full disk after a commit has found it full, although the row that it updates needs no space.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_reports_a_full_disk() {
    let server = Postgres::start(PostgresSettings::default().on_disk(DISK)).await;
    let site = Site::on(migrated(&server).await);
    let world = World::open(&site).await;
    let webhook = world.webhook("hook").await;
    world.store.check().await.expect("it is well");
    server.keep_log_ahead().await;
    let ballast = server.fill_disk().await;
    let error = refused(&world, &webhook).await;
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    check_full(&world.store.check().await);
    // A store without commits checks the disk itself.
    let other = site.store().await;
    check_full(&other.check().await);
    ballast.remove();
    world.store.check().await.expect("it is well again");
    other.check().await.expect("it is well");
    assert!(!server.log().contains("PANIC"), "{}", server.log());
}

/// A server may not allow temporary files.
#[tokio::test]
async fn a_server_without_temporary_files_passes_the_check() {
    let settings = PostgresSettings::default().with("temp_file_limit", "0");
    let server = Postgres::start(settings).await;
    let site = Site::on(migrated(&server).await);
    site.store().await.check().await.expect("it is well");
    let log = server.log();
    assert!(log.contains("temporary file size exceeds"), "it was asked for one: {log}");
}
