//! Organizations, users, memberships and tokens.

use std::collections::BTreeSet;
use std::time::Duration;

use stackbell_model::identity::{Membership, Organization, Token, TokenHash, TokenOwner, User};
use stackbell_model::ids::OrganizationId;
use stackbell_model::names::Login;
use stackbell_model::permission::Role;

use super::Harness;
use super::fixtures::{World, login, organization_name};
use crate::audit::AuditEntry;
use crate::identity::{Bootstrap, HeldMembership, RemoveMembership, SetMembership, TokenHolder};

/// More than any case makes.
const TOKENS_MAX: u32 = 100;

async fn add_organization(world: &World, name: &str) -> Organization {
    let organization = world.new_organization(name);
    let audit = world.audit("organization.create");
    let created = world.store.create_organization(&organization, None, audit).await;
    assert!(created.expect("create_organization"));
    organization
}

async fn add_user(world: &World, name: &str) -> User {
    let user = world.new_user(name);
    assert!(world.create_user(&user, world.audit("user.create")).await);
    user
}

async fn add_member(world: &World, organization: OrganizationId, user: &User, role: Role) {
    let membership = Membership { organization, user: user.id, role };
    let audit = world.audit("member.set");
    let set = world.store.set_membership(membership, audit).await.expect("set_membership");
    assert_eq!(set, SetMembership::Done);
}

async fn add_token(world: &World, owner: TokenOwner, hash: u8) -> Token {
    let token = world.new_token(owner);
    let audit = world.audit("token.create");
    assert!(
        world
            .store
            .create_token(&token, TokenHash([hash; 32]), TOKENS_MAX, audit)
            .await
            .expect("create_token")
    );
    token
}

async fn holder(world: &World, hash: u8) -> Option<TokenHolder> {
    world.store.find_token(TokenHash([hash; 32])).await.expect("find_token")
}

async fn version(world: &World, organization: OrganizationId) -> u64 {
    let snapshot = world.store.organization_webhooks(organization).await;
    snapshot.expect("organization_webhooks").expect("it is there").version
}

/// The expected membership with the organization's current version.
async fn held(world: &World, organization: Organization, role: Role) -> HeldMembership {
    let version = version(world, organization.id).await;
    HeldMembership { organization, role, version }
}

/// A new store is empty until its first rows are inserted.
pub async fn a_new_store_is_empty(harness: &dyn Harness) {
    let world = World::blank(harness).await;
    assert!(world.store.is_empty().await.expect("is_empty"));
    assert!(world.store.bootstrap(world.bootstrap()).await.expect("bootstrap"));
    assert!(!world.store.is_empty().await.expect("is_empty"));
}

/// An entry for the log of a store without users.
fn nobodys_audit(world: &World, action: &'static str) -> AuditEntry {
    AuditEntry { organization: None, token: None, ..world.audit(action) }
}

/// A store with only a user is not empty and does not accept first rows.
pub async fn a_store_with_a_user_is_not_empty(harness: &dyn Harness) {
    let world = World::blank(harness).await;
    let (user, audit) = (world.new_user("builder"), nobodys_audit(&world, "user.create"));
    assert!(world.create_user(&user, audit).await);
    assert!(!world.store.is_empty().await.expect("is_empty"));
    assert!(!world.store.bootstrap(world.bootstrap()).await.expect("bootstrap"));
}

/// A store with only an organization is not empty and does not accept first rows.
pub async fn a_store_with_an_organization_is_not_empty(harness: &dyn Harness) {
    let world = World::blank(harness).await;
    let (organization, audit) =
        (world.new_organization("other"), nobodys_audit(&world, "organization.create"));
    let created = world.store.create_organization(&organization, None, audit).await;
    assert!(created.expect("create_organization"));
    assert!(!world.store.is_empty().await.expect("is_empty"));
    assert!(!world.store.bootstrap(world.bootstrap()).await.expect("bootstrap"));
}

/// All first rows of a store are inserted.
pub async fn all_first_rows_are_inserted(harness: &dyn Harness) {
    let world = World::blank(harness).await;
    let bootstrap = world.bootstrap();
    assert!(world.store.bootstrap(bootstrap.clone()).await.expect("bootstrap"));

    let Bootstrap { organization, user, token, .. } = bootstrap;
    let found = world.store.find_organization(&organization.name).await.expect("find_organization");
    assert_eq!(found, Some(organization.clone()));
    let found = world.store.find_user(&user.login).await.expect("find_user");
    assert_eq!(found, Some(user.clone()));
    let members = world.store.list_members(organization.id, None, 10).await.expect("list_members");
    assert_eq!(members, [(user.clone(), Role::Admin)]);
    let memberships = vec![held(&world, organization, Role::Admin).await];
    assert_eq!(holder(&world, 1).await, Some(TokenHolder { token, user: Some(user), memberships }));
}

/// The first rows can be inserted once; a second attempt changes nothing.
pub async fn the_first_rows_are_inserted_once(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let second = Bootstrap {
        organization: world.new_organization("second"),
        user: world.new_user("second"),
        token_hash: TokenHash([2; 32]),
        ..world.bootstrap()
    };
    assert!(!world.store.bootstrap(second).await.expect("bootstrap"));
    let found = world.store.find_organization(&organization_name("second")).await;
    assert_eq!(found.expect("find_organization"), None);
    assert_eq!(world.store.find_user(&login("second")).await.expect("find_user"), None);
    assert_eq!(holder(&world, 2).await, None);
}

/// The name of an organization is unique.
pub async fn the_name_of_an_organization_is_unique(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let first = add_organization(&world, "first").await;
    let second = world.new_organization("first");
    let audit = world.audit("organization.create");
    let created = world.store.create_organization(&second, Some(world.user), audit).await;
    assert!(!created.expect("create_organization"));
    let found = world.store.find_organization(&first.name).await.expect("find_organization");
    assert_eq!(found, Some(first.clone()));
    assert_eq!(world.store.organization(first.id).await.expect("organization"), Some(first));
    assert_eq!(world.store.organization(second.id).await.expect("organization"), None);
}

/// An organization can be created with or without its first admin.
pub async fn an_organization_can_be_created_with_an_admin(harness: &dyn Harness) {
    let world = World::open(harness).await;
    for (name, admin) in [("with", Some(world.user)), ("without", None)] {
        let organization = world.new_organization(name);
        let audit = world.audit("organization.create");
        let created = world.store.create_organization(&organization, admin, audit).await;
        assert!(created.expect("create_organization"));
        let members = world.store.list_members(organization.id, None, 10).await.expect("list_members");
        let found: Vec<_> = members.into_iter().map(|(user, role)| (user.id, role)).collect();
        let expected: Vec<_> = admin.into_iter().map(|admin| (admin, Role::Admin)).collect();
        assert_eq!(found, expected);
    }
}

/// Organizations are listed by name; pages have no gap and no overlap.
pub async fn organizations_are_listed_by_name(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (zoo, bar) = (add_organization(&world, "zoo").await, add_organization(&world, "bar").await);
    let list = async |after: Option<&Organization>| {
        let after = after.map(|organization| &organization.name);
        world.store.list_organizations(after, 2).await.expect("list_organizations")
    };
    let first = list(None).await;
    assert_eq!(first.len(), 2);
    assert_eq!((first[0].name.as_str(), &first[1]), ("acme", &bar));
    assert_eq!(list(first.last()).await, [zoo]);
}

/// A login is unique.
pub async fn a_login_is_unique(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let first = add_user(&world, "builder").await;
    let second = world.new_user("builder");
    assert!(!world.create_user(&second, world.audit("user.create")).await);
    assert_eq!(world.store.find_user(&first.login).await.expect("find_user"), Some(first));
    assert_eq!(world.store.find_user(&login("nobody")).await.expect("find_user"), None);
}

/// A user is created with a first token. If the login is taken, neither is created.
pub async fn a_user_is_created_with_a_token(harness: &dyn Harness) {
    let world = World::open(harness).await;
    for (hash, is_new) in [(5, true), (6, false)] {
        let user = world.new_user("builder");
        let token = world.new_token(TokenOwner::User(user.id));
        let audit = world.audit("user.create");
        let created = world.store.create_user(&user, &token, TokenHash([hash; 32]), audit).await;
        assert_eq!(created.expect("create_user"), is_new);
        let expected = TokenHolder { token, user: Some(user), memberships: Vec::new() };
        assert_eq!(holder(&world, hash).await, is_new.then_some(expected));
    }
}

/// Users are listed by login; pages have no gap and no overlap.
pub async fn users_are_listed_by_login(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (writer, builder) = (add_user(&world, "writer").await, add_user(&world, "builder").await);
    let list = async |after: Option<&Login>| world.store.list_users(after, 2).await.expect("list_users");
    let first = list(None).await;
    assert_eq!(first.len(), 2);
    assert_eq!((first[0].login.as_str(), &first[1]), ("analyst", &builder));
    assert_eq!(list(Some(&builder.login)).await, [writer]);
}

/// A membership can be set, changed and removed. Each change increments the version of its organization only.
pub async fn memberships_are_set_changed_and_removed(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (organization, other) =
        (add_organization(&world, "one").await, add_organization(&world, "two").await);
    let user = add_user(&world, "builder").await;
    let others = version(&world, other.id).await;
    let admin = add_user(&world, "auditor").await;
    add_member(&world, organization.id, &admin, Role::Admin).await;
    let admin = (admin, Role::Admin);
    let mut before = version(&world, organization.id).await;
    for role in Role::ALL.iter().copied() {
        add_member(&world, organization.id, &user, role).await;
        let members = world.store.list_members(organization.id, None, 10).await.expect("list_members");
        assert_eq!(members, [admin.clone(), (user.clone(), role)]);
        let after = version(&world, organization.id).await;
        assert_ne!(after, before);
        before = after;
    }
    for expected in [RemoveMembership::Done, RemoveMembership::Missing] {
        assert_eq!(remove(&world, organization.id, &user).await, expected);
    }
    let members = world.store.list_members(organization.id, None, 10).await;
    assert_eq!(members.expect("list_members"), [admin]);
    assert_ne!(version(&world, organization.id).await, before);
    assert_eq!(version(&world, other.id).await, others);
}

async fn remove(world: &World, organization: OrganizationId, user: &User) -> RemoveMembership {
    let audit = world.audit("member.remove");
    world.store.remove_membership(organization, user.id, audit).await.expect("remove_membership")
}

/// The last admin of an organization can be neither removed nor demoted; admins elsewhere do not count.
pub async fn the_last_admin_stays(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let organization = add_organization(&world, "one").await.id;
    let (first, second) = (add_user(&world, "builder").await, add_user(&world, "checker").await);
    let set = async |user: &User, role| {
        let membership = Membership { organization, user: user.id, role };
        let set = world.store.set_membership(membership, world.audit("member.set")).await;
        set.expect("set_membership")
    };
    add_member(&world, world.organization, &second, Role::Admin).await;
    add_member(&world, organization, &second, Role::Member).await;
    assert_eq!(set(&first, Role::Admin).await, SetMembership::Done);
    let before = version(&world, organization).await;
    for role in [Role::Member, Role::Publisher, Role::Viewer] {
        assert_eq!(set(&first, role).await, SetMembership::LastAdmin);
    }
    assert_eq!(remove(&world, organization, &first).await, RemoveMembership::LastAdmin);
    assert_eq!(version(&world, organization).await, before);
    let members = world.store.list_members(organization, None, 10).await.expect("list_members");
    assert_eq!(members, [(first.clone(), Role::Admin), (second.clone(), Role::Member)]);

    assert_eq!(set(&first, Role::Admin).await, SetMembership::Done);
    assert_eq!(set(&second, Role::Admin).await, SetMembership::Done);
    assert_eq!(set(&first, Role::Viewer).await, SetMembership::Done);
    assert_eq!(remove(&world, organization, &second).await, RemoveMembership::LastAdmin);
    assert_eq!(remove(&world, organization, &first).await, RemoveMembership::Done);
}

/// Members are listed by login; pages have no gap and no overlap.
pub async fn members_are_listed_by_login(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (writer, builder) = (add_user(&world, "writer").await, add_user(&world, "builder").await);
    add_user(&world, "stranger").await;
    add_member(&world, world.organization, &writer, Role::Viewer).await;
    add_member(&world, world.organization, &builder, Role::Member).await;
    let first = world.store.list_members(world.organization, None, 2).await.expect("list_members");
    assert_eq!(first.len(), 2);
    assert_eq!(first[1], (builder.clone(), Role::Member));
    let rest = world.store.list_members(world.organization, Some(&builder.login), 2).await;
    assert_eq!(rest.expect("list_members"), [(writer, Role::Viewer)]);
}

/// A user's token is found with the user and all memberships, and with no data of other users.
pub async fn a_users_token_is_found_with_its_user(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (one, two) = (add_organization(&world, "one").await, add_organization(&world, "two").await);
    let user = add_user(&world, "builder").await;
    add_member(&world, one.id, &user, Role::Admin).await;
    add_member(&world, two.id, &user, Role::Viewer).await;
    let token = add_token(&world, TokenOwner::User(user.id), 5).await;

    let mut found = holder(&world, 5).await.expect("the token is there");
    found.memberships.sort_by(|one, other| one.organization.name.cmp(&other.organization.name));

    let memberships = vec![held(&world, one, Role::Admin).await, held(&world, two, Role::Viewer).await];
    assert_eq!(found, TokenHolder { token, user: Some(user), memberships });
    assert_eq!(holder(&world, 6).await, None);
}

/// A service token has one membership: its organization, with the token's role.
pub async fn a_service_token_has_one_membership(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let organization = add_organization(&world, "one").await;
    let token = Token {
        role: Role::Publisher,
        expires_at: None,
        is_operator: true,
        ..world.new_token(TokenOwner::Organization(organization.id))
    };
    let audit = world.audit("token.create");
    assert!(
        world.store.create_token(&token, TokenHash([5; 32]), TOKENS_MAX, audit).await.expect("create_token")
    );
    let memberships = vec![held(&world, organization, Role::Publisher).await];
    assert_eq!(holder(&world, 5).await, Some(TokenHolder { token, user: None, memberships }));
}

/// An expired token is still found; the caller decides whether it is valid.
pub async fn an_expired_token_is_still_found(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let new = world.new_token(TokenOwner::User(world.user));
    let token = Token { expires_at: Some(new.created_at.before(Duration::from_secs(1))), ..new };
    let audit = world.audit("token.create");
    assert!(
        world.store.create_token(&token, TokenHash([5; 32]), TOKENS_MAX, audit).await.expect("create_token")
    );
    assert_eq!(holder(&world, 5).await.map(|holder| holder.token), Some(token));
}

/// An owner's tokens are listed oldest first; pages have no gap and no overlap, and owners do not mix.
pub async fn tokens_are_listed_by_owner(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let user = add_user(&world, "builder").await;
    let owners = [TokenOwner::User(user.id), TokenOwner::Organization(world.organization)];
    for (owner, hash) in owners.into_iter().zip([10, 20]) {
        let mut expected = world.store.list_tokens(owner, None, 10).await.expect("list_tokens");
        for count in hash.. {
            if expected.len() == 3 {
                break;
            }
            expected.push(add_token(&world, owner, count).await);
        }
        let mut found: Vec<Token> = Vec::new();
        for size in [2, 1, 0] {
            let after = found.last().map(|token| token.id);
            let page = world.store.list_tokens(owner, after, 2).await.expect("list_tokens");
            assert_eq!(page.len(), size);
            found.extend(page);
        }
        assert_eq!(found, expected);
    }
}

/// The number of an owner's tokens is limited. Expired tokens count, tokens of other owners do not, and a
/// revoked token makes room.
pub async fn the_number_of_an_owners_tokens_is_limited(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let owner = TokenOwner::Organization(world.organization);
    let create = async |owner, hash, owner_max| {
        let new = world.new_token(owner);
        let token = Token { expires_at: Some(new.created_at), ..new };
        let (hash, audit) = (TokenHash([hash; 32]), world.audit("token.create"));
        let created = world.store.create_token(&token, hash, owner_max, audit).await;
        created.expect("create_token").then_some(token.id)
    };
    let first = create(owner, 5, 2).await.expect("there is room");
    assert!(create(owner, 6, 2).await.is_some());
    assert!(create(owner, 7, 2).await.is_none());
    assert!(create(TokenOwner::User(world.user), 7, 2).await.is_some());
    assert!(create(TokenOwner::User(world.user), 8, 2).await.is_none());
    assert_eq!(holder(&world, 8).await, None);
    let revoked = world.store.revoke_token(owner, first, world.audit("token.revoke")).await;
    assert!(revoked.expect("revoke_token"));
    assert!(create(owner, 8, 2).await.is_some());
}

/// A revoked token is removed permanently; only its owner can revoke it.
pub async fn a_revoked_token_is_removed(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let owner = TokenOwner::Organization(world.organization);
    let token = add_token(&world, owner, 5).await;
    let tries = [(TokenOwner::User(world.user), false), (owner, true), (owner, false)];
    for (owner, expected) in tries {
        let revoked = world.store.revoke_token(owner, token.id, world.audit("token.revoke")).await;
        assert_eq!(revoked.expect("revoke_token"), expected);
        let found = holder(&world, 5).await.is_some();
        assert_eq!(found, owner == TokenOwner::User(world.user));
    }
    assert_eq!(world.store.list_tokens(owner, None, 10).await.expect("list_tokens"), []);
}

/// Events and audit entries of a token outlive it.
pub async fn events_of_a_revoked_token_are_kept(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let event = world.new_event();
    world.accept(&event, &[]).await;
    let owner = TokenOwner::User(world.user);
    let revoked = world.store.revoke_token(owner, world.token, world.audit("token.revoke")).await;
    assert!(revoked.expect("revoke_token"));
    let found = world.store.find_event(world.organization, event.id).await.expect("find_event");
    assert_eq!(found.map(|stored| stored.event), Some(event));
}

/// Creating and revoking a service token increments its organization's version; a user's token increments
/// those of all the user's organizations.
pub async fn tokens_increment_the_versions_of_their_organizations(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (one, two) = (add_organization(&world, "one").await, add_organization(&world, "two").await);
    let user = add_user(&world, "builder").await;
    add_member(&world, one.id, &user, Role::Member).await;
    let cases =
        [(TokenOwner::User(user.id), 5, [true, false]), (TokenOwner::Organization(two.id), 6, [false, true])];
    for (owner, hash, expected) in cases {
        let before = [version(&world, one.id).await, version(&world, two.id).await];
        let token = add_token(&world, owner, hash).await;
        let created = [version(&world, one.id).await, version(&world, two.id).await];
        let revoked = world.store.revoke_token(owner, token.id, world.audit("token.revoke")).await;
        assert!(revoked.expect("revoke_token"));
        let revoked = [version(&world, one.id).await, version(&world, two.id).await];
        assert_eq!([0, 1].map(|index| before[index] != created[index]), expected, "{owner:?}");
        assert_eq!([0, 1].map(|index| created[index] != revoked[index]), expected, "{owner:?}");
    }
}

/// A holder is found with the versions of that moment, for user and service tokens. Versions grow with every
/// edit of the organization, so that an older result can be recognized.
pub async fn a_holder_has_the_current_versions(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let other = add_organization(&world, "other").await;
    let user = add_user(&world, "builder").await;
    add_member(&world, world.organization, &user, Role::Member).await;
    add_member(&world, other.id, &user, Role::Member).await;
    add_token(&world, TokenOwner::User(user.id), 5).await;
    add_token(&world, TokenOwner::Organization(world.organization), 6).await;
    let mut before = version(&world, world.organization).await;
    let others = version(&world, other.id).await;
    for step in 0..3 {
        let (here, there) = ((world.organization, before), (other.id, others));
        for (hash, expected) in [(5, BTreeSet::from([here, there])), (6, BTreeSet::from([here]))] {
            let found = holder(&world, hash).await.expect("the token is there").memberships;
            let found: BTreeSet<_> = found.iter().map(|held| (held.organization.id, held.version)).collect();
            assert_eq!(found, expected);
        }
        match step {
            0 => drop(world.webhook("hook").await),
            _ => add_member(&world, world.organization, &user, Role::Viewer).await,
        }
        let after = version(&world, world.organization).await;
        assert!(after > before, "versions grow");
        before = after;
    }
}

/// A user's current memberships are listed, even without a token.
pub async fn a_users_memberships_are_listed(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let other = add_organization(&world, "other").await;
    let user = add_user(&world, "builder").await;
    let list = async || world.store.list_memberships(user.id).await.expect("list_memberships");
    assert_eq!(list().await, []);
    add_member(&world, other.id, &user, Role::Publisher).await;
    assert_eq!(list().await, [held(&world, other, Role::Publisher).await]);
    let stranger = world.new_user("stranger").id;
    assert_eq!(world.store.list_memberships(stranger).await.expect("list_memberships"), []);
}

/// A token's last use is recorded, is never moved back, and changes no version.
pub async fn a_last_use_is_never_moved_back(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let other = add_token(&world, TokenOwner::User(world.user), 5).await;
    let unknown = world.new_token(TokenOwner::User(world.user));
    let before = world.snapshot().await.version;
    let start = world.now();
    let at = |seconds| start.after(Duration::from_secs(seconds));
    for (used, expected) in [(5, 5), (3, 5), (5, 5), (7, 7)] {
        let uses = [(world.token, at(used)), (unknown.id, at(used))];
        world.store.touch_tokens(&uses).await.expect("touch_tokens");
        let last_used_at = holder(&world, 1).await.and_then(|holder| holder.token.last_used_at);
        assert_eq!(last_used_at, Some(at(expected)));
    }
    let twice = [(other.id, at(9)), (other.id, at(8))];
    world.store.touch_tokens(&twice).await.expect("touch_tokens");
    assert_eq!(holder(&world, 5).await.and_then(|holder| holder.token.last_used_at), Some(at(9)));
    assert_eq!(world.snapshot().await.version, before);
}
