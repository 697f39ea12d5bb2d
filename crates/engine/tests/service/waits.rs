//! Metrics of waiting deliveries, by reason.

use std::time::Duration;

use stackbell_engine::core::CoreConfig;
use stackbell_model::Clock as _;
use stackbell_model::ids::EventId;
use stackbell_model::wait::WaitReason;
use stackbell_model::webhook::{Pace, Webhook};
use stackbell_store::instance::SendingHold;
use stackbell_testkit::{Gate, Reply, wait};

use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// The interval at which the metrics are computed.
const FIGURES: Duration = Duration::from_secs(30);

fn value(world: &World, series: &str) -> u64 {
    let text = world.metrics.encode().expect("text");
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{series}: {text}"))
}

fn waiting(world: &World, reason: WaitReason) -> u64 {
    value(world, &format!("stackbell_deliveries_waiting{{reason=\"{}\"}}", reason.as_str()))
}

/// Lets the next round of metrics run, and waits until `due` deliveries are due and the others wait for exactly these reasons.
/// The clock moves once, so the expected state must hold both before and half a minute later.
async fn figures(world: &World, due: u64, expected: &[(WaitReason, u64)]) {
    world.clock.advance(FIGURES);
    let look = || async {
        let of = |reason: &WaitReason| {
            let named = expected.iter().find(|(named, _)| named == reason);
            named.map_or(0, |(_, count)| *count)
        };
        let are_met = value(world, "stackbell_deliveries_due") == due
            && WaitReason::ALL.iter().all(|reason| waiting(world, *reason) == of(reason));
        are_met.then_some(())
    };
    wait::until("figures", look).await;
}

/// Publishes an event whose attempt fails.
async fn fail(world: &mut World, webhook: &Webhook) -> EventId {
    world.receiver.then([Reply::status(500)]);
    let (event, _) = world.publish().await;
    world.due_after(webhook, event, 1).await;
    event
}

#[tokio::test]
async fn a_dead_endpoint_waits_and_is_not_due() {
    let mut world = World::start().await;
    let webhook = world.webhook("dead", |_| ()).await;
    let event = fail(&mut world, &webhook).await;
    world.receiver.answer(Reply::status(500));
    let mut spent = 1;
    while world.stored(&webhook).await.health.failures < 5 {
        let due_at = world.due_after(&webhook, event, spent).await;
        world.clock.advance_to(due_at);
        spent += 1;
        world.due_after(&webhook, event, spent).await;
    }
    figures(&world, 0, &[(WaitReason::Backoff, 1)]).await;
    // The circuit breaker is open: new deliveries are due and are not sent.
    for _ in 0..3 {
        world.publish().await;
    }
    // One of them is attempted now, and one after half a minute.
    world.clock.advance(FIGURES);
    let are_counted = || async {
        let counted = waiting(&world, WaitReason::Breaker) + waiting(&world, WaitReason::Backoff);
        (counted == 4).then_some(())
    };
    wait::until("figures of all", are_counted).await;
    assert_eq!(value(&world, "stackbell_deliveries_due"), 0);
    assert_eq!(value(&world, "stackbell_oldest_due_seconds"), 0);
    assert!(waiting(&world, WaitReason::Breaker) >= 1);
    assert_eq!(value(&world, "stackbell_deliveries_pending"), 4);
    assert_eq!(value(&world, "stackbell_breakers_open{cause=\"failures\"}"), 1);
}

#[tokio::test]
async fn deliveries_that_users_hold_wait_for_the_users() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    let event = fail(&mut world, &webhook).await;
    world.edit(&webhook, |webhook| webhook.active = false).await;
    figures(&world, 0, &[(WaitReason::Inactive, 1)]).await;
    figures(&world, 0, &[(WaitReason::Inactive, 1)]).await;

    let hold = SendingHold { since: world.clock.now(), reason: "a test".into() };
    let audit = world.audit();
    assert!(world.store.hold_sending(&hold, audit).await.expect("a store"));
    world.handle().sending_changed().await;
    let is_held = || async {
        let views = world.handle().lane_views(vec![(webhook.id, Default::default())]).await?;
        views[0].is_sending_held.then_some(())
    };
    wait::until("a hold of all sending", is_held).await;
    world.edit(&webhook, |webhook| webhook.active = true).await;
    figures(&world, 0, &[(WaitReason::SendingHeld, 1)]).await;
    assert_eq!(value(&world, "stackbell_oldest_due_seconds"), 0);

    let audit = world.audit();
    assert!(world.store.resume_sending(audit).await.expect("a store"));
    world.handle().sending_changed().await;
    world.succeeded(&webhook, event).await;
    figures(&world, 0, &[]).await;
}

#[tokio::test]
async fn a_suspended_webhook_waits_for_its_endpoint() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    world.receiver.then([Reply::status(410)]);
    world.publish().await;
    let look = || async { world.stored(&webhook).await.health.suspension };
    wait::until("a suspension", look).await;
    world.publish().await;
    figures(&world, 0, &[(WaitReason::Suspended, 2)]).await;
    assert_eq!(value(&world, "stackbell_webhooks_suspended"), 1);
    assert_eq!(value(&world, "stackbell_oldest_due_seconds"), 0);
}

#[tokio::test]
async fn a_paced_webhook_waits_for_its_pace() {
    let mut world = World::start().await;
    let webhook = world.webhook("paced", |webhook| webhook.pace = Pace::per_minute(1)).await;
    let (first, _) = world.publish().await;
    world.succeeded(&webhook, first).await;
    for _ in 0..2 {
        world.publish().await;
    }
    figures(&world, 0, &[(WaitReason::Pace, 2)]).await;
    assert_eq!(value(&world, "stackbell_oldest_due_seconds"), 0);
}

#[tokio::test]
async fn a_slow_endpoint_waits_for_its_answers() {
    let mut world = World::start().await;
    let webhook = world.webhook("slow", |_| ()).await;
    let gate = Gate::new();
    world.receiver.answer(Reply::status(200).behind(&gate));
    let mut events = Vec::new();
    for _ in 0..4 {
        events.push(world.publish().await.0);
    }
    world.receiver.wait_for(2).await;
    figures(&world, 0, &[(WaitReason::Busy, 4)]).await;
    gate.open();
    for event in events {
        world.succeeded(&webhook, event).await;
    }
    figures(&world, 0, &[]).await;
}

/// The endpoint works, but the node has no permits left. Such deliveries count as due, so that the alert fires.
#[tokio::test]
async fn a_queue_that_is_stuck_is_due() {
    let config = CoreConfig { in_flight_max: 2, organization_in_flight_max: 2, ..CoreConfig::default() };
    let mut world = World::start_with(crate::world::BEGIN, config).await;
    let gate = Gate::new();
    world.receiver.answer(Reply::status(200).behind(&gate));
    let first = world.webhook("stuck", |_| ()).await;
    world.publish().await;
    world.publish().await;
    world.receiver.wait_for(1).await;
    world.edit(&first, |webhook| webhook.active = false).await;
    world.webhook("waits", |_| ()).await;
    world.publish().await;
    let grows = || async {
        world.clock.advance(SECOND);
        (value(&world, "stackbell_oldest_due_seconds") > 300).then_some(())
    };
    wait::until("a wait that grows", grows).await;
    assert!(value(&world, "stackbell_deliveries_due") >= 1);
    gate.open();
}
