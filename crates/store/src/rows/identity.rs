//! Organizations, users and tokens.

use stackbell_model::identity::{Organization, Token, TokenOwner, User};
use stackbell_model::names::{DisplayName, Login, OrganizationName};
use stackbell_model::permission::Role;

use super::Columns;

/// The columns of `organizations o`.
#[macro_export]
macro_rules! organization_columns {
    () => {
        "o.id, o.name, o.display_name, o.avatar_url, o.created_at"
    };
}

/// Reads an organization: `id` to `created_at`.
///
/// # Errors
/// If the row is not valid.
pub fn read_organization<'row, C: Columns<'row>>(cursor: &mut C) -> Result<Organization, C::Fault> {
    cursor.enter("organizations");
    Ok(Organization {
        id: cursor.id("id")?,
        name: cursor.parsed("name", OrganizationName::parse)?,
        display_name: DisplayName::from_stored(cursor.text("display_name")?),
        avatar_url: cursor.text("avatar_url")?.into(),
        created_at: cursor.time("created_at")?,
    })
}

/// The columns of `users u`.
#[macro_export]
macro_rules! user_columns {
    () => {
        "u.id, u.login, u.name, u.email, u.avatar_url, u.is_operator, u.created_at"
    };
}

/// Reads a user: `id` to `created_at`.
///
/// # Errors
/// If the row is not valid.
pub fn read_user<'row, C: Columns<'row>>(cursor: &mut C) -> Result<User, C::Fault> {
    cursor.enter("users");
    Ok(User {
        id: cursor.id("id")?,
        login: cursor.parsed("login", Login::parse)?,
        name: DisplayName::from_stored(cursor.text("name")?),
        email: cursor.text("email")?.into(),
        avatar_url: cursor.text("avatar_url")?.into(),
        is_operator: cursor.flag("is_operator")?,
        created_at: cursor.time("created_at")?,
    })
}

/// The columns of `tokens t`, and its owner from `users u` or `organizations o`.
#[macro_export]
macro_rules! token_columns {
    () => {
        "t.id, u.id, o.id, t.name, t.role, t.is_operator, t.created_at, t.expires_at, t.last_used_at"
    };
}

/// Reads a token: `id`, the ids of its owner, `name` to `last_used_at`.
///
/// # Errors
/// If the row is not valid.
pub fn read_token<'row, C: Columns<'row>>(cursor: &mut C) -> Result<Token, C::Fault> {
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
        name: DisplayName::from_stored(cursor.text("name")?),
        role: read_role(cursor)?,
        is_operator: cursor.flag("is_operator")?,
        created_at: cursor.time("created_at")?,
        expires_at: cursor.time_or_null("expires_at")?,
        last_used_at: cursor.time_or_null("last_used_at")?,
    })
}

/// Reads a role.
///
/// # Errors
/// If the row is not valid.
pub fn read_role<'row, C: Columns<'row>>(cursor: &mut C) -> Result<Role, C::Fault> {
    cursor.word("role", Role::parse)
}
