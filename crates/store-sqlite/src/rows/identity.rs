//! Organizations, users and tokens.

use stackbell_model::identity::{Organization, Token, TokenOwner, User};
use stackbell_model::names::{DisplayName, Login, OrganizationName};
use stackbell_model::permission::Role;

use crate::error::Fault;
use crate::rows::Cursor;

/// Of `organizations o`.
macro_rules! organization_columns {
    () => {
        "o.id, o.name, o.display_name, o.avatar_url, o.created_at"
    };
}
pub(crate) use organization_columns;

pub(crate) fn read_organization(cursor: &mut Cursor<'_>) -> Result<Organization, Fault> {
    cursor.enter("organizations");
    Ok(Organization {
        id: cursor.id("id")?,
        name: cursor.parsed("name", OrganizationName::parse)?,
        display_name: cursor.parsed("display_name", DisplayName::parse)?,
        avatar_url: cursor.get("avatar_url")?,
        created_at: cursor.time("created_at")?,
    })
}

/// Of `users u`.
macro_rules! user_columns {
    () => {
        "u.id, u.login, u.name, u.email, u.avatar_url, u.is_operator, u.created_at"
    };
}
pub(crate) use user_columns;

pub(crate) fn read_user(cursor: &mut Cursor<'_>) -> Result<User, Fault> {
    cursor.enter("users");
    Ok(User {
        id: cursor.id("id")?,
        login: cursor.parsed("login", Login::parse)?,
        name: cursor.parsed("name", DisplayName::parse)?,
        email: cursor.get("email")?,
        avatar_url: cursor.get("avatar_url")?,
        is_operator: cursor.get("is_operator")?,
        created_at: cursor.time("created_at")?,
    })
}

/// Of `tokens t` and what of `users u` and `organizations o` is its owner.
macro_rules! token_columns {
    () => {
        "t.id, u.id, o.id, t.name, t.role, t.is_operator, t.created_at, t.expires_at, t.last_used_at"
    };
}
pub(crate) use token_columns;

/// What [`token_columns`] are of.
macro_rules! token_tables {
    () => {
        " FROM tokens t LEFT JOIN users u ON u.number = t.user_number \
         LEFT JOIN organizations o ON o.number = t.organization_number "
    };
}
pub(crate) use token_tables;

pub(crate) fn read_token(cursor: &mut Cursor<'_>) -> Result<Token, Fault> {
    cursor.enter("tokens");
    let id = cursor.id("id")?;
    let user = cursor.id_or_null("user_number")?;
    let organization = cursor.id_or_null("organization_number")?;
    let owner = match (user, organization) {
        (Some(user), None) => TokenOwner::User(user),
        (None, Some(organization)) => TokenOwner::Organization(organization),
        (Some(_), Some(_)) | (None, None) => {
            return Err(cursor.fault("user_number", &"there is not one owner"));
        }
    };
    Ok(Token {
        id,
        owner,
        name: cursor.parsed("name", DisplayName::parse)?,
        role: read_role(cursor)?,
        is_operator: cursor.get("is_operator")?,
        created_at: cursor.time("created_at")?,
        expires_at: cursor.time_or_null("expires_at")?,
        last_used_at: cursor.time_or_null("last_used_at")?,
    })
}

pub(crate) fn read_role(cursor: &mut Cursor<'_>) -> Result<Role, Fault> {
    cursor.word("role", Role::parse)
}
