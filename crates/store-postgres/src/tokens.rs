//! Tokens, for [`crate::identity`].

use stackbell_model::Timestamp;
use stackbell_model::identity::{Organization, Token, TokenHash, TokenOwner};
use stackbell_model::ids::{OrganizationId, TokenId, UserId};
use stackbell_store::audit::AuditEntry;
use stackbell_store::identity::{HeldMembership, TokenHolder};
use stackbell_store::rows::identity::{read_organization, read_role, read_token, read_user};
use stackbell_store::rows::{Columns as _, Id};
use stackbell_store::{organization_columns, token_columns, user_columns};
use uuid::Uuid;

use crate::audit::insert_audit;
use crate::error::Fault;
use crate::identity::{
    find_organization_number, find_user_number, lock_organization_number, lock_user_number,
};
use crate::organization_lock;
use crate::session::Transaction;
use crate::statement::statement;
use crate::webhooks::bump_version;

/// The tables of [`token_columns`].
macro_rules! token_tables {
    () => {
        " FROM tokens t LEFT JOIN users u ON u.number = t.user_number \
         LEFT JOIN organizations o ON o.number = t.organization_number "
    };
}

statement!(INSERT = "/* create_token */ INSERT INTO tokens (id, hash, user_number, organization_number, \
    name, role, is_operator, created_at, expires_at, last_used_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    UUID, BYTEA, INT8, INT8, TEXT, TEXT, BOOL, INT8, INT8, INT8);

statement!(FIND = concat!(
    "/* find_token */ SELECT ", token_columns!(), token_tables!(), "WHERE t.hash = $1"
); BYTEA);

statement!(FIND_OWNER = concat!(
    "/* find_token.user */ SELECT ", user_columns!(), " FROM users u WHERE u.id = $1"
); UUID);

statement!(MEMBERSHIPS = concat!(
    "/* find_token.memberships */ SELECT ",
    organization_columns!(),
    ", o.version, m.role FROM users u JOIN memberships m ON m.user_number = u.number \
     JOIN organizations o ON o.number = m.organization_number WHERE u.id = $1"
); UUID);

statement!(ORGANIZATION = concat!(
    "/* find_token.organization */ SELECT ", organization_columns!(), ", o.version FROM organizations o WHERE o.id = $1"
); UUID);

statement!(LIST_OF_USER = concat!(
    "/* list_tokens.user */ SELECT ",
    token_columns!(),
    token_tables!(),
    "WHERE u.id = $1 AND t.id > $2 ORDER BY t.id LIMIT $3"
); UUID, UUID, INT8);

statement!(LIST_OF_ORGANIZATION = concat!(
    "/* list_tokens.organization */ SELECT ",
    token_columns!(),
    token_tables!(),
    "WHERE o.id = $1 AND t.id > $2 ORDER BY t.id LIMIT $3"
); UUID, UUID, INT8);

// The tokens of an owner: either `$1` or `$2` is null.
statement!(COUNT = "/* create_token.count */ SELECT \
    (SELECT count(*) FROM tokens WHERE user_number = $1) \
    + (SELECT count(*) FROM tokens WHERE organization_number = $2)"; INT8, INT8);

statement!(REVOKE = "/* revoke_token */ DELETE FROM tokens WHERE id = $1 \
    AND user_number IS NOT DISTINCT FROM $2 AND organization_number IS NOT DISTINCT FROM $3"; UUID, INT8, INT8);

// Locks in the order in which all transactions lock organizations.
statement!(BUMP_VERSIONS_OF_USER = "/* bump_versions_of_user */ WITH locked AS ( \
        SELECT o.number FROM memberships m JOIN organizations o ON o.number = m.organization_number \
        WHERE m.user_number = $1 ORDER BY o.number FOR NO KEY UPDATE OF o \
    ) UPDATE organizations o SET version = o.version + 1 FROM locked WHERE o.number = locked.number"; INT8);

// Locks in one order, because two nodes may record uses of the same tokens.
statement!(TOUCH = "/* touch_tokens */ WITH used AS ( \
        SELECT id, max(at) AS at FROM unnest($1::uuid[], $2::bigint[]) AS used (id, at) GROUP BY id \
    ), locked AS ( \
        SELECT t.number, used.at FROM used JOIN tokens t ON t.id = used.id \
        WHERE t.last_used_at IS NULL OR t.last_used_at < used.at ORDER BY t.number FOR NO KEY UPDATE OF t \
    ) UPDATE tokens t SET last_used_at = locked.at FROM locked WHERE t.number = locked.number";
    UUID_ARRAY, INT8_ARRAY);

/// The columns `user_number` and `organization_number` of an owner.
struct OwnerNumbers {
    user: Option<i64>,
    organization: Option<i64>,
}

impl OwnerNumbers {
    fn of_user(number: i64) -> Self {
        Self { user: Some(number), organization: None }
    }

    fn of_organization(number: i64) -> Self {
        Self { user: None, organization: Some(number) }
    }
}

/// Locks an owner, and so the owner's tokens and memberships, until the transaction ends.
async fn lock_owner(tx: &Transaction, owner: TokenOwner) -> Result<OwnerNumbers, Fault> {
    Ok(match owner {
        TokenOwner::User(user) => OwnerNumbers::of_user(lock_user_number(tx, user).await?),
        TokenOwner::Organization(organization) => {
            OwnerNumbers::of_organization(lock_organization_number(tx, organization).await?)
        }
    })
}

async fn bump_versions(tx: &Transaction, owner: &OwnerNumbers) -> Result<(), Fault> {
    if let Some(number) = owner.organization {
        bump_version(tx, number).await?;
    }
    if let Some(number) = owner.user {
        organization_lock::lock_exclusive_of_user(tx, number).await?;
        tx.change(&BUMP_VERSIONS_OF_USER, &[&number]).await?;
    }
    Ok(())
}

/// Inserts a token of a new owner. Increments no version.
pub(crate) async fn insert(tx: &Transaction, token: &Token, hash: &TokenHash) -> Result<(), Fault> {
    let owner = match token.owner {
        TokenOwner::User(user) => OwnerNumbers::of_user(find_user_number(tx, user).await?),
        TokenOwner::Organization(organization) => {
            OwnerNumbers::of_organization(find_organization_number(tx, organization).await?)
        }
    };
    insert_owned(tx, token, hash, &owner).await
}

async fn insert_owned(
    tx: &Transaction,
    token: &Token,
    hash: &TokenHash,
    owner: &OwnerNumbers,
) -> Result<(), Fault> {
    tx.change(
        &INSERT,
        &[
            &token.id.uuid(),
            &hash.0.as_slice(),
            &owner.user,
            &owner.organization,
            &token.name.as_str(),
            &token.role.as_str(),
            &token.is_operator,
            &token.created_at.as_millis(),
            &token.expires_at.map(Timestamp::as_millis),
            &token.last_used_at.map(Timestamp::as_millis),
        ],
    )
    .await?;
    Ok(())
}

pub(crate) async fn create(
    tx: &Transaction,
    token: &Token,
    hash: &TokenHash,
    owner_max: u32,
    audit: &AuditEntry,
) -> Result<bool, Fault> {
    let owner = lock_owner(tx, token.owner).await?;
    let owned = tx
        .first(&COUNT, &[&owner.user, &owner.organization], "tokens", |cursor| cursor.count("number"))
        .await?;
    if owned.is_some_and(|owned| owned >= u64::from(owner_max)) {
        return Ok(false);
    }
    insert_owned(tx, token, hash, &owner).await?;
    bump_versions(tx, &owner).await?;
    insert_audit(tx, audit).await?;
    Ok(true)
}

/// The transaction must read from one snapshot.
pub(crate) async fn find(tx: &Transaction, hash: &TokenHash) -> Result<Option<TokenHolder>, Fault> {
    let token = tx.first(&FIND, &[&hash.0.as_slice()], "tokens", |cursor| read_token(cursor)).await?;
    let Some(token) = token else { return Ok(None) };
    Ok(Some(match token.owner {
        TokenOwner::User(user) => TokenHolder {
            user: tx.first(&FIND_OWNER, &[&user.uuid()], "users", |cursor| read_user(cursor)).await?,
            memberships: memberships_of(tx, user).await?,
            token,
        },
        TokenOwner::Organization(organization) => {
            let (organization, version) = find_organization(tx, organization).await?;
            let membership = HeldMembership { organization, role: token.role, version };
            TokenHolder { user: None, memberships: vec![membership], token }
        }
    }))
}

/// A user's organizations, with the role in each.
pub(crate) async fn memberships_of(tx: &Transaction, user: UserId) -> Result<Vec<HeldMembership>, Fault> {
    tx.list(&MEMBERSHIPS, &[&user.uuid()], "memberships", |cursor| {
        let (organization, version) = (read_organization(cursor)?, cursor.count("version")?);
        Ok(HeldMembership { organization, role: read_role(cursor)?, version })
    })
    .await
}

async fn find_organization(tx: &Transaction, id: OrganizationId) -> Result<(Organization, u64), Fault> {
    let found = tx
        .first(&ORGANIZATION, &[&id.uuid()], "organizations", |cursor| {
            Ok((read_organization(cursor)?, cursor.count("version")?))
        })
        .await?;
    found.ok_or_else(|| Fault::missing("organizations", &id))
}

pub(crate) async fn list(
    tx: &Transaction,
    owner: TokenOwner,
    after: Option<TokenId>,
    limit: u32,
) -> Result<Vec<Token>, Fault> {
    let after = after.as_ref().map_or(Uuid::nil(), Id::uuid);
    let (statement, owner) = match &owner {
        TokenOwner::User(user) => (&LIST_OF_USER, user.uuid()),
        TokenOwner::Organization(organization) => (&LIST_OF_ORGANIZATION, organization.uuid()),
    };
    tx.list(statement, &[&owner, &after, &i64::from(limit)], "tokens", |cursor| read_token(cursor)).await
}

pub(crate) async fn revoke(
    tx: &Transaction,
    owner: TokenOwner,
    token: TokenId,
    audit: &AuditEntry,
) -> Result<bool, Fault> {
    let owner = lock_owner(tx, owner).await?;
    if tx.change(&REVOKE, &[&token.uuid(), &owner.user, &owner.organization]).await? == 0 {
        return Ok(false);
    }
    bump_versions(tx, &owner).await?;
    insert_audit(tx, audit).await?;
    Ok(true)
}

pub(crate) async fn touch(tx: &Transaction, used: &[(TokenId, Timestamp)]) -> Result<(), Fault> {
    let ids: Vec<Uuid> = used.iter().map(|(token, _)| token.uuid()).collect();
    let times: Vec<i64> = used.iter().map(|(_, at)| at.as_millis()).collect();
    tx.change(&TOUCH, &[&ids, &times]).await?;
    Ok(())
}
