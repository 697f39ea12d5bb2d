//! Acknowledged data survives a restart, and leases do not outlast their time.

use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::delivery::{AttemptTrigger, State};
use stackbell_model::deployments::DeploymentsCredential;
use stackbell_model::event::Event;
use stackbell_model::ids::DataKeyId;
use stackbell_model::recovery::{Recovery, RecoveryState};
use stackbell_model::retry::Next;
use stackbell_model::secret::{Purpose, Sealed, SealedDataKey};

use super::Harness;
use super::fixtures::{World, answered, attempt, leased, organization_name};
use crate::audit::AuditEntry;
use crate::commit::{AttemptOutcome, IntakeOutcome};
use crate::instance::SendingHold;

/// Longer than the lease of any case.
const BEYOND_LEASES: Duration = Duration::from_secs(3600);

/// Webhooks, versions, health, identities, tokens, keys and the audit log survive a restart.
pub async fn edited_data_survives_a_restart(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.suspended_webhook("hook").await;
    let deleted = world.webhook("deleted").await;
    world.delete(&deleted).await;
    let id = world.random(DataKeyId::generate);
    let key = SealedDataKey { id, purpose: Purpose::Seal, bytes: [1; 40].into(), created_at: world.now() };
    world.store.install_data_keys(std::slice::from_ref(&key)).await.expect("install_data_keys");
    let before = world.snapshot().await;
    let log = world.store.list_audit(Some(world.organization), None, 100).await.expect("list_audit");
    let holder = world.store.find_token(world.bootstrap().token_hash).await.expect("find_token");
    assert_eq!(before.webhooks, [webhook]);
    assert!(holder.is_some());

    let world = world.restarted(harness).await;

    assert_eq!(world.snapshot().await, before);
    let again = world.store.list_audit(Some(world.organization), None, 100).await.expect("list_audit");
    assert_eq!(again, log);
    let again = world.store.find_token(world.bootstrap().token_hash).await.expect("find_token");
    assert_eq!(again, holder);
    assert_eq!(world.store.data_keys().await.expect("data_keys"), [key]);
    let acme = world.store.find_organization(&organization_name("acme")).await;
    assert_eq!(acme.expect("find_organization").map(|acme| acme.id), Some(world.organization));
    assert!(!world.store.is_empty().await.expect("is_empty"));
}

/// Events, deliveries and attempts survive a restart, and the queue continues from them.
pub async fn history_survives_a_restart(harness: &dyn Harness) {
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

/// A delivery that was leased before a restart can be leased again when its lease would have expired, at the
/// latest.
pub async fn deliveries_leased_before_a_restart_are_leased_again(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let now = world.now();
    world.take(&delivery, now).await;
    let world = world.restarted(harness).await;
    assert_eq!(world.lease_due(&webhook, 10, now.after(BEYOND_LEASES)).await, [delivery.id]);
}

/// An event id from before a restart is still taken after it.
pub async fn duplicates_are_detected_after_a_restart(harness: &dyn Harness) {
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

/// The leases of an embedded store end with its process: their deliveries are free at once, and records under
/// them are superseded.
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

/// A recovery continues after a restart, and takes no delivery twice.
pub async fn a_recovery_continues_after_a_restart(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let (first, second) = (world.failed(&webhook).await, world.failed(&webhook).await);
    let recovery = world.recovery(&webhook).await;
    let step = world.advance(&recovery, world.now(), 1).await;
    let audit = AuditEntry { at: recovery.created_at, ..world.audit("delivery.cancel") };
    world.cancel(&first, audit).await;
    let cancelled = world.find(&first).await;

    let world = world.restarted(harness).await;

    let running = world.store.running_recoveries(10).await.expect("running_recoveries");
    assert_eq!(running, std::slice::from_ref(&step));
    let now = world.now();
    let state = RecoveryState::Done { at: now };
    assert_eq!(world.advance(&recovery, now, 10).await, Recovery { rearmed: 2, state, ..step });
    assert_eq!(world.find(&first).await, cancelled, "it had its turn");
    assert_eq!(world.state(&second).await, State::Pending { due_at: now });
}

/// Counts, credentials and the hold of all sending survive a restart.
pub async fn counts_credentials_and_hold_survive_a_restart(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    world.failed(&webhook).await;
    world.pending(&webhook).await;
    let hold = SendingHold { since: world.now(), reason: "restored".into() };
    world.store.hold_sending(&hold, world.audit("sending.hold")).await.expect("hold_sending");
    let credential = DeploymentsCredential {
        organization: world.organization,
        api_url: "https://api.example.com/".parse().expect("a URL"),
        token: Sealed { key: world.random(DataKeyId::generate), bytes: [1; 40].into() },
        stacks: Vec::new(),
        set_at: world.now(),
    };
    let set = world.store.set_deployments_credential(&credential, world.audit("deployments.set")).await;
    assert!(set.expect("set_deployments_credential"));
    let (from, to) = (Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX));
    let counts = async |world: &World| {
        let tallies = world.store.tallies(world.organization, None, from, to).await.expect("tallies");
        (tallies, world.usage().await)
    };
    let before = counts(&world).await;
    assert_eq!((before.0[0].tally.made, before.1.pending), (2, 1));

    let world = world.restarted(harness).await;

    assert_eq!(counts(&world).await, before);
    assert_eq!(world.store.sending_hold().await.expect("sending_hold"), Some(hold));
    let found = world.store.deployments_credential(world.organization).await;
    assert_eq!(found.expect("deployments_credential"), Some(credential));
}
