//! Background maintenance.

use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::delivery::{AttemptTrigger, CancelReason, Delivery, FailReason, State};
use stackbell_model::event::Event;
use stackbell_model::ids::EventKey;
use stackbell_model::retry::{Next, RetryPolicy};
use stackbell_model::webhook::Webhook;

use super::Harness;
use super::fixtures::{World, answered, attempt, pinged};
use crate::commit::IntakeOutcome;
use crate::maintenance::{Depth, LaneDepth, SweepPolicy, SweepReport};
use crate::queue::LaneMode;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A policy that expires by the default rule and removes nothing.
fn policy() -> SweepPolicy {
    let never = Timestamp::from_millis(0);
    SweepPolicy { retry: RetryPolicy::default(), finished_before: never, audit_before: never, rows_max: 1000 }
}

fn removing(finished_before: Timestamp) -> SweepPolicy {
    SweepPolicy { finished_before, ..policy() }
}

async fn sweep(world: &World, now: Timestamp, policy: &SweepPolicy) -> SweepReport {
    world.store.sweep(now, policy).await.expect("sweep")
}

async fn is_in(world: &World, delivery: &Delivery) -> bool {
    let found = world.store.find_event(world.organization, delivery.event_id).await;
    found.expect("find_event").is_some()
}

/// A sweep without work does nothing.
pub async fn a_sweep_with_nothing_to_do_does_nothing(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    assert_eq!(sweep(&world, world.now(), &policy()).await, SweepReport::default());
    assert_eq!(world.find(&delivery).await, Some(delivery));
}

/// Pending deliveries of a deleted webhook are cancelled by the actor that deleted it, leased or not.
pub async fn a_deleted_webhooks_deliveries_are_cancelled(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (webhook, other) = (world.webhook("hook").await, world.webhook("other").await);
    let (plain, leased) = (world.pending(&webhook).await, world.pending(&webhook).await);
    let untouched = world.pending(&other).await;
    assert_eq!(world.lease_due(&webhook, 1, world.now()).await, [plain.id]);
    world.delete(&webhook).await;
    let now = world.now();

    let report = sweep(&world, now, &policy()).await;

    assert_eq!(report, SweepReport { cancelled: 2, ..SweepReport::default() });
    for delivery in [plain, leased] {
        let reason = CancelReason::WebhookDeleted;
        let expected = State::Cancelled { at: now, reason, by: "analyst".into() };
        assert_eq!(world.state(&delivery).await, expected);
    }
    assert_eq!(world.find(&untouched).await, Some(untouched));
}

/// A pending delivery expires at the age limit; younger ones stay.
pub async fn old_deliveries_expire(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let start = world.now();
    let old = world.pending_at(&webhook, start).await;
    let young = world.pending_at(&webhook, start.after(Duration::from_millis(1))).await;
    let now = start.after(RetryPolicy::default().age_max);

    let report = sweep(&world, now, &policy()).await;

    assert_eq!(report, SweepReport { expired: 1, ..SweepReport::default() });
    assert_eq!(world.state(&old).await, State::Failed { at: now, reason: FailReason::Expired });
    assert_eq!(world.find(&young).await, Some(young));
}

/// A delivery that is or was held has a higher age limit.
pub async fn held_deliveries_expire_later(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let suspended = world.suspended_webhook("suspended").await;
    let inactive = world.webhook("inactive").await;
    let resumed = world.suspended_webhook("resumed").await;
    let start = world.now();
    let mut deliveries = Vec::new();
    for webhook in [&suspended, &inactive, &resumed] {
        deliveries.push(world.pending_at(webhook, start).await);
    }
    let request = Webhook { active: false, ..inactive };
    world.store.edit_webhook(&request, world.audit("webhook.edit")).await.expect("edit_webhook");
    let audit = world.audit("webhook.resume");
    world.store.resume_webhook(resumed.id, world.now(), audit).await.expect("resume_webhook");
    let after_hold = world.pending_at(&resumed, world.now()).await;

    let report = sweep(&world, start.after(DAY * 8), &policy()).await;
    assert_eq!(report.expired, 1);
    assert!(matches!(world.state(&after_hold).await, State::Failed { .. }), "made after the hold");

    let report = sweep(&world, start.after(DAY * 14), &policy()).await;
    assert_eq!(report.expired, 3);
    for delivery in deliveries {
        assert!(matches!(world.state(&delivery).await, State::Failed { .. }));
    }
}

/// The age of a retried delivery counts from the retry, not from its creation.
pub async fn retried_deliveries_expire_by_their_new_age(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.failed(&webhook).await;
    world.pass(DAY * 10);
    let audit = world.audit("delivery.retry");
    let armed_at = audit.at;
    world.retry(&delivery, audit).await;
    let just_before = armed_at.after(DAY * 7).before(Duration::from_millis(1));
    assert_eq!(sweep(&world, just_before, &policy()).await.expired, 0);
    let now = armed_at.after(DAY * 7);
    assert_eq!(sweep(&world, now, &policy()).await.expired, 1);
    assert_eq!(world.state(&delivery).await, State::Failed { at: now, reason: FailReason::Expired });
}

/// A delivery that was retried after a hold does not count as held.
pub async fn deliveries_retried_after_a_hold_expire_as_usual(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.failed(&webhook).await;
    let held = world.pending(&webhook).await;
    let audit = world.audit("webhook.resume");
    world.store.resume_webhook(webhook.id, world.now(), audit).await.expect("resume_webhook");
    world.retry(&delivery, world.audit("delivery.retry")).await;
    assert_eq!(sweep(&world, world.now().after(DAY * 8), &policy()).await.expired, 1);
    assert!(matches!(world.state(&delivery).await, State::Failed { .. }));
    assert_eq!(world.find(&held).await, Some(held));
}

/// A leased delivery does not expire before its lease does.
pub async fn leased_deliveries_do_not_expire(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let late = world.now().after(DAY * 8);
    world.take(&delivery, late).await;
    assert_eq!(sweep(&world, late, &policy()).await.expired, 0);
    assert_eq!(sweep(&world, late.after(DAY), &policy()).await.expired, 1);
}

/// An expired delivery is out of the queue, for probes too.
pub async fn an_expired_delivery_is_not_leased(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    world.pending(&webhook).await;
    let late = world.now().after(DAY * 8);
    sweep(&world, late, &policy()).await;
    let (_, lane) = world.lease(&webhook, LaneMode::Probe, 1, late).await;
    assert_eq!((lane.deliveries.len(), lane.next_due), (0, None));
}

/// Finished deliveries are removed with their attempts, and events with their last delivery.
pub async fn finished_deliveries_are_removed(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let old = world.pending(&webhook).await;
    world.try_next(&old, 200, Next::Succeeded).await;
    let failed = world.pending(&webhook).await;
    world.try_next(&failed, 500, Next::Failed(FailReason::AttemptsExhausted)).await;
    let before = world.now().after(DAY);

    let report = sweep(&world, world.now(), &removing(before)).await;

    assert_eq!(report, SweepReport { deliveries_removed: 2, events_removed: 2, ..SweepReport::default() });
    for delivery in [old, failed] {
        assert_eq!(world.find(&delivery).await, None);
        assert!(!is_in(&world, &delivery).await);
    }
    assert_eq!(world.attempt_count(&webhook).await, 0);
    assert_eq!(
        world.store.list_events(world.organization, None, 10, u64::MAX).await.expect("list_events"),
        []
    );
}

/// Recently finished deliveries stay, with their attempts and their events.
pub async fn recently_finished_deliveries_are_kept(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    world.try_next(&delivery, 200, Next::Succeeded).await;
    let State::Succeeded { at } = world.state(&delivery).await else { panic!("it succeeded") };
    assert_eq!(sweep(&world, at.after(DAY), &removing(at)).await, SweepReport::default());
    assert!(is_in(&world, &delivery).await);
    assert_eq!(world.attempt_count(&webhook).await, 1);
}

/// Pings are removed like deliveries.
pub async fn pings_are_removed_too(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let ping = world.new_ping(&webhook);
    let attempt = attempt(AttemptTrigger::Ping, world.now(), answered(500));
    world.recorded(pinged(ping.clone(), attempt)).await;
    let report = sweep(&world, world.now(), &removing(world.now().after(DAY))).await;
    assert_eq!(report, SweepReport { deliveries_removed: 1, ..SweepReport::default() });
    assert_eq!((world.find(&ping).await, world.attempt_count(&webhook).await), (None, 0));
}

/// An event and its payload stay while one of its deliveries is pending.
pub async fn an_event_with_a_pending_delivery_is_kept(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (fast, slow) = (world.webhook("fast").await, world.webhook("slow").await);
    let event = world.new_event();
    world.accept(&event, &[&fast, &slow]).await;
    let done = world.store.find_delivery(fast.id, event.id).await.expect("find_delivery");
    let done = done.expect("it is there").delivery;
    world.try_next(&done, 200, Next::Succeeded).await;
    let before = world.now().after(DAY);

    let report = sweep(&world, world.now(), &removing(before)).await;

    assert_eq!(report, SweepReport { deliveries_removed: 1, ..SweepReport::default() });
    let (_, lane) = world.lease(&slow, LaneMode::Due, 1, world.now()).await;
    assert_eq!(lane.deliveries[0].payload, event.payload);
    let stored = world.store.find_event(world.organization, event.id).await.expect("find_event");
    assert_eq!(stored.map(|stored| stored.deliveries), Some(2), "as many as it got");
}

/// An event without deliveries is removed by its own age, and then its id is free.
pub async fn an_event_without_deliveries_is_removed_by_its_age(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (old, young) = (world.new_event(), world.new_event());
    world.accept(&old, &[]).await;
    world.accept(&young, &[]).await;
    let report = sweep(&world, world.now(), &removing(young.accepted_at)).await;
    assert_eq!(report, SweepReport { events_removed: 1, ..SweepReport::default() });
    let left: Vec<EventKey> = world
        .store
        .list_events(world.organization, None, 10, u64::MAX)
        .await
        .expect("list_events")
        .into_iter()
        .map(|stored| stored.event.key)
        .collect();
    assert_eq!(left, [young.key]);
    let again = Event { id: old.id, ..world.new_event() };
    assert!(matches!(world.accept(&again, &[]).await, IntakeOutcome::Accepted(_)));
}

/// Audit entries are removed by their age.
pub async fn old_audit_entries_are_removed(harness: &dyn Harness) {
    let world = World::open(harness).await;
    world.webhook("old").await;
    let entry = world.audit("user.create");
    let audit_before = entry.at;
    world.create_user(&world.new_user("young"), entry).await;
    let policy = SweepPolicy { audit_before, ..policy() };
    // The two entries are the instance's first and that of one webhook.
    let report = sweep(&world, world.now(), &policy).await;
    assert_eq!(report, SweepReport { audit_removed: 2, ..SweepReport::default() });
    let left = world.store.list_audit(Some(world.organization), None, 10).await.expect("list_audit");
    assert_eq!(left.len(), 1);
    assert_eq!(world.store.list_audit(None, None, 10).await.expect("list_audit"), []);
}

/// A sweep touches no more rows of each kind than its limit, reports that there is more, and comes to an end.
pub async fn a_sweep_keeps_to_its_limit(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (deleted, old, done) =
        (world.webhook("deleted").await, world.webhook("old").await, world.webhook("done").await);
    for _ in 0..5 {
        world.pending(&deleted).await;
        world.pending(&old).await;
        let delivery = world.pending(&done).await;
        world.try_next(&delivery, 200, Next::Succeeded).await;
    }
    world.delete(&deleted).await;
    let now = world.now().after(DAY * 8);
    let policy = SweepPolicy { finished_before: now.before(DAY), rows_max: 2, ..policy() };

    let mut total = SweepReport::default();
    for round in 0.. {
        assert!(round < 20, "a sweep comes to an end");
        let report = sweep(&world, now, &policy).await;
        assert!(report.cancelled <= 2 && report.expired <= 2, "{report:?}");
        assert!(report.deliveries_removed <= 2 && report.events_removed <= 2, "{report:?}");
        assert!(report.more || round > 0, "there is more to do after the first: {report:?}");
        total.cancelled += report.cancelled;
        total.expired += report.expired;
        total.deliveries_removed += report.deliveries_removed;
        total.events_removed += report.events_removed;
        if !report.more {
            break;
        }
    }
    let expected =
        SweepReport { cancelled: 5, expired: 5, deliveries_removed: 5, events_removed: 5, ..total };
    assert_eq!(total, expected);
}

/// The depth counts pending deliveries, including held and leased ones.
pub async fn depth_counts_pending_deliveries(harness: &dyn Harness) {
    let world = World::open(harness).await;
    assert_eq!(world.store.depth().await.expect("depth"), Depth::default());
    let (plain, suspended) = (world.webhook("plain").await, world.suspended_webhook("suspended").await);
    let first = world.pending(&plain).await;
    world.pending(&plain).await;
    world.pending(&suspended).await;
    let done = world.webhook("done").await;
    let delivery = world.pending(&done).await;
    world.try_next(&delivery, 200, Next::Succeeded).await;
    world.take(&first, world.now()).await;

    let depth = world.store.depth().await.expect("depth");

    assert_eq!(depth, Depth { pending: 3, suspended: 1 });
}

async fn lane_depths(world: &World, now: Timestamp, after: Option<&Webhook>, limit: u32) -> Vec<LaneDepth> {
    let after = after.map(|webhook| webhook.id);
    world.store.lane_depths(now, after, limit).await.expect("lane_depths")
}

/// The pending deliveries of each webhook are counted separately: due ones, leased or not, and later ones.
pub async fn lane_depths_separate_due_and_later_deliveries(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let start = world.now();
    assert_eq!(lane_depths(&world, start, None, 10).await, []);
    let plain = world.webhook("plain").await;
    let first = world.pending_at(&plain, start).await;
    let retried = world.pending_at(&plain, start).await;
    let again_at = start.after(DAY);
    world.try_next(&first, 500, Next::Retry { at: again_at, spent: true }).await;
    world.take(&retried, world.now()).await;

    let lane = LaneDepth {
        webhook: plain.id,
        active: true,
        suspended: false,
        due: 1,
        later: 1,
        first_due: retried.created_at,
    };
    assert_eq!(lane_depths(&world, start, None, 10).await, [lane]);
    let before = again_at.before(Duration::from_millis(1));
    assert_eq!(lane_depths(&world, before, None, 10).await, [lane]);
    assert_eq!(lane_depths(&world, again_at, None, 10).await, [LaneDepth { due: 2, later: 0, ..lane }]);
}

/// Held webhooks are marked, deleted ones are left out, and pages continue.
pub async fn lane_depths_mark_held_webhooks(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (plain, deleted) = (world.webhook("plain").await, world.webhook("deleted").await);
    let (suspended, inactive) = (world.suspended_webhook("suspended").await, world.webhook("inactive").await);
    let start = world.now();
    for webhook in [&plain, &deleted, &suspended, &inactive] {
        world.pending_at(webhook, start).await;
    }
    world.webhook("idle").await;
    let edited = Webhook { active: false, ..inactive.clone() };
    world.store.edit_webhook(&edited, world.audit("webhook.edit")).await.expect("edit_webhook");
    world.delete(&deleted).await;

    let all = lane_depths(&world, start, None, 10).await;

    let shown: Vec<_> =
        all.iter().map(|lane| (lane.webhook, lane.active, lane.suspended, lane.due)).collect();
    let expected =
        [(plain.id, true, false, 1), (suspended.id, true, true, 1), (inactive.id, false, false, 1)];
    assert_eq!(shown, expected);
    assert_eq!(lane_depths(&world, start, None, 2).await, all[..2]);
    assert_eq!(lane_depths(&world, start, Some(&suspended), 2).await, all[2..]);
}

/// The check of a working store succeeds.
pub async fn a_working_store_passes_the_check(harness: &dyn Harness) {
    let world = World::blank(harness).await;
    world.store.check().await.expect("check");
}
