//! Requests. Only types are checked here; the operations check which fields are required.

use stackbell_model::Timestamp;
use utoipa::ToSchema;

use crate::rest::body::{Body, BodyError};
use crate::rest::read_rfc3339;
use stackbell_model::field::FieldError;

/// An organization to create.
#[derive(Clone, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct OrganizationRequest {
    /// Its name in URLs: 1 to 100 letters, digits, `.`, `_`, `-`; not `.` or `..`.
    #[schema(value_type = String)]
    pub name: Option<String>,
    /// Its label for users; its name if absent.
    #[schema(value_type = Option<String>, required = false)]
    pub display_name: Option<String>,
    /// URL of a picture.
    #[schema(value_type = Option<String>, required = false)]
    pub avatar_url: Option<String>,
    /// The login of its first admin; the caller's if absent.
    #[schema(value_type = Option<String>, required = false)]
    pub admin: Option<String>,
}

impl OrganizationRequest {
    /// Reads a request's body.
    ///
    /// # Errors
    /// [`BodyError`], naming the field that is unknown or of the wrong type.
    pub fn read(text: &str) -> Result<Self, BodyError> {
        let body = Body::read(text)?;
        body.only(&["name", "displayName", "avatarUrl", "admin"])?;
        Ok(Self {
            name: body.text("name")?,
            display_name: body.text("displayName")?,
            avatar_url: body.text("avatarUrl")?,
            admin: body.text("admin")?,
        })
    }
}

/// A user to add.
#[derive(Clone, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct UserRequest {
    /// The login name: 1 to 100 letters, digits, `.`, `_`, `-`; not `.` or `..`.
    #[schema(value_type = String)]
    pub login: Option<String>,
    /// Their name; the login if absent.
    #[schema(value_type = Option<String>, required = false)]
    pub name: Option<String>,
    /// Their email address.
    #[schema(value_type = Option<String>, required = false)]
    pub email: Option<String>,
    /// URL of a picture.
    #[schema(value_type = Option<String>, required = false)]
    pub avatar_url: Option<String>,
    /// Whether they are an operator of the instance.
    #[schema(value_type = Option<bool>, required = false)]
    pub operator: Option<bool>,
    /// The role of their first token: admin | member | publisher | viewer, within the role of the token that
    /// adds them;
    /// viewer if absent.
    #[schema(value_type = Option<String>, required = false)]
    pub role: Option<String>,
    /// When their first token expires: RFC 3339, not later than the token that adds them; after 90 days if
    /// absent.
    #[schema(value_type = Option<String>, format = DateTime, required = false)]
    pub expires_at: Option<Timestamp>,
}

impl UserRequest {
    /// Reads a request's body.
    ///
    /// # Errors
    /// [`BodyError`], naming the field that is unknown or of the wrong type.
    pub fn read(text: &str) -> Result<Self, BodyError> {
        let body = Body::read(text)?;
        body.only(&["login", "name", "email", "avatarUrl", "operator", "role", "expiresAt"])?;
        Ok(Self {
            login: body.text("login")?,
            name: body.text("name")?,
            email: body.text("email")?,
            avatar_url: body.text("avatarUrl")?,
            operator: body.truth("operator")?,
            role: body.text("role")?,
            expires_at: moment(&body, "expiresAt")?,
        })
    }
}

/// A member's new role.
#[derive(Clone, Debug, Default, PartialEq, Eq, ToSchema)]
pub struct MemberRequest {
    /// admin | member | publisher | viewer.
    #[schema(value_type = String)]
    pub role: Option<String>,
}

impl MemberRequest {
    /// Reads a request's body.
    ///
    /// # Errors
    /// [`BodyError`], naming the field that is unknown or of the wrong type.
    pub fn read(text: &str) -> Result<Self, BodyError> {
        let body = Body::read(text)?;
        body.only(&["role"])?;
        Ok(Self { role: body.text("role")? })
    }
}

/// A token to create.
#[derive(Clone, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct TokenRequest {
    /// Its label for users.
    #[schema(value_type = String)]
    pub name: Option<String>,
    /// The highest role that it can have: admin | member | publisher | viewer.
    #[schema(value_type = String)]
    pub role: Option<String>,
    /// Whether it may act as operator; not for service tokens.
    #[schema(value_type = Option<bool>, required = false)]
    pub operator: Option<bool>,
    /// When it expires: RFC 3339, not later than the token that creates it. If absent, it expires when that
    /// token does;
    /// a token for another user then expires after 90 days at the latest.
    #[schema(value_type = Option<String>, format = DateTime, required = false)]
    pub expires_at: Option<Timestamp>,
}

impl TokenRequest {
    /// Reads a request's body.
    ///
    /// # Errors
    /// [`BodyError`], naming the field that is unknown, of the wrong type, or not a valid time.
    pub fn read(text: &str) -> Result<Self, BodyError> {
        let body = Body::read(text)?;
        body.only(&["name", "role", "operator", "expiresAt"])?;
        Ok(Self {
            name: body.text("name")?,
            role: body.text("role")?,
            operator: body.truth("operator")?,
            expires_at: moment(&body, "expiresAt")?,
        })
    }
}

fn moment(body: &Body, name: &str) -> Result<Option<Timestamp>, FieldError> {
    let read = |text: String| {
        read_rfc3339(&text)
            .ok_or_else(|| FieldError::invalid(name, "must be a moment like 2026-05-13T06:19:04Z"))
    };
    body.text(name)?.map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: std::fmt::Debug + PartialEq>(
        read: impl Fn(&str) -> Result<T, BodyError>,
        text: &str,
        expected: Result<T, &str>,
    ) {
        let actual = read(text).map_err(|error| error.to_string());
        assert_eq!(actual, expected.map_err(str::to_owned), "{text}");
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn organizations_and_users() {
        let organization = OrganizationRequest { name: some("o"), admin: some("a"), ..Default::default() };
        check(OrganizationRequest::read, r#"{"name":"o","displayName":null,"admin":"a"}"#, Ok(organization));
        let unknown = "display_name is no field here; there are 'name', 'displayName', 'avatarUrl', 'admin'";
        check(OrganizationRequest::read, r#"{"display_name":"o"}"#, Err(unknown));
        let user = UserRequest { login: some("u"), operator: Some(true), ..Default::default() };
        check(UserRequest::read, r#"{"login":"u","operator":true}"#, Ok(user));
        let expires_at = Some(Timestamp::from_millis(1_778_653_144_000));
        let user = UserRequest { role: some("viewer"), expires_at, ..Default::default() };
        check(UserRequest::read, r#"{"role":"viewer","expiresAt":"2026-05-13T06:19:04Z"}"#, Ok(user));
        check(UserRequest::read, r#"{"operator":1}"#, Err("operator must be true or false, is a number"));
    }

    #[test]
    fn members_and_tokens() {
        check(MemberRequest::read, r#"{"role":"admin"}"#, Ok(MemberRequest { role: some("admin") }));
        check(MemberRequest::read, "{}", Ok(MemberRequest::default()));
        let expires_at = Some(Timestamp::from_millis(1_778_653_144_000));
        let token = TokenRequest { name: some("ci"), expires_at, ..Default::default() };
        check(TokenRequest::read, r#"{"name":"ci","expiresAt":"2026-05-13T06:19:04Z"}"#, Ok(token));
        let no_moment = "expiresAt must be a moment like 2026-05-13T06:19:04Z";
        check(TokenRequest::read, r#"{"expiresAt":"soon"}"#, Err(no_moment));
    }
}
