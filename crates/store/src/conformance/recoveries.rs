//! Recoveries: retrying all failed and cancelled deliveries of a webhook as a job, in steps.

use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::delivery::{AttemptTrigger, Delivery, FailReason, State, StateKind};
use stackbell_model::ids::RecoveryId;
use stackbell_model::recovery::{Recovery, RecoveryState};
use stackbell_model::retry::{Next, RetryPolicy};
use stackbell_model::webhook::Webhook;

use super::Harness;
use super::fixtures::{World, answered, attempt, leased};
use crate::maintenance::SweepPolicy;
use crate::queue::LaneMode;
use crate::recoveries::RecoveryCreated;

const A_SECOND: Duration = Duration::from_secs(1);

/// The start of time.
const EVER: Timestamp = Timestamp::from_millis(0);

async fn are_pending(world: &World, deliveries: &[Delivery]) -> Vec<bool> {
    let mut pending = Vec::new();
    for delivery in deliveries {
        pending.push(world.state(delivery).await.kind() == StateKind::Pending);
    }
    pending
}

async fn several_failed(world: &World, webhook: &Webhook, count: usize) -> Vec<Delivery> {
    let mut failed = Vec::new();
    for _ in 0..count {
        failed.push(world.failed(webhook).await);
    }
    failed
}

/// A recovery without work is done after its first step.
pub async fn a_recovery_of_nothing_ends_at_once(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    world.succeeded(&webhook).await;
    let recovery = world.recovery(&webhook).await;
    let found = world.store.recovery(world.organization, recovery.id).await.expect("recovery");
    assert_eq!(found, Some(recovery.clone()), "it is kept whole");
    assert_eq!(recovery.total, 0);
    let now = world.now();

    let done = Recovery { state: RecoveryState::Done { at: now }, ..recovery.clone() };
    assert_eq!(world.advance(&recovery, now, 10).await, done);
    let found = world.store.recovery(world.organization, recovery.id).await.expect("recovery");
    assert_eq!(found, Some(done));
}

/// Failed and cancelled deliveries start over. Pending and succeeded ones, pings and those of other webhooks
/// stay unchanged.
pub async fn failed_and_cancelled_deliveries_are_recovered(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (webhook, other) = (world.webhook("hook").await, world.webhook("other").await);
    let lost = [world.failed(&webhook).await, world.cancelled(&webhook).await];
    let mut untouched = vec![world.succeeded(&webhook).await, world.pinged(&webhook).await];
    untouched.extend([world.failed(&other).await, world.pending(&webhook).await]);
    let recovery = world.recovery(&webhook).await;
    assert_eq!(recovery.total, 2);
    let now = world.now();

    let state = RecoveryState::Done { at: now };
    assert_eq!(world.advance(&recovery, now, 10).await, Recovery { rearmed: 2, state, ..recovery });

    for delivery in lost {
        let state = State::Pending { due_at: now };
        let expected = Delivery { rearmed_at: Some(now), attempts_spent: 0, state, ..delivery };
        assert_eq!(world.find(&expected).await, Some(expected));
    }
    for delivery in untouched {
        assert_eq!(world.find(&delivery).await, Some(delivery));
    }
    assert_eq!(world.lease_due(&webhook, 10, now).await.len(), 3, "nobody holds them");
}

/// A step takes the oldest deliveries up to its limit. A full step is not the last.
pub async fn steps_take_the_oldest_first(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    // Later ids get earlier creation times.
    let latest = world.now();
    let mut lost = Vec::new();
    for seconds in 0..4 {
        let accepted_at = latest.before(Duration::from_secs(seconds));
        lost.insert(0, world.failed_at(&webhook, accepted_at).await);
    }
    let recovery = world.recovery(&webhook).await;

    let step = world.advance(&recovery, world.now(), 3).await;
    assert_eq!((step.rearmed, step.state), (3, RecoveryState::Running));
    assert_eq!(are_pending(&world, &lost).await, [true, true, true, false]);
    let step = world.advance(&recovery, world.now(), 1).await;
    assert_eq!((step.rearmed, step.state), (4, RecoveryState::Running));
    assert_eq!(are_pending(&world, &lost).await, [true; 4]);
    let now = world.now();
    let step = world.advance(&recovery, now, 3).await;
    assert_eq!((step.rearmed, step.state), (4, RecoveryState::Done { at: now }));
}

/// Deliveries with equal creation times are taken by id, each once.
pub async fn steps_divide_deliveries_with_equal_times(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let accepted_at = world.now();
    let mut lost = Vec::new();
    for _ in 0..3 {
        lost.push(world.failed_at(&webhook, accepted_at).await);
    }
    let recovery = world.recovery(&webhook).await;
    for count in 1..=3 {
        let step = world.advance(&recovery, world.now(), 1).await;
        assert_eq!(step.rearmed, count);
        let expected: Vec<bool> = (1..=3).map(|index| index <= count).collect();
        assert_eq!(are_pending(&world, &lost).await, expected);
    }
}

/// A recovery includes deliveries created exactly at its start, and the count agrees.
pub async fn a_recovery_includes_its_start(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let since = world.now();
    let earlier = world.failed_at(&webhook, since.before(Duration::from_millis(1))).await;
    let exactly = world.failed_at(&webhook, since).await;
    let recovery = world.new_recovery(&webhook, since).await;
    assert_eq!(recovery.total, 1);
    world.create_recovery(&recovery).await;
    assert_eq!(world.advance(&recovery, world.now(), 10).await.rearmed, 1);
    assert_eq!(are_pending(&world, &[earlier, exactly]).await, [false, true]);
    let all = world.store.count_recoverable(webhook.id, EVER).await.expect("count_recoverable");
    assert_eq!(all, 1, "what is pending again is not to be recovered");
}

/// A recovery takes deliveries that had ended when it was requested. Later ones are left alone.
pub async fn deliveries_that_end_later_are_not_recovered(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let (lost, later) = (world.pending(&webhook).await, world.pending(&webhook).await);
    let (at, after) = (world.audit("delivery.cancel"), world.audit("delivery.cancel"));
    let created_at = at.at;
    world.cancel(&lost, at).await;
    let recovery = Recovery { created_at, ..world.new_recovery(&webhook, EVER).await };
    world.create_recovery(&recovery).await;
    world.cancel(&later, after).await;

    let step = world.advance(&recovery, world.now(), 10).await;

    assert_eq!((step.rearmed, step.total), (1, 1));
    assert_eq!(are_pending(&world, &[lost, later]).await, [true, false]);
}

/// A recovery does not take a delivery twice if it fails again, even if a clock went back in between.
pub async fn no_delivery_is_recovered_twice(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let lost = several_failed(&world, &webhook, 3).await;
    let recovery = world.recovery(&webhook).await;
    world.advance(&recovery, world.now(), 2).await;
    let (token, lane) = world.lease(&webhook, LaneMode::Due, 2, world.now()).await;
    assert_eq!(lane.deliveries.len(), 2);
    for delivery in &lost[..2] {
        let early = attempt(AttemptTrigger::Schedule, recovery.created_at.before(A_SECOND), answered(500));
        let next = Next::Failed(FailReason::AttemptsExhausted);
        world.recorded(leased(delivery, token, early, next)).await;
    }

    let step = world.advance(&recovery, world.now(), 10).await;

    assert_eq!(step.rearmed, 3);
    assert_eq!(are_pending(&world, &lost).await, [false, false, true]);
}

/// Deliveries that a user retried before their turn are not counted and not touched.
pub async fn deliveries_retried_meanwhile_are_not_recovered(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let lost = several_failed(&world, &webhook, 2).await;
    let recovery = world.recovery(&webhook).await;
    world.retry(&lost[1], world.audit("delivery.retry")).await;
    let retried = world.find(&lost[1]).await;

    let step = world.advance(&recovery, world.now(), 10).await;

    assert_eq!((step.total, step.rearmed), (2, 1));
    assert_eq!(world.find(&lost[1]).await, retried);
}

/// A retried delivery is due before all others of its webhook, whether it was pending or had ended.
pub async fn a_retried_delivery_is_due_first(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let other = world.webhook("other").await;
    let elsewhere = world.pending(&other).await;
    let failed = world.failed(&webhook).await;
    let second = world.pending(&webhook).await;
    let later = world.now().after(A_SECOND * 3600);
    world.try_next(&second, 500, Next::Retry { at: later, spent: true }).await;
    let oldest = world.pending(&webhook).await;
    world.retry(&second, world.audit("delivery.retry")).await;
    assert_eq!(world.lease_due(&webhook, 1, world.now()).await, [second.id]);
    world.retry(&failed, world.audit("delivery.retry")).await;
    assert_eq!(world.lease_due(&webhook, 1, world.now()).await, [failed.id]);
    assert_eq!(world.lease_due(&webhook, 1, world.now()).await, [oldest.id]);
    assert_eq!(world.find(&elsewhere).await, Some(elsewhere));
}

/// A recovery whose webhook is deleted in the middle is abandoned, and retries nothing more.
pub async fn a_deleted_webhooks_recovery_is_abandoned(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let lost = several_failed(&world, &webhook, 2).await;
    let recovery = world.recovery(&webhook).await;
    world.advance(&recovery, world.now(), 1).await;
    world.delete(&webhook).await;
    let now = world.now();

    let expected = Recovery { rearmed: 1, state: RecoveryState::Abandoned { at: now }, ..recovery };
    assert_eq!(world.advance(&expected, now, 1).await, expected);

    assert_eq!(are_pending(&world, &lost).await, [true, false]);
    assert_eq!(world.advance(&expected, world.now(), 1).await, expected);
    assert_eq!(world.store.running_recoveries(10).await.expect("running_recoveries"), []);
}

/// A webhook has at most one running recovery. After its end another can be created.
pub async fn a_webhook_has_one_recovery_at_a_time(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (webhook, other) = (world.webhook("hook").await, world.webhook("other").await);
    let first = world.recovery(&webhook).await;
    let second = world.new_recovery(&webhook, EVER).await;

    assert_eq!(world.create_recovery(&second).await, RecoveryCreated::Running { id: first.id });
    let found = world.store.recovery(world.organization, second.id).await.expect("recovery");
    assert_eq!(found, None, "what was refused leaves nothing behind");
    world.recovery(&other).await;
    world.advance(&first, world.now(), 10).await;
    assert_eq!(world.create_recovery(&second).await, RecoveryCreated::Done);
}

/// A recovery cannot be created for a webhook that is deleted, unknown or in another organization.
pub async fn a_missing_webhook_has_no_recovery(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (deleted, webhook) = (world.webhook("deleted").await, world.webhook("hook").await);
    world.delete(&deleted).await;
    let other = world.other_organization("other").await.id;
    let theirs = Webhook { organization: other, ..webhook };
    for missing in [deleted, theirs, world.new_webhook("never")] {
        let recovery = world.new_recovery(&missing, EVER).await;
        assert_eq!(world.create_recovery(&recovery).await, RecoveryCreated::WebhookMissing);
    }
    assert_eq!(world.store.running_recoveries(10).await.expect("running_recoveries"), []);
}

/// A recovery that is done stays unchanged and retries nothing more; an unknown one is not found.
pub async fn a_completed_recovery_stays_unchanged(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let recovery = world.recovery(&webhook).await;
    let done = world.advance(&recovery, world.now(), 10).await;
    let lost = world.failed(&webhook).await;
    assert_eq!(world.advance(&recovery, world.now(), 10).await, done);
    assert_eq!(world.find(&lost).await, Some(lost));
    let unknown = world.ordered(RecoveryId::generate);
    let advanced = world.store.advance_recovery(unknown, world.now(), 10).await;
    assert_eq!(advanced.expect("advance_recovery"), None);
}

/// An organization's recoveries are listed newest first; running ones of all organizations oldest first.
pub async fn recoveries_are_listed(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let mut oldest_first = Vec::new();
    for name in ["one", "two", "three"] {
        let webhook = world.webhook(name).await;
        oldest_first.push(world.recovery(&webhook).await);
    }
    let other = world.other_organization("other").await.id;
    let done = world.advance(&oldest_first[1], world.now(), 10).await;
    let listed = async |organization, before, limit| {
        let page = world.store.list_recoveries(organization, before, limit).await;
        page.expect("list_recoveries").into_iter().map(|recovery| recovery.id).collect::<Vec<_>>()
    };
    let [first, second, third] = [0, 1, 2].map(|index: usize| oldest_first[index].id);

    assert_eq!(listed(world.organization, None, 2).await, [third, second]);
    assert_eq!(listed(world.organization, Some(second), 2).await, [first]);
    assert_eq!(listed(other, None, 10).await, []);
    let all = world.store.list_recoveries(world.organization, None, 10).await.expect("list_recoveries");
    assert_eq!(all[1], done);
    assert_eq!(world.store.recovery(other, first).await.expect("recovery"), None);
    let running = async |limit| {
        let running = world.store.running_recoveries(limit).await.expect("running_recoveries");
        running.into_iter().map(|recovery| recovery.id).collect::<Vec<_>>()
    };
    assert_eq!(running(10).await, [first, third]);
    assert_eq!(running(1).await, [first]);
}

/// A new recovery has an entry; a rejected one and the steps have none.
pub async fn recoveries_have_their_entries(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    world.failed(&webhook).await;
    let before = world.actions().await.len();
    let recovery = world.recovery(&webhook).await;
    let refused = world.new_recovery(&webhook, EVER).await;
    world.store.create_recovery(&refused, world.audit("refused")).await.expect("create_recovery");
    let missing = world.new_recovery(&world.new_webhook("never"), EVER).await;
    world.store.create_recovery(&missing, world.audit("refused")).await.expect("create_recovery");
    world.advance(&recovery, world.now(), 10).await;
    assert_eq!(world.actions().await[before..], ["recovery.create"]);
}

/// Ended recoveries are removed at the age of audit entries; running ones stay.
pub async fn old_ended_recoveries_are_removed(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (webhook, other) = (world.webhook("hook").await, world.webhook("other").await);
    let (ended, running) = (world.recovery(&webhook).await, world.recovery(&other).await);
    let at = world.now();
    world.advance(&ended, at, 10).await;
    let listed = async || world.store.list_recoveries(world.organization, None, 10).await.expect("list");
    let sweep = async |audit_before| {
        let policy = SweepPolicy {
            retry: RetryPolicy::default(),
            finished_before: EVER,
            audit_before,
            rows_max: 1000,
        };
        world.store.sweep(at, &policy).await.expect("sweep");
    };
    sweep(at).await;
    assert_eq!(listed().await.len(), 2);
    sweep(at.after(Duration::from_millis(1))).await;
    assert_eq!(listed().await, [running]);
}
