//! Responses.

use std::fmt;

use serde::Serialize;
use stackbell_model::identity::{Organization, Token, User};
use stackbell_model::permission::Role;
use utoipa::ToSchema;

use crate::rest::rfc3339;

/// An organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrganizationResponse {
    /// Its name in URLs.
    pub name: String,
    /// Its label for users.
    pub display_name: String,
    /// URL of a picture, or empty.
    pub avatar_url: String,
    /// When it was created: RFC 3339, UTC, milliseconds.
    #[schema(format = DateTime)]
    pub created_at: String,
}

impl From<&Organization> for OrganizationResponse {
    fn from(organization: &Organization) -> Self {
        Self {
            name: organization.name.to_string(),
            display_name: organization.display_name.to_string(),
            avatar_url: organization.avatar_url.clone(),
            created_at: rfc3339(organization.created_at),
        }
    }
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserResponse {
    /// The login name.
    pub login: String,
    /// Their name.
    pub name: String,
    /// Their email address, or empty.
    pub email: String,
    /// URL of a picture, or empty.
    pub avatar_url: String,
    /// Whether they are an operator of the instance.
    pub operator: bool,
    /// When they were added: RFC 3339, UTC, milliseconds.
    #[schema(format = DateTime)]
    pub created_at: String,
}

impl From<&User> for UserResponse {
    fn from(user: &User) -> Self {
        Self {
            login: user.login.to_string(),
            name: user.name.to_string(),
            email: user.email.clone(),
            avatar_url: user.avatar_url.clone(),
            operator: user.is_operator,
            created_at: rfc3339(user.created_at),
        }
    }
}

/// A user that was just added, with a first token, which is shown only once.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserCreated {
    /// The user.
    #[serde(flatten)]
    pub user: UserResponse,
    /// The token's text.
    pub token: String,
    /// The highest role that the token can have: admin | member | publisher | viewer.
    pub token_role: &'static str,
    /// When the token expires; always set.
    #[schema(format = DateTime, required = true)]
    pub token_expires_at: Option<String>,
}

/// Hides the token.
impl fmt::Debug for UserCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserCreated").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A user as a member of an organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberResponse {
    /// The login name.
    pub login: String,
    /// Their name.
    pub name: String,
    /// URL of a picture, or empty.
    pub avatar_url: String,
    /// Their role: admin | member | publisher | viewer.
    pub role: &'static str,
}

impl MemberResponse {
    /// Converts a user with this role.
    pub fn new(user: &User, role: Role) -> Self {
        Self {
            login: user.login.to_string(),
            name: user.name.to_string(),
            avatar_url: user.avatar_url.clone(),
            role: role.as_str(),
        }
    }
}

/// A token, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenResponse {
    /// Its id, which is used to revoke it.
    pub id: String,
    /// Its label for users.
    pub name: String,
    /// The highest role that it can have: admin | member | publisher | viewer.
    pub role: &'static str,
    /// Whether it may act as operator.
    pub operator: bool,
    /// When it was created: RFC 3339, UTC, milliseconds.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it expires; null for never.
    #[schema(format = DateTime, required = true)]
    pub expires_at: Option<String>,
    /// When it was last used, approximately; null for never.
    #[schema(format = DateTime, required = true)]
    pub last_used_at: Option<String>,
}

impl From<&Token> for TokenResponse {
    fn from(token: &Token) -> Self {
        Self {
            id: token.id.to_string(),
            name: token.name.to_string(),
            role: token.role.as_str(),
            operator: token.is_operator,
            created_at: rfc3339(token.created_at),
            expires_at: token.expires_at.map(rfc3339),
            last_used_at: token.last_used_at.map(rfc3339),
        }
    }
}

/// A token that was just created, with its text, which is shown only once.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenCreated {
    /// The token.
    #[serde(flatten)]
    pub about: TokenResponse,
    /// Its text.
    pub token: String,
}

/// Hides the token.
impl fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCreated").field("about", &self.about).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use stackbell_model::Timestamp;
    use stackbell_model::identity::TokenOwner;
    use stackbell_model::ids::{TokenId, UserId};
    use stackbell_model::names::{DisplayName, Login};
    use uuid::Uuid;

    use super::*;

    fn check(value: &impl Serialize, expected: &str) {
        assert_eq!(serde_json::to_string(value).expect("plain data"), expected);
    }

    #[test]
    fn users_and_members() {
        let user = User {
            id: UserId::from_uuid(Uuid::nil()),
            login: Login::parse("morty").expect("valid"),
            name: DisplayName::parse("Morty Smith").expect("valid"),
            email: String::new(),
            avatar_url: "https://a.example/m.png".to_owned(),
            is_operator: false,
            created_at: Timestamp::from_millis(1_778_653_144_070),
        };
        let created = UserCreated {
            user: (&user).into(),
            token: "sb-1".to_owned(),
            token_role: "viewer",
            token_expires_at: None,
        };
        check(
            &created,
            r#"{"login":"morty","name":"Morty Smith","email":"","avatarUrl":"https://a.example/m.png","operator":false,"createdAt":"2026-05-13T06:19:04.070Z","token":"sb-1","tokenRole":"viewer","tokenExpiresAt":null}"#,
        );
        assert!(!format!("{created:?}").contains("sb-1"));
        check(
            &MemberResponse::new(&user, Role::Viewer),
            r#"{"login":"morty","name":"Morty Smith","avatarUrl":"https://a.example/m.png","role":"viewer"}"#,
        );
    }

    #[test]
    fn tokens() {
        let token = Token {
            id: TokenId::from_uuid(Uuid::nil()),
            owner: TokenOwner::User(UserId::from_uuid(Uuid::nil())),
            name: DisplayName::parse("ci").expect("valid"),
            role: Role::Publisher,
            is_operator: false,
            created_at: Timestamp::from_millis(0),
            expires_at: Some(Timestamp::from_millis(1)),
            last_used_at: None,
        };
        let created = TokenCreated { about: (&token).into(), token: "sb-1".to_owned() };
        check(
            &created,
            r#"{"id":"00000000-0000-0000-0000-000000000000","name":"ci","role":"publisher","operator":false,"createdAt":"1970-01-01T00:00:00.000Z","expiresAt":"1970-01-01T00:00:00.001Z","lastUsedAt":null,"token":"sb-1"}"#,
        );
        assert!(!format!("{created:?}").contains("sb-1"));
    }
}
