//! Organizations, users, memberships and tokens.

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::identity::{Membership, Organization, Token, TokenHash, TokenOwner, User};
use stackbell_model::ids::{OrganizationId, TokenId, UserId};
use stackbell_model::names::{Login, OrganizationName};
use stackbell_model::permission::Role;

use crate::StoreError;
use crate::audit::AuditEntry;

/// A token with all data that is needed to check its permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHolder {
    /// The token.
    pub token: Token,
    /// Its user; `None` for a service token.
    pub user: Option<User>,
    /// The holder's memberships, in no order. A service token has one: its organization, with the token's
    /// role.
    /// A user's roles are not limited to the token's role here.
    pub memberships: Vec<HeldMembership>,
}

/// A membership of a token's holder or of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldMembership {
    /// The organization.
    pub organization: Organization,
    /// The holder's role in it.
    pub role: Role,
    /// The organization's version ([`crate::webhooks::OrganizationWebhooks::version`]) in the same read.
    /// While the version is unchanged, the token's data and the holder's role in the organization are
    /// unchanged too.
    pub version: u64,
}

/// The first rows of an empty store.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Its first organization.
    pub organization: Organization,
    /// Its first user, admin of that organization.
    pub user: User,
    /// The first token of that user.
    pub token: Token,
    /// The token's hash.
    pub token_hash: TokenHash,
    /// The audit entry for all of it.
    pub audit: AuditEntry,
}

/// The result of setting a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetMembership {
    /// The membership is set.
    Done,
    /// The user is the organization's last admin and would get a lesser role.
    LastAdmin,
}

/// The result of removing a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveMembership {
    /// The membership is removed.
    Done,
    /// The user is not a member.
    Missing,
    /// The user is the organization's last admin.
    LastAdmin,
}

/// Organizations, users, memberships and tokens. Each change writes its audit entry in the same transaction.
///
/// A change also increments the version of every organization whose requests it affects: the organization of
/// a membership or a service token, or all organizations of the user that owns a token. A rejected change
/// changes nothing and writes no entry.
#[async_trait]
pub trait Identity: Send + Sync {
    /// Returns true if there is no organization and no user.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn is_empty(&self) -> Result<bool, StoreError>;

    /// Inserts the first organization, user, membership and token if the store is empty; `false` if it is
    /// not.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn bootstrap(&self, bootstrap: Bootstrap) -> Result<bool, StoreError>;

    /// Inserts an organization with its first admin; `false` if the name is taken.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn create_organization(
        &self,
        organization: &Organization,
        admin: Option<UserId>,
        audit: AuditEntry,
    ) -> Result<bool, StoreError>;

    /// Returns the organization with this name.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_organization(&self, name: &OrganizationName) -> Result<Option<Organization>, StoreError>;

    /// Returns the organization with this id.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>, StoreError>;

    /// Returns up to `limit` organizations, ordered by name, after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_organizations(
        &self,
        after: Option<&OrganizationName>,
        limit: u32,
    ) -> Result<Vec<Organization>, StoreError>;

    /// Inserts a user with their first token; `false` if the login is taken.
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

    /// Returns the user with this login.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_user(&self, login: &Login) -> Result<Option<User>, StoreError>;

    /// Returns up to `limit` users, ordered by login, after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_users(&self, after: Option<&Login>, limit: u32) -> Result<Vec<User>, StoreError>;

    /// Makes a user a member with this role, or changes the role of a member. The role of the last admin
    /// stays.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn set_membership(
        &self,
        membership: Membership,
        audit: AuditEntry,
    ) -> Result<SetMembership, StoreError>;

    /// Removes a membership, except the last admin's.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn remove_membership(
        &self,
        organization: OrganizationId,
        user: UserId,
        audit: AuditEntry,
    ) -> Result<RemoveMembership, StoreError>;

    /// Returns up to `limit` members of an organization, ordered by login, after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_members(
        &self,
        organization: OrganizationId,
        after: Option<&Login>,
        limit: u32,
    ) -> Result<Vec<(User, Role)>, StoreError>;

    /// Inserts a token; `false` if its owner has `owner_max` tokens already, including expired ones.
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

    /// Returns the holder of the token with this hash, even if the token has expired; `None` if it does not
    /// exist or was revoked. All data comes from one snapshot.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_token(&self, hash: TokenHash) -> Result<Option<TokenHolder>, StoreError>;

    /// Returns a user's organizations with the user's roles, in no order; empty for an unknown user.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_memberships(&self, user: UserId) -> Result<Vec<HeldMembership>, StoreError>;

    /// Returns up to `limit` tokens of an owner, including expired ones but not revoked ones, oldest first
    /// (by id), after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_tokens(
        &self,
        owner: TokenOwner,
        after: Option<TokenId>,
        limit: u32,
    ) -> Result<Vec<Token>, StoreError>;

    /// Revokes a token of this owner permanently; `false` if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn revoke_token(
        &self,
        owner: TokenOwner,
        token: TokenId,
        audit: AuditEntry,
    ) -> Result<bool, StoreError>;

    /// Records when tokens were last used. It increments no version, writes no audit entry, and never moves a
    /// time back.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn touch_tokens(&self, used: &[(TokenId, Timestamp)]) -> Result<(), StoreError>;
}
