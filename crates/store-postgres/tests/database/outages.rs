//! Connections that are cut in the middle of a commit: was it committed?

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

/// The answer was lost, not the commit: it is answered as if nothing had been.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_happened() {
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

/// The commit was lost: nothing of it is in, now and later.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_never_arrives_did_not_happen() {
    let (site, proxy) = site_behind_a_proxy().await;
    let world = World::open(&site).await;
    let new = new_event(&world).await;
    let batch = Arc::new(world.batch(vec![world.intake(vec![new.clone()]).await], Vec::new()));
    proxy.set(Fault::LoseRequest(b"/* commit */ COMMIT"));

    let refused = world.store.commit(Arc::clone(&batch)).await;

    assert_eq!(proxy.fault(), Fault::None, "the fault was met");
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert!(!is_in(&world, &new).await);
    // Its mark is taken by who looked for it, so that it cannot happen under it any more; under another it can.
    let again = world.batch(batch.intakes.clone(), Vec::new());
    world.store.commit(Arc::new(again)).await.expect("commit");
    assert!(is_in(&world, &new).await);
}

/// The commit was lost, and then the answer that it is given up: what is found the next time is not taken for the batch.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_given_up_twice_did_not_happen() {
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

/// A connection that is cut before the commit takes nothing along, and the next call has another.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_made_anew() {
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

/// While the server is away calls fail in a bounded time; once it is back they go through, by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_found() {
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
