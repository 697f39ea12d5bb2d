//! Holding and resuming all sending.

use std::num::NonZeroU32;
use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::delivery::{AttemptTrigger, StateKind};
use stackbell_model::health::Health;
use stackbell_model::retry::RetryPolicy;
use stackbell_model::webhook::Webhook;

use super::Harness;
use super::fixtures::{World, answered, attempt, pinged};
use crate::audit::AuditEntry;
use crate::commit::NewEvent;
use crate::instance::SendingHold;
use crate::maintenance::SweepPolicy;
use crate::queue::{LaneMode, LaneRequest};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn audit(world: &World, action: &'static str) -> AuditEntry {
    AuditEntry { organization: None, ..world.audit(action) }
}

fn new_hold(world: &World, reason: &str) -> SendingHold {
    SendingHold { since: world.now(), reason: reason.into() }
}

async fn hold(world: &World) -> SendingHold {
    let hold = new_hold(world, "restored");
    let held = world.store.hold_sending(&hold, audit(world, "sending.hold")).await;
    assert!(held.expect("hold_sending"));
    hold
}

/// Resumes sending. Returns the time.
async fn resume(world: &World) -> Timestamp {
    let audit = audit(world, "sending.resume");
    let at = audit.at;
    assert!(world.store.resume_sending(audit).await.expect("resume_sending"));
    at
}

async fn found(world: &World) -> Option<SendingHold> {
    world.store.sending_hold().await.expect("sending_hold")
}

async fn expired(world: &World, now: Timestamp) -> u64 {
    let never = Timestamp::from_millis(0);
    let policy = SweepPolicy {
        retry: RetryPolicy::default(),
        finished_before: never,
        audit_before: never,
        rows_max: 1000,
    };
    world.store.sweep(now, &policy).await.expect("sweep").expired
}

/// A new store has no hold.
pub async fn a_new_store_sends(harness: &dyn Harness) {
    let world = World::blank(harness).await;
    assert_eq!(found(&world).await, None);
}

/// Sending can be put on hold once; a second hold changes nothing.
pub async fn sending_is_held_once(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let first = hold(&world).await;
    assert_eq!(found(&world).await, Some(first.clone()));
    let second = new_hold(&world, "maintenance \u{1f514}");
    let held = world.store.hold_sending(&second, audit(&world, "refused")).await;
    assert!(!held.expect("hold_sending"));
    assert_eq!(found(&world).await, Some(first));
}

/// Sending can be resumed once, and can be held again.
pub async fn sending_is_resumed_once(harness: &dyn Harness) {
    let world = World::open(harness).await;
    hold(&world).await;
    resume(&world).await;
    assert_eq!(found(&world).await, None);
    assert!(!world.store.resume_sending(audit(&world, "refused")).await.expect("resume_sending"));
    let again = hold(&world).await;
    assert_eq!(found(&world).await, Some(again));
}

/// A resume sets the end of a hold for every webhook of every organization, and changes nothing else of them.
pub async fn resuming_ends_every_webhooks_hold(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let other = world.other_organization("other").await.id;
    world.webhook("active").await;
    world.suspended_webhook("suspended").await;
    world.create(&Webhook { active: false, ..world.new_webhook("inactive") }).await;
    let theirs = Webhook { organization: other, ..world.new_webhook("theirs") };
    world.create(&theirs).await;
    let before = world.snapshot().await.webhooks;
    hold(&world).await;
    assert_eq!(world.snapshot().await.webhooks, before, "holding touches no webhook");

    let at = resume(&world).await;

    let ended = |webhook: Webhook| Webhook {
        health: Health { hold_ended_at: Some(at), ..webhook.health },
        ..webhook
    };
    let expected: Vec<_> = before.into_iter().map(ended).collect();
    assert_eq!(world.snapshot().await.webhooks, expected);
    let found = world.store.webhook(other, theirs.id).await.expect("webhook");
    assert_eq!(found, Some(ended(theirs)));
}

/// A resume without a hold changes nothing.
pub async fn a_resume_without_a_hold_changes_nothing(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    assert!(!world.store.resume_sending(audit(&world, "refused")).await.expect("resume_sending"));
    assert_eq!(world.current(&webhook).await, webhook);
}

/// Deliveries that wait during a hold have the age limit of held deliveries, also after the hold.
pub async fn deliveries_of_a_hold_expire_later(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let covered = world.pending(&webhook).await;
    let start = covered.created_at;
    hold(&world).await;
    assert_eq!(expired(&world, start.after(DAY * 8)).await, 0, "while it is held");

    resume(&world).await;
    let afterwards = world.pending(&webhook).await;

    assert_eq!(expired(&world, start.after(DAY * 8)).await, 1);
    assert_eq!(world.state(&afterwards).await.kind(), StateKind::Failed, "made after the hold");
    assert_eq!(world.find(&covered).await, Some(covered.clone()));
    let at_last = start.after(DAY * 14);
    assert_eq!(expired(&world, at_last.before(Duration::from_millis(1))).await, 0);
    assert_eq!(expired(&world, at_last).await, 1);
}

/// A hold without an end does not keep deliveries forever.
pub async fn held_deliveries_expire_eventually(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let start = world.pending(&webhook).await.created_at;
    hold(&world).await;
    assert_eq!(expired(&world, start.after(DAY * 14)).await, 1);
}

/// A hold binds the senders, not the queue: due deliveries can be leased.
pub async fn a_hold_does_not_affect_the_queue(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    hold(&world).await;
    let delivery = world.pending(&webhook).await;
    assert_eq!(world.store.due_lanes(None, 10).await.expect("due_lanes").len(), 1);
    assert_eq!(world.lease_due(&webhook, 10, world.now()).await, [delivery.id]);
}

/// Returns whether a commit and a lease report the hold.
async fn told(world: &World, webhook: &Webhook) -> (bool, bool) {
    let event = NewEvent { event: world.new_event(), deliveries: vec![world.new_delivery(webhook)] };
    let of_intakes = world.commit(vec![world.intake(vec![event]).await], Vec::new()).await.sending_held;
    let (ping, at) = (world.new_ping(webhook), world.now());
    let attempt = attempt(AttemptTrigger::Ping, at, answered(500));
    let of_attempts = world.commit(Vec::new(), vec![pinged(ping, attempt)]).await.sending_held;
    assert_eq!(of_intakes, of_attempts);
    let request = LaneRequest { webhook: webhook.id, limit: NonZeroU32::MIN, mode: LaneMode::Due };
    let leased = world.store.lease_deliveries(&[request], at, world.new_lease(at)).await;
    (of_intakes, leased.expect("lease_deliveries").sending_held)
}

/// Each commit and each lease reports whether sending is on hold, so that senders need no separate lookup.
pub async fn commits_and_leases_report_a_hold(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    assert_eq!(told(&world, &webhook).await, (false, false));
    hold(&world).await;
    assert_eq!(told(&world, &webhook).await, (true, true));
    resume(&world).await;
    assert_eq!(told(&world, &webhook).await, (false, false));
}

/// Holding and resuming have entries in the instance's log; calls that change nothing have none.
pub async fn holds_have_their_entries(harness: &dyn Harness) {
    let world = World::open(harness).await;
    world.store.resume_sending(audit(&world, "refused")).await.expect("resume_sending");
    hold(&world).await;
    let again = new_hold(&world, "again");
    world.store.hold_sending(&again, audit(&world, "refused")).await.expect("hold_sending");
    resume(&world).await;
    let records = world.store.list_audit(None, None, 100).await.expect("list_audit");
    let actions: Vec<_> = records.iter().rev().map(|record| record.action.as_str()).collect();
    assert_eq!(actions, ["instance.begin", "sending.hold", "sending.resume"]);
}
