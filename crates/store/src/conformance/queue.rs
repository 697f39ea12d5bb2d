//! Leasing of due deliveries.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::delivery::{AttemptTrigger, Delivery, State};
use stackbell_model::ids::WebhookId;
use stackbell_model::retry::Next;
use stackbell_model::webhook::Webhook;

use super::Harness;
use super::fixtures::{World, answered, attempt, leased};
use crate::commit::{AttemptOutcome, Lease, NewDelivery, NewEvent};
use crate::queue::{HeldDelivery, LaneDue, LaneMode, LaneRequest, Leased, LeasedDelivery, LeasedLane};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Creates three deliveries, due a second apart, and inserts them in another order. Returns them by due time.
async fn lane_of_three(world: &World, webhook: &Webhook) -> (Timestamp, [Delivery; 3]) {
    let start = world.now();
    let third = world.pending_at(webhook, start.after(SECOND * 2)).await;
    let first = world.pending_at(webhook, start).await;
    let second = world.pending_at(webhook, start.after(SECOND)).await;
    (start, [first, second, third])
}

async fn deactivate(world: &World, webhook: &Webhook) {
    let inactive = Webhook { active: false, ..world.current(webhook).await };
    world.store.edit_webhook(&inactive, world.audit("webhook.edit")).await.expect("edit_webhook");
}

/// Due deliveries are leased earliest first, up to the limit, and the due time of the next one is reported.
pub async fn due_deliveries_are_leased_earliest_first(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let (start, [first, second, third]) = lane_of_three(&world, &webhook).await;

    let (_, lane) = world.lease(&webhook, LaneMode::Due, 2, start.after(HOUR)).await;

    let ids: Vec<_> = lane.deliveries.iter().map(|leased| leased.delivery.id).collect();
    assert_eq!(ids, [first.id, second.id]);
    assert_eq!(lane.next_due, Some(start.after(SECOND * 2)));
    assert_eq!(world.lease_due(&webhook, 2, start.after(HOUR)).await, [third.id]);
}

/// A delivery that is not due yet is not leased, and its due time is reported.
pub async fn deliveries_due_later_are_not_leased(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let (start, [first, second, _]) = lane_of_three(&world, &webhook).await;

    let (_, early) = world.lease(&webhook, LaneMode::Due, 9, start.before(SECOND)).await;
    assert_eq!((early.deliveries.len(), early.next_due), (0, Some(start)));

    // Due is inclusive.
    let (_, lane) = world.lease(&webhook, LaneMode::Due, 9, start.after(SECOND)).await;
    let ids: Vec<_> = lane.deliveries.iter().map(|leased| leased.delivery.id).collect();
    assert_eq!(ids, [first.id, second.id]);
    assert_eq!(lane.next_due, Some(start.after(SECOND * 2)));
}

/// An empty lane has no deliveries and no next due time.
pub async fn an_empty_lane_has_no_deliveries(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    for mode in [LaneMode::Due, LaneMode::Probe] {
        let (_, lane) = world.lease(&webhook, mode, 1, world.now()).await;
        let expected = LeasedLane { webhook: Some(webhook.clone()), deliveries: Vec::new(), next_due: None };
        assert_eq!(lane, expected);
    }
}

/// A lane has the current webhook, and each delivery with its payload.
pub async fn a_lane_has_its_webhook_and_payloads(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let rendered = NewDelivery { body: Some("rendered".into()), ..world.new_delivery(&webhook) };
    let (raw, chat) = (world.new_event(), world.new_event());
    let item = world
        .intake(vec![
            NewEvent { event: raw.clone(), deliveries: vec![world.new_delivery(&webhook)] },
            NewEvent { event: chat.clone(), deliveries: vec![rendered] },
        ])
        .await;
    world.commit(vec![item], Vec::new()).await;
    let edited = Webhook { standard_headers: false, ..webhook.clone() };
    world.store.edit_webhook(&edited, world.audit("webhook.edit")).await.expect("edit_webhook");

    let (_, lane) = world.lease(&webhook, LaneMode::Due, 9, world.now()).await;

    assert_eq!(lane.webhook, Some(world.current(&webhook).await));
    let mut expected = Vec::new();
    for (event, payload) in [(&raw, raw.payload.clone()), (&chat, "rendered".into())] {
        let found = world.store.find_delivery(webhook.id, event.id).await.expect("find_delivery");
        expected.push(LeasedDelivery { delivery: found.expect("it is there").delivery, payload });
    }
    assert_eq!(lane.deliveries, expected);
}

/// A leased delivery is not leased again. Its lane waits for the lease to expire.
pub async fn a_leased_delivery_is_not_leased_again(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let now = world.now();
    world.take(&delivery, now).await;
    for mode in [LaneMode::Due, LaneMode::Probe] {
        let (_, lane) = world.lease(&webhook, mode, 1, now.after(SECOND)).await;
        assert!(lane.deliveries.is_empty());
        assert_eq!(lane.next_due, Some(world.new_lease(now).until));
    }
}

/// A delivery can be leased again exactly when its lease expires.
pub async fn a_delivery_is_leased_again_when_its_lease_expires(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let now = world.now();
    world.take(&delivery, now).await;
    let until = world.new_lease(now).until;
    let just_before = until.before(Duration::from_millis(1));
    assert!(world.lease_due(&webhook, 1, just_before).await.is_empty());
    assert_eq!(world.lease_due(&webhook, 1, until).await, [delivery.id]);
}

/// An inactive webhook's lane gives no deliveries, not even to a probe. It does once the webhook is active
/// again.
pub async fn an_inactive_lane_has_no_deliveries(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let mut due = None;
    deactivate(&world, &webhook).await;
    for mode in [LaneMode::Due, LaneMode::Probe] {
        let (_, lane) = world.lease(&webhook, mode, 1, world.now()).await;
        assert!(lane.deliveries.is_empty());
        due = lane.next_due;
    }
    assert_eq!(due, Some(delivery.created_at), "being held is not looked at here");

    let active = Webhook { active: true, ..world.current(&webhook).await };
    world.store.edit_webhook(&active, world.audit("webhook.edit")).await.expect("edit_webhook");
    assert_eq!(world.lease_due(&webhook, 1, world.now()).await, [delivery.id]);
}

/// A suspended webhook's lane gives one delivery, to a probe only, even if the delivery is not due yet.
pub async fn a_suspended_lane_has_one_delivery_for_a_probe(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.suspended_webhook("hook").await;
    let (start, [first, second, _]) = lane_of_three(&world, &webhook).await;
    assert!(world.lease_due(&webhook, 9, start.after(HOUR)).await.is_empty());

    let (_, lane) = world.lease(&webhook, LaneMode::Probe, 9, start.before(SECOND)).await;

    let ids: Vec<_> = lane.deliveries.iter().map(|leased| leased.delivery.id).collect();
    assert_eq!(ids, [first.id]);
    assert_eq!(lane.next_due, second.created_at.into());
}

/// The lane of a deleted or unknown webhook has no webhook.
pub async fn a_deleted_lane_has_no_webhook(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    world.pending(&webhook).await;
    world.delete(&webhook).await;
    for webhook in [webhook, world.new_webhook("never")] {
        let (_, lane) = world.lease(&webhook, LaneMode::Due, 1, world.now()).await;
        assert_eq!(lane, LeasedLane { webhook: None, deliveries: Vec::new(), next_due: None });
    }
}

/// The results for several lanes are in the order of the requests, each with its own limit.
pub async fn several_lanes_are_leased_at_once(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let mut requests = Vec::new();
    let mut expected = Vec::new();
    for (name, limit) in [("one", 1), ("two", 2), ("none", 1)] {
        let webhook = world.webhook(name).await;
        let count = if name == "none" { 0 } else { 3 };
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(world.pending(&webhook).await.id);
        }
        let limit = NonZeroU32::new(limit).expect("a limit");
        ids.truncate(limit.get() as usize);
        requests.push(LaneRequest { webhook: webhook.id, limit, mode: LaneMode::Due });
        expected.push((Some(webhook.id), ids));
    }
    requests.reverse();
    expected.reverse();
    let now = world.now();

    let leased = world.store.lease_deliveries(&requests, now, world.new_lease(now)).await;

    let found: Vec<_> = leased
        .expect("lease_deliveries")
        .lanes
        .into_iter()
        .map(|lane| {
            let ids: Vec<_> = lane.deliveries.iter().map(|leased| leased.delivery.id).collect();
            (lane.webhook.map(|webhook| webhook.id), ids)
        })
        .collect();
    assert_eq!(found, expected);
}

/// A request without lanes has no results.
pub async fn no_requests_have_no_results(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let now = world.now();
    let leased = world.store.lease_deliveries(&[], now, world.new_lease(now)).await;
    assert_eq!(leased.expect("lease_deliveries"), Leased::default());
}

fn held(delivery: &Delivery, lease: Lease) -> HeldDelivery {
    HeldDelivery { webhook: delivery.webhook, delivery: delivery.id, lease }
}

/// A returned delivery can be leased at once, and its old lease can no longer record.
pub async fn a_returned_delivery_can_be_leased_at_once(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let (start, [first, second, _]) = lane_of_three(&world, &webhook).await;
    let now = start.after(SECOND);
    let lease = world.new_lease(now);
    let limit = NonZeroU32::new(2).expect("a limit");
    let request = LaneRequest { webhook: webhook.id, limit, mode: LaneMode::Due };
    let lanes = world.store.lease_deliveries(&[request], now, lease).await.expect("lease_deliveries").lanes;
    assert_eq!(lanes[0].deliveries.len(), 2);

    world.store.release_deliveries(&[held(&first, lease)]).await.expect("release_deliveries");

    assert_eq!(world.lease_due(&webhook, 9, now).await, [first.id]);
    let attempt = attempt(AttemptTrigger::Schedule, now, answered(200));
    let late = leased(&first, lease.token, attempt.clone(), Next::Succeeded);
    assert_eq!(world.record(late).await, AttemptOutcome::Superseded);
    let kept = leased(&second, lease.token, attempt, Next::Succeeded);
    assert!(matches!(world.record(kept).await, AttemptOutcome::Recorded { .. }));
}

/// Leases of other holders, and of ended or unknown deliveries, are not returned.
pub async fn leases_of_other_holders_are_not_returned(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let now = world.now();
    let token = world.take(&delivery, now).await;
    let ended = world.pending(&world.webhook("ended").await).await;
    world.try_next(&ended, 200, Next::Succeeded).await;
    let others = world.new_lease(now);
    let unknown = Delivery { id: ended.id, ..delivery.clone() };

    let given = [held(&delivery, others), held(&ended, others), held(&unknown, others)];
    world.store.release_deliveries(&given).await.expect("release_deliveries");
    world.store.release_deliveries(&[]).await.expect("release_deliveries");

    assert!(world.lease_due(&webhook, 9, now).await.is_empty());
    let attempt = attempt(AttemptTrigger::Schedule, now, answered(200));
    let recorded = world.record(leased(&delivery, token, attempt, Next::Succeeded)).await;
    assert!(matches!(recorded, AttemptOutcome::Recorded { .. }));
    assert!(matches!(world.state(&ended).await, State::Succeeded { .. }));
}

/// Lanes with pending deliveries are listed, including held and leased ones. Finished, empty and deleted
/// lanes are not.
pub async fn due_lanes_are_those_with_pending_deliveries(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let mut expected = Vec::new();
    for name in ["plain", "leased", "inactive", "later"] {
        let webhook = world.webhook(name).await;
        let delivery = world.pending(&webhook).await;
        let mut next_due = delivery.created_at;
        match name {
            "leased" => drop(world.take(&delivery, world.now()).await),
            "inactive" => deactivate(&world, &webhook).await,
            "later" => {
                next_due = world.now().after(HOUR);
                world.try_next(&delivery, 500, Next::Retry { at: next_due, spent: true }).await;
            }
            _ => drop(world.pending(&webhook).await),
        }
        expected.push(LaneDue { organization: world.organization, webhook: webhook.id, next_due });
    }
    let suspended = world.suspended_webhook("suspended").await;
    let next_due = world.pending(&suspended).await.created_at;
    expected.push(LaneDue { organization: world.organization, webhook: suspended.id, next_due });
    let finished = world.webhook("finished").await;
    let delivery = world.pending(&finished).await;
    world.try_next(&delivery, 200, Next::Succeeded).await;
    let deleted = world.webhook("deleted").await;
    world.pending(&deleted).await;
    world.delete(&deleted).await;
    world.webhook("empty").await;

    assert_eq!(world.store.due_lanes(None, 100).await.expect("due_lanes"), expected);
}

/// Pages of lanes have no gap and no overlap.
pub async fn due_lanes_are_listed_in_pages(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let mut expected = BTreeSet::new();
    for count in 0..5 {
        let webhook = world.webhook(&format!("hook-{count}")).await;
        world.pending(&webhook).await;
        expected.insert(webhook.id);
    }
    let mut found: Vec<WebhookId> = Vec::new();
    loop {
        let page = world.store.due_lanes(found.last().copied(), 2).await.expect("due_lanes");
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        found.extend(page.iter().map(|lane| lane.webhook));
    }
    found.sort_unstable();
    assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
}
