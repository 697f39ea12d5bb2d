//! People, organizations and tokens.

use crate::Timestamp;
use crate::ids::{OrganizationId, TokenId, UserId};
use crate::names::{DisplayName, Login, OrganizationName};
use crate::permission::Role;

/// An organization: what webhooks, events and members belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// Its id, whatever its name becomes.
    pub id: OrganizationId,
    /// Its name in URLs.
    pub name: OrganizationName,
    /// What people call it.
    pub display_name: DisplayName,
    /// A picture, or empty.
    pub avatar_url: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// What they log in as.
    pub login: Login,
    /// Their name.
    pub name: DisplayName,
    /// Their address, or empty.
    pub email: String,
    /// A picture, or empty.
    pub avatar_url: String,
    /// Whether they run the instance.
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
    /// What they may do there.
    pub role: Role,
}

/// Whose a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenOwner {
    /// A user's: good in each of their organizations, as far as they are.
    User(UserId),
    /// A service token: good in this organization alone.
    Organization(OrganizationId),
}

/// An access token, without its secret, which was shown once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// Whose it is.
    pub owner: TokenOwner,
    /// What people call it.
    pub name: DisplayName,
    /// The most that it may do in an organization.
    pub role: Role,
    /// Whether it may also act as operator, where its owner is one.
    pub is_operator: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends to be good; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// About when it was last used.
    pub last_used_at: Option<Timestamp>,
}

/// HMAC-SHA-256 of a token's text under a server key: what is stored of it, and what it is found by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenHash(…)")
    }
}
