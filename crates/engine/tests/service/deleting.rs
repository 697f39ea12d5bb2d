//! Webhooks that are deleted while deliveries are pending or in flight.

use std::time::Duration;

use stackbell_model::delivery::State;
use stackbell_testkit::{Gate, Reply, wait};

use crate::world::World;

/// The number of pending deliveries in `/metrics`.
fn pending(world: &World) -> Option<u64> {
    let text = world.metrics.encode().expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix("stackbell_deliveries_pending "))?;
    line.parse().ok()
}

/// The clock stands still, so the next regular sweep cannot do this.
#[tokio::test]
async fn pending_deliveries_of_a_deleted_webhook_are_cancelled_at_once() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    world.receiver.then([Reply::status(410)]);
    world.publish().await;
    wait::until("a suspension", || async { world.stored(&webhook).await.health.suspension }).await;
    for _ in 0..3 {
        world.publish().await;
    }
    let counted = || async {
        world.clock.advance(Duration::from_secs(1));
        (pending(&world) == Some(4)).then_some(())
    };
    wait::until("a count of what is pending", counted).await;

    world.delete(&webhook).await;

    let agree = || async {
        let usage = world.store.usage(world.organization).await.expect("a store");
        (usage.pending == 0 && pending(&world) == Some(0)).then_some(())
    };
    wait::until("nothing pending, in statistics and metrics", agree).await;
}

/// The endpoint responds after its webhook was deleted and the sweep has cancelled the delivery.
#[tokio::test]
async fn an_attempt_that_is_on_its_way_ends_its_delivery() {
    for (status, is_success) in [(200, true), (500, false)] {
        let mut world = World::start().await;
        let webhook = world.webhook("hook", |_| ()).await;
        let gate = Gate::new();
        world.receiver.then([Reply::status(status).behind(&gate)]);
        let (event, _) = world.publish().await;
        world.receiver.wait_for(1).await;

        world.delete(&webhook).await;
        let is_cancelled = |state: &State| matches!(state, State::Cancelled { .. });
        world.delivery_when("a sweep", &webhook, event, |found| is_cancelled(&found.state)).await;
        gate.open();

        let id = world.delivery(&webhook, event).await.delivery.id;
        let recorded = || async {
            let attempts = world.store.delivery_attempts(world.organization, id, 10, u64::MAX).await;
            (attempts.expect("a store").len() == 1).then_some(())
        };
        wait::until("an attempt", recorded).await;
        let state = world.delivery(&webhook, event).await.delivery.state;
        assert_eq!(matches!(state, State::Succeeded { .. }), is_success, "{state:?}");
        assert_eq!(is_cancelled(&state), !is_success, "{state:?}");
    }
}
