//! Quotas: intakes beyond an organization's quota are rejected, and no others.

use stackbell_model::delivery::AttemptTrigger;
use stackbell_model::event::Event;
use stackbell_model::ids::OrganizationId;
use stackbell_model::retry::Next;
use stackbell_model::webhook::Webhook;

use super::Harness;
use super::fixtures::{World, answered, attempt, leased, redelivered};
use crate::commit::{AttemptOutcome, IntakeItem, IntakeOutcome, NewEvent, Quota, QuotaPart, Receipt};

const fn pending(pending_max: u64) -> Quota {
    Quota { pending_max, ..Quota::UNLIMITED }
}

const fn bytes(stored_bytes_max: u64) -> Quota {
    Quota { stored_bytes_max, ..Quota::UNLIMITED }
}

const TOO_MANY: IntakeOutcome = IntakeOutcome::OverQuota(QuotaPart::Pending);
const TOO_LARGE: IntakeOutcome = IntakeOutcome::OverQuota(QuotaPart::StoredBytes);

/// A new event for these webhooks, with a digest.
fn event_for(world: &World, webhooks: &[&Webhook]) -> NewEvent {
    let event = Event { digest: Some([1; 32]), ..world.new_event() };
    let deliveries = webhooks.iter().map(|webhook| world.new_delivery(webhook)).collect();
    NewEvent { event, deliveries }
}

/// The event again, as its producer would repeat it.
fn again(world: &World, new: &NewEvent) -> NewEvent {
    let event = Event { key: world.new_event().key, ..new.event.clone() };
    NewEvent { event, deliveries: new.deliveries.clone() }
}

async fn offer(world: &World, events: Vec<NewEvent>, quota: Quota) -> IntakeOutcome {
    let item = IntakeItem { quota, ..world.intake(events).await };
    world.commit(vec![item], Vec::new()).await.intakes.remove(0)
}

fn is_accepted(outcome: &IntakeOutcome) -> bool {
    matches!(outcome, IntakeOutcome::Accepted(_))
}

async fn count_events(world: &World, organization: OrganizationId) -> usize {
    world.store.list_events(organization, None, 100, u64::MAX).await.expect("list_events").len()
}

/// Pending deliveries may reach the quota, including those of the item itself.
pub async fn pending_deliveries_may_reach_the_quota(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (one, two) = (world.webhook("one").await, world.webhook("two").await);
    world.pending(&one).await;
    let events = || vec![event_for(&world, &[&one]), event_for(&world, &[&one, &two])];

    assert_eq!(offer(&world, events(), pending(3)).await, TOO_MANY);
    assert_eq!(count_events(&world, world.organization).await, 1, "nothing of it is in");
    assert_eq!(world.usage().await.pending, 1);
    assert!(is_accepted(&offer(&world, events(), pending(4)).await));
    assert_eq!(world.usage().await.pending, 4);
    assert_eq!(offer(&world, vec![event_for(&world, &[&one])], pending(4)).await, TOO_MANY);
}

/// An event without deliveries adds no pending deliveries, and is accepted at the limit.
pub async fn an_event_without_deliveries_adds_nothing_pending(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    world.pending(&webhook).await;
    assert!(is_accepted(&offer(&world, vec![event_for(&world, &[])], pending(1)).await));
}

/// Leased and held deliveries count as pending; ended ones make room.
pub async fn ended_deliveries_make_room(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let token = world.take(&delivery, world.now()).await;
    let held = Webhook { active: false, ..webhook.clone() };
    world.store.edit_webhook(&held, world.audit("webhook.edit")).await.expect("edit_webhook");
    let events = || vec![event_for(&world, &[&webhook])];
    assert_eq!(offer(&world, events(), pending(1)).await, TOO_MANY);

    let attempt = attempt(AttemptTrigger::Schedule, world.now(), answered(200));
    world.recorded(leased(&delivery, token, attempt, Next::Succeeded)).await;

    assert!(is_accepted(&offer(&world, events(), pending(1)).await));
}

/// A new item of any size is accepted while less than the quota is stored.
pub async fn events_are_accepted_until_the_stored_bytes_reach_the_quota(harness: &dyn Harness) {
    let world = World::open(harness).await;
    assert_eq!(offer(&world, vec![event_for(&world, &[])], bytes(0)).await, TOO_LARGE);
    assert!(is_accepted(&offer(&world, vec![event_for(&world, &[])], bytes(1)).await));
    let stored = world.usage().await.stored_bytes;
    assert_eq!(offer(&world, vec![event_for(&world, &[])], bytes(stored)).await, TOO_LARGE);
    assert_eq!(count_events(&world, world.organization).await, 1, "nothing of it is in");
    assert!(is_accepted(&offer(&world, vec![event_for(&world, &[])], bytes(stored + 1)).await));
}

/// The pending quota is checked first.
pub async fn the_pending_quota_comes_before_the_byte_quota(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let none = Quota { pending_max: 0, stored_bytes_max: 0 };
    assert_eq!(offer(&world, vec![event_for(&world, &[&webhook])], none).await, TOO_MANY);
    assert_eq!(offer(&world, vec![event_for(&world, &[])], none).await, TOO_LARGE);
}

/// A duplicate gets its usual result over quota; a new event in one item with it is rejected together with
/// it.
pub async fn duplicates_are_accepted_over_quota(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let first = event_for(&world, &[&webhook]);
    let full = Quota { pending_max: 0, stored_bytes_max: 0 };
    assert!(is_accepted(&offer(&world, vec![first.clone()], Quota::UNLIMITED).await));

    let receipt = Receipt { id: first.event.id, deliveries: 1, duplicate: true };
    for count in [1, 2] {
        let events = vec![again(&world, &first); count];
        let expected = IntakeOutcome::Accepted(vec![receipt; count]);
        assert_eq!(offer(&world, events, full).await, expected);
    }
    let mixed = || vec![again(&world, &first), event_for(&world, &[&webhook])];
    assert_eq!(offer(&world, mixed(), pending(1)).await, TOO_MANY);
    assert!(is_accepted(&offer(&world, mixed(), pending(2)).await), "the duplicate's do not count again");
    assert_eq!(world.usage().await.pending, 2);
}

/// A duplicate within an item counts once.
pub async fn a_duplicate_within_an_item_counts_once(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let first = event_for(&world, &[&webhook]);
    let events = vec![first.clone(), again(&world, &first)];
    assert!(is_accepted(&offer(&world, events, pending(1)).await));
    assert_eq!(world.usage().await.pending, 1);
}

/// Staleness and conflicts are checked before quotas.
pub async fn stale_and_conflict_come_before_quota(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let first = event_for(&world, &[]);
    offer(&world, vec![first.clone()], Quota::UNLIMITED).await;
    let mut other = event_for(&world, &[&webhook]);
    (other.event.id, other.event.digest) = (first.event.id, Some([2; 32]));
    let events = vec![event_for(&world, &[&webhook]), other];
    assert_eq!(offer(&world, events, pending(0)).await, IntakeOutcome::Conflict { index: 1 });

    let item = IntakeItem { quota: pending(0), ..world.intake(vec![event_for(&world, &[&webhook])]).await };
    world.webhook("late").await;
    assert_eq!(world.commit(vec![item], Vec::new()).await.intakes, [IntakeOutcome::Stale]);
}

/// An item over quota is rejected alone. Earlier items of the batch count, and later ones may fit.
pub async fn an_item_over_quota_does_not_affect_others(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (one, two) = (world.webhook("one").await, world.webhook("two").await);
    let mut items = Vec::new();
    for webhooks in [&[&one][..], &[&one, &two][..], &[&two][..]] {
        let events = vec![event_for(&world, webhooks)];
        items.push(IntakeItem { quota: pending(2), ..world.intake(events).await });
    }
    let refused = items[1].events[0].event.id;

    let outcome = world.commit(items, Vec::new()).await;

    let accepted: Vec<bool> = outcome.intakes.iter().map(is_accepted).collect();
    assert_eq!(accepted, [true, false, true]);
    assert_eq!(outcome.intakes[1], TOO_MANY);
    assert_eq!(world.store.find_event(world.organization, refused).await.expect("find_event"), None);
    assert_eq!(world.usage().await.pending, 2);
}

/// The bytes of earlier items in the batch count too.
pub async fn bytes_of_the_same_batch_count(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let mut items = Vec::new();
    for _ in 0..2 {
        items.push(IntakeItem { quota: bytes(1), ..world.intake(vec![event_for(&world, &[])]).await });
    }
    let outcome = world.commit(items, Vec::new()).await;
    assert!(is_accepted(&outcome.intakes[0]));
    assert_eq!(outcome.intakes[1], TOO_LARGE);
}

/// Outcomes are recorded over quota, even beside a rejected item.
pub async fn outcomes_are_recorded_over_quota(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let full = Quota { pending_max: 0, stored_bytes_max: 0 };
    let item = IntakeItem { quota: full, ..world.intake(vec![event_for(&world, &[&webhook])]).await };
    let record = redelivered(&delivery, world.now(), answered(500));
    let outcome = world.commit(vec![item], vec![record]).await;
    assert_eq!(outcome.intakes, [TOO_MANY]);
    assert!(matches!(outcome.attempts[0], AttemptOutcome::Recorded { .. }));
}

/// The usage of one organization does not affect another.
pub async fn each_organization_has_its_own_quota(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    world.pending(&webhook).await;
    let other = world.other_organization("other").await.id;
    let theirs = Webhook { organization: other, ..world.new_webhook("theirs") };
    world.create(&theirs).await;
    let snapshot = world.store.organization_webhooks(other).await.expect("organization_webhooks");
    let mut new = event_for(&world, &[&theirs]);
    new.event.organization = other;
    let quota = Quota { pending_max: 1, stored_bytes_max: 1 };
    let organization_version = snapshot.expect("it is there").version;
    let item =
        IntakeItem { organization: other, organization_version, change: None, events: vec![new], quota };
    let outcome = world.commit(vec![item], Vec::new()).await;
    assert!(is_accepted(&outcome.intakes[0]), "{outcome:?}");
    assert_eq!(world.usage().await.pending, 1);
    assert_eq!(world.store.usage(other).await.expect("usage").pending, 1);
}
