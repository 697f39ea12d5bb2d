//! Which attempts may use an idle connection.

use std::sync::Arc;

use stackbell_testkit::Reply;

use crate::world::World;

#[tokio::test]
async fn first_attempts_share_a_connection_and_all_others_take_new_ones() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    for _ in 0..3 {
        let (event, _) = world.publish().await;
        world.succeeded(&webhook, event).await;
    }
    assert_eq!(world.receiver.connections(), 1);

    world.receiver.then([Reply::status(500)]);
    let (event, _) = world.publish().await;
    let due = world.due_after(&webhook, event, 1).await;
    assert_eq!(world.receiver.connections(), 1);
    world.clock.advance_to(due);
    world.succeeded(&webhook, event).await;
    assert_eq!(world.receiver.connections(), 2, "the retry");

    world.handle().ping(Arc::new(webhook.clone())).await.expect("made");
    assert_eq!(world.receiver.connections(), 3, "the ping");

    let stored = world.delivery(&webhook, event).await;
    world.handle().redeliver(Arc::new(webhook.clone()), stored).await.expect("made");
    assert_eq!(world.receiver.connections(), 4, "the redelivery");
}

/// Endpoints may close idle connections at any time; this is not a failure.
#[tokio::test]
async fn a_connection_that_was_closed_while_it_waited_costs_no_attempt() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    let (first, _) = world.publish().await;
    world.succeeded(&webhook, first).await;
    world.receiver.then([Reply::close()]);
    let (second, _) = world.publish().await;
    world.succeeded(&webhook, second).await;
    assert_eq!(world.attempts(&webhook).await.len(), 2, "one attempt for each event");
    assert_eq!((world.receiver.count(), world.receiver.connections()), (3, 2));
    assert_eq!(world.stored(&webhook).await.health.failures, 0);
}
