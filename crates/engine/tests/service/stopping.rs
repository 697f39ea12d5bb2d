//! A graceful stop.

use std::time::Duration;

use stackbell_model::delivery::Outcome;
use stackbell_testkit::{Gate, Reply};

use crate::world::World;

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_attempt_that_ends_in_time_is_recorded() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    let gate = Gate::new();
    world.receiver.then([Reply::status(200).behind(&gate)]);
    let (event, _) = world.publish().await;
    world.receiver.wait_for(1).await;
    gate.open();
    let mut world = world.restart(LONG).await;
    world.succeeded(&webhook, event).await;
    let (next, _) = world.publish().await;
    world.succeeded(&webhook, next).await;
    assert_eq!(world.receiver.count(), 2, "nothing was sent twice");
}

/// Our own fault: the stop does not count as an attempt.
#[tokio::test]
async fn an_attempt_that_does_not_end_is_cut_and_made_again_without_charge() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    let gate = Gate::new();
    world.receiver.then([Reply::status(200).behind(&gate)]);
    let (event, _) = world.publish().await;
    world.receiver.wait_for(1).await;
    let world = world.restart(Duration::ZERO).await;
    let requests = world.receiver.wait_for(2).await;
    assert_eq!(requests[0].id(), event.to_string());
    assert_eq!((requests[0].id(), &requests[0].body), (requests[1].id(), &requests[1].body));
    world.succeeded(&webhook, event).await;
    let attempts = world.attempts(&webhook).await;
    assert_eq!(attempts.len(), 2);
    let cut = attempts.iter().find(|attempt| matches!(attempt.outcome, Outcome::OurFault { .. }));
    assert!(cut.is_some(), "{attempts:?}");
    let health = world.stored(&webhook).await.health;
    assert_eq!(health.failures, 0);
}

/// After the cut attempt a second one fails, and counts as the first.
#[tokio::test]
async fn a_cut_attempt_is_not_charged() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    let gate = Gate::new();
    world.receiver.then([Reply::status(200).behind(&gate), Reply::status(500)]);
    let (event, _) = world.publish().await;
    world.receiver.wait_for(1).await;
    let world = world.restart(Duration::ZERO).await;
    world.receiver.wait_for(2).await;
    let due = world.due_after(&webhook, event, 1).await;
    let wait = due.since(crate::world::BEGIN);
    assert!(wait <= Duration::from_millis(5500), "{wait:?}: the first wait of the schedule");
}
