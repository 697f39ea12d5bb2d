//! Cancelling and retrying one delivery on request.

use std::time::Duration;

use stackbell_model::delivery::{AttemptTrigger, CancelReason, Delivery, FailReason, State, StateKind};
use stackbell_model::ids::DeliveryId;
use stackbell_model::retry::Next;

use super::Harness;
use super::fixtures::{World, answered, attempt, ended_at, leased, redelivered};
use crate::commit::AttemptOutcome;
use crate::queue::LaneMode;
use crate::recoveries::DeliveryChange;

const AN_HOUR: Duration = Duration::from_secs(3600);

/// A cancelled delivery has a time, a reason and an actor; its other fields stay. It is out of the queue.
pub async fn a_cancelled_delivery_has_its_actor(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let audit = world.audit("delivery.cancel");
    let (at, by) = (audit.at, audit.actor.clone());

    assert_eq!(world.cancel(&delivery, audit).await, DeliveryChange::Done { webhook: webhook.id });

    let state = State::Cancelled { at, reason: CancelReason::Asked, by };
    let expected = Delivery { state, ..delivery };
    assert_eq!(world.find(&expected).await, Some(expected.clone()));
    assert!(world.lease_due(&webhook, 10, at.after(AN_HOUR)).await.is_empty());
    let (_, lane) = world.lease(&webhook, LaneMode::Probe, 1, at).await;
    assert_eq!((lane.deliveries.len(), lane.next_due), (0, None));
    assert_eq!(world.store.due_lanes(None, 10).await.expect("due_lanes"), []);
}

/// An attempt in flight when its delivery was cancelled is recorded once. Only a 2xx changes the delivery.
pub async fn an_attempt_of_a_cancelled_delivery_is_recorded(harness: &dyn Harness) {
    let world = World::open(harness).await;
    for (status, next) in [(200, Next::Succeeded), (500, Next::Retry { at: world.now(), spent: true })] {
        let webhook = world.webhook(&format!("hook-{status}")).await;
        let delivery = world.pending(&webhook).await;
        let token = world.take(&delivery, world.now()).await;
        world.cancel(&delivery, world.audit("delivery.cancel")).await;
        let cancelled = world.state(&delivery).await;
        let late = attempt(AttemptTrigger::Schedule, world.now(), answered(status));
        let at = ended_at(&late);
        let record = leased(&delivery, token, late, next);

        let outcome = world.commit(Vec::new(), vec![record.clone(), record.clone()]).await;

        let ended = (status == 200).then_some(State::Succeeded { at });
        let health = world.current(&webhook).await.health;
        assert_eq!(health.failures, u32::from(status == 500));
        let recorded = AttemptOutcome::Recorded { health, ended: ended.clone() };
        assert_eq!(outcome.attempts, [recorded, AttemptOutcome::Superseded]);
        assert_eq!(world.state(&delivery).await, ended.unwrap_or(cancelled));
        assert_eq!(world.record(record).await, AttemptOutcome::Superseded, "twice");
        assert_eq!(world.attempt_count(&webhook).await, 1);
        assert!(world.lease_due(&webhook, 10, world.now().after(AN_HOUR)).await.is_empty());
    }
}

/// A delivery that has ended is not cancelled, and stays unchanged.
pub async fn an_ended_delivery_is_not_cancelled(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let ended =
        [world.succeeded(&webhook).await, world.failed(&webhook).await, world.cancelled(&webhook).await];
    for delivery in ended {
        let refusal = DeliveryChange::State(delivery.state.kind());
        assert_eq!(world.cancel(&delivery, world.audit("delivery.cancel")).await, refusal);
        assert_eq!(world.find(&delivery).await, Some(delivery));
    }
}

/// A cancelled delivery can be redelivered, and a success ends it.
pub async fn a_redelivery_ends_a_cancelled_delivery(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.cancelled(&webhook).await;
    world.recorded(redelivered(&delivery, world.now(), answered(500))).await;
    assert_eq!(world.find(&delivery).await, Some(delivery.clone()));

    let record = redelivered(&delivery, world.now(), answered(200));
    let at = ended_at(&record.attempt);
    world.recorded(record).await;

    let expected = Delivery { state: State::Succeeded { at }, ..delivery };
    assert_eq!(world.find(&expected).await, Some(expected.clone()));
}

/// A retried pending delivery is due at once, and keeps its spent attempts and its age.
pub async fn a_retried_pending_delivery_is_due_at_once(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let later = world.now().after(AN_HOUR);
    world.try_next(&delivery, 500, Next::Retry { at: later, spent: true }).await;
    let audit = world.audit("delivery.retry");
    let at = audit.at;
    assert!(world.lease_due(&webhook, 1, at).await.is_empty());

    assert_eq!(world.retry(&delivery, audit).await, DeliveryChange::Done { webhook: webhook.id });

    let expected = Delivery { attempts_spent: 1, state: State::Pending { due_at: at }, ..delivery };
    assert_eq!(expected.rearmed_at, None);
    assert_eq!(world.find(&expected).await, Some(expected.clone()));
    assert_eq!(world.lease_due(&webhook, 1, at).await, [expected.id]);
}

/// A retried leased delivery keeps its lease, and the holder may record.
pub async fn a_retry_keeps_a_lease(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let token = world.take(&delivery, world.now()).await;

    let change = world.retry(&delivery, world.audit("delivery.retry")).await;

    assert_eq!(change, DeliveryChange::Done { webhook: webhook.id });
    assert!(world.lease_due(&webhook, 1, world.now()).await.is_empty(), "it is still leased");
    let attempt = attempt(AttemptTrigger::Schedule, world.now(), answered(200));
    world.recorded(leased(&delivery, token, attempt, Next::Succeeded)).await;
    assert_eq!(world.state(&delivery).await.kind(), StateKind::Succeeded);
}

/// A retried failed or cancelled delivery starts over: due at once, no attempts spent, its age counted from
/// now, its attempts kept.
pub async fn a_retried_ended_delivery_starts_over(harness: &dyn Harness) {
    let world = World::open(harness).await;
    for (name, is_failed) in [("failed", true), ("cancelled", false)] {
        let webhook = world.webhook(name).await;
        let delivery = world.pending(&webhook).await;
        world.try_next(&delivery, 500, Next::Retry { at: world.now(), spent: true }).await;
        if is_failed {
            world.try_next(&delivery, 500, Next::Failed(FailReason::AttemptsExhausted)).await;
        } else {
            world.cancel(&delivery, world.audit("delivery.cancel")).await;
        }
        let attempts = world.attempt_count(&webhook).await;
        world.pass(AN_HOUR);
        let audit = world.audit("delivery.retry");
        let at = audit.at;

        assert_eq!(world.retry(&delivery, audit).await, DeliveryChange::Done { webhook: webhook.id });

        let state = State::Pending { due_at: at };
        let expected = Delivery { rearmed_at: Some(at), attempts_spent: 0, state, ..delivery };
        assert_eq!(world.find(&expected).await, Some(expected.clone()));
        assert_eq!(world.attempt_count(&webhook).await, attempts);
        let due_at = world.now();
        world.try_next(&expected, 500, Next::Retry { at: due_at, spent: true }).await;
        let state = State::Pending { due_at };
        assert_eq!(world.find(&expected).await, Some(Delivery { attempts_spent: 1, state, ..expected }));
    }
}

/// A lease from before a delivery ended is void after a retry.
pub async fn old_leases_stay_void_after_a_retry(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let old = world.take(&delivery, world.now()).await;
    world.cancel(&delivery, world.audit("delivery.cancel")).await;
    world.retry(&delivery, world.audit("delivery.retry")).await;

    let late = attempt(AttemptTrigger::Schedule, world.now(), answered(200));
    let outcome = world.record(leased(&delivery, old, late, Next::Succeeded)).await;

    assert_eq!(outcome, AttemptOutcome::Superseded);
    assert_eq!(world.lease_due(&webhook, 1, world.now()).await, [delivery.id], "nobody holds it");
}

/// A succeeded delivery is left alone.
pub async fn a_succeeded_delivery_is_not_retried(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.succeeded(&webhook).await;
    let refusal = DeliveryChange::State(StateKind::Succeeded);
    assert_eq!(world.retry(&delivery, world.audit("delivery.retry")).await, refusal);
    assert_eq!(world.find(&delivery).await, Some(delivery));
}

/// Pings, deliveries of other organizations and unknown deliveries are missing.
pub async fn other_deliveries_are_missing(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let ping = world.pinged(&webhook).await;
    let delivery = world.pending(&webhook).await;
    let unknown = Delivery { id: world.ordered(DeliveryId::generate), ..delivery.clone() };
    for absent in [&ping, &unknown] {
        assert_eq!(world.cancel(absent, world.audit("refused")).await, DeliveryChange::Missing);
        assert_eq!(world.retry(absent, world.audit("refused")).await, DeliveryChange::Missing);
    }
    let other = world.other_organization("other").await.id;
    let cancelled = world.store.cancel_delivery(other, delivery.id, world.audit("refused")).await;
    assert_eq!(cancelled.expect("cancel_delivery"), DeliveryChange::Missing);
    let retried = world.store.retry_delivery(other, delivery.id, world.audit("refused")).await;
    assert_eq!(retried.expect("retry_delivery"), DeliveryChange::Missing);
    for untouched in [ping, delivery] {
        assert_eq!(world.find(&untouched).await, Some(untouched));
    }
}

/// Deliveries of a deleted webhook can be neither cancelled nor retried, in any state.
pub async fn deliveries_of_a_deleted_webhook_cannot_be_changed(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let left = [world.succeeded(&webhook).await, world.failed(&webhook).await, world.pending(&webhook).await];
    world.delete(&webhook).await;
    for delivery in left {
        let refusal = DeliveryChange::WebhookDeleted;
        assert_eq!(world.cancel(&delivery, world.audit("refused")).await, refusal);
        assert_eq!(world.retry(&delivery, world.audit("refused")).await, refusal);
        assert_eq!(world.find(&delivery).await, Some(delivery));
    }
}

/// Each change has an entry; rejected changes have none.
pub async fn changes_have_their_entries(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let (arrived, ping) = (world.succeeded(&webhook).await, world.pinged(&webhook).await);
    let delivery = world.pending(&webhook).await;
    let before = world.actions().await.len();

    for refused in [&arrived, &ping] {
        world.cancel(refused, world.audit("refused")).await;
        world.retry(refused, world.audit("refused")).await;
    }
    world.retry(&delivery, world.audit("hastened")).await;
    world.cancel(&delivery, world.audit("cancelled")).await;
    world.cancel(&delivery, world.audit("refused")).await;
    world.retry(&delivery, world.audit("begun anew")).await;

    assert_eq!(world.actions().await[before..], ["hastened", "cancelled", "begun anew"]);
}
