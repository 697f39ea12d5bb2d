//! What was answered is there after a restart, and leases bind nobody beyond their time.

use std::time::Duration;

use stackbell_model::delivery::AttemptTrigger;
use stackbell_model::event::Event;
use stackbell_model::ids::DataKeyId;
use stackbell_model::retry::Next;
use stackbell_model::secret::{Purpose, SealedDataKey};

use super::Harness;
use super::fixtures::{World, answered, attempt, leased, organization_name};
use crate::commit::{AttemptOutcome, IntakeOutcome};

/// Longer than any lease that a case takes.
const BEYOND_LEASES: Duration = Duration::from_secs(3600);

/// Webhooks, versions, health, people, tokens, keys and the audit log outlive a restart.
pub async fn what_people_edit_outlives_a_restart(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.suspended_webhook("hook").await;
    let deleted = world.webhook("deleted").await;
    world.delete(&deleted).await;
    let id = world.random(DataKeyId::generate);
    let key = SealedDataKey { id, purpose: Purpose::Seal, bytes: [1; 40].into(), created_at: world.now() };
    world.store.install_data_keys(std::slice::from_ref(&key)).await.expect("install_data_keys");
    let before = world.snapshot().await;
    let log = world.store.list_audit(Some(world.organization), None, 100).await.expect("list_audit");
    let holder = world.store.find_token(world.beginnings().token_hash).await.expect("find_token");
    assert_eq!(before.webhooks, [webhook]);
    assert!(holder.is_some());

    let world = world.restarted(harness).await;

    assert_eq!(world.snapshot().await, before);
    let again = world.store.list_audit(Some(world.organization), None, 100).await.expect("list_audit");
    assert_eq!(again, log);
    let again = world.store.find_token(world.beginnings().token_hash).await.expect("find_token");
    assert_eq!(again, holder);
    assert_eq!(world.store.data_keys().await.expect("data_keys"), [key]);
    let acme = world.store.find_organization(&organization_name("acme")).await;
    assert_eq!(acme.expect("find_organization").map(|acme| acme.id), Some(world.organization));
    assert!(!world.store.is_empty().await.expect("is_empty"));
}

/// Events, deliveries and attempts outlive a restart, and so does what follows next.
pub async fn what_happened_outlives_a_restart(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let done = world.pending(&webhook).await;
    world.try_next(&done, 200, Next::Succeeded).await;
    let waiting = world.pending(&webhook).await;
    let due_at = world.now().after(BEYOND_LEASES);
    world.try_next(&waiting, 500, Next::Retry { at: due_at, spent: true }).await;
    let events = world.store.list_events(world.organization, None, 10, u64::MAX).await.expect("list_events");
    let attempts = world.store.list_attempts(webhook.id, 10, u64::MAX).await.expect("list_attempts");
    let lanes = world.store.due_lanes(None, 10).await.expect("due_lanes");
    let depth = world.store.depth().await.expect("depth");
    assert_eq!((events.len(), attempts.len(), lanes.len()), (2, 2, 1));

    let world = world.restarted(harness).await;

    let again = world.store.list_events(world.organization, None, 10, u64::MAX).await.expect("list_events");
    assert_eq!(again, events);
    let again = world.store.list_attempts(webhook.id, 10, u64::MAX).await.expect("list_attempts");
    assert_eq!(again, attempts);
    assert_eq!(world.store.due_lanes(None, 10).await.expect("due_lanes"), lanes);
    assert_eq!(world.store.depth().await.expect("depth"), depth);
    assert!(world.lease_due(&webhook, 10, world.now()).await.is_empty(), "what is done stays done");
    assert_eq!(world.lease_due(&webhook, 10, due_at).await, [waiting.id]);
}

/// A delivery that was leased before a restart can be had once its lease would have run out, at the latest.
pub async fn what_was_leased_before_a_restart_comes_again(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let now = world.now();
    world.take(&delivery, now).await;
    let world = world.restarted(harness).await;
    assert_eq!(world.lease_due(&webhook, 10, now.after(BEYOND_LEASES)).await, [delivery.id]);
}

/// An id that was taken before a restart is taken after it.
pub async fn duplicates_are_known_after_a_restart(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let event = Event { digest: Some([1; 32]), ..world.new_event() };
    world.accept(&event, &[&webhook]).await;
    let world = world.restarted(harness).await;
    let again = Event { key: world.new_event().key, ..event };
    let IntakeOutcome::Accepted(receipts) = world.accept(&again, &[&webhook]).await else {
        panic!("it is accepted as before");
    };
    assert!(receipts[0].duplicate);
    assert_eq!(world.lease_due(&webhook, 10, world.now()).await.len(), 1);
}

/// An embedded store's leases end with its process: nothing waits for them, and their holders come too late.
pub async fn an_embedded_stores_leases_end_with_its_process(harness: &dyn Harness) {
    if !harness.is_embedded() {
        return;
    }
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let lost = world.take(&delivery, world.now()).await;
    let world = world.restarted(harness).await;
    let late = attempt(AttemptTrigger::Schedule, world.now(), answered(200));

    let late = leased(&delivery, lost, late, Next::Succeeded);
    assert_eq!(world.record(late).await, AttemptOutcome::Superseded);
    assert_eq!(world.lease_due(&webhook, 10, world.now()).await, [delivery.id]);
}
