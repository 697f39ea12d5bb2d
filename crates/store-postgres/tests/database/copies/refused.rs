//! Databases and files that are refused.

use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::ids::NodeId;
use stackbell_store::Store;
use stackbell_store::conformance::fixtures::World;
use stackbell_store::instance::SendingHold;
use stackbell_store::transfer::CopyBegun;
use stackbell_store_postgres::{OpenError, PostgresStore};
use stackbell_store_sqlite::{Move, OpenError as FileError, SqliteStore};
use uuid::Uuid;

use super::{BEGUN_AT, COPY, File, audit, begin, check_same, copy, target};

async fn check_not_empty(target: &PostgresStore, expected: &str) {
    let begun = target.begin_copy(COPY, "a file", BEGUN_AT).await.expect("begin_copy");
    assert_eq!(begun, CopyBegun::NotEmpty { what: expected.to_owned() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_database_refuses_a_copy() {
    let (site, target) = target().await;
    target_has_node(&target).await;
    check_not_empty(&target, "a running node").await;
    World::open(&site).await;
    check_not_empty(&target, "organizations").await;
    assert_eq!(target.copy_state().await.expect("copy_state"), None);
}

async fn target_has_node(target: &PostgresStore) {
    let store: &dyn Store = target;
    let node = NodeId::from_uuid(Uuid::from_u128(1));
    store.report_node(node, Duration::from_secs(60)).await.expect("report_node");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_node_opens_a_claimed_database() {
    let file = File::new();
    let world = World::open(&file).await;
    let (site, target) = target().await;
    begin(&target).await;
    let refused = PostgresStore::open(site.options()).await.expect_err("refused");
    assert!(matches!(&refused, OpenError::CopyUnfinished { origin, .. } if origin == "a file"), "{refused}");
    assert!(refused.to_string().contains("`stackbell store copy`"), "{refused}");

    let _world = world.restarted(&File::new()).await;
    let source = file.to_move().await;
    let compared = copy(&source, &target).await.expect("copy");
    check_same(&source, &compared).await;
    PostgresStore::open(site.options()).await.expect("the copy is complete");
    let state = target.copy_state().await.expect("copy_state").expect("it was begun");
    assert_eq!((state.id, state.source.as_str()), (COPY, "a file"));
    assert!(state.finished_at.is_some());
    check_not_empty(&target, "a copy of a file").await;
    let again = copy(&source, &target).await.expect_err("it is complete");
    assert!(again.to_string().contains("copies"), "{again}");
}

/// An unfinished copy has no rows, and another copy can replace it. The first one cannot continue then.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_copy_takes_the_claim() {
    let file = File::new();
    let world = World::open(&file).await;
    let _world = world.restarted(&File::new()).await;
    let (site, target) = target().await;
    let source = file.to_move().await;
    begin(&target).await;
    let begun = target.begin_copy(Uuid::from_u128(8), "another file", BEGUN_AT).await.expect("begin_copy");
    assert_eq!(begun, CopyBegun::Done);
    let late = copy(&source, &target).await.expect_err("the claim is lost");
    assert!(late.to_string().contains(&COPY.to_string()), "{late}");
    assert_eq!(site.database.psql("SELECT count(*) FROM organizations"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_can_start_with_a_hold() {
    let file = File::new();
    let world = World::open(&file).await;
    let _world = world.restarted(&File::new()).await;
    let (_site, target) = target().await;
    begin(&target).await;
    let hold = SendingHold { since: Timestamp::from_millis(9), reason: "copied".into() };
    let source = file.to_move().await;
    target.copy(&source, COPY, Some(&hold), &audit(), &|_| {}).await.expect("copy");
    let store: &dyn Store = &*target;
    assert_eq!(store.sending_hold().await.expect("sending_hold"), Some(hold));
}

/// No server opens a marked file until it is taken back.
#[tokio::test(flavor = "multi_thread")]
async fn a_marked_file_is_not_served() {
    let file = File::new();
    let world = World::open(&file).await;
    let world = world.restarted(&File::new()).await;
    let source = file.to_move().await;
    assert_eq!(source.find_move().await.expect("find_move"), None);
    source.begin_move(COPY, "postgres://db/bell", BEGUN_AT).await.expect("begin_move");
    let expected =
        Move { id: COPY, target: "postgres://db/bell".to_owned(), begun_at: BEGUN_AT, ended_at: None };
    assert_eq!(source.find_move().await.expect("find_move").as_ref(), Some(&expected));
    source.begin_move(Uuid::nil(), "elsewhere", world.now()).await.expect("begin_move");
    assert_eq!(source.find_move().await.expect("find_move"), Some(expected));
    drop(source);
    let check_refused = async |text: &str| {
        let error = file.opened(SqliteStore::open).await.expect_err("refused");
        assert!(matches!(error, FileError::Moved { .. }), "{error}");
        assert!(error.to_string().contains(text) && error.to_string().contains("take-back"), "{error}");
    };
    check_refused("is being moved to postgres://db/bell").await;
    let source = file.to_move().await;
    source.end_move(COPY, world.now()).await.expect("end_move");
    drop(source);
    check_refused("was moved to postgres://db/bell").await;
    let source = file.to_move().await;
    assert!(source.take_back(world.audit("instance.take_back")).await.expect("take_back"));
    assert!(!source.take_back(world.audit("instance.take_back")).await.expect("take_back"));
    drop(source);
    file.opened(SqliteStore::open).await.expect("it is served again");
    SqliteStore::open_to_move(&file.path().with_extension("none")).expect_err("it is not made");
}
