//! Access tokens: users', and organizations' service tokens.
//!
//! A token that manages tokens is limited to its own rights. It cannot make a token with more rights in any organization, or
//! with a later expiry, and it neither sees nor revokes a token with more rights. Operators see and revoke all tokens of
//! users; the tokens that they make are limited to their own rights as well.
//!
//! The maker of a token for another user knows it, too. Such a token expires after [`HANDED_OVER_LIFETIME`], unless its maker
//! chooses another time.

use std::ops::Deref;
use std::time::Duration;

use stackbell_keys::AccessToken;
use stackbell_model::Timestamp;
use stackbell_model::identity::{Token, TokenOwner};
use stackbell_model::ids::{OrganizationId, TokenId};
use stackbell_model::names::DisplayName;
use stackbell_model::permission::{Permission, Role};
use stackbell_wire::rest::identity::TokenRequest;

use crate::audit::{token_in_words, user_in_words};
use crate::auth::{Access, Caller, OrganizationCaller};
use crate::fields::Fields;
use crate::page::{LISTED_MAX, Page, one_more};
use crate::{App, Code, Error};

/// The most tokens of an owner, including expired ones. Nobody needs more, and a list of so many can still be reviewed by eye.
pub const TOKENS_OF_OWNER_MAX: u32 = 100;

/// The default lifetime of a token for another user. It is limited because the maker of the token knows it, too.
pub const HANDED_OVER_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// A new token with its text, which is shown only once.
#[derive(Debug)]
pub struct IssuedToken {
    /// The token.
    pub token: Token,
    /// Its text.
    pub secret: AccessToken,
}

/// A caller, and the tokens that the caller manages.
#[derive(Clone, Debug)]
pub enum ManagedTokens<'a> {
    /// The caller's own.
    Own(Caller),
    /// Those of the user with this login. For operators.
    User(Caller, &'a str),
    /// The service tokens of the organization.
    Service(OrganizationCaller),
}

impl Deref for ManagedTokens<'_> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        match self {
            Self::Own(caller) | Self::User(caller, _) => caller,
            Self::Service(caller) => caller,
        }
    }
}

/// A token to be made.
pub(crate) struct NewToken {
    pub(crate) owner: TokenOwner,
    pub(crate) name: DisplayName,
    pub(crate) role: Role,
    pub(crate) is_operator: bool,
    pub(crate) expires_at: Option<Timestamp>,
}

/// The owner of tokens, and the caller's rights over them.
struct Owner<'a> {
    id: TokenOwner,
    /// The organization whose audit log has the entries about the tokens; `None` for that of the instance.
    organization: Option<OrganizationId>,
    /// The owner, as the audit log names it.
    words: String,
    /// Whether a token may act as operator; if not, the rule.
    may_operate: Result<(), &'static str>,
    /// The caller's access to the organization of service tokens.
    access: Option<Access<'a>>,
    /// Whether the caller sees and revokes tokens with more rights than the caller's own.
    is_above: bool,
    /// The lifetime of a token for which no expiry is given; `None` for no limit.
    lifetime_default: Option<Duration>,
}

impl Owner<'_> {
    fn may_grant(&self, caller: &Caller, role: Role) -> bool {
        match &self.access {
            Some(access) => access.may_grant(role),
            None => role.is_within(caller.token().role),
        }
    }

    /// Whether the caller may see and revoke a token: the caller's own, or one without more rights.
    fn may_manage(&self, caller: &Caller, token: &Token) -> bool {
        let is_operators = token.is_operator && !caller.token().is_operator;
        self.is_above
            || token.id == caller.token().id
            || (self.may_grant(caller, token.role) && !is_operators)
    }
}

impl App {
    /// Makes a token that has no more rights than the caller's and does not outlive it.
    ///
    /// # Errors
    /// [`Code::Invalid`], [`Code::Forbidden`], [`Code::Conflict`] if the owner has [`TOKENS_OF_OWNER_MAX`] already;
    /// errors of access and store.
    pub async fn create_token(
        &self,
        tokens: &ManagedTokens<'_>,
        body: &TokenRequest,
    ) -> Result<IssuedToken, Error> {
        let caller = &self.renew_manager(tokens).await?;
        let owner = self.token_owner(caller).await?;
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

    /// The tokens without more rights than the caller's, oldest first; all tokens for an operator who lists a user's.
    ///
    /// # Errors
    /// Errors of access and store.
    pub async fn list_tokens(
        &self,
        caller: &ManagedTokens<'_>,
        after: Option<TokenId>,
    ) -> Result<Page<Token, TokenId>, Error> {
        let owner = self.token_owner(caller).await?;
        let tokens = self.store.list_tokens(owner.id, after, one_more(LISTED_MAX)).await?;
        let mut page = Page::cut(tokens, LISTED_MAX, |token| token.id);
        page.items.retain(|token| owner.may_manage(caller, token));
        Ok(page)
    }

    /// Revokes a token for good: no request is accepted with it after this returns.
    ///
    /// # Errors
    /// [`Code::NotFound`], also for a token that [`App::list_tokens`] would not show; errors of access and store.
    pub async fn revoke_token(&self, tokens: &ManagedTokens<'_>, id: &str) -> Result<(), Error> {
        let caller = &self.renew_manager(tokens).await?;
        let owner = self.token_owner(caller).await?;
        let not_found = || Error::not_found("Token", id);
        let id = TokenId::parse(id).ok_or_else(not_found)?;
        let token = self.find_token_of(owner.id, id).await?;
        let token = token.filter(|token| owner.may_manage(caller, token)).ok_or_else(not_found)?;
        let target = token_in_words(&token, &owner.words);
        let audit = self.audit(caller, owner.organization, "token.revoke", target, Vec::new());
        let revoked = self.store.revoke_token(owner.id, id, audit);
        self.sessions.changing(revoked).await?.then_some(()).ok_or_else(not_found)
    }

    /// Refuses a token for another user that would have more rights in one of the user's organizations than the caller's.
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

    /// Looks the caller up again, with the rights of this moment.
    async fn renew_manager<'a>(&self, tokens: &ManagedTokens<'a>) -> Result<ManagedTokens<'a>, Error> {
        Ok(match tokens {
            ManagedTokens::Own(caller) => ManagedTokens::Own(self.renew(caller).await?),
            ManagedTokens::User(caller, login) => ManagedTokens::User(self.renew(caller).await?, login),
            ManagedTokens::Service(caller) => ManagedTokens::Service(self.renew_in(caller).await?),
        })
    }

    async fn token_owner<'a>(&self, tokens: &'a ManagedTokens<'_>) -> Result<Owner<'a>, Error> {
        match tokens {
            ManagedTokens::Own(caller) => {
                let user = caller.require_user()?;
                Ok(Owner {
                    id: TokenOwner::User(user.id),
                    organization: None,
                    words: user_in_words(user),
                    may_operate: caller.is_operator().then_some(()).ok_or("can be set by an operator alone"),
                    access: None,
                    is_above: false,
                    lifetime_default: None,
                })
            }
            ManagedTokens::User(caller, login) => {
                caller.require_operator()?;
                let user = self.find_user_by(login).await?.ok_or_else(|| Error::not_found("User", login))?;
                Ok(Owner {
                    id: TokenOwner::User(user.id),
                    organization: None,
                    words: user_in_words(&user),
                    may_operate: user.is_operator.then_some(()).ok_or("can be set for an operator alone"),
                    access: None,
                    is_above: true,
                    lifetime_default: caller
                        .user()
                        .is_none_or(|own| own.id != user.id)
                        .then_some(HANDED_OVER_LIFETIME),
                })
            }
            ManagedTokens::Service(caller) => {
                let access = caller.require(Permission::EditMembers)?;
                let id = access.organization.id;
                Ok(Owner {
                    id: TokenOwner::Organization(id),
                    organization: Some(id),
                    words: format!("organization {}", access.organization.name),
                    may_operate: Err("cannot be set on a service token"),
                    access: Some(access),
                    is_above: false,
                    lifetime_default: None,
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
        let expires_at =
            self.read_expiry(&mut fields, caller.token(), body.expires_at, owner.lifetime_default);
        let (name, role) = fields.finish(name.zip(role))?;
        Ok(NewToken { owner: owner.id, name, role, is_operator, expires_at })
    }

    /// The expiry of a new token. A token does not outlive its maker: otherwise a thief of a token that expires could make
    /// one that does not. `lifetime_default` applies if no expiry is given.
    pub(crate) fn read_expiry(
        &self,
        fields: &mut Fields,
        maker: &Token,
        asked: Option<Timestamp>,
        lifetime_default: Option<Duration>,
    ) -> Option<Timestamp> {
        match (asked, maker.expires_at) {
            (Some(at), _) if at <= self.now() => fields.invalid("expiresAt", "must be in the future"),
            (Some(at), Some(latest)) if at > latest => {
                fields.invalid("expiresAt", "may not be later than that of the token that makes it");
            }
            (Some(_) | None, _) => {}
        }
        let usual = lifetime_default.map(|lifetime| self.now().after(lifetime));
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

/// The rule that a role with more rights than the caller's breaks.
pub(crate) fn more_than_own(role: Role) -> String {
    format!("'{}' has more rights than this token", role.as_str())
}

fn too_many() -> Error {
    let message = format!(
        "this owner has {TOKENS_OF_OWNER_MAX} tokens, which is the limit: revoke some that are not needed"
    );
    Error::new(Code::Conflict, message)
}
