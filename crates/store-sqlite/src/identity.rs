//! Organizations, users and memberships. Tokens are in [`crate::tokens`].

use async_trait::async_trait;
use rusqlite::{Connection, params};
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

use crate::SqliteStore;
use crate::error::Fault;
use crate::rows::audit::insert_audit;
use crate::rows::{change, first, list};
use crate::tokens;
use crate::webhooks::bump_version;
use stackbell_store::rows::identity::{read_organization, read_role, read_user};
use stackbell_store::rows::{Columns as _, Id};
use stackbell_store::{organization_columns, user_columns};

const IS_EMPTY: &str = "/* is_empty */ SELECT NOT EXISTS (SELECT 1 FROM organizations) \
    AND NOT EXISTS (SELECT 1 FROM users)";

const INSERT_ORGANIZATION: &str = "/* insert_organization */ INSERT INTO organizations \
    (id, name, display_name, avatar_url, created_at, version) VALUES (?1, ?2, ?3, ?4, ?5, 1) \
    ON CONFLICT (name) DO NOTHING";

const INSERT_USER: &str = "/* insert_user */ INSERT INTO users \
    (id, login, name, email, avatar_url, is_operator, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
    ON CONFLICT (login) DO NOTHING";

const SET_MEMBERSHIP: &str = "/* set_membership */ INSERT INTO memberships \
    (organization_number, user_number, role) VALUES (?1, ?2, ?3) \
    ON CONFLICT (organization_number, user_number) DO UPDATE SET role = excluded.role";

const REMOVE_MEMBERSHIP: &str =
    "/* remove_membership */ DELETE FROM memberships WHERE organization_number = ?1 AND user_number = ?2";

/// Whether `?2` is an admin, and the number of admins.
pub(crate) const COUNT_ADMINS: &str = "/* count_admins */ SELECT COALESCE(SUM(user_number = ?2), 0), COUNT(*) \
    FROM memberships WHERE organization_number = ?1 AND role = 'admin'";

const FIND_ORGANIZATION_NUMBER: &str =
    "/* find_organization_number */ SELECT number FROM organizations WHERE id = ?1";

const FIND_USER_NUMBER: &str = "/* find_user_number */ SELECT number FROM users WHERE id = ?1";

pub(crate) const FIND_ORGANIZATION: &str = concat!(
    "/* find_organization */ SELECT ",
    organization_columns!(),
    " FROM organizations o WHERE o.name = ?1"
);

pub(crate) const ORGANIZATION: &str =
    concat!("/* organization */ SELECT ", organization_columns!(), " FROM organizations o WHERE o.id = ?1");

const LIST_ORGANIZATIONS: &str = concat!(
    "/* list_organizations */ SELECT ",
    organization_columns!(),
    " FROM organizations o WHERE o.name > ?1 ORDER BY o.name LIMIT ?2"
);

const FIND_USER: &str =
    concat!("/* find_user */ SELECT ", user_columns!(), " FROM users u WHERE u.login = ?1");

const LIST_USERS: &str = concat!(
    "/* list_users */ SELECT ",
    user_columns!(),
    " FROM users u WHERE u.login > ?1 ORDER BY u.login LIMIT ?2"
);

const LIST_MEMBERS: &str = concat!(
    "/* list_members */ SELECT ",
    user_columns!(),
    ", m.role FROM organizations o JOIN memberships m ON m.organization_number = o.number \
     JOIN users u ON u.number = m.user_number WHERE o.id = ?1 AND u.login > ?2 ORDER BY u.login LIMIT ?3"
);

#[async_trait]
impl Identity for SqliteStore {
    async fn is_empty(&self) -> Result<bool, StoreError> {
        self.read("is_empty", is_empty).await
    }

    async fn bootstrap(&self, bootstrap: Bootstrap) -> Result<bool, StoreError> {
        self.write("bootstrap", move |connection, _| {
            if !is_empty(connection)? {
                return Ok(false);
            }
            let Bootstrap { organization, user, token, token_hash, audit } = &bootstrap;
            insert_organization(connection, organization)?;
            insert_user(connection, user)?;
            add_admin(connection, organization.id, user.id)?;
            tokens::insert(connection, token, token_hash)?;
            insert_audit(connection, audit)?;
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
        let organization = organization.clone();
        self.write("create_organization", move |connection, _| {
            if !insert_organization(connection, &organization)? {
                return Ok(false);
            }
            if let Some(admin) = admin {
                add_admin(connection, organization.id, admin)?;
            }
            insert_audit(connection, &audit)?;
            Ok(true)
        })
        .await
    }

    async fn find_organization(&self, name: &OrganizationName) -> Result<Option<Organization>, StoreError> {
        let name = name.clone();
        self.read("find_organization", move |connection| {
            first(connection, FIND_ORGANIZATION, [name.as_str()], "organizations", |cursor| {
                read_organization(cursor)
            })
        })
        .await
    }

    async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>, StoreError> {
        self.read("organization", move |connection| {
            first(connection, ORGANIZATION, [id.bytes()], "organizations", |cursor| read_organization(cursor))
        })
        .await
    }

    async fn list_organizations(
        &self,
        after: Option<&OrganizationName>,
        limit: u32,
    ) -> Result<Vec<Organization>, StoreError> {
        let after = after.map_or_else(String::new, ToString::to_string);
        self.read("list_organizations", move |connection| {
            list(connection, LIST_ORGANIZATIONS, params![after, limit], "organizations", |cursor| {
                read_organization(cursor)
            })
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
        let (user, token) = (user.clone(), token.clone());
        self.write("create_user", move |connection, _| {
            if !insert_user(connection, &user)? {
                return Ok(false);
            }
            tokens::insert(connection, &token, &hash)?;
            insert_audit(connection, &audit)?;
            Ok(true)
        })
        .await
    }

    async fn find_user(&self, login: &Login) -> Result<Option<User>, StoreError> {
        let login = login.clone();
        self.read("find_user", move |connection| {
            first(connection, FIND_USER, [login.as_str()], "users", |cursor| read_user(cursor))
        })
        .await
    }

    async fn list_users(&self, after: Option<&Login>, limit: u32) -> Result<Vec<User>, StoreError> {
        let after = after.map_or_else(String::new, ToString::to_string);
        self.read("list_users", move |connection| {
            list(connection, LIST_USERS, params![after, limit], "users", |cursor| read_user(cursor))
        })
        .await
    }

    async fn set_membership(
        &self,
        membership: Membership,
        audit: AuditEntry,
    ) -> Result<SetMembership, StoreError> {
        self.write("set_membership", move |connection, _| {
            let Membership { organization, user, role } = membership;
            let numbers =
                [find_organization_number(connection, organization)?, find_user_number(connection, user)?];
            if role != Role::Admin && is_last_admin(connection, numbers)? {
                return Ok(SetMembership::LastAdmin);
            }
            insert_membership(connection, numbers, role)?;
            bump_version(connection, numbers[0])?;
            insert_audit(connection, &audit)?;
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
        self.write("remove_membership", move |connection, _| {
            let numbers = find_organization(connection, organization)?.zip(find_user(connection, user)?);
            let Some((organization_number, user_number)) = numbers else {
                return Ok(RemoveMembership::Missing);
            };
            if is_last_admin(connection, [organization_number, user_number])? {
                return Ok(RemoveMembership::LastAdmin);
            }
            if change(connection, REMOVE_MEMBERSHIP, [organization_number, user_number])? == 0 {
                return Ok(RemoveMembership::Missing);
            }
            bump_version(connection, organization_number)?;
            insert_audit(connection, &audit)?;
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
        let after = after.map_or_else(String::new, ToString::to_string);
        self.read("list_members", move |connection| {
            list(connection, LIST_MEMBERS, params![organization.bytes(), after, limit], "users", |cursor| {
                Ok((read_user(cursor)?, read_role(cursor)?))
            })
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
        let token = token.clone();
        self.write("create_token", move |connection, _| {
            tokens::create(connection, &token, &hash, owner_max, &audit)
        })
        .await
    }

    async fn find_token(&self, hash: TokenHash) -> Result<Option<TokenHolder>, StoreError> {
        self.read("find_token", move |connection| tokens::find(connection, &hash)).await
    }

    async fn list_memberships(&self, user: UserId) -> Result<Vec<HeldMembership>, StoreError> {
        self.read("list_memberships", move |connection| tokens::memberships_of(connection, user)).await
    }

    async fn list_tokens(
        &self,
        owner: TokenOwner,
        after: Option<TokenId>,
        limit: u32,
    ) -> Result<Vec<Token>, StoreError> {
        self.read("list_tokens", move |connection| tokens::list(connection, owner, after, limit)).await
    }

    async fn revoke_token(
        &self,
        owner: TokenOwner,
        token: TokenId,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        self.write("revoke_token", move |connection, _| tokens::revoke(connection, owner, token, &audit))
            .await
    }

    async fn touch_tokens(&self, used: &[(TokenId, Timestamp)]) -> Result<(), StoreError> {
        let used = used.to_vec();
        self.write("touch_tokens", move |connection, _| tokens::touch(connection, &used)).await
    }
}

fn is_empty(connection: &Connection) -> Result<bool, Fault> {
    let is_empty = first(connection, IS_EMPTY, [], "organizations", |cursor| cursor.get("number"))?;
    Ok(is_empty.unwrap_or(false))
}

/// Inserts an organization; false if the name is taken.
fn insert_organization(connection: &Connection, organization: &Organization) -> Result<bool, Fault> {
    let parameters = params![
        organization.id.bytes(),
        organization.name.as_str(),
        organization.display_name.as_str(),
        organization.avatar_url,
        organization.created_at.as_millis(),
    ];
    Ok(change(connection, INSERT_ORGANIZATION, parameters)? == 1)
}

/// Inserts a user; false if the login is taken.
fn insert_user(connection: &Connection, user: &User) -> Result<bool, Fault> {
    let parameters = params![
        user.id.bytes(),
        user.login.as_str(),
        user.name.as_str(),
        user.email,
        user.avatar_url,
        user.is_operator,
        user.created_at.as_millis(),
    ];
    Ok(change(connection, INSERT_USER, parameters)? == 1)
}

/// Makes a user the first admin of an organization.
fn add_admin(connection: &Connection, organization: OrganizationId, user: UserId) -> Result<(), Fault> {
    let numbers = [find_organization_number(connection, organization)?, find_user_number(connection, user)?];
    insert_membership(connection, numbers, Role::Admin)
}

fn insert_membership(
    connection: &Connection,
    [organization, user]: [i64; 2],
    role: Role,
) -> Result<(), Fault> {
    change(connection, SET_MEMBERSHIP, params![organization, user, role.as_str()])?;
    Ok(())
}

fn is_last_admin(connection: &Connection, numbers: [i64; 2]) -> Result<bool, Fault> {
    let counts = first(connection, COUNT_ADMINS, numbers, "memberships", |cursor| {
        Ok((cursor.count("role")?, cursor.count("role")?))
    })?;
    Ok(counts == Some((1, 1)))
}

/// Finds the rowid of an organization.
pub(crate) fn find_organization(connection: &Connection, id: OrganizationId) -> Result<Option<i64>, Fault> {
    first(connection, FIND_ORGANIZATION_NUMBER, [id.bytes()], "organizations", |cursor| cursor.get("number"))
}

fn find_user(connection: &Connection, id: UserId) -> Result<Option<i64>, Fault> {
    first(connection, FIND_USER_NUMBER, [id.bytes()], "users", |cursor| cursor.get("number"))
}

/// Finds the rowid of an organization that must exist.
pub(crate) fn find_organization_number(connection: &Connection, id: OrganizationId) -> Result<i64, Fault> {
    find_organization(connection, id)?.ok_or_else(|| Fault::missing("organizations", &id))
}

/// Finds the rowid of a user who must exist.
pub(crate) fn find_user_number(connection: &Connection, id: UserId) -> Result<i64, Fault> {
    find_user(connection, id)?.ok_or_else(|| Fault::missing("users", &id))
}
