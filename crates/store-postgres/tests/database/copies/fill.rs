//! A store with every kind of row.

use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::delivery::{AttemptTrigger, Delivery, FailReason, Outcome, Response, Silence};
use stackbell_model::deployments::{DeploymentsCredential, StackReference};
use stackbell_model::event::Event;
use stackbell_model::filter::{Filter, Group, Subscription};
use stackbell_model::identity::{Membership, TokenHash, TokenOwner};
use stackbell_model::ids::{DataKeyId, OrganizationId, SourceId};
use stackbell_model::permission::Role;
use stackbell_model::retry::{Next, RetryPolicy};
use stackbell_model::scope::ScopeKind;
use stackbell_model::secret::{Purpose, Sealed, SealedDataKey};
use stackbell_model::source::{Change, SourceCursor};
use stackbell_model::webhook::{Format, Pace, PauseReason, StoredSecret, Webhook};
use stackbell_store::audit::AuditEntry;
use stackbell_store::commit::{IntakeItem, IntakeOutcome, ItemChange, NewDelivery, NewEvent};
use stackbell_store::conformance::fixtures::{
    World, answered, attempt, environment_scope, failing_for_days, leased, redelivered, stack_scope,
};
use stackbell_store::instance::SendingHold;
use stackbell_store::maintenance::SweepPolicy;
use stackbell_store::recoveries::RecoveryCreated;
use stackbell_store::webhooks::CreateOutcome;

/// The objects that tests read after a copy.
pub(super) struct Filled {
    pub(super) other: OrganizationId,
    /// An event whose producer chose its id.
    pub(super) known: Event,
    pub(super) webhook: Webhook,
    /// Due deliveries, in this order.
    pub(super) queued: Vec<Delivery>,
    /// A delivery that was in flight when the store was closed.
    pub(super) leased: Delivery,
    /// A webhook with a running recovery.
    pub(super) recovered: Webhook,
    pub(super) deleted: Webhook,
}

pub(super) async fn fill(world: &World) -> Filled {
    let other = people(world).await;
    keys(world, other).await;
    cursors(world).await;
    let webhook = webhooks(world).await;
    let known = events(world, &webhook).await;
    outcomes(world).await;
    let recovered = recoveries(world).await;
    let deleted = deleted(world).await;
    suspended(world).await;
    let mut queued = vec![tried_once(world, &webhook).await];
    queued.push(world.pending(&webhook).await);
    // A retried delivery is due before all others of its webhook.
    queued.insert(0, rearmed(world, &webhook).await);
    let slow = world.webhook("slow").await;
    let leased = world.pending(&slow).await;
    world.take(&leased, world.now()).await;
    let hold = SendingHold { since: world.now(), reason: "the network moves".into() };
    let audit = AuditEntry { organization: None, ..world.audit("sending.hold") };
    assert!(world.store.hold_sending(&hold, audit).await.expect("hold_sending"));
    Filled { other, known, webhook, queued, leased, recovered, deleted }
}

/// Stores the cursors of two sources.
async fn cursors(world: &World) {
    for to in ["history/1796050635623640943", "Gr\u{fc}\u{df}e '\\"] {
        let to = SourceCursor::parse(to).expect("a cursor");
        let change = Change::AdvanceCursor { source: world.ordered(SourceId::generate), from: None, to };
        let change = Some(Box::new(ItemChange { change, dropped: world.audit("event.drop") }));
        let item = IntakeItem { change, ..world.intake(Vec::new()).await };
        let outcome = world.commit(vec![item], Vec::new()).await;
        assert_eq!(outcome.intakes, [IntakeOutcome::Accepted(Vec::new())]);
    }
}

async fn people(world: &World) -> OrganizationId {
    let other = world.other_organization("globex").await.id;
    let member = world.new_user("Zoë".to_ascii_lowercase().replace('ë', "e").as_str());
    assert!(world.create_user(&member, world.audit("user.create")).await);
    let membership = Membership { organization: world.organization, user: member.id, role: Role::Viewer };
    world.store.set_membership(membership, world.audit("member.set")).await.expect("set_membership");
    let mut service = world.new_token(TokenOwner::Organization(other));
    (service.role, service.expires_at) = (Role::Publisher, None);
    let audit =
        AuditEntry { organization: Some(other), token: None, remote: None, ..world.audit("token.create") };
    let created = world.store.create_token(&service, TokenHash([2; 32]), 10, audit).await;
    assert!(created.expect("create_token"));
    world.store.touch_tokens(&[(service.id, world.now())]).await.expect("touch_tokens");
    other
}

async fn keys(world: &World, organization: OrganizationId) {
    let key = |(index, purpose): (u8, Purpose)| SealedDataKey {
        id: world.random(DataKeyId::generate),
        purpose,
        bytes: vec![index, 0, 255].into(),
        created_at: world.now(),
    };
    let keys: Vec<_> = (0_u8..).zip(Purpose::ALL.iter().copied()).map(key).collect();
    assert!(world.store.install_data_keys(&keys).await.expect("install_data_keys"));
    let stack = |text: &str| StackReference::parse(text).expect("a stack");
    let credential = DeploymentsCredential {
        organization,
        api_url: "https://api.example.com:8443/base/".parse().expect("a URL"),
        token: Sealed { key: keys[0].id, bytes: [0, 255, 7].into() },
        stacks: vec![stack("web/prod"), stack("api/test")],
        set_at: world.now(),
    };
    let audit = world.audit("deployments.set");
    assert!(world.store.set_deployments_credential(&credential, audit).await.expect("a credential"));
}

/// Stores a webhook with all optional fields, and a webhook for most deliveries.
async fn webhooks(world: &World) -> Webhook {
    let key = world.random(DataKeyId::generate);
    let subscription = Subscription::new(
        ScopeKind::Stack,
        [Filter::UpdateSucceeded, Filter::PreviewFailed],
        [Group::Stacks, Group::Deployments],
    );
    let full = Webhook {
        scope: stack_scope("prod"),
        format: Format::MsTeams,
        active: false,
        subscription: subscription.expect("a subscription"),
        secret: Some(StoredSecret {
            sealed: Sealed { key, bytes: vec![0, 255, 7].into() },
            fingerprint: [3; 32],
            previous: Some((Sealed { key, bytes: vec![1, 2].into() }, world.now())),
        }),
        standard_headers: false,
        pace: Pace::per_minute(90),
        pause_reason: Some(PauseReason::parse("Gr\u{fc}\u{df}e").expect("a reason")),
        ..world.new_webhook("Full.Hook_1")
    };
    assert_eq!(world.create(&full).await, CreateOutcome::Done);
    let edited = Webhook { active: true, pause_reason: None, ..full };
    world.store.edit_webhook(&edited, world.audit("webhook.edit")).await.expect("edit_webhook");
    let environment = Webhook { scope: environment_scope("prod"), ..world.new_webhook("env") };
    assert_eq!(world.create(&environment).await, CreateOutcome::Done);
    world.webhook("hook").await
}

/// Stores an event with a digest and a delivery with its own body, and an event without deliveries.
async fn events(world: &World, webhook: &Webhook) -> Event {
    let chat = Webhook { format: Format::Slack, ..world.new_webhook("chat") };
    assert_eq!(world.create(&chat).await, CreateOutcome::Done);
    let known = Event {
        digest: Some([5; 32]),
        token: None,
        payload: "\u{1f514}".repeat(500).into(),
        ..world.new_event()
    };
    let body = Some("{\"text\":\"it rings\"}".repeat(20).into());
    let deliveries = vec![world.new_delivery(webhook), NewDelivery { body, ..world.new_delivery(&chat) }];
    let item = world.intake(vec![NewEvent { event: known.clone(), deliveries }]).await;
    let outcome = world.commit(vec![item], Vec::new()).await.intakes.remove(0);
    assert!(matches!(outcome, IntakeOutcome::Accepted(_)), "{outcome:?}");
    world.accept(&world.new_event(), &[]).await;
    // Its only delivery succeeds, so that the queue starts with other deliveries.
    let token = world.lease(webhook, stackbell_store::queue::LaneMode::Due, 1, world.now()).await;
    let first = token.1.deliveries[0].delivery.clone();
    world
        .recorded(leased(
            &first,
            token.0,
            attempt(AttemptTrigger::Schedule, world.now(), answered(204)),
            Next::Succeeded,
        ))
        .await;
    known
}

/// Stores attempts with every outcome, several in one millisecond, and deliveries with every end.
async fn outcomes(world: &World) {
    let webhook = world.webhook("tried").await;
    world.succeeded(&webhook).await;
    world.cancelled(&webhook).await;
    world.pinged(&webhook).await;
    let delivery = world.pending(&webhook).await;
    let answer = Response {
        status: 200,
        headers: "".into(),
        body: "asked too \u{0} often".into(),
        retry_after: Some(Duration::from_secs(9)),
    };
    let text = || "no such host".into();
    let at = world.now();
    for outcome in [
        Outcome::HiddenError(answer),
        Outcome::Unanswered { silence: Silence::Unresolved, text: text() },
        Outcome::OurFault { text: text() },
    ] {
        let token = world.take(&delivery, at).await;
        let next = Next::Retry { at, spent: true };
        world.recorded(leased(&delivery, token, attempt(AttemptTrigger::Schedule, at, outcome), next)).await;
    }
    world.recorded(redelivered(&delivery, at, answered(503))).await;
    let token = world.take(&delivery, at).await;
    let last = attempt(AttemptTrigger::Schedule, at, Outcome::Undeliverable { text: text() });
    world.recorded(leased(&delivery, token, last, Next::Failed(FailReason::Undeliverable))).await;
}

/// Stores a completed recovery, a running one, and one of a deleted webhook.
async fn recoveries(world: &World) -> Webhook {
    let done = world.webhook("done").await;
    world.failed(&done).await;
    let recovery = world.recovery(&done).await;
    world.advance(&recovery, world.now(), 10).await;
    let half = world.webhook("half").await;
    for _ in 0..4 {
        world.failed(&half).await;
    }
    let recovery = world.recovery(&half).await;
    world.advance(&recovery, world.now(), 2).await;
    let fresh = world.webhook("fresh").await;
    world.failed(&fresh).await;
    let recovery = world.new_recovery(&fresh, Timestamp::from_millis(5)).await;
    assert_eq!(world.create_recovery(&recovery).await, RecoveryCreated::Done);
    half
}

async fn sweep(world: &World) {
    let never = Timestamp::from_millis(0);
    let retry = RetryPolicy::default();
    let policy = SweepPolicy { retry, finished_before: never, audit_before: never, rows_max: 1000 };
    world.store.sweep(world.now(), &policy).await.expect("sweep");
}

/// Stores a deleted webhook with a cancelled delivery and an abandoned recovery.
async fn deleted(world: &World) -> Webhook {
    let webhook = world.webhook("gone").await;
    world.failed(&webhook).await;
    world.pending(&webhook).await;
    let recovery = world.recovery(&webhook).await;
    world.delete(&webhook).await;
    sweep(world).await;
    world.advance(&recovery, world.now(), 10).await;
    // Its name can be used again.
    world.webhook("gone").await;
    webhook
}

async fn suspended(world: &World) {
    world.suspended_webhook("suspended").await;
    let failing = world.webhook("failing").await;
    let delivery = world.pending(&failing).await;
    for at in failing_for_days(world.now()) {
        let token = world.take(&delivery, at).await;
        let next = Next::Retry { at, spent: false };
        world
            .recorded(leased(&delivery, token, attempt(AttemptTrigger::Schedule, at, answered(500)), next))
            .await;
        if world.current(&failing).await.health.suspension.is_some() {
            return;
        }
    }
    panic!("it is suspended by then");
}

async fn tried_once(world: &World, webhook: &Webhook) -> Delivery {
    let delivery = world.pending(webhook).await;
    let at = world.now();
    world.try_next(&delivery, 500, Next::Retry { at, spent: true }).await;
    world.find(&delivery).await.expect("it is there")
}

async fn rearmed(world: &World, webhook: &Webhook) -> Delivery {
    let delivery = world.pending(webhook).await;
    let audit = || world.audit("delivery.change");
    world.cancel(&delivery, audit()).await;
    world.retry(&delivery, audit()).await;
    world.find(&delivery).await.expect("it is there")
}
