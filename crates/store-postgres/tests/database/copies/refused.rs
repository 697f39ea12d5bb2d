//! What cannot be copied, or copied into, and who must not work with half a store.

use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::ids::NodeId;
use stackbell_store::Store;
use stackbell_store::conformance::fixtures::World;
use stackbell_store::instance::SendingHold;
use stackbell_store::transfer::{CopyBegun, CopyState, Copying, Import as _, Progress};
use stackbell_store_postgres::{OpenError, PostgresStore};
use stackbell_store_sqlite::{Move, OpenError as FileError, SqliteStore};
use uuid::Uuid;

use super::{BEGUN_AT, COPY, File, SMALL, begin, copy, finish, target};
use crate::support::Site;

async fn check_not_empty(target: &PostgresStore, expected: &str) {
    let begun = target.begin_copy(COPY, "a file", BEGUN_AT).await.expect("begin_copy");
    assert_eq!(begun, CopyBegun::NotEmpty { what: expected.to_owned() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_used_takes_no_copy() {
    let (site, target) = target().await;
    target_has_node(&target).await;
    check_not_empty(&target, "a node that is at work").await;
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
async fn nobody_works_with_half_a_store() {
    let file = File::new();
    let world = World::open(&file).await;
    let (site, target) = target().await;
    begin(&target).await;
    check_not_empty(&target, "a copy").await;
    let refused = PostgresStore::open(site.options()).await.expect_err("refused");
    assert!(matches!(&refused, OpenError::CopyUnfinished { origin, .. } if origin == "a file"), "{refused}");
    assert!(refused.to_string().contains("`stackbell store copy`"), "{refused}");

    let world = world.restarted(&File::new()).await;
    let source = file.to_move().await;
    copy(&source, &target, SMALL).await;
    PostgresStore::open(site.options()).await.expect_err("it is not said to be finished");
    finish(&source, &target, &world).await;
    PostgresStore::open(site.options()).await.expect("it is whole");
    let state = target.copy_state().await.expect("copy_state").expect("it was begun");
    assert_eq!((state.id, state.source.as_str(), state.begun_at), (COPY, "a file", BEGUN_AT));
    assert!(state.finished_at.is_some());
    // Once is enough.
    let again = target.finish_copy(COPY, None, world.audit("instance.copy")).await;
    assert!(again.expect_err("refused").to_string().contains("another one is at it"));
}

/// Two processes at the same copy: what the one has done the other does not do again.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_goes_in_once() {
    let file = File::new();
    World::open(&file).await;
    let (site, target) = target().await;
    let source = file.to_move().await;
    begin(&target).await;
    let from = |progress| Copying::new(&source, &*target, COPY, progress, SMALL);
    let (mut one, mut other) = (from(Progress::BEGINNING), from(Progress::BEGINNING));
    one.step().await.expect("a page goes in").expect("there is one");
    let late = other.step().await.expect_err("it is in");
    assert!(late.to_string().contains("another one is at it"), "{late}");
    let state: CopyState = target.copy_state().await.expect("copy_state").expect("it was begun");
    assert_eq!(state.progress.rows, 1);
    assert_eq!(site.database.psql("SELECT count(*) FROM organizations"), "1");
}

/// Who holds all sending holds it from the copy's first moment on; one that is held already stays as it is.
#[tokio::test(flavor = "multi_thread")]
async fn sending_can_be_held_from_the_beginning() {
    let file = File::new();
    let world = World::open(&file).await;
    let world = world.restarted(&File::new()).await;
    let site = Site::new().await;
    let target = site.store_to_copy().await;
    begin(&target).await;
    copy(&file.to_move().await, &target, SMALL).await;
    let hold = SendingHold { since: Timestamp::from_millis(9), reason: "copied".into() };
    target.finish_copy(COPY, Some(&hold), world.audit("instance.copy")).await.expect("finish_copy");
    let store: &dyn Store = &*target;
    assert_eq!(store.sending_hold().await.expect("sending_hold"), Some(hold));
}

/// A file that is moved elsewhere is served by nobody, until it is taken back; and then it is another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_moved_file_is_not_served() {
    let file = File::new();
    let world = World::open(&file).await;
    let world = world.restarted(&File::new()).await;
    let source = file.to_move().await;
    assert_eq!(source.find_move().await.expect("find_move"), None);
    let begun = source.begin_move(COPY, "postgres://db/bell", BEGUN_AT).await.expect("begin_move");
    let expected =
        Move { id: COPY, target: "postgres://db/bell".to_owned(), begun_at: BEGUN_AT, ended_at: None };
    assert_eq!(begun, expected);
    let second = source.begin_move(Uuid::nil(), "elsewhere", world.now()).await.expect("begin_move");
    assert_eq!(second, expected);
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
