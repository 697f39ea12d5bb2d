//! Deliveries that failed or were cancelled, and become pending again: one, or all of a webhook.

use std::time::Duration;

use stackbell_engine::core::CoreConfig;
use stackbell_model::delivery::{CancelReason, Delivery, State};
use stackbell_model::ids::{EventId, RecoveryId};
use stackbell_model::recovery::{Recovery, RecoveryState};
use stackbell_model::retry::RetryPolicy;
use stackbell_model::webhook::Webhook;
use stackbell_model::{Clock as _, Entropy as _};
use stackbell_store::recoveries::{DeliveryChange, RecoveryCreated};
use stackbell_testkit::{Gate, Reply, wait};

use crate::world::{BEGIN, World};

const LONG: Duration = Duration::from_secs(30);

fn is_failed(delivery: &Delivery) -> bool {
    matches!(delivery.state, State::Failed { .. })
}

/// A webhook with this many failed deliveries.
async fn world_of_failures(count: usize) -> (World, Webhook, Vec<EventId>) {
    let retry = RetryPolicy { waits: Vec::new(), ..RetryPolicy::default() };
    let mut world = World::start_with(BEGIN, CoreConfig { retry, ..CoreConfig::default() }).await;
    let webhook = world.webhook("hook", |_| ()).await;
    world.receiver.answer(Reply::status(500));
    let mut events = Vec::new();
    for _ in 0..count {
        let (event, _) = world.publish().await;
        world.delivery_when("failure", &webhook, event, is_failed).await;
        events.push(event);
    }
    world.receiver.answer(Reply::status(200));
    // The wait of the circuit breaker is over.
    world.clock.advance(LONG);
    (world, webhook, events)
}

async fn recover(world: &mut World, webhook: &Webhook) -> RecoveryId {
    let now = world.clock.now();
    let recovery = Recovery {
        id: RecoveryId::from_uuid(world.entropy.uuid_v7(now)),
        organization: world.organization,
        webhook: webhook.id,
        since: BEGIN,
        created_at: now,
        created_by: "analyst".into(),
        total: world.store.count_recoverable(webhook.id, BEGIN).await.expect("a store"),
        rearmed: 0,
        state: RecoveryState::Running,
    };
    let audit = world.audit();
    let created = world.store.create_recovery(&recovery, audit).await;
    assert_eq!(created.expect("a store"), RecoveryCreated::Done);
    recovery.id
}

async fn done(world: &World, id: RecoveryId) -> Recovery {
    let look = || async {
        let recovery = world.store.recovery(world.organization, id).await.expect("a store");
        recovery.filter(|recovery| matches!(recovery.state, RecoveryState::Done { .. }))
    };
    wait::until("the end of a recovery", look).await
}

#[tokio::test]
async fn a_recovery_tries_all_that_failed_anew() {
    let (mut world, webhook, events) = world_of_failures(3).await;
    let id = recover(&mut world, &webhook).await;
    world.handle().recovery_created();
    let recovery = done(&world, id).await;
    assert_eq!((recovery.total, recovery.rearmed), (3, 3));
    for event in &events {
        let delivery = world.succeeded(&webhook, *event).await;
        assert_eq!(delivery.rearmed_at, Some(BEGIN.after(LONG)));
    }
    assert_eq!(world.receiver.count(), 6);
}

/// The caller is gone, and so is the process that started the recovery.
#[tokio::test]
async fn a_recovery_outlives_the_process() {
    let (mut world, webhook, events) = world_of_failures(1).await;
    let id = recover(&mut world, &webhook).await;
    let world = world.restart(LONG).await;
    assert_eq!(done(&world, id).await.rearmed, 1);
    world.succeeded(&webhook, events[0]).await;
}

#[tokio::test]
async fn one_delivery_is_tried_anew() {
    let (mut world, webhook, events) = world_of_failures(2).await;
    let id = world.delivery(&webhook, events[1]).await.delivery.id;
    let audit = world.audit();
    let retried = world.store.retry_delivery(world.organization, id, audit).await.expect("a store");
    assert_eq!(retried, DeliveryChange::Done { webhook: webhook.id });
    world.handle().lane_changed(world.organization, webhook.id).await;
    world.succeeded(&webhook, events[1]).await;
    assert!(is_failed(&world.delivery(&webhook, events[0]).await.delivery));
}

#[tokio::test]
async fn a_cancelled_delivery_is_not_sent() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    world.receiver.then([Reply::status(500)]);
    let (event, _) = world.publish().await;
    let due = world.due_after(&webhook, event, 1).await;
    cancel(&mut world, &webhook, event).await;
    world.clock.advance_to(due);
    let (later, _) = world.publish().await;
    world.succeeded(&webhook, later).await;
    assert_eq!(world.receiver.count(), 2);
    let state = world.delivery(&webhook, event).await.delivery.state;
    assert!(matches!(state, State::Cancelled { reason: CancelReason::Asked, .. }), "{state:?}");
}

/// The outcome of an earlier attempt does not end a delivery that was retried in the meantime. The delivery gets its own
/// attempt.
#[tokio::test]
async fn a_delivery_that_begins_anew_is_not_ended_by_an_older_attempt() {
    let retry = RetryPolicy { waits: Vec::new(), ..RetryPolicy::default() };
    let mut world = World::start_with(BEGIN, CoreConfig { retry, ..CoreConfig::default() }).await;
    let webhook = world.webhook("hook", |_| ()).await;
    let gate = Gate::new();
    world.receiver.then([Reply::status(500).behind(&gate)]);
    let (event, _) = world.publish().await;
    world.receiver.wait_for(1).await;
    cancel(&mut world, &webhook, event).await;
    world.clock.advance(Duration::from_secs(1));
    let id = world.delivery(&webhook, event).await.delivery.id;
    let audit = world.audit();
    world.store.retry_delivery(world.organization, id, audit).await.expect("a store");
    world.handle().lane_changed(world.organization, webhook.id).await;
    gate.open();
    world.drive_until(2, LONG).await;
    let delivery = world.succeeded(&webhook, event).await;
    assert_eq!(delivery.rearmed_at, Some(BEGIN.after(Duration::from_secs(1))));
}

async fn cancel(world: &mut World, webhook: &Webhook, event: EventId) {
    let id = world.delivery(webhook, event).await.delivery.id;
    let audit = world.audit();
    let cancelled = world.store.cancel_delivery(world.organization, id, audit).await.expect("a store");
    assert_eq!(cancelled, DeliveryChange::Done { webhook: webhook.id });
    world.handle().lane_changed(world.organization, webhook.id).await;
}
