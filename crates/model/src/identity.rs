//! Users, organizations and tokens.

use crate::Timestamp;
use crate::ids::{OrganizationId, TokenId, UserId};
use crate::names::{DisplayName, Login, OrganizationName};
use crate::permission::Role;

/// An organization: the owner of webhooks, events and members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// Its id, which stays when the name changes.
    pub id: OrganizationId,
    /// Its name in URLs.
    pub name: OrganizationName,
    /// Its label for users.
    pub display_name: DisplayName,
    /// The URL of a picture, or empty.
    pub avatar_url: String,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// The login name.
    pub login: Login,
    /// Their name.
    pub name: DisplayName,
    /// Their email address, or empty.
    pub email: String,
    /// The URL of a picture, or empty.
    pub avatar_url: String,
    /// Whether they are an operator of the instance.
    pub is_operator: bool,
    /// When they were added.
    pub created_at: Timestamp,
}

/// A user's role in an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The organization.
    pub organization: OrganizationId,
    /// The user.
    pub user: UserId,
    /// The user's role there.
    pub role: Role,
}

/// The owner of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenOwner {
    /// A user's token. It works in each of the user's organizations, within the user's role there.
    User(UserId),
    /// A service token. It works in this organization only.
    Organization(OrganizationId),
}

/// An access token without its secret, which was shown only once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// Its owner.
    pub owner: TokenOwner,
    /// Its label for users.
    pub name: DisplayName,
    /// The highest role that it can have in an organization.
    pub role: Role,
    /// Whether it may also act as operator, if its owner is one.
    pub is_operator: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it expires; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, approximately.
    pub last_used_at: Option<Timestamp>,
}

/// HMAC-SHA-256 of a token's text under a server key. Tokens are stored and looked up by this hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenHash(…)")
    }
}
