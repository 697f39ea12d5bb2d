//! A webhook's health follows from the recorded attempts, in the same transaction.

use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::delivery::{AttemptTrigger, Delivery, FailReason, Outcome, State};
use stackbell_model::health::{Health, RetryAfter, SuspensionReason};
use stackbell_model::retry::Next;
use stackbell_model::webhook::{PayloadUrl, Webhook};

use super::Harness;
use super::fixtures::{World, answered, attempt, ended_at, failing_for_days, leased, redelivered};
use crate::commit::AttemptRecord;
use crate::queue::LaneMode;

/// A record of an attempt with any trigger. It changes its delivery only if it is a success.
fn tried(delivery: &Delivery, at: Timestamp, trigger: AttemptTrigger, outcome: Outcome) -> AttemptRecord {
    let mut record = redelivered(delivery, at, outcome);
    record.attempt.trigger = trigger;
    record
}

/// For each trigger and verdict in turn, health follows the rule, both in the result and in the row.
pub async fn health_follows_the_rule(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let outcomes = [
        answered(500),
        Outcome::OurFault { text: "stopped".into() },
        answered(410),
        answered(404),
        answered(200),
        answered(201),
    ];
    let mut expected = Health::default();
    for trigger in AttemptTrigger::ALL.iter().copied() {
        for outcome in &outcomes {
            let record = tried(&delivery, world.now(), trigger, outcome.clone());
            expected = record.health_after(expected, webhook.revision, false);
            assert_eq!(world.recorded(record).await, expected, "{trigger:?} {outcome:?}");
            assert_eq!(world.current(&webhook).await.health, expected, "{trigger:?} {outcome:?}");
        }
    }
}

/// A 410 suspends the webhook, and its pending deliveries are held.
pub async fn a_410_suspends(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let at = world.now();
    let health = world.try_next(&delivery, 410, Next::Retry { at, spent: true }).await;

    assert_eq!(health.suspension.map(|suspension| suspension.reason), Some(SuspensionReason::Gone));
    assert!(world.current(&webhook).await.is_held());
    assert!(world.lease_due(&webhook, 1, world.now()).await.is_empty());
}

/// While an endpoint requests a wait, its lane gives no deliveries, not even to a probe. Afterwards it does.
pub async fn a_requested_wait_holds_the_lane(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let (first, second) = (world.pending(&webhook).await, world.pending(&webhook).await);
    let until = world.now().after(Duration::from_secs(60));
    let record =
        AttemptRecord { retry_until: Some(until), ..redelivered(&first, world.now(), answered(429)) };
    let asked_at = ended_at(&record.attempt);

    let health = world.recorded(record).await;

    assert_eq!(health.retry_after, Some(RetryAfter { asked_at, until }));
    assert_eq!(world.current(&webhook).await.health, health);
    let just_before = until.before(Duration::from_millis(1));
    for mode in [LaneMode::Due, LaneMode::Pending, LaneMode::Probe] {
        let (_, lane) = world.lease(&webhook, mode, 10, just_before).await;
        assert!(lane.deliveries.is_empty(), "{mode:?}");
        assert!(lane.next_due.is_some(), "{mode:?}");
    }
    assert_eq!(world.lease_due(&webhook, 10, until).await, [first.id, second.id]);
}

/// A user may have one delivery tried while an endpoint requests a wait, but not while the webhook is held.
pub async fn one_delivery_on_demand_ignores_a_requested_wait(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let (first, second) = (world.pending(&webhook).await, world.pending(&webhook).await);
    ask_to_wait(&world, &first).await;
    let (_, lane) = world.lease(&webhook, LaneMode::Asked, 10, world.now()).await;
    let leased: Vec<_> = lane.deliveries.iter().map(|leased| leased.delivery.id).collect();
    assert_eq!(leased, [first.id]);

    let inactive = Webhook { active: false, ..world.current(&webhook).await };
    world.store.edit_webhook(&inactive, world.audit("webhook.edit")).await.expect("edit_webhook");
    let (_, lane) = world.lease(&webhook, LaneMode::Asked, 10, world.now()).await;
    assert!(lane.deliveries.is_empty(), "{} is held", second.id);
}

/// A requested wait ends when a user resumes the webhook, changes its URL, or switches it off and on.
pub async fn a_user_ends_a_requested_wait(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let edits: [&[fn(&mut Webhook)]; 2] = [
        &[|webhook| webhook.payload_url = PayloadUrl::from_stored("https://other.example.com/")],
        &[|webhook| webhook.active = false, |webhook| webhook.active = true],
    ];
    for (index, steps) in edits.into_iter().enumerate() {
        let webhook = world.webhook(&format!("hook-{index}")).await;
        let delivery = world.pending(&webhook).await;
        ask_to_wait(&world, &delivery).await;
        for step in steps {
            let mut edited = world.current(&webhook).await;
            step(&mut edited);
            world.store.edit_webhook(&edited, world.audit("webhook.edit")).await.expect("edit_webhook");
        }
        assert_eq!(world.current(&webhook).await.health.retry_after, None, "{index}");
        assert_eq!(world.lease_due(&webhook, 1, world.now()).await, [delivery.id]);
    }
    let webhook = world.webhook("resumed").await;
    let delivery = world.pending(&webhook).await;
    ask_to_wait(&world, &delivery).await;
    let audit = world.audit("webhook.resume");
    assert!(world.store.resume_webhook(webhook.id, world.now(), audit).await.expect("resume_webhook"));
    assert_eq!(world.lease_due(&webhook, 1, world.now()).await, [delivery.id]);
}

async fn ask_to_wait(world: &World, delivery: &Delivery) {
    let record = redelivered(delivery, world.now(), answered(503));
    let retry_until = Some(world.now().after(Duration::from_secs(3600)));
    world.recorded(AttemptRecord { retry_until, ..record }).await;
}

/// An attempt that started before an edit does not affect the health of the new endpoint: a 410 does not
/// suspend, a 429 requests no wait, and a success does not resume.
pub async fn an_attempt_from_before_an_edit_does_not_affect_health(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let mut edited = world.current(&webhook).await;
    edited.payload_url = PayloadUrl::from_stored("https://other.example.com/");
    world.store.edit_webhook(&edited, world.audit("webhook.edit")).await.expect("edit_webhook");
    let late = |status, retry_until| AttemptRecord {
        revision: webhook.revision,
        retry_until,
        ..tried(&delivery, world.now(), AttemptTrigger::Schedule, answered(status))
    };
    for (status, wait) in [(410, None), (500, None), (429, Some(world.now().after(Duration::from_secs(60))))]
    {
        assert_eq!(world.recorded(late(status, wait)).await, Health::default(), "{status}");
        assert_eq!(world.current(&webhook).await.health, Health::default(), "{status}");
    }
    let gone = tried(&delivery, world.now(), AttemptTrigger::Schedule, answered(410));
    let suspended = world.recorded(gone).await;
    assert!(suspended.suspension.is_some(), "of the endpoint of now");
    assert_eq!(world.recorded(late(200, None)).await, suspended);
    assert_eq!(world.current(&webhook).await.health, suspended);
}

/// Ten failures over five days suspend the webhook, and nine do not.
pub async fn failures_over_days_suspend(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let mut suspended = Vec::new();
    for at in failing_for_days(world.now()) {
        let record = tried(&delivery, at, AttemptTrigger::Schedule, answered(500));
        suspended.push(world.recorded(record).await.suspension.is_some());
    }
    let (last, earlier) = suspended.split_last().expect("there were failures");
    assert!(*last && !earlier.contains(&true), "{suspended:?}");
}

/// A 2xx that a user requested resumes a suspended webhook and sets the end of its hold.
pub async fn a_success_resumes(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.suspended_webhook("hook").await;
    assert!(webhook.is_held());
    let delivery = world.pending(&webhook).await;
    let probe_at = world.now();
    let (token, lane) = world.lease(&webhook, LaneMode::Probe, 1, probe_at).await;
    assert_eq!(lane.deliveries[0].delivery.id, delivery.id);
    let probe = attempt(AttemptTrigger::Probe, probe_at, answered(200));
    let ended_at = ended_at(&probe);

    let health = world.recorded(leased(&delivery, token, probe, Next::Succeeded)).await;

    assert_eq!(health, Health { hold_ended_at: Some(ended_at), ..Health::default() });
    assert!(!world.current(&webhook).await.is_held());
    let next = world.pending(&webhook).await;
    assert_eq!(world.lease_due(&webhook, 1, world.now()).await, [next.id]);
}

/// A failed probe postpones the next one.
pub async fn a_failed_probe_postpones_the_next_one(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.suspended_webhook("hook").await;
    let before = webhook.health.suspension.expect("it is suspended");
    let delivery = world.pending(&webhook).await;
    let at = before.probe_at.after(Duration::from_secs(1));
    let probe = tried(&delivery, at, AttemptTrigger::Probe, answered(500));

    let after = world.recorded(probe).await.suspension.expect("it still is");

    assert_eq!((after.since, after.reason), (before.since, before.reason));
    assert!(after.probe_at > before.probe_at);
}

/// All attempts of a batch count.
pub async fn every_attempt_of_a_batch_counts(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let records = (0..3).map(|_| tried(&delivery, world.now(), AttemptTrigger::Schedule, answered(500)));
    let outcome = world.commit(Vec::new(), records.collect()).await;
    assert_eq!(outcome.attempts.len(), 3);
    assert_eq!(world.current(&webhook).await.health.failures, 3);
}

/// A superseded attempt does not change the health.
pub async fn a_superseded_attempt_does_not_count(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let lost = world.take(&delivery, world.now()).await;
    world.recorded(redelivered(&delivery, world.now(), answered(200))).await;
    let late = attempt(AttemptTrigger::Schedule, world.now(), answered(410));
    world.record(leased(&delivery, lost, late, Next::Failed(FailReason::AttemptsExhausted))).await;
    assert_eq!(world.current(&webhook).await.health, Health::default());
    assert!(matches!(world.state(&delivery).await, State::Succeeded { .. }));
}

/// Health changes increment no revision and make no intake stale.
pub async fn health_increments_neither_revision_nor_version(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let before = world.snapshot().await.version;
    world.try_next(&delivery, 410, Next::Failed(FailReason::AttemptsExhausted)).await;
    assert_eq!(world.snapshot().await.version, before);
    assert_eq!(world.current(&webhook).await.revision, webhook.revision);
}

/// Failures of one webhook do not affect another.
pub async fn each_webhook_has_its_own_health(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (one, two) = (world.webhook("one").await, world.webhook("two").await);
    let delivery = world.pending(&one).await;
    world.recorded(tried(&delivery, world.now(), AttemptTrigger::Schedule, answered(500))).await;
    assert_eq!(world.current(&one).await.health.failures, 1);
    assert_eq!(world.current(&two).await.health, Health::default());
}
