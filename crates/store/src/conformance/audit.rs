//! Each change has an audit entry, and rejected changes have none.

use stackbell_model::identity::{Membership, TokenHash, TokenOwner};
use stackbell_model::ids::{AuditId, OrganizationId};
use stackbell_model::permission::Role;
use stackbell_model::scope::Scope;
use stackbell_model::webhook::Webhook;

use super::Harness;
use super::fixtures::World;
use crate::audit::{AuditEntry, AuditRecord};
use crate::identity::Bootstrap;

async fn actions(world: &World, organization: Option<OrganizationId>) -> Vec<String> {
    let records = world.store.list_audit(organization, None, 100).await.expect("list_audit");
    records.into_iter().rev().map(|record| record.action).collect()
}

/// Makes every kind of change to webhooks. Returns the entries' actions in order.
async fn edit_webhooks(world: &World) -> [&'static str; 4] {
    let webhook = world.webhook("hook").await;
    let edited = Webhook { active: false, ..webhook.clone() };
    world.store.edit_webhook(&edited, world.audit("webhook.edit")).await.expect("edit_webhook");
    let resumed = world.store.resume_webhook(webhook.id, world.now(), world.audit("webhook.resume")).await;
    assert!(resumed.expect("resume_webhook"));
    world.delete(&webhook).await;
    ["webhook.create", "webhook.edit", "webhook.resume", "webhook.delete"]
}

/// Makes every kind of change to identities. Returns the entries' actions in order.
async fn edit_identities(world: &World) -> [&'static str; 6] {
    let organization = world.new_organization("other");
    let audit = world.audit("organization.create");
    world.store.create_organization(&organization, None, audit).await.expect("create_organization");
    let user = world.new_user("builder");
    world.create_user(&user, world.audit("user.create")).await;
    let membership = Membership { organization: world.organization, user: user.id, role: Role::Viewer };
    world.store.set_membership(membership, world.audit("member.set")).await.expect("set_membership");
    let audit = world.audit("member.remove");
    world.store.remove_membership(world.organization, user.id, audit).await.expect("remove_membership");
    let owner = TokenOwner::Organization(world.organization);
    let (token, hash) = (world.new_token(owner), TokenHash([5; 32]));
    world.store.create_token(&token, hash, 9, world.audit("token.create")).await.expect("create_token");
    world.store.revoke_token(owner, token.id, world.audit("token.revoke")).await.expect("revoke_token");
    ["organization.create", "user.create", "member.set", "member.remove", "token.create", "token.revoke"]
}

/// Each change has an entry.
pub async fn each_change_has_its_entry(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let mut expected = edit_webhooks(&world).await.to_vec();
    expected.extend(edit_identities(&world).await);
    assert_eq!(actions(&world, Some(world.organization)).await, expected);
    assert_eq!(actions(&world, None).await, ["instance.begin"]);
}

/// An action that does not change the store has an entry, in the log of an organization or of the instance.
pub async fn an_action_has_its_entry(harness: &dyn Harness) {
    let world = World::open(harness).await;
    world.store.append_audit(world.audit("webhook.ping")).await.expect("append_audit");
    let backup = AuditEntry { organization: None, ..world.audit("instance.backup") };
    world.store.append_audit(backup).await.expect("append_audit");
    assert_eq!(actions(&world, Some(world.organization)).await, ["webhook.ping"]);
    assert_eq!(actions(&world, None).await, ["instance.begin", "instance.backup"]);
}

/// A rejected change, and one that changes nothing, have no entry.
pub async fn rejected_changes_have_no_entry(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let store = &world.store;
    let webhook = world.webhook("hook").await;
    let before = actions(&world, Some(world.organization)).await;
    let absent = world.new_webhook("absent");
    let outdated = Webhook { revision: 9, ..webhook.clone() };

    world.create(&world.new_webhook("hook")).await;
    store.create_webhook(&absent, 1, world.audit("refused")).await.expect("create_webhook");
    store.edit_webhook(&outdated, world.audit("refused")).await.expect("edit_webhook");
    store.edit_webhook(&absent, world.audit("refused")).await.expect("edit_webhook");
    let deleted =
        store.delete_webhook(world.organization, &Scope::Organization, &absent.name, world.audit("refused"));
    deleted.await.expect("delete_webhook");
    store.resume_webhook(absent.id, world.now(), world.audit("refused")).await.expect("resume_webhook");
    let (acme, analyst) = (world.new_organization("acme"), world.new_user("analyst"));
    let stranger = world.new_user("builder").id;
    let audit = world.audit("refused");
    store.create_organization(&acme, None, audit).await.expect("create_organization");
    world.create_user(&analyst, world.audit("refused")).await;
    let removed = store.remove_membership(world.organization, stranger, world.audit("refused"));
    removed.await.expect("remove_membership");
    let removed = store.remove_membership(world.organization, world.user, world.audit("refused"));
    removed.await.expect("remove_membership");
    let demoted = Membership { organization: world.organization, user: world.user, role: Role::Viewer };
    store.set_membership(demoted, world.audit("refused")).await.expect("set_membership");
    let token = world.new_token(TokenOwner::User(world.user));
    let hash = TokenHash([7; 32]);
    store.create_token(&token, hash, 1, world.audit("refused")).await.expect("create_token");
    let owner = TokenOwner::Organization(world.organization);
    store.revoke_token(owner, world.token, world.audit("refused")).await.expect("revoke_token");
    let again = Bootstrap { audit: world.audit("refused"), ..world.bootstrap() };
    store.bootstrap(again).await.expect("bootstrap");
    store.touch_tokens(&[(world.token, world.now())]).await.expect("touch_tokens");

    assert_eq!(actions(&world, Some(world.organization)).await, before);
}

/// An entry is read back as it was written.
pub async fn an_entry_is_read_back_unchanged(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let full = world.audit("user.create");
    let bare = AuditEntry {
        token: None,
        remote: None,
        actor: "stackbell".into(),
        target: "".into(),
        fields: Vec::new(),
        ..world.audit("user.create")
    };
    for (name, entry) in [("builder", full), ("checker", bare)] {
        world.create_user(&world.new_user(name), entry.clone()).await;
        let newest = world.store.list_audit(Some(world.organization), None, 1).await.expect("list_audit");
        assert_eq!(newest, [AuditRecord::from(entry)]);
    }
}

/// Entries are listed newest first; pages have no gap and no overlap.
pub async fn entries_are_listed_newest_first(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let mut expected: Vec<AuditId> = Vec::new();
    for name in ["builder", "checker", "deputy", "editor", "finder"] {
        let entry = world.audit("user.create");
        expected.insert(0, entry.id);
        world.create_user(&world.new_user(name), entry).await;
    }
    let mut found: Vec<AuditId> = Vec::new();
    loop {
        let page = world.store.list_audit(Some(world.organization), found.last().copied(), 2).await;
        let page = page.expect("list_audit");
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        found.extend(page.iter().map(|record| record.id));
    }
    assert_eq!(found, expected);
}

/// Organizations and the instance each have their own log.
pub async fn logs_do_not_mix(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let other = world.new_organization("other");
    let theirs = AuditEntry { organization: Some(other.id), ..world.audit("theirs") };
    world.store.create_organization(&other, None, theirs).await.expect("create_organization");
    let instance = AuditEntry { organization: None, ..world.audit("instances") };
    world.create_user(&world.new_user("builder"), instance).await;
    world.create_user(&world.new_user("checker"), world.audit("ours")).await;

    assert_eq!(actions(&world, Some(world.organization)).await, ["ours"]);
    assert_eq!(actions(&world, Some(other.id)).await, ["theirs"]);
    assert_eq!(actions(&world, None).await, ["instance.begin", "instances"]);
}
