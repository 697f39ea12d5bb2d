//! The first records of an empty store, and the organization, user and token of `dev`.

use std::time::Duration;

use stackbell_app::bootstrap::bootstrap;
use stackbell_config::BootstrapSettings;
use stackbell_keys::{AccessToken, Keyring};
use stackbell_model::identity::{Organization, Token, TokenOwner, User};
use stackbell_model::ids::{AuditId, OrganizationId, TokenId};
use stackbell_model::names::{DisplayName, Login, OrganizationName};
use stackbell_model::permission::Role;
use stackbell_model::{Entropy, Timestamp};
use stackbell_store::audit::AuditEntry;
use stackbell_store::{Store, StoreError};
use stackbell_system::SecretText;

/// A store that cannot be bootstrapped.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The store is empty, but one in use was expected.
    #[error("the store is empty, although expect_existing is set: is the right volume mounted?")]
    Empty,
    /// The store is empty, and the settings do not say how to bootstrap it.
    #[error(
        "the store is empty, and {0} is not set: set STACKBELL_BOOTSTRAP_ORG and STACKBELL_BOOTSTRAP_TOKEN (or _FILE) to begin it, or try `stackbell dev`"
    )]
    Missing(&'static str),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The decision about a store.
#[derive(Debug)]
pub enum Beginning<'a> {
    /// The store is in use; nothing is written.
    InUse,
    /// The store is empty and gets these records.
    With {
        /// The organization.
        organization: &'a OrganizationName,
        /// The first user.
        user: &'a Login,
        /// The user's token.
        token: &'a SecretText,
    },
}

/// Decides whether a store is bootstrapped. Writes nothing.
///
/// # Errors
/// [`BootstrapError`].
pub async fn decide<'a>(
    store: &dyn Store,
    settings: &'a BootstrapSettings,
    expect_existing: bool,
) -> Result<Beginning<'a>, BootstrapError> {
    if !store.is_empty().await? {
        if settings.organization.is_some() || settings.token.is_some() {
            tracing::info!("the bootstrap settings are ignored: the store has organizations already");
        }
        return Ok(Beginning::InUse);
    }
    if expect_existing {
        return Err(BootstrapError::Empty);
    }
    let organization = settings.organization.as_ref().ok_or(BootstrapError::Missing("bootstrap_org"))?;
    let token = settings.token.as_ref().ok_or(BootstrapError::Missing("bootstrap_token"))?;
    Ok(Beginning::With { organization, user: &settings.user, token })
}

/// Writes the records of the decision, if it has any. Keeps the records of another node that was faster.
///
/// # Errors
/// [`StoreError`].
pub async fn begin(
    store: &dyn Store,
    keyring: &Keyring,
    beginning: Beginning<'_>,
    entropy: &mut dyn Entropy,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Beginning::With { organization, user, token } = beginning else { return Ok(()) };
    let first = bootstrap(organization.clone(), user.clone(), token.expose(), keyring, now, entropy);
    if store.bootstrap(first).await? {
        tracing::info!(organization.name = %organization, user.login = %user, "the store begins");
    } else {
        tracing::info!("the bootstrap settings are ignored: another node has begun the store meanwhile");
    }
    Ok(())
}

/// The lifetime of a token of `dev`. `dev` revokes its token when it stops; the lifetime covers a kill.
const DEVELOPER_TOKEN_LIVES: Duration = Duration::from_secs(24 * 3600);

/// The number of members that are read at once.
const MEMBERS_READ_MAX: u32 = 1000;

/// The inputs for the records of `dev`.
pub struct Developer<'a> {
    /// The store.
    pub store: &'a dyn Store,
    /// The keyring, for the hash of the token.
    pub keyring: &'a Keyring,
    /// The name of the organization.
    pub organization: OrganizationName,
    /// The login of the user.
    pub login: Login,
    /// The present time.
    pub now: Timestamp,
}

/// A store that `dev` refuses.
#[derive(Debug, thiserror::Error)]
pub enum DeveloperError {
    /// The store was not created by `dev`, and may be in use.
    #[error(
        "this store was not made by `stackbell dev`: it has no user '{0}'. Name another folder with --data, or run `stackbell serve`"
    )]
    NoUser(Login),
    /// The organization was not created by `dev`, which must not make its user an admin there.
    #[error(
        "the organization '{organization}' of this store was not made by `stackbell dev`: '{login}' is not its admin. Name another with --org"
    )]
    NoAdmin {
        /// The organization.
        organization: OrganizationName,
        /// The user.
        login: Login,
    },
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The token of `dev`.
pub struct DeveloperToken {
    /// The token itself.
    pub secret: AccessToken,
    owner: TokenOwner,
    id: TokenId,
}

impl DeveloperToken {
    /// Revokes it.
    ///
    /// # Errors
    /// [`StoreError`]; the token expires by itself a day after it was made.
    pub async fn revoke(
        &self,
        store: &dyn Store,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<(), StoreError> {
        let audit = audit(now, "token.revoke", format!("token {}", self.id), None, entropy);
        store.revoke_token(self.owner, self.id, audit).await?;
        Ok(())
    }
}

impl Developer<'_> {
    /// Creates the organization and its admin if they are missing, and a token that is valid for a day.
    ///
    /// # Errors
    /// [`DeveloperError`]; existing records are unchanged.
    pub async fn prepare(self, entropy: &mut dyn Entropy) -> Result<DeveloperToken, DeveloperError> {
        let secret = AccessToken::generate(entropy);
        if self.store.is_empty().await? {
            let Self { store, keyring, organization, login, now } = self;
            let mut first = bootstrap(organization, login, secret.expose(), keyring, now, entropy);
            first.token.expires_at = Some(now.after(DEVELOPER_TOKEN_LIVES));
            let (owner, id) = (first.token.owner, first.token.id);
            store.bootstrap(first).await?;
            return Ok(DeveloperToken { secret, owner, id });
        }
        let user = self.store.find_user(&self.login).await?;
        let user = user.ok_or_else(|| DeveloperError::NoUser(self.login.clone()))?;
        self.join(&user, entropy).await?;
        let token = self.token(&user, entropy);
        let audit = self.audit("token.create", format!("token {}", token.id), None, entropy);
        let hash = self.keyring.token_hash(secret.expose());
        // Each run revokes its token, so a limit of tokens would matter only after many kills.
        self.store.create_token(&token, hash, u32::MAX, audit).await?;
        Ok(DeveloperToken { secret, owner: token.owner, id: token.id })
    }

    fn token(&self, user: &User, entropy: &mut dyn Entropy) -> Token {
        Token {
            id: TokenId::generate(self.now, entropy),
            owner: TokenOwner::User(user.id),
            name: called("dev"),
            role: Role::Admin,
            is_operator: user.is_operator,
            created_at: self.now,
            expires_at: Some(self.now.after(DEVELOPER_TOKEN_LIVES)),
            last_used_at: None,
        }
    }

    /// Makes the organization with `user` as its admin. An existing organization must have that admin.
    async fn join(&self, user: &User, entropy: &mut dyn Entropy) -> Result<(), DeveloperError> {
        let name = &self.organization;
        if let Some(organization) = self.store.find_organization(name).await? {
            if self.has_admin(organization.id, user).await? {
                return Ok(());
            }
            return Err(DeveloperError::NoAdmin { organization: name.clone(), login: user.login.clone() });
        }
        let id = OrganizationId::generate(self.now, entropy);
        let organization = Organization {
            id,
            name: name.clone(),
            display_name: called(name.as_str()),
            avatar_url: String::new(),
            created_at: self.now,
        };
        let audit = self.audit("organization.create", format!("organization {name}"), Some(id), entropy);
        self.store.create_organization(&organization, Some(user.id), audit).await?;
        Ok(())
    }

    async fn has_admin(&self, organization: OrganizationId, user: &User) -> Result<bool, StoreError> {
        let mut after: Option<Login> = None;
        loop {
            let members = self.store.list_members(organization, after.as_ref(), MEMBERS_READ_MAX).await?;
            if let Some((_, role)) = members.iter().find(|(member, _)| member.id == user.id) {
                return Ok(*role == Role::Admin);
            }
            match members.last() {
                Some((last, _)) => after = Some(last.login.clone()),
                None => return Ok(false),
            }
        }
    }

    fn audit(
        &self,
        action: &'static str,
        target: String,
        organization: Option<OrganizationId>,
        entropy: &mut dyn Entropy,
    ) -> AuditEntry {
        audit(self.now, action, target, organization, entropy)
    }
}

fn audit(
    at: Timestamp,
    action: &'static str,
    target: String,
    organization: Option<OrganizationId>,
    entropy: &mut dyn Entropy,
) -> AuditEntry {
    AuditEntry {
        id: AuditId::generate(at, entropy),
        at,
        organization,
        actor: "stackbell dev".into(),
        token: None,
        remote: None,
        action,
        target: target.into(),
        fields: Vec::new(),
    }
}

fn called(name: &str) -> DisplayName {
    DisplayName::parse(name).expect("a name for URLs is a display name")
}

#[cfg(test)]
mod tests;
