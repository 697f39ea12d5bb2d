//! Access tokens: users', and organizations' service tokens.
//!
//! A token that manages tokens is held to its own rights. It makes none that may do more, in any organization, or that lives
//! longer, and it neither sees nor revokes one that may do more. Operators see and revoke all tokens of users, so that they
//! can end any; what they make is held to their own rights as well.
//!
//! A token for another user is known to its maker, too. It expires unless its maker chooses when.

use std::time::Duration;

use stackbell_keys::AccessToken;
use stackbell_model::Timestamp;
use stackbell_model::identity::{Token, TokenOwner};
use stackbell_model::ids::{OrganizationId, TokenId};
use stackbell_model::names::DisplayName;
use stackbell_model::permission::{Permission, Role};
use stackbell_wire::rest::identity::TokenRequest;

use crate::auth::{Access, Caller};
use crate::fields::Fields;
use crate::page::{LISTED_MAX, Page, one_more};
use crate::users::user_in_words;
use crate::{App, Code, Error};

/// The most tokens of an owner, expired ones counted: more than anybody uses, and few enough to look through for one that
/// should not be there.
pub const TOKENS_OF_OWNER_MAX: u32 = 100;

/// How long a token for another user is good for where nothing else is asked for: its maker knows it, too.
pub const HANDED_OVER_LIVES: Duration = Duration::from_secs(90 * 24 * 3600);

/// A token that was just made, with its secret: shown this once.
#[derive(Debug)]
pub struct IssuedToken {
    /// The token.
    pub token: Token,
    /// Its text.
    pub secret: AccessToken,
}

/// Whose tokens are meant.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    /// The caller's own.
    Own,
    /// Those of the user with this login. For operators.
    User(&'a str),
    /// An organization's service tokens.
    Service(&'a str),
}

/// A token to be made.
pub(crate) struct NewToken {
    pub(crate) owner: TokenOwner,
    pub(crate) name: DisplayName,
    pub(crate) role: Role,
    pub(crate) is_operator: bool,
    pub(crate) expires_at: Option<Timestamp>,
}

/// Who owns the tokens that a request is about, and which of them the caller may manage.
struct Owner<'a> {
    id: TokenOwner,
    /// Whose audit log tells of them.
    organization: Option<OrganizationId>,
    /// For the audit log.
    words: String,
    /// Whether a token may act as operator; if not, the rule.
    may_operate: Result<(), &'static str>,
    /// Where the caller manages service tokens.
    access: Option<Access<'a>>,
    /// Whether tokens can be seen and revoked that may more than the caller's.
    is_above: bool,
    /// How long a token lives at the most where no expiry is asked for.
    lives: Option<Duration>,
}

impl Owner<'_> {
    fn may_grant(&self, caller: &Caller, role: Role) -> bool {
        match &self.access {
            Some(access) => access.may_grant(role),
            None => role.is_within(caller.token().role),
        }
    }

    /// Whether the caller may see and revoke a token: one that may no more than the caller's, which is always so of itself.
    fn may_manage(&self, caller: &Caller, token: &Token) -> bool {
        let is_operators = token.is_operator && !caller.token().is_operator;
        self.is_above
            || token.id == caller.token().id
            || (self.may_grant(caller, token.role) && !is_operators)
    }
}

impl App {
    /// Makes a token that may no more than its maker's and does not outlive it.
    ///
    /// # Errors
    /// [`Code::Invalid`], [`Code::Forbidden`], [`Code::Conflict`] where there are [`TOKENS_OF_OWNER_MAX`] already;
    /// those of access and store.
    pub async fn create_token(
        &self,
        caller: &Caller,
        whose: Whose<'_>,
        body: &TokenRequest,
    ) -> Result<IssuedToken, Error> {
        let caller = &self.renew(caller).await?;
        let owner = self.token_owner(caller, whose).await?;
        let new = self.read_token(caller, &owner, body)?;
        self.require_rights_of(caller, &owner, new.role).await?;
        let issued = self.issue(new);
        let target = token_in_words(&issued.token, &owner.words);
        let audit = self.audit(caller, owner.organization, "token.create", target, Vec::new());
        let hash = self.keyring.token_hash(issued.secret.expose());
        let created = self.store.create_token(&issued.token, hash, TOKENS_OF_OWNER_MAX, audit);
        if !self.sessions.changing(created).await? {
            return Err(too_many());
        }
        Ok(issued)
    }

    /// An owner's tokens, oldest first: those that may no more than the caller's, or all for an operator who asks for
    /// a user's.
    ///
    /// # Errors
    /// Those of access and store.
    pub async fn list_tokens(
        &self,
        caller: &Caller,
        whose: Whose<'_>,
        after: Option<TokenId>,
    ) -> Result<Page<Token, TokenId>, Error> {
        let owner = self.token_owner(caller, whose).await?;
        let tokens = self.store.list_tokens(owner.id, after, one_more(LISTED_MAX)).await?;
        let mut page = Page::cut(tokens, LISTED_MAX, |token| token.id);
        page.items.retain(|token| owner.may_manage(caller, token));
        Ok(page)
    }

    /// Revokes a token for good: no request is let in by it once this is answered.
    ///
    /// # Errors
    /// [`Code::NotFound`], also for what [`App::list_tokens`] would not show; those of access and store.
    pub async fn revoke_token(&self, caller: &Caller, whose: Whose<'_>, id: &str) -> Result<(), Error> {
        let caller = &self.renew(caller).await?;
        let owner = self.token_owner(caller, whose).await?;
        let not_found = || Error::not_found("Token", id);
        let id = TokenId::parse(id).ok_or_else(not_found)?;
        let token = self.find_token_of(owner.id, id).await?;
        let token = token.filter(|token| owner.may_manage(caller, token)).ok_or_else(not_found)?;
        let target = token_in_words(&token, &owner.words);
        let audit = self.audit(caller, owner.organization, "token.revoke", target, Vec::new());
        let revoked = self.store.revoke_token(owner.id, id, audit);
        self.sessions.changing(revoked).await?.then_some(()).ok_or_else(not_found)
    }

    /// Refuses a token for a user that may do something in an organization that the caller's may not do there.
    async fn require_rights_of(&self, caller: &Caller, owner: &Owner<'_>, role: Role) -> Result<(), Error> {
        let TokenOwner::User(user) = owner.id else { return Ok(()) };
        if caller.user().is_some_and(|own| own.id == user) {
            return Ok(());
        }
        if caller.may_all_of(&self.store.list_memberships(user).await?, role) {
            return Ok(());
        }
        let rule = format!("{} in an organization that the user belongs to", more_than_own(role));
        Err(Error::invalid_field("role", rule))
    }

    async fn find_token_of(&self, owner: TokenOwner, id: TokenId) -> Result<Option<Token>, Error> {
        let mut after = None;
        loop {
            let tokens = self.store.list_tokens(owner, after, TOKENS_OF_OWNER_MAX).await?;
            let Some(last) = tokens.last() else { return Ok(None) };
            after = Some(last.id);
            if let Some(found) = tokens.into_iter().find(|token| token.id == id) {
                return Ok(Some(found));
            }
        }
    }

    async fn token_owner<'a>(&self, caller: &'a Caller, whose: Whose<'_>) -> Result<Owner<'a>, Error> {
        match whose {
            Whose::Own => {
                let user = caller.require_user()?;
                Ok(Owner {
                    id: TokenOwner::User(user.id),
                    organization: None,
                    words: user_in_words(user),
                    may_operate: caller.is_operator().then_some(()).ok_or("can be set by an operator alone"),
                    access: None,
                    is_above: false,
                    lives: None,
                })
            }
            Whose::User(login) => {
                caller.require_operator()?;
                let user = self.find_user_by(login).await?.ok_or_else(|| Error::not_found("User", login))?;
                Ok(Owner {
                    id: TokenOwner::User(user.id),
                    organization: None,
                    words: user_in_words(&user),
                    may_operate: user.is_operator.then_some(()).ok_or("can be set for an operator alone"),
                    access: None,
                    is_above: true,
                    lives: caller.user().is_none_or(|own| own.id != user.id).then_some(HANDED_OVER_LIVES),
                })
            }
            Whose::Service(organization) => {
                let access = caller.in_organization(organization)?;
                access.require(Permission::EditMembers)?;
                let id = access.organization.id;
                Ok(Owner {
                    id: TokenOwner::Organization(id),
                    organization: Some(id),
                    words: format!("organization {}", access.organization.name),
                    may_operate: Err("cannot be set on a service token"),
                    access: Some(access),
                    is_above: false,
                    lives: None,
                })
            }
        }
    }

    fn read_token(&self, caller: &Caller, owner: &Owner<'_>, body: &TokenRequest) -> Result<NewToken, Error> {
        let mut fields = Fields::default();
        let name = fields.read_required("name", body.name.as_deref(), DisplayName::parse);
        let role = fields.read_role(body.role.as_deref());
        if let Some(role) = role.filter(|role| !owner.may_grant(caller, *role)) {
            fields.invalid("role", more_than_own(role));
        }
        let is_operator = body.operator.unwrap_or(false);
        if let Err(rule) = owner.may_operate
            && is_operator
        {
            fields.invalid("operator", rule);
        }
        let expires_at = self.read_expiry(&mut fields, caller.token(), body.expires_at, owner.lives);
        let (name, role) = fields.finish(name.zip(role))?;
        Ok(NewToken { owner: owner.id, name, role, is_operator, expires_at })
    }

    /// A token does not outlive the one that made it: an expiring one that was found would else give one for good.
    /// `lives` is how long the token is good for where nothing is asked for.
    pub(crate) fn read_expiry(
        &self,
        fields: &mut Fields,
        maker: &Token,
        asked: Option<Timestamp>,
        lives: Option<Duration>,
    ) -> Option<Timestamp> {
        match (asked, maker.expires_at) {
            (Some(at), _) if at <= self.now() => fields.invalid("expiresAt", "must be in the future"),
            (Some(at), Some(latest)) if at > latest => {
                fields.invalid("expiresAt", "may not be later than that of the token that makes it");
            }
            (Some(_) | None, _) => {}
        }
        let usual = lives.map(|lives| self.now().after(lives));
        asked.or_else(|| usual.into_iter().chain(maker.expires_at).min())
    }

    /// Gives a new token its id and secret.
    pub(crate) fn issue(&self, new: NewToken) -> IssuedToken {
        let NewToken { owner, name, role, is_operator, expires_at } = new;
        let created_at = self.now();
        let id = self.chance(|entropy| TokenId::generate(created_at, entropy));
        let token = Token { id, owner, name, role, is_operator, created_at, expires_at, last_used_at: None };
        IssuedToken { token, secret: self.chance(AccessToken::generate) }
    }
}

/// A token as the audit log says it: what an investigation asks of it.
pub(crate) fn token_in_words(token: &Token, owner: &str) -> String {
    let operator = if token.is_operator { ", may operate" } else { "" };
    let expiry = match token.expires_at.map(|at| jiff::Timestamp::from_millisecond(at.as_millis())) {
        None => "never expires".to_owned(),
        Some(Ok(at)) => format!("expires {at:.3}"),
        Some(Err(_)) => "expires beyond the calendar".to_owned(),
    };
    let role = token.role.as_str();
    format!("token {} '{}' of {owner}, role {role}{operator}, {expiry}", token.id, token.name)
}

/// The rule for a role beyond the maker's.
pub(crate) fn more_than_own(role: Role) -> String {
    format!("'{}' is more than this token may itself", role.as_str())
}

fn too_many() -> Error {
    let message = format!(
        "there are {TOKENS_OF_OWNER_MAX} tokens of this owner, the most that one may have: revoke some that are not needed"
    );
    Error::new(Code::Conflict, message)
}

#[cfg(test)]
mod tests {
    use stackbell_model::identity::User;
    use stackbell_model::ids::UserId;
    use stackbell_model::names::Login;

    use super::*;

    struct Zeros;

    impl stackbell_model::Entropy for Zeros {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    fn check(is_operator: bool, expires_at: Option<i64>, expected: &str) {
        let now = Timestamp::from_millis(0);
        let user = User {
            id: UserId::generate(now, &mut Zeros),
            login: Login::parse("auditor").expect("a login"),
            name: DisplayName::parse("Auditor").expect("a name"),
            email: String::new(),
            avatar_url: String::new(),
            is_operator,
            created_at: now,
        };
        let token = Token {
            id: TokenId::generate(now, &mut Zeros),
            owner: TokenOwner::User(user.id),
            name: DisplayName::parse("ci").expect("a name"),
            role: Role::Member,
            is_operator,
            created_at: now,
            expires_at: expires_at.map(Timestamp::from_millis),
            last_used_at: None,
        };
        let words = token_in_words(&token, &user_in_words(&user));
        assert_eq!(words.strip_prefix(&format!("token {} ", token.id)), Some(expected));
    }

    #[test]
    fn the_audit_log_says_whose_a_token_is_and_what_it_may() {
        check(false, None, "'ci' of user auditor, role member, never expires");
        check(
            true,
            Some(1_778_653_144_070),
            "'ci' of user auditor, operator, role member, may operate, expires 2026-05-13T06:19:04.070Z",
        );
        check(false, Some(i64::MAX), "'ci' of user auditor, role member, expires beyond the calendar");
    }
}
