//! Tokens, for [`crate::identity`].

use rusqlite::{Connection, params};
use stackbell_model::Timestamp;
use stackbell_model::identity::{Organization, Token, TokenHash, TokenOwner};
use stackbell_model::ids::{OrganizationId, TokenId, UserId};
use stackbell_store::audit::AuditEntry;
use stackbell_store::identity::{HeldMembership, TokenHolder};

use crate::error::Fault;
use crate::identity::{find_organization_number, find_user_number};
use crate::rows::audit::insert_audit;
use crate::rows::{self, change, first};
use crate::webhooks::bump_version;
use stackbell_store::rows::identity::{read_organization, read_role, read_token, read_user};
use stackbell_store::rows::{Columns as _, Id};
use stackbell_store::{organization_columns, token_columns, user_columns};

/// The tables of [`token_columns`].
macro_rules! token_tables {
    () => {
        " FROM tokens t LEFT JOIN users u ON u.number = t.user_number \
         LEFT JOIN organizations o ON o.number = t.organization_number "
    };
}

const INSERT: &str = "/* create_token */ INSERT INTO tokens (id, hash, user_number, organization_number, \
    name, role, is_operator, created_at, expires_at, last_used_at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

pub(crate) const FIND: &str =
    concat!("/* find_token */ SELECT ", token_columns!(), token_tables!(), "WHERE t.hash = ?1");

const FIND_OWNER: &str =
    concat!("/* find_token.user */ SELECT ", user_columns!(), " FROM users u WHERE u.id = ?1");

pub(crate) const MEMBERSHIPS: &str = concat!(
    "/* find_token.memberships */ SELECT ",
    organization_columns!(),
    ", o.version, m.role FROM users u JOIN memberships m ON m.user_number = u.number \
     JOIN organizations o ON o.number = m.organization_number WHERE u.id = ?1"
);

pub(crate) const ORGANIZATION: &str = concat!(
    "/* find_token.organization */ SELECT ",
    organization_columns!(),
    ", o.version FROM organizations o WHERE o.id = ?1"
);

const LIST_OF_USER: &str = concat!(
    "/* list_tokens.user */ SELECT ",
    token_columns!(),
    token_tables!(),
    "WHERE u.id = ?1 AND t.id > ?2 ORDER BY t.id LIMIT ?3"
);

const LIST_OF_ORGANIZATION: &str = concat!(
    "/* list_tokens.organization */ SELECT ",
    token_columns!(),
    token_tables!(),
    "WHERE o.id = ?1 AND t.id > ?2 ORDER BY t.id LIMIT ?3"
);

/// The tokens of an owner: either `user_number` or `organization_number` is null.
pub(crate) const COUNT: &str = "/* create_token.count */ SELECT \
    (SELECT COUNT(*) FROM tokens WHERE user_number = ?1) \
    + (SELECT COUNT(*) FROM tokens WHERE organization_number = ?2)";

const REVOKE: &str = "/* revoke_token */ DELETE FROM tokens WHERE id = ?1 \
    AND user_number IS ?2 AND organization_number IS ?3";

const BUMP_VERSIONS_OF_USER: &str = "/* bump_versions_of_user */ UPDATE organizations \
    SET version = version + 1 \
    WHERE number IN (SELECT organization_number FROM memberships WHERE user_number = ?1)";

const TOUCH: &str = "/* touch_tokens */ UPDATE tokens SET last_used_at = ?2 \
    WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)";

/// The columns `user_number` and `organization_number` of an owner.
struct OwnerNumbers {
    user: Option<i64>,
    organization: Option<i64>,
}

fn find_owner(connection: &Connection, owner: TokenOwner) -> Result<OwnerNumbers, Fault> {
    Ok(match owner {
        TokenOwner::User(user) => {
            OwnerNumbers { user: Some(find_user_number(connection, user)?), organization: None }
        }
        TokenOwner::Organization(organization) => {
            let number = find_organization_number(connection, organization)?;
            OwnerNumbers { user: None, organization: Some(number) }
        }
    })
}

fn bump_versions(connection: &Connection, owner: &OwnerNumbers) -> Result<(), Fault> {
    if let Some(number) = owner.organization {
        bump_version(connection, number)?;
    }
    if let Some(number) = owner.user {
        change(connection, BUMP_VERSIONS_OF_USER, [number])?;
    }
    Ok(())
}

/// Inserts a token. Increments no version.
pub(crate) fn insert(connection: &Connection, token: &Token, hash: &TokenHash) -> Result<(), Fault> {
    let owner = find_owner(connection, token.owner)?;
    insert_owned(connection, token, hash, &owner)
}

fn insert_owned(
    connection: &Connection,
    token: &Token,
    hash: &TokenHash,
    owner: &OwnerNumbers,
) -> Result<(), Fault> {
    let parameters = params![
        token.id.bytes(),
        hash.0,
        owner.user,
        owner.organization,
        token.name.as_str(),
        token.role.as_str(),
        token.is_operator,
        token.created_at.as_millis(),
        token.expires_at.map(Timestamp::as_millis),
        token.last_used_at.map(Timestamp::as_millis),
    ];
    change(connection, INSERT, parameters)?;
    Ok(())
}

pub(crate) fn create(
    connection: &Connection,
    token: &Token,
    hash: &TokenHash,
    owner_max: u32,
    audit: &AuditEntry,
) -> Result<bool, Fault> {
    let owner = find_owner(connection, token.owner)?;
    let parameters = params![owner.user, owner.organization];
    let owned = first(connection, COUNT, parameters, "tokens", |cursor| cursor.count("number"))?;
    if owned.is_some_and(|owned| owned >= u64::from(owner_max)) {
        return Ok(false);
    }
    insert_owned(connection, token, hash, &owner)?;
    bump_versions(connection, &owner)?;
    insert_audit(connection, audit)?;
    Ok(true)
}

pub(crate) fn find(connection: &Connection, hash: &TokenHash) -> Result<Option<TokenHolder>, Fault> {
    let Some(token) = first(connection, FIND, [&hash.0], "tokens", |cursor| read_token(cursor))? else {
        return Ok(None);
    };
    Ok(Some(match token.owner {
        TokenOwner::User(user) => TokenHolder {
            user: first(connection, FIND_OWNER, [user.bytes()], "users", |cursor| read_user(cursor))?,
            memberships: memberships_of(connection, user)?,
            token,
        },
        TokenOwner::Organization(organization) => {
            let (organization, version) = find_organization(connection, organization)?;
            let membership = HeldMembership { organization, role: token.role, version };
            TokenHolder { user: None, memberships: vec![membership], token }
        }
    }))
}

/// A user's organizations, with the role in each.
pub(crate) fn memberships_of(connection: &Connection, user: UserId) -> Result<Vec<HeldMembership>, Fault> {
    rows::list(connection, MEMBERSHIPS, [user.bytes()], "memberships", |cursor| {
        let (organization, version) = (read_organization(cursor)?, cursor.count("version")?);
        Ok(HeldMembership { organization, role: read_role(cursor)?, version })
    })
}

fn find_organization(connection: &Connection, id: OrganizationId) -> Result<(Organization, u64), Fault> {
    first(connection, ORGANIZATION, [id.bytes()], "organizations", |cursor| {
        Ok((read_organization(cursor)?, cursor.count("version")?))
    })?
    .ok_or_else(|| Fault::missing("organizations", &id))
}

pub(crate) fn list(
    connection: &Connection,
    owner: TokenOwner,
    after: Option<TokenId>,
    limit: u32,
) -> Result<Vec<Token>, Fault> {
    let after: &[u8] = after.as_ref().map_or(&[], |after| after.bytes());
    let (sql, owner) = match &owner {
        TokenOwner::User(user) => (LIST_OF_USER, user.bytes()),
        TokenOwner::Organization(organization) => (LIST_OF_ORGANIZATION, organization.bytes()),
    };
    rows::list(connection, sql, params![owner, after, limit], "tokens", |cursor| read_token(cursor))
}

pub(crate) fn revoke(
    connection: &Connection,
    owner: TokenOwner,
    token: TokenId,
    audit: &AuditEntry,
) -> Result<bool, Fault> {
    let owner = find_owner(connection, owner)?;
    if change(connection, REVOKE, params![token.bytes(), owner.user, owner.organization])? == 0 {
        return Ok(false);
    }
    bump_versions(connection, &owner)?;
    insert_audit(connection, audit)?;
    Ok(true)
}

pub(crate) fn touch(connection: &Connection, used: &[(TokenId, Timestamp)]) -> Result<(), Fault> {
    for (token, at) in used {
        change(connection, TOUCH, params![token.bytes(), at.as_millis()])?;
    }
    Ok(())
}
