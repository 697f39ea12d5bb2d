//! Organizations, users and memberships. Tokens are in [`crate::tokens`].
//!
//! A transaction that adds a membership of a user, or changes the user's tokens, locks the user's row first. A change of a token
//! therefore increments the versions of all organizations of the user, including memberships that are added at the same time.
//! All transactions lock users first, then organizations by number, then webhooks by number.

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::identity::{Membership, Organization, Token, TokenHash, TokenOwner, User};
use stackbell_model::ids::{OrganizationId, TokenId, UserId};
use stackbell_model::names::{Login, OrganizationName};
use stackbell_model::permission::Role;
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::identity::{
    Bootstrap, HeldMembership, Identity, RemoveMembership, SetMembership, TokenHolder,
};
use stackbell_store::rows::identity::{read_organization, read_role, read_user};
use stackbell_store::rows::{Columns as _, Id as _};
use stackbell_store::{organization_columns, user_columns};

use crate::PostgresStore;
use crate::audit::insert_audit;
use crate::error::Fault;
use crate::organization_lock;
use crate::session::Transaction;
use crate::statement::statement;
use crate::tokens;
use crate::webhooks::bump_version;

statement!(IS_EMPTY = "/* is_empty */ SELECT NOT EXISTS (SELECT FROM organizations) \
    AND NOT EXISTS (SELECT FROM users)";);

// Blocks other inserts, but neither reads nor row locks.
statement!(LOCK_ALL = "/* bootstrap.lock */ LOCK TABLE users, organizations IN SHARE ROW EXCLUSIVE MODE";);

statement!(INSERT_ORGANIZATION = "/* insert_organization */ INSERT INTO organizations \
    (id, name, display_name, avatar_url, created_at, version) VALUES ($1, $2, $3, $4, $5, 1) \
    ON CONFLICT (name) DO NOTHING"; UUID, TEXT, TEXT, TEXT, INT8);

statement!(INSERT_USER = "/* insert_user */ INSERT INTO users \
    (id, login, name, email, avatar_url, is_operator, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7) \
    ON CONFLICT (login) DO NOTHING"; UUID, TEXT, TEXT, TEXT, TEXT, BOOL, INT8);

statement!(SET_MEMBERSHIP = "/* set_membership */ INSERT INTO memberships \
    (organization_number, user_number, role) VALUES ($1, $2, $3) \
    ON CONFLICT (organization_number, user_number) DO UPDATE SET role = excluded.role"; INT8, INT8, TEXT);

statement!(REMOVE_MEMBERSHIP =
    "/* remove_membership */ DELETE FROM memberships WHERE organization_number = $1 AND user_number = $2";
    INT8, INT8);

// Whether `$2` is an admin, and the number of admins.
statement!(COUNT_ADMINS = "/* count_admins */ SELECT count(*) FILTER (WHERE user_number = $2), count(*) \
    FROM memberships WHERE organization_number = $1 AND role = 'admin'"; INT8, INT8);

statement!(FIND_ORGANIZATION_NUMBER =
    "/* find_organization_number */ SELECT number FROM organizations WHERE id = $1"; UUID);

// The lock admits inserts of rows that refer to this one, because keys do not change.
statement!(LOCK_ORGANIZATION =
    "/* lock_organization */ SELECT number FROM organizations WHERE id = $1 FOR NO KEY UPDATE"; UUID);

statement!(FIND_USER_NUMBER = "/* find_user_number */ SELECT number FROM users WHERE id = $1"; UUID);

statement!(LOCK_USER = "/* lock_user */ SELECT number FROM users WHERE id = $1 FOR NO KEY UPDATE"; UUID);

statement!(FIND_ORGANIZATION = concat!(
    "/* find_organization */ SELECT ",
    organization_columns!(),
    " FROM organizations o WHERE o.name = $1"
); TEXT);

statement!(ORGANIZATION = concat!(
    "/* organization */ SELECT ", organization_columns!(), " FROM organizations o WHERE o.id = $1"
); UUID);

statement!(LIST_ORGANIZATIONS = concat!(
    "/* list_organizations */ SELECT ",
    organization_columns!(),
    " FROM organizations o WHERE o.name > $1 ORDER BY o.name LIMIT $2"
); TEXT, INT8);

statement!(FIND_USER = concat!(
    "/* find_user */ SELECT ", user_columns!(), " FROM users u WHERE u.login = $1"
); TEXT);

statement!(LIST_USERS = concat!(
    "/* list_users */ SELECT ",
    user_columns!(),
    " FROM users u WHERE u.login > $1 ORDER BY u.login LIMIT $2"
); TEXT, INT8);

statement!(LIST_MEMBERS = concat!(
    "/* list_members */ SELECT ",
    user_columns!(),
    ", m.role FROM organizations o JOIN memberships m ON m.organization_number = o.number \
     JOIN users u ON u.number = m.user_number WHERE o.id = $1 AND u.login > $2 ORDER BY u.login LIMIT $3"
); UUID, TEXT, INT8);

#[async_trait]
impl Identity for PostgresStore {
    async fn is_empty(&self) -> Result<bool, StoreError> {
        self.read("is_empty", |tx| async move { is_empty(&tx).await }).await
    }

    async fn bootstrap(&self, bootstrap: Bootstrap) -> Result<bool, StoreError> {
        let Bootstrap { organization, user, token, token_hash, audit } = &bootstrap;
        self.write("bootstrap", |tx| async move {
            // Every node calls this at its start. It checks without the lock first, so that it does not block running nodes.
            if !is_empty(&tx).await? {
                return Ok(false);
            }
            tx.change(&LOCK_ALL, &[]).await?;
            if !is_empty(&tx).await? {
                return Ok(false);
            }
            insert_user(&tx, user).await?;
            insert_organization(&tx, organization).await?;
            add_admin(&tx, organization.id, find_user_number(&tx, user.id).await?).await?;
            tokens::insert(&tx, token, token_hash).await?;
            insert_audit(&tx, audit).await?;
            Ok(true)
        })
        .await
    }

    async fn create_organization(
        &self,
        organization: &Organization,
        admin: Option<UserId>,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let audit = &audit;
        self.write("create_organization", |tx| async move {
            let admin = match admin {
                Some(admin) => Some(lock_user_number(&tx, admin).await?),
                None => None,
            };
            if !insert_organization(&tx, organization).await? {
                return Ok(false);
            }
            if let Some(admin) = admin {
                add_admin(&tx, organization.id, admin).await?;
            }
            insert_audit(&tx, audit).await?;
            Ok(true)
        })
        .await
    }

    async fn find_organization(&self, name: &OrganizationName) -> Result<Option<Organization>, StoreError> {
        self.read("find_organization", |tx| async move {
            tx.first(&FIND_ORGANIZATION, &[&name.as_str()], "organizations", |cursor| {
                read_organization(cursor)
            })
            .await
        })
        .await
    }

    async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>, StoreError> {
        self.read("organization", |tx| async move {
            tx.first(&ORGANIZATION, &[&id.uuid()], "organizations", |cursor| read_organization(cursor)).await
        })
        .await
    }

    async fn list_organizations(
        &self,
        after: Option<&OrganizationName>,
        limit: u32,
    ) -> Result<Vec<Organization>, StoreError> {
        let (after, limit) = (after.map_or("", OrganizationName::as_str), i64::from(limit));
        self.read("list_organizations", |tx| async move {
            tx.list(&LIST_ORGANIZATIONS, &[&after, &limit], "organizations", |cursor| {
                read_organization(cursor)
            })
            .await
        })
        .await
    }

    async fn create_user(
        &self,
        user: &User,
        token: &Token,
        hash: TokenHash,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let audit = &audit;
        self.write("create_user", |tx| async move {
            if !insert_user(&tx, user).await? {
                return Ok(false);
            }
            tokens::insert(&tx, token, &hash).await?;
            insert_audit(&tx, audit).await?;
            Ok(true)
        })
        .await
    }

    async fn find_user(&self, login: &Login) -> Result<Option<User>, StoreError> {
        self.read("find_user", |tx| async move {
            tx.first(&FIND_USER, &[&login.as_str()], "users", |cursor| read_user(cursor)).await
        })
        .await
    }

    async fn list_users(&self, after: Option<&Login>, limit: u32) -> Result<Vec<User>, StoreError> {
        let (after, limit) = (after.map_or("", Login::as_str), i64::from(limit));
        self.read("list_users", |tx| async move {
            tx.list(&LIST_USERS, &[&after, &limit], "users", |cursor| read_user(cursor)).await
        })
        .await
    }

    async fn set_membership(
        &self,
        membership: Membership,
        audit: AuditEntry,
    ) -> Result<SetMembership, StoreError> {
        let (Membership { organization, user, role }, audit) = (membership, &audit);
        self.write("set_membership", |tx| async move {
            let user = lock_user_number(&tx, user).await?;
            let organization = lock_organization_number(&tx, organization).await?;
            if role != Role::Admin && is_last_admin(&tx, organization, user).await? {
                return Ok(SetMembership::LastAdmin);
            }
            tx.change(&SET_MEMBERSHIP, &[&organization, &user, &role.as_str()]).await?;
            bump_version(&tx, organization).await?;
            insert_audit(&tx, audit).await?;
            Ok(SetMembership::Done)
        })
        .await
    }

    async fn remove_membership(
        &self,
        organization: OrganizationId,
        user: UserId,
        audit: AuditEntry,
    ) -> Result<RemoveMembership, StoreError> {
        let audit = &audit;
        self.write("remove_membership", |tx| async move {
            let user = find_user(&tx, user).await?;
            let Some((organization, user)) = lock_organization(&tx, organization).await?.zip(user) else {
                return Ok(RemoveMembership::Missing);
            };
            if is_last_admin(&tx, organization, user).await? {
                return Ok(RemoveMembership::LastAdmin);
            }
            if tx.change(&REMOVE_MEMBERSHIP, &[&organization, &user]).await? == 0 {
                return Ok(RemoveMembership::Missing);
            }
            bump_version(&tx, organization).await?;
            insert_audit(&tx, audit).await?;
            Ok(RemoveMembership::Done)
        })
        .await
    }

    async fn list_members(
        &self,
        organization: OrganizationId,
        after: Option<&Login>,
        limit: u32,
    ) -> Result<Vec<(User, Role)>, StoreError> {
        let (after, limit) = (after.map_or("", Login::as_str), i64::from(limit));
        self.read("list_members", |tx| async move {
            tx.list(&LIST_MEMBERS, &[&organization.uuid(), &after, &limit], "users", |cursor| {
                Ok((read_user(cursor)?, read_role(cursor)?))
            })
            .await
        })
        .await
    }

    async fn create_token(
        &self,
        token: &Token,
        hash: TokenHash,
        owner_max: u32,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let audit = &audit;
        self.write(
            "create_token",
            |tx| async move { tokens::create(&tx, token, &hash, owner_max, audit).await },
        )
        .await
    }

    async fn find_token(&self, hash: TokenHash) -> Result<Option<TokenHolder>, StoreError> {
        self.read("find_token", |tx| async move { tokens::find(&tx, &hash).await }).await
    }

    async fn list_memberships(&self, user: UserId) -> Result<Vec<HeldMembership>, StoreError> {
        self.read("list_memberships", |tx| async move { tokens::memberships_of(&tx, user).await }).await
    }

    async fn list_tokens(
        &self,
        owner: TokenOwner,
        after: Option<TokenId>,
        limit: u32,
    ) -> Result<Vec<Token>, StoreError> {
        self.read("list_tokens", |tx| async move { tokens::list(&tx, owner, after, limit).await }).await
    }

    async fn revoke_token(
        &self,
        owner: TokenOwner,
        token: TokenId,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let audit = &audit;
        self.write("revoke_token", |tx| async move { tokens::revoke(&tx, owner, token, audit).await }).await
    }

    async fn touch_tokens(&self, used: &[(TokenId, Timestamp)]) -> Result<(), StoreError> {
        self.write("touch_tokens", |tx| async move { tokens::touch(&tx, used).await }).await
    }
}

async fn is_empty(tx: &Transaction) -> Result<bool, Fault> {
    let is_empty = tx.first(&IS_EMPTY, &[], "organizations", |cursor| cursor.flag("number")).await?;
    Ok(is_empty.unwrap_or(false))
}

/// Inserts an organization; false if the name is taken.
async fn insert_organization(tx: &Transaction, organization: &Organization) -> Result<bool, Fault> {
    let Organization { id, name, display_name, avatar_url, created_at } = organization;
    let (name, display_name) = (name.as_str(), display_name.as_str());
    let inserted = tx
        .change(
            &INSERT_ORGANIZATION,
            &[&id.uuid(), &name, &display_name, avatar_url, &created_at.as_millis()],
        )
        .await?;
    Ok(inserted == 1)
}

/// Inserts a user; false if the login is taken.
async fn insert_user(tx: &Transaction, user: &User) -> Result<bool, Fault> {
    let User { id, login, name, email, avatar_url, is_operator, created_at } = user;
    let (login, name) = (login.as_str(), name.as_str());
    let inserted = tx
        .change(
            &INSERT_USER,
            &[&id.uuid(), &login, &name, email, avatar_url, is_operator, &created_at.as_millis()],
        )
        .await?;
    Ok(inserted == 1)
}

/// Makes a user the first admin of an organization.
async fn add_admin(tx: &Transaction, organization: OrganizationId, user: i64) -> Result<(), Fault> {
    let organization = find_organization_number(tx, organization).await?;
    tx.change(&SET_MEMBERSHIP, &[&organization, &user, &Role::Admin.as_str()]).await?;
    Ok(())
}

/// Whether a user is the only admin of an organization, which the caller has locked.
async fn is_last_admin(tx: &Transaction, organization: i64, user: i64) -> Result<bool, Fault> {
    let counts = tx
        .first(&COUNT_ADMINS, &[&organization, &user], "memberships", |cursor| {
            Ok((cursor.count("role")?, cursor.count("role")?))
        })
        .await?;
    Ok(counts == Some((1, 1)))
}

/// Finds the number of an organization.
pub(crate) async fn find_organization(tx: &Transaction, id: OrganizationId) -> Result<Option<i64>, Fault> {
    tx.first(&FIND_ORGANIZATION_NUMBER, &[&id.uuid()], "organizations", |cursor| cursor.integer("number"))
        .await
}

/// Finds the number of an organization, and blocks its edits and intakes until the transaction ends.
pub(crate) async fn lock_organization(tx: &Transaction, id: OrganizationId) -> Result<Option<i64>, Fault> {
    organization_lock::lock_exclusive(tx, id).await?;
    tx.first(&LOCK_ORGANIZATION, &[&id.uuid()], "organizations", |cursor| cursor.integer("number")).await
}

async fn find_user(tx: &Transaction, id: UserId) -> Result<Option<i64>, Fault> {
    tx.first(&FIND_USER_NUMBER, &[&id.uuid()], "users", |cursor| cursor.integer("number")).await
}

/// Finds the number of an organization that must exist.
pub(crate) async fn find_organization_number(tx: &Transaction, id: OrganizationId) -> Result<i64, Fault> {
    find_organization(tx, id).await?.ok_or_else(|| Fault::missing("organizations", &id))
}

/// Finds the number of an organization that must exist, and blocks its edits and intakes until the transaction ends.
pub(crate) async fn lock_organization_number(tx: &Transaction, id: OrganizationId) -> Result<i64, Fault> {
    lock_organization(tx, id).await?.ok_or_else(|| Fault::missing("organizations", &id))
}

/// Finds the number of a user who must exist.
pub(crate) async fn find_user_number(tx: &Transaction, id: UserId) -> Result<i64, Fault> {
    find_user(tx, id).await?.ok_or_else(|| Fault::missing("users", &id))
}

/// Finds the number of a user who must exist, and blocks changes of the user's memberships and tokens until the transaction ends.
pub(crate) async fn lock_user_number(tx: &Transaction, id: UserId) -> Result<i64, Fault> {
    let found = tx.first(&LOCK_USER, &[&id.uuid()], "users", |cursor| cursor.integer("number")).await?;
    found.ok_or_else(|| Fault::missing("users", &id))
}
