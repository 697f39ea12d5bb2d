//! A full disk: accepted events are kept, nothing is sent that could not be recorded, and sending continues by itself.

use std::sync::Arc;
use std::time::Duration;

use stackbell_engine::core::{CoreConfig, PublishRefusal};
use stackbell_model::delivery::State;
use stackbell_testkit::{Gate, Reply, wait};

use crate::full_store::{Disk, FullStore};
use crate::world::{BEGIN, World};

const SECOND: Duration = Duration::from_secs(1);

async fn refused(disk: &Disk, count: usize) {
    let look = || async { (disk.refused() >= count).then_some(()) };
    wait::until("a commit that finds no room", look).await;
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_sends_nothing_twice() {
    let disk = Arc::new(Disk::default());
    let below = Arc::clone(&disk);
    let mut world =
        World::start_on(BEGIN, CoreConfig::default(), |inner| Arc::new(FullStore { inner, disk: below }))
            .await;
    let webhook = world.webhook("hook", |_| ()).await;
    // One delivery waits for its next attempt, and one is in flight when the disk fills up.
    let gate = Gate::new();
    world.receiver.then([Reply::status(500), Reply::status(200).behind(&gate)]);
    let (failed_once, _) = world.publish().await;
    let due = world.due_after(&webhook, failed_once, 1).await;
    let (on_its_way, _) = world.publish().await;
    world.receiver.wait_for(2).await;

    disk.set_full(true);
    assert_eq!(world.try_publish().await, Err(PublishRefusal::Full));
    assert_eq!(world.try_publish().await, Err(PublishRefusal::Full));
    gate.open();
    world.clock.advance_to(due);
    refused(&disk, 2).await;
    // The wait is longer than a lease: the outcome waits in memory, and the attempt is not repeated.
    for count in 3..20 {
        world.clock.advance(SECOND * 10);
        refused(&disk, count).await;
    }
    assert_eq!(world.receiver.count(), 2, "nothing is sent that could not be recorded");
    let state = world.delivery(&webhook, on_its_way).await.delivery.state;
    assert!(matches!(state, State::Pending { .. }), "reads go on, and tell what is on disk: {state:?}");
    let metrics = world.metrics.encode().expect("text");
    assert!(metrics.contains("stackbell_outcomes_unrecorded 1\n"), "{metrics}");
    assert!(metrics.contains("stackbell_publishes_refused_total{reason=\"full\"} 2\n"), "{metrics}");

    disk.set_full(false);
    world.clock.advance(SECOND * 6);
    world.succeeded(&webhook, on_its_way).await;
    world.succeeded(&webhook, failed_once).await;
    let (event, _) = world.publish().await;
    world.succeeded(&webhook, event).await;
    assert_eq!(world.receiver.count(), 4);
    let all_recorded = || async {
        let metrics = world.metrics.encode().expect("text");
        metrics.contains("stackbell_outcomes_unrecorded 0\n").then_some(())
    };
    wait::until("every outcome on disk", all_recorded).await;
}

/// Only producers saw the full disk, and no outcome is unrecorded. Due deliveries are tried again, one lane at a time.
#[tokio::test]
async fn a_disk_that_only_producers_found_full_is_tried_by_what_is_due() {
    let disk = Arc::new(Disk::default());
    let below = Arc::clone(&disk);
    let mut world =
        World::start_on(BEGIN, CoreConfig::default(), |inner| Arc::new(FullStore { inner, disk: below }))
            .await;
    let webhook = world.webhook("hook", |_| ()).await;
    world.receiver.then([Reply::status(500)]);
    let (event, _) = world.publish().await;
    let due = world.due_after(&webhook, event, 1).await;
    disk.set_full(true);
    assert_eq!(world.try_publish().await, Err(PublishRefusal::Full));
    disk.set_full(false);
    world.clock.advance_to(due);
    world.succeeded(&webhook, event).await;
    assert_eq!(world.receiver.count(), 2);
}
