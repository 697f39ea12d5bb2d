//! How a webhook has been doing follows from what is recorded, in the same transaction.

use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::delivery::{AttemptTrigger, Delivery, FailReason, Outcome, State};
use stackbell_model::health::{Health, SuspensionReason};
use stackbell_model::retry::Next;

use super::Harness;
use super::fixtures::{World, answered, attempt, ended_at, failing_for_days, leased, redelivered};
use crate::commit::AttemptRecord;
use crate::queue::LaneMode;

/// An attempt of whatever trigger that changes nothing of its delivery, unless it is a success.
fn tried(delivery: &Delivery, at: Timestamp, trigger: AttemptTrigger, outcome: Outcome) -> AttemptRecord {
    let mut record = redelivered(delivery, at, outcome);
    record.attempt.trigger = trigger;
    record
}

/// For each trigger and verdict, one after the other, health is what the rule says, in answer and row.
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
            expected = expected.after(trigger, outcome.verdict(), ended_at(&record.attempt));
            assert_eq!(world.recorded(record).await, expected, "{trigger:?} {outcome:?}");
            assert_eq!(world.current(&webhook).await.health, expected, "{trigger:?} {outcome:?}");
        }
    }
}

/// A 410 suspends the webhook: what is pending is held.
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

/// Ten failures over five days suspend the webhook, and nine do not.
pub async fn failing_for_days_suspends(harness: &dyn Harness) {
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

/// A 2xx that somebody asked for resumes a suspended webhook and says when its hold ended.
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

/// A probe that fails puts the next one off.
pub async fn a_failed_probe_puts_the_next_one_off(harness: &dyn Harness) {
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

/// An attempt that comes too late says nothing about the endpoint.
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

/// Health changes without a new revision and leaves no intake stale.
pub async fn health_bumps_neither_revision_nor_version(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let before = world.snapshot().await.version;
    world.try_next(&delivery, 410, Next::Failed(FailReason::AttemptsExhausted)).await;
    assert_eq!(world.snapshot().await.version, before);
    assert_eq!(world.current(&webhook).await.revision, webhook.revision);
}

/// One webhook's failures are not another's.
pub async fn health_is_each_webhooks_own(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (one, two) = (world.webhook("one").await, world.webhook("two").await);
    let delivery = world.pending(&one).await;
    world.recorded(tried(&delivery, world.now(), AttemptTrigger::Schedule, answered(500))).await;
    assert_eq!(world.current(&one).await.health.failures, 1);
    assert_eq!(world.current(&two).await.health, Health::default());
}
