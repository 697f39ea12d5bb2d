//! Webhooks and their edits.

use std::time::Duration;

use stackbell_model::delivery::FailReason;
use stackbell_model::filter::{Filter, Group, Subscription};
use stackbell_model::health::Health;
use stackbell_model::ids::{DataKeyId, WebhookId};
use stackbell_model::names::DisplayName;
use stackbell_model::retry::Next;
use stackbell_model::scope::{Scope, ScopeKind};
use stackbell_model::secret::{Purpose, Sealed, SealedDataKey};
use stackbell_model::webhook::{Format, Pace, PauseReason, PayloadUrl, StoredSecret, Webhook};

use super::Harness;
use super::fixtures::{World, environment_scope, organization_scope, stack_scope, webhook_name};
use crate::webhooks::{CreateOutcome, EditOutcome};

fn scopes() -> [Scope; 3] {
    [organization_scope(), stack_scope("prod"), environment_scope("prod")]
}

async fn edit(world: &World, webhook: &Webhook) -> EditOutcome {
    world.store.edit_webhook(webhook, world.audit("webhook.edit")).await.expect("edit_webhook")
}

async fn find(world: &World, webhook: &Webhook) -> Option<Webhook> {
    let found = world.store.find_webhook(webhook.organization, &webhook.scope, &webhook.name).await;
    found.expect("find_webhook")
}

/// A secret under a stored data key, with a previous secret.
async fn secret(world: &World) -> StoredSecret {
    let key = DataKeyId::from_uuid(*world.token.as_uuid());
    let data_key =
        SealedDataKey { id: key, purpose: Purpose::Seal, bytes: [9; 60].into(), created_at: world.now() };
    world.store.install_data_keys(&[data_key]).await.expect("install_data_keys");
    StoredSecret {
        sealed: Sealed { key, bytes: vec![0, 255, 7].into() },
        fingerprint: [3; 32],
        previous: Some((Sealed { key, bytes: vec![1, 2].into() }, world.now())),
    }
}

/// A webhook with all optional fields set.
async fn full_webhook(world: &World) -> Webhook {
    let subscription = Subscription::new(
        ScopeKind::Stack,
        [Filter::UpdateSucceeded, Filter::PreviewFailed, Filter::DeploymentQueued, Filter::PreviewFailed],
        [Group::Stacks, Group::Deployments, Group::Stacks],
    );
    Webhook {
        scope: stack_scope("prod"),
        display_name: DisplayName::parse("  Gr\u{fc}\u{df}e e\u{301} \u{1f514} ").expect("a display name"),
        payload_url: PayloadUrl::from_stored("HTTPS://Example.com/Hook?x=%20#y"),
        format: Format::MsTeams,
        active: false,
        subscription: subscription.expect("a subscription"),
        secret: Some(secret(world).await),
        standard_headers: false,
        pace: Pace::per_minute(90),
        pause_reason: Some(PauseReason::parse("Gr\u{fc}\u{df}e").expect("a reason")),
        ..world.new_webhook("Full.Hook_1")
    }
}

/// A created webhook is read back unchanged by every lookup.
pub async fn a_created_webhook_is_found(harness: &dyn Harness) {
    let world = World::open(harness).await;
    for webhook in [full_webhook(&world).await, world.new_webhook("plain")] {
        assert_eq!(find(&world, &webhook).await, None);
        assert_eq!(world.create(&webhook).await, CreateOutcome::Done);
        assert_eq!(find(&world, &webhook).await, Some(webhook.clone()));
        assert_eq!(world.current(&webhook).await, webhook);
    }
}

/// A name is unique in its scope. A second create changes nothing.
pub async fn a_name_is_unique_in_its_scope(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let mut all = scopes().to_vec();
    all.extend([stack_scope("test"), environment_scope("test"), stack_scope("PROD")]);
    for scope in all {
        let first = Webhook { scope: scope.clone(), ..world.new_webhook("hook") };
        assert_eq!(world.create(&first).await, CreateOutcome::Done, "{scope:?}");
        let version = world.snapshot().await.version;
        let second = Webhook { scope: scope.clone(), ..world.new_webhook("hook") };
        assert_eq!(world.create(&second).await, CreateOutcome::NameTaken, "{scope:?}");
        assert_eq!(world.snapshot().await.version, version);
        assert_eq!(find(&world, &second).await, Some(first));
    }
}

/// Names are case-sensitive.
pub async fn names_differ_by_case(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (lower, upper) = (world.webhook("hook").await, world.webhook("Hook").await);
    assert_eq!(find(&world, &lower).await, Some(lower));
    assert_eq!(find(&world, &upper).await, Some(upper));
}

/// Lists of scopes do not mix, even if a stack and an environment have equal names.
pub async fn scopes_do_not_mix(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let mut expected = Vec::new();
    for scope in scopes() {
        let webhook = Webhook { scope, ..world.new_webhook("hook") };
        world.create(&webhook).await;
        expected.push(webhook);
    }
    for webhook in &expected {
        let listed = world.store.list_webhooks(world.organization, &webhook.scope, None, 10).await;
        assert_eq!(listed.expect("list_webhooks"), std::slice::from_ref(webhook));
    }
    assert_eq!(world.snapshot().await.webhooks, expected);
}

/// Webhooks of another organization are not visible.
pub async fn organizations_do_not_mix(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let other = world.new_organization("other");
    let audit = world.audit("organization.create");
    world.store.create_organization(&other, None, audit).await.expect("create_organization");
    let webhook = world.webhook("hook").await;
    let theirs = Webhook { organization: other.id, ..world.new_webhook("hook") };
    assert_eq!(world.create(&theirs).await, CreateOutcome::Done);

    assert_eq!(find(&world, &webhook).await, Some(webhook.clone()));
    assert_eq!(find(&world, &theirs).await, Some(theirs.clone()));
    assert_eq!(world.snapshot().await.webhooks, [webhook]);
    let snapshot = world.store.organization_webhooks(other.id).await.expect("organization_webhooks");
    assert_eq!(snapshot.map(|snapshot| snapshot.webhooks), Some(vec![theirs]));
}

/// An unknown organization has no webhooks.
pub async fn an_unknown_organization_has_no_webhooks(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let nobody = world.new_organization("nobody").id;
    let snapshot = world.store.organization_webhooks(nobody).await;
    assert_eq!(snapshot.expect("organization_webhooks"), None);
}

/// The number of webhooks in a scope is limited. Other scopes do not count, and a taken name is reported
/// first.
pub async fn a_scope_has_its_limit(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let create = async |webhook: &Webhook| {
        let audit = world.audit("webhook.create");
        world.store.create_webhook(webhook, 2, audit).await.expect("create_webhook")
    };
    for scope in scopes() {
        let new = |name: &str| Webhook { scope: scope.clone(), ..world.new_webhook(name) };
        let first = new("one");
        assert_eq!(create(&first).await, CreateOutcome::Done);
        assert_eq!(create(&new("two")).await, CreateOutcome::Done);
        assert_eq!(create(&new("three")).await, CreateOutcome::TooMany);
        assert_eq!(create(&new("two")).await, CreateOutcome::NameTaken);
        world.delete(&first).await;
        assert_eq!(create(&new("three")).await, CreateOutcome::Done);
    }
}

/// An edit replaces the editable fields and nothing else, and increments revision and version.
pub async fn an_edit_replaces_the_editable_fields(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let before = Webhook { scope: stack_scope("test"), ..world.new_webhook("hook") };
    world.create(&before).await;
    let version = world.snapshot().await.version;
    let wanted = full_webhook(&world).await;
    let request = Webhook { id: before.id, ..wanted.clone() };

    assert_eq!(edit(&world, &request).await, EditOutcome::Done);

    let expected = Webhook {
        display_name: wanted.display_name,
        payload_url: wanted.payload_url,
        format: wanted.format,
        subscription: wanted.subscription,
        secret: wanted.secret,
        standard_headers: wanted.standard_headers,
        active: false,
        pace: wanted.pace,
        pause_reason: wanted.pause_reason,
        revision: 2,
        ..before.clone()
    };
    assert_eq!(find(&world, &before).await, Some(expected.clone()));
    assert_eq!(world.snapshot().await.webhooks, std::slice::from_ref(&expected));
    assert_ne!(world.snapshot().await.version, version);

    let (secret, subscription) = (None, Subscription::default());
    let cleared = Webhook { secret, subscription, pace: None, pause_reason: None, ..expected };
    assert_eq!(edit(&world, &cleared).await, EditOutcome::Done);
    assert_eq!(find(&world, &before).await, Some(Webhook { revision: 3, ..cleared }));
}

/// An edit of an older revision changes nothing.
pub async fn an_edit_of_an_older_revision_is_outdated(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    assert_eq!(edit(&world, &webhook).await, EditOutcome::Done);
    let before = world.snapshot().await;
    let late = Webhook { active: false, ..webhook };
    assert_eq!(edit(&world, &late).await, EditOutcome::Outdated);
    assert_eq!(world.snapshot().await, before);
}

/// An edit of a deleted webhook changes nothing.
pub async fn an_edit_of_a_deleted_webhook_is_missing(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    world.delete(&webhook).await;
    let before = world.snapshot().await;
    assert_eq!(edit(&world, &webhook).await, EditOutcome::Missing);
    assert_eq!(edit(&world, &world.new_webhook("never")).await, EditOutcome::Missing);
    assert_eq!(world.snapshot().await, before);
}

/// An edit keeps the stored health, whatever health the editor read.
pub async fn an_edit_keeps_health(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.suspended_webhook("hook").await;
    let request = Webhook { health: Health::default(), ..webhook.clone() };
    assert_eq!(edit(&world, &request).await, EditOutcome::Done);
    assert_eq!(world.current(&webhook).await.health, webhook.health);
}

/// Setting a webhook active ends a hold; other edits do not.
pub async fn activation_ends_a_hold(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = Webhook { active: false, ..world.new_webhook("hook") };
    world.create(&webhook).await;
    let steps = [(false, false), (true, true), (true, false), (false, false), (true, true)];
    for (active, ends_a_hold) in steps {
        let current = world.current(&webhook).await;
        let audit = world.audit("webhook.edit");
        let expected = if ends_a_hold { Some(audit.at) } else { current.health.hold_ended_at };
        let request = Webhook { active, ..current };
        world.store.edit_webhook(&request, audit).await.expect("edit_webhook");
        let current = world.current(&webhook).await;
        assert_eq!((current.active, current.health.hold_ended_at), (active, expected));
    }
}

/// A suspension ends when the payload URL or the secret changes, even while the webhook is inactive, and when
/// the webhook is switched off and on. Other edits keep it.
pub async fn a_new_url_or_switching_on_ends_a_suspension(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let url = |path: &str| PayloadUrl::from_stored(&format!("https://example.com/{path}"));
    let cases = [
        ("same", vec![(true, "hook")], false),
        ("url", vec![(true, "other")], true),
        ("off", vec![(false, "hook")], false),
        ("off-on", vec![(false, "hook"), (true, "hook")], true),
        ("off-url", vec![(false, "other")], true),
    ];
    for (name, steps, ends) in cases {
        let webhook = world.suspended_webhook(name).await;
        for (active, path) in steps {
            let request = Webhook { active, payload_url: url(path), ..world.current(&webhook).await };
            assert_eq!(edit(&world, &request).await, EditOutcome::Done);
        }
        let after = world.current(&webhook).await;
        assert_eq!(after.health.suspension.is_none(), ends, "{name}");
        assert_eq!(after.health.failures == 0, ends, "{name}");
    }
}

/// A suspension ends when the secret is changed, added or removed.
pub async fn a_new_secret_ends_a_suspension(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let secret = full_webhook(&world).await.secret.expect("it has one");
    let other = StoredSecret { fingerprint: [9; 32], ..secret.clone() };
    let sealed_again = StoredSecret { previous: None, ..secret.clone() };
    let cases = [
        ("added", None, Some(secret.clone()), true),
        ("changed", Some(secret.clone()), Some(other), true),
        ("removed", Some(secret.clone()), None, true),
        ("sealed-again", Some(secret), Some(sealed_again), false),
    ];
    for (name, before, after, ends) in cases {
        let webhook = world.webhook(name).await;
        let request = Webhook { secret: before, ..webhook.clone() };
        assert_eq!(edit(&world, &request).await, EditOutcome::Done);
        let delivery = world.pending(&webhook).await;
        world.try_next(&delivery, 410, Next::Failed(FailReason::AttemptsExhausted)).await;
        let request = Webhook { secret: after, ..world.current(&webhook).await };
        assert_eq!(edit(&world, &request).await, EditOutcome::Done);
        assert_eq!(world.current(&webhook).await.health.suspension.is_none(), ends, "{name}");
    }
}

/// The name of a deleted webhook is free at once, and a new webhook of that name has none of its history.
pub async fn a_deleted_webhooks_name_is_free(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.suspended_webhook("hook").await;
    let version = world.snapshot().await.version;
    world.delete(&webhook).await;
    assert_eq!(find(&world, &webhook).await, None);
    assert_ne!(world.snapshot().await.version, version);

    let second = world.webhook("hook").await;

    assert_eq!(find(&world, &second).await, Some(second.clone()));
    assert_eq!(world.snapshot().await.webhooks, std::slice::from_ref(&second));
    assert_eq!(world.attempt_count(&second).await, 0);
}

/// Deleting an unknown webhook returns `None` and changes nothing.
pub async fn deleting_an_unknown_webhook_returns_none(harness: &dyn Harness) {
    let world = World::open(harness).await;
    world.webhook("hook").await;
    let before = world.snapshot().await;
    let absent = [
        (world.organization, organization_scope(), "other"),
        (world.organization, stack_scope("prod"), "hook"),
        (world.new_organization("nobody").id, organization_scope(), "hook"),
    ];
    for (organization, scope, name) in absent {
        let audit = world.audit("webhook.delete");
        let deleted = world.store.delete_webhook(organization, &scope, &webhook_name(name), audit).await;
        assert_eq!(deleted.expect("delete_webhook"), None);
    }
    assert_eq!(world.snapshot().await, before);
}

/// A scope's webhooks are listed oldest first; pages have no gap and no overlap.
pub async fn webhooks_are_listed_oldest_first(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let mut expected = Vec::new();
    for name in ["z", "a", "m", "b", "y"] {
        expected.push(world.webhook(name).await);
    }
    let scope = organization_scope();
    let mut found: Vec<Webhook> = Vec::new();
    loop {
        let after = found.last().map(|webhook| webhook.id);
        let page = world.store.list_webhooks(world.organization, &scope, after, 2).await;
        let page = page.expect("list_webhooks");
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert_eq!(found, expected);
}

/// An organization's webhooks of all scopes are listed oldest first, without deleted ones and those of
/// others.
pub async fn all_of_an_organizations_webhooks_are_listed_oldest_first(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let other = world.new_organization("other");
    let audit = world.audit("organization.create");
    world.store.create_organization(&other, None, audit).await.expect("create_organization");
    let gone = world.webhook("gone").await;
    let mut expected = Vec::new();
    for scope in scopes().into_iter().chain(scopes().into_iter().rev()) {
        let name = format!("hook-{}", expected.len());
        let webhook = Webhook { scope, ..world.new_webhook(&name) };
        world.create(&webhook).await;
        expected.push(webhook.clone());
        let theirs = Webhook { organization: other.id, id: world.ordered(WebhookId::generate), ..webhook };
        world.create(&theirs).await;
    }
    world.delete(&gone).await;
    let mut found: Vec<Webhook> = Vec::new();
    loop {
        let after = found.last().map(|webhook| webhook.id);
        let page = world.store.list_all_webhooks(world.organization, after, 4).await;
        let page = page.expect("list_all_webhooks");
        assert!(page.len() <= 4);
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert_eq!(found, expected);
}

/// A webhook is found by its id in its own organization until it is deleted.
pub async fn a_webhook_is_found_by_its_id_in_its_organization_alone(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let other = world.new_organization("other");
    let audit = world.audit("organization.create");
    world.store.create_organization(&other, None, audit).await.expect("create_organization");
    let webhook = world.suspended_webhook("hook").await;
    let by_id = async |organization| world.store.webhook(organization, webhook.id).await.expect("webhook");
    assert_eq!(by_id(world.organization).await, Some(webhook.clone()));
    assert_eq!(by_id(other.id).await, None);
    world.delete(&webhook).await;
    assert_eq!(by_id(world.organization).await, None);
}

/// A user can end a suspension. The change has an audit entry, but no new revision.
pub async fn resuming_ends_a_suspension(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.suspended_webhook("hook").await;
    let version = world.snapshot().await.version;
    let now = world.now().after(Duration::from_secs(60));

    let resumed = world.store.resume_webhook(webhook.id, now, world.audit("webhook.resume")).await;

    assert!(resumed.expect("resume_webhook"));
    let expected = Webhook { health: webhook.health.resumed(now), ..webhook };
    assert_eq!(world.current(&expected).await, expected);
    assert_ne!(world.snapshot().await.version, version);
    let delivery = world.pending(&expected).await;
    assert_eq!(world.lease_due(&expected, 1, world.now()).await, [delivery.id]);
}

/// Resuming an unknown webhook returns false.
pub async fn resuming_an_unknown_webhook_returns_false(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    world.delete(&webhook).await;
    for id in [webhook.id, world.new_webhook("never").id] {
        let resumed = world.store.resume_webhook(id, world.now(), world.audit("webhook.resume")).await;
        assert!(!resumed.expect("resume_webhook"));
    }
}
