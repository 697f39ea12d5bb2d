//! Users. They belong to the instance, so only operators manage them.

use stackbell_model::identity::{TokenOwner, User};
use stackbell_model::ids::UserId;
use stackbell_model::names::{DisplayName, Login};
use stackbell_model::permission::Role;
use stackbell_wire::rest::identity::UserRequest;

#[cfg(doc)]
use crate::Code;
use crate::audit::{token_in_words, user_in_words};
use crate::auth::Caller;
use crate::fields::{Fields, taken};
use crate::page::{LISTED_MAX, Page, one_more};
use crate::tokens::{HANDED_OVER_LIFETIME, IssuedToken, NewToken, more_than_own};
use crate::{App, Error};

impl App {
    /// Adds a user with a first token, because a user cannot log in otherwise. The token has no rights in an organization
    /// before one of its admins makes the user a member, and then no more than its role, which is within that of the caller's
    /// token.
    ///
    /// # Errors
    /// [`Code::Invalid`], [`Code::Conflict`], [`Code::Forbidden`]; errors of the store.
    pub async fn create_user(
        &self,
        caller: &Caller,
        body: &UserRequest,
    ) -> Result<(User, IssuedToken), Error> {
        let caller = &self.renew(caller).await?;
        caller.require_operator()?;
        let (user, first) = self.read_user(caller, body)?;
        let issued = self.issue(first);
        let owner = user_in_words(&user);
        let target = format!("{owner}, with {}", token_in_words(&issued.token, &owner));
        let audit = self.audit(caller, None, "user.create", target, Vec::new());
        let hash = self.keyring.token_hash(issued.secret.expose());
        let created = self.store.create_user(&user, &issued.token, hash, audit);
        if !self.sessions.changing(created).await? {
            return Err(taken("login", format!("User '{}' already exists", user.login)));
        }
        Ok((user, issued))
    }

    fn read_user(&self, caller: &Caller, body: &UserRequest) -> Result<(User, NewToken), Error> {
        let mut fields = Fields::default();
        let login = fields.read_required("login", body.login.as_deref(), Login::parse);
        let name = body.name.as_deref().or(body.login.as_deref());
        let name = fields.read_required("name", name, DisplayName::parse);
        let email = fields.read_text("email", body.email.as_deref());
        let avatar_url = fields.read_text("avatarUrl", body.avatar_url.as_deref());
        let maker = caller.token();
        let role = match &body.role {
            Some(text) => fields.read_role(Some(text)),
            None => Some(least_role_within(maker.role)),
        };
        if let Some(role) = role.filter(|role| !role.is_within(maker.role)) {
            fields.invalid("role", more_than_own(role));
        }
        let expires_at = self.read_expiry(&mut fields, maker, body.expires_at, Some(HANDED_OVER_LIFETIME));
        let ((login, name), role) = fields.finish(login.zip(name).zip(role))?;
        let now = self.now();
        let is_operator = body.operator.unwrap_or(false);
        let id = self.chance(|entropy| UserId::generate(now, entropy));
        let first = NewToken {
            owner: TokenOwner::User(id),
            name: DisplayName::parse("first token").expect("a constant that is a name"),
            role,
            is_operator,
            expires_at,
        };
        Ok((User { id, login, name, email, avatar_url, is_operator, created_at: now }, first))
    }

    /// All users, by login. Operators only.
    ///
    /// # Errors
    /// [`Code::Forbidden`]; errors of the store.
    pub async fn list_users(
        &self,
        caller: &Caller,
        after: Option<&Login>,
    ) -> Result<Page<User, Login>, Error> {
        caller.require_operator()?;
        let users = self.store.list_users(after, one_more(LISTED_MAX)).await?;
        Ok(Page::cut(users, LISTED_MAX, |user| user.login.clone()))
    }
}

/// The default role of a first token: one that only reads, unless the caller may not even read.
fn least_role_within(maker: Role) -> Role {
    if Role::Viewer.is_within(maker) { Role::Viewer } else { maker }
}
