//! Connections that are cut during a commit.

use std::sync::Arc;

use stackbell_store::commit::{IntakeOutcome, NewEvent};
use stackbell_store::{StoreError, conformance::fixtures::World};
use stackbell_testkit::{Fault, Postgres, PostgresSettings, Proxy, Stop, wait};

use crate::support::{Site, migrated};

async fn site_behind_a_proxy() -> (Site, Proxy) {
    let site = Site::new().await;
    let proxy = Proxy::start(site.database.server().port()).await;
    (site.at(proxy.port()), proxy)
}

async fn new_event(world: &World) -> NewEvent {
    let webhook = world.webhook("hook").await;
    NewEvent { event: world.new_event(), deliveries: vec![world.new_delivery(&webhook)] }
}

async fn is_in(world: &World, new: &NewEvent) -> bool {
    let found = world.store.find_event(world.organization, new.event.id).await;
    found.expect("find_event").is_some()
}

/// The response is lost, but not the commit: the caller gets its result.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_with_a_lost_response_succeeds() {
    let (site, proxy) = site_behind_a_proxy().await;
    let world = World::open(&site).await;
    let new = new_event(&world).await;
    let batch = world.batch(vec![world.intake(vec![new.clone()]).await], Vec::new());
    proxy.set(Fault::LoseAnswer(b"/* commit */ COMMIT"));

    let outcome = world.store.commit(Arc::new(batch)).await.expect("it happened");

    assert_eq!(proxy.fault(), Fault::None, "the fault was met");
    assert!(matches!(&outcome.intakes[..], [IntakeOutcome::Accepted(_)]), "{outcome:?}");
    assert!(is_in(&world, &new).await);
}

/// The commit is lost: nothing of it is stored, now or later.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_commit_fails() {
    let (site, proxy) = site_behind_a_proxy().await;
    let world = World::open(&site).await;
    let new = new_event(&world).await;
    let batch = Arc::new(world.batch(vec![world.intake(vec![new.clone()]).await], Vec::new()));
    proxy.set(Fault::LoseRequest(b"/* commit */ COMMIT"));

    let refused = world.store.commit(Arc::clone(&batch)).await;

    assert_eq!(proxy.fault(), Fault::None, "the fault was met");
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert!(!is_in(&world, &new).await);
    // The search for its mark has inserted the mark, so the batch cannot commit any more. It can with another id.
    let again = world.batch(batch.intakes.clone(), Vec::new());
    world.store.commit(Arc::new(again)).await.expect("commit");
    assert!(is_in(&world, &new).await);
}

/// The commit is lost, and then the response that it is given up. The mark that is found next is not taken for the batch's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_given_up_twice_fails() {
    let (site, proxy) = site_behind_a_proxy().await;
    let world = World::open(&site).await;
    let new = new_event(&world).await;
    let batch = Arc::new(world.batch(vec![world.intake(vec![new.clone()]).await], Vec::new()));
    proxy.set(Fault::LoseRequestThenAnswer(b"/* commit */ COMMIT"));

    let refused = world.store.commit(Arc::clone(&batch)).await;

    assert_eq!(proxy.fault(), Fault::None, "both faults were met");
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert!(!is_in(&world, &new).await);
}

/// A connection that is cut before the commit stores nothing, and the next call has a new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_replaced() {
    let (site, proxy) = site_behind_a_proxy().await;
    let world = World::open(&site).await;
    let new = new_event(&world).await;
    let item = world.intake(vec![new.clone()]).await;
    for _ in 0..3 {
        proxy.set(Fault::LoseRequest(b"commit.insert_events"));
        let refused = world.store.commit(Arc::new(world.batch(vec![item.clone()], Vec::new()))).await;
        if proxy.fault() == Fault::None {
            assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
        }
        proxy.cut();
    }
    wait::until("a commit", || async {
        let batch = world.batch(vec![item.clone()], Vec::new());
        world.store.commit(Arc::new(batch)).await.ok()
    })
    .await;
    assert!(is_in(&world, &new).await);
}

/// While the server is down, calls fail in a bounded time. Once it is up, they succeed.
#[tokio::test(flavor = "multi_thread")]
async fn calls_succeed_again_after_an_outage() {
    let server = Postgres::start(PostgresSettings::default()).await;
    let site = Site::on(migrated(&server).await);
    let world = World::open(&site).await;
    let new = new_event(&world).await;
    let item = world.intake(vec![new.clone()]).await;
    for how in [Stop::Fast, Stop::Immediate] {
        server.stop(how).await;
        let refused = world.store.commit(Arc::new(world.batch(vec![item.clone()], Vec::new()))).await;
        assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
        server.start_again().await;
        wait::until("an answer", || async { world.store.check().await.ok() }).await;
    }
    world.store.commit(Arc::new(world.batch(vec![item], Vec::new()))).await.expect("commit");
    assert!(is_in(&world, &new).await);
}
