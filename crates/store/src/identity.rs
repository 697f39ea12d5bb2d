//! Organizations, users, memberships and tokens.

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::identity::{Membership, Organization, Token, TokenHash, TokenOwner, User};
use stackbell_model::ids::{OrganizationId, TokenId, UserId};
use stackbell_model::names::{Login, OrganizationName};
use stackbell_model::permission::Role;

use crate::StoreError;
use crate::audit::AuditEntry;

/// A token with everything that deciding what it may do needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHolder {
    /// The token.
    pub token: Token,
    /// Its user; `None` for a service token.
    pub user: Option<User>,
    /// Where its holder belongs, and as what, in no order. For a service token its organization, with the token's role.
    /// A user's roles are not cut to the token's role here.
    pub memberships: Vec<HeldMembership>,
}

/// Where somebody belongs, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldMembership {
    /// The organization.
    pub organization: Organization,
    /// The holder's role in it.
    pub role: Role,
    /// The organization's version ([`crate::webhooks::OrganizationWebhooks::version`]) as of the same read: as long as it
    /// is the same, so is everything that is said here of the token and of what its holder may do in the organization.
    pub version: u64,
}

/// What an empty store begins with.
#[derive(Clone, Debug)]
pub struct Beginnings {
    /// Its first organization.
    pub organization: Organization,
    /// Its first user, admin of that organization.
    pub user: User,
    /// That user's first token.
    pub token: Token,
    /// The token's hash.
    pub token_hash: TokenHash,
    /// The entry for all of it.
    pub audit: AuditEntry,
}

/// What became of a membership that was to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetMembership {
    /// It is in.
    Done,
    /// The user is the organization's last admin and was to be something less.
    LastAdmin,
}

/// What became of a membership that was to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveMembership {
    /// It is ended.
    Done,
    /// There was none.
    Missing,
    /// The user is the organization's last admin.
    LastAdmin,
}

/// Who there is. Each change writes its audit entry in the same transaction
/// and bumps the version of every organization whose events it touches:
/// a membership's or a service token's organization, and for a user's token all that the user is a member of.
/// What was refused changes nothing and writes no entry.
#[async_trait]
pub trait Identity: Send + Sync {
    /// Whether there is no organization and no user at all.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn is_empty(&self) -> Result<bool, StoreError>;

    /// Inserts the first organization, user, membership and token, if the store is empty; `false` if it is not.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn begin(&self, beginnings: Beginnings) -> Result<bool, StoreError>;

    /// Inserts an organization with its first admin; `false` when the name is taken.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn create_organization(
        &self,
        organization: &Organization,
        admin: Option<UserId>,
        audit: AuditEntry,
    ) -> Result<bool, StoreError>;

    /// The organization of this name.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_organization(&self, name: &OrganizationName) -> Result<Option<Organization>, StoreError>;

    /// The organization with this id.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>, StoreError>;

    /// Up to `limit` organizations by name, beyond `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_organizations(
        &self,
        after: Option<&OrganizationName>,
        limit: u32,
    ) -> Result<Vec<Organization>, StoreError>;

    /// Inserts a user with their first token; `false` when the login is taken.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn create_user(
        &self,
        user: &User,
        token: &Token,
        hash: TokenHash,
        audit: AuditEntry,
    ) -> Result<bool, StoreError>;

    /// The user with this login.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_user(&self, login: &Login) -> Result<Option<User>, StoreError>;

    /// Up to `limit` users by login, beyond `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_users(&self, after: Option<&Login>, limit: u32) -> Result<Vec<User>, StoreError>;

    /// Makes a user a member with this role, whether they were one or not. The last admin stays admin.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn set_membership(
        &self,
        membership: Membership,
        audit: AuditEntry,
    ) -> Result<SetMembership, StoreError>;

    /// Ends a membership, if it is not the last admin's.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn remove_membership(
        &self,
        organization: OrganizationId,
        user: UserId,
        audit: AuditEntry,
    ) -> Result<RemoveMembership, StoreError>;

    /// Up to `limit` members of an organization by login, beyond `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_members(
        &self,
        organization: OrganizationId,
        after: Option<&Login>,
        limit: u32,
    ) -> Result<Vec<(User, Role)>, StoreError>;

    /// Inserts a token; `false` when its owner has `owner_max` already, expired ones counted.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn create_token(
        &self,
        token: &Token,
        hash: TokenHash,
        owner_max: u32,
        audit: AuditEntry,
    ) -> Result<bool, StoreError>;

    /// The holder of the token with this hash, expired or not; `None` when there is none or it was revoked.
    /// All of it as of one moment.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_token(&self, hash: TokenHash) -> Result<Option<TokenHolder>, StoreError>;

    /// The organizations that a user is a member of, with the user's roles, in no order; none for an unknown user.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_memberships(&self, user: UserId) -> Result<Vec<HeldMembership>, StoreError>;

    /// Up to `limit` tokens of an owner that were not revoked, expired ones too, oldest first (by id), beyond `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_tokens(
        &self,
        owner: TokenOwner,
        after: Option<TokenId>,
        limit: u32,
    ) -> Result<Vec<Token>, StoreError>;

    /// Revokes a token of this owner for good; `false` when there was none.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn revoke_token(
        &self,
        owner: TokenOwner,
        token: TokenId,
        audit: AuditEntry,
    ) -> Result<bool, StoreError>;

    /// Notes when tokens were last used. Bumps no version, writes no audit entry, and never sets a time back.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn touch_tokens(&self, used: &[(TokenId, Timestamp)]) -> Result<(), StoreError>;
}
