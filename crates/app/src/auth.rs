//! Authentication of callers, and their rights.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use stackbell_model::Timestamp;
use stackbell_model::identity::{Organization, Token, TokenHash, User};
use stackbell_model::ids::TokenId;
use stackbell_model::permission::{Permission, Role};
use stackbell_store::StoreError;
use stackbell_store::identity::{HeldMembership, TokenHolder};

use crate::{App, Code, Error};

/// The most tokens whose holders are kept in memory; the least recently used one is evicted first.
const SESSIONS_MAX: u64 = 10_000;

/// The caller of a request, known by a token that was valid when the request began.
#[derive(Clone, Debug)]
pub struct Caller {
    hash: TokenHash,
    holder: Arc<TokenHolder>,
    /// Whether the holder is from an earlier request and another node may have changed it since. Such a holder is good only for
    /// operations that name its version.
    is_remembered: bool,
    remote: Option<IpAddr>,
}

/// A caller in an organization that the caller may see. The membership is looked up once, for the whole request.
#[derive(Clone, Debug)]
pub struct OrganizationCaller {
    caller: Caller,
    /// The index of the membership among the holder's.
    membership: usize,
}

impl OrganizationCaller {
    /// The organization.
    pub fn organization(&self) -> &Organization {
        &self.membership().organization
    }

    /// The caller's access, if it includes this permission.
    ///
    /// # Errors
    /// [`Code::Forbidden`], with the permission that is missing.
    pub fn require(&self, permission: Permission) -> Result<Access<'_>, Error> {
        let access = Access::new(self.membership(), self.token().role);
        access.require(permission)?;
        Ok(access)
    }

    fn membership(&self) -> &HeldMembership {
        &self.caller.holder.memberships[self.membership]
    }
}

/// A caller who may publish in an organization, as far as this node knows. Each commit validates the right.
#[derive(Clone, Debug)]
pub struct Publisher(OrganizationCaller);

impl Publisher {
    fn new(caller: Caller, organization: &str) -> Result<Self, Error> {
        let caller = caller.enter(organization)?;
        caller.require(Permission::Publish)?;
        Ok(Self(caller))
    }

    /// The version of the organization that the right is from
    /// ([`stackbell_store::webhooks::OrganizationWebhooks::version`]).
    pub(crate) fn version(&self) -> u64 {
        self.0.membership().version
    }
}

impl Deref for Publisher {
    type Target = OrganizationCaller;

    fn deref(&self) -> &OrganizationCaller {
        &self.0
    }
}

impl Deref for OrganizationCaller {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

/// The rights of a caller in one organization.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The organization.
    pub organization: &'a Organization,
    owner: Role,
    token: Role,
}

impl<'a> Access<'a> {
    const fn new(membership: &'a HeldMembership, token: Role) -> Self {
        Self { organization: &membership.organization, owner: membership.role, token }
    }

    /// Whether both the caller and the caller's token may do it.
    pub fn may(&self, permission: Permission) -> bool {
        self.owner.may(permission) && self.token.may(permission)
    }

    /// Refuses a caller without this permission.
    ///
    /// # Errors
    /// [`Code::Forbidden`], with the permission that is missing.
    pub fn require(&self, permission: Permission) -> Result<(), Error> {
        if self.may(permission) {
            return Ok(());
        }
        let message = format!("this token may not {} in '{}'", permission.as_str(), self.organization.name);
        Err(Error::new(Code::Forbidden, message))
    }

    /// Whether the caller may make a token with this role here. A token may do nothing that its maker may not.
    pub fn may_grant(&self, role: Role) -> bool {
        role.is_within(self.owner) && role.is_within(self.token)
    }
}

impl Caller {
    /// The caller in an organization, for the operations there. This is the only lookup of a membership in a request.
    ///
    /// # Errors
    /// [`Code::NotFound`], the same whether there is no such organization or the caller does not belong to it.
    pub fn enter(self, name: &str) -> Result<OrganizationCaller, Error> {
        let found = self.holder.memberships.iter().position(|held| held.organization.name.as_str() == name);
        let membership = found.ok_or_else(|| Error::not_found("Organization", name))?;
        Ok(OrganizationCaller { caller: self, membership })
    }

    /// The organizations that the caller belongs to, with the caller's role.
    pub fn organizations(&self) -> impl Iterator<Item = (&Organization, Role)> {
        self.holder.memberships.iter().map(|held| (&held.organization, held.role))
    }

    /// The caller as a user; `None` for a service token.
    pub fn user(&self) -> Option<&User> {
        self.holder.user.as_ref()
    }

    /// The caller's token.
    pub fn token(&self) -> &Token {
        &self.holder.token
    }

    /// The address of the caller.
    pub fn remote(&self) -> Option<IpAddr> {
        self.remote
    }

    /// The caller's name in the audit log.
    pub fn name(&self) -> &str {
        match &self.holder.user {
            Some(user) => user.login.as_str(),
            None => self.holder.token.name.as_str(),
        }
    }

    /// The caller as a user.
    ///
    /// # Errors
    /// [`Code::Forbidden`] for a service token.
    pub fn require_user(&self) -> Result<&User, Error> {
        self.user().ok_or_else(|| Error::new(Code::Forbidden, "a service token has no tokens of its own"))
    }

    /// Whether the caller has, in every organization, all rights of a token with this role for a user with these memberships.
    pub(crate) fn may_all_of(&self, memberships: &[HeldMembership], role: Role) -> bool {
        memberships.iter().all(|held| {
            let mut own = self.holder.memberships.iter();
            let own = own.find(|own| own.organization.id == held.organization.id);
            let own = own.map(|own| Access::new(own, self.holder.token.role));
            let is_granted = |permission: Permission| held.role.may(permission) && role.may(permission);
            let is_own = |permission| own.is_some_and(|access| access.may(permission));
            Permission::ALL.iter().all(|permission| !is_granted(*permission) || is_own(*permission))
        })
    }

    /// Whether the caller may act as operator of the instance.
    pub fn is_operator(&self) -> bool {
        self.holder.token.is_operator && self.user().is_some_and(|user| user.is_operator)
    }

    /// Refuses a caller who is no operator.
    ///
    /// # Errors
    /// [`Code::Forbidden`].
    pub fn require_operator(&self) -> Result<(), Error> {
        if self.is_operator() {
            return Ok(());
        }
        Err(Error::new(Code::Forbidden, "this needs an operator's token"))
    }
}

/// Holders of recently used tokens, so that a request costs no read of the store.
///
/// If one process owns the store, a kept holder is always current: every change of a holder goes through [`App`] and
/// [`Sessions::changing`] before it is acknowledged (invariant 10). The caller must not drop such a change halfway.
///
/// If other nodes use the store too, a kept holder serves publishing only: the commit validates that the organization has not
/// changed since the holder was read. All other operations read the holder again, and so does a publish that would be
/// refused.
pub(crate) struct Sessions {
    /// Counts the changes.
    generation: AtomicU64,
    /// Holders with the generation before they were read. A holder of an earlier generation may be outdated and is not used.
    holders: Cache<TokenHash, (u64, Arc<TokenHolder>)>,
    /// The last uses of tokens that the store does not have yet.
    used: Mutex<HashMap<TokenId, Timestamp>>,
    /// If many requests find a holder outdated at the same time, one of them reads it again.
    turns: [tokio::sync::Mutex<()>; TURNS],
}

/// Lock stripes for reading holders again; two tokens can share one.
const TURNS: usize = 64;

impl Default for Sessions {
    fn default() -> Self {
        let holders = Cache::builder().max_capacity(SESSIONS_MAX).eviction_policy(EvictionPolicy::lru());
        Self {
            generation: AtomicU64::default(),
            holders: holders.build(),
            used: Mutex::default(),
            turns: std::array::from_fn(|_| tokio::sync::Mutex::default()),
        }
    }
}

impl Sessions {
    /// Runs a change of the store and then forgets all holders, whatever the result: a change that is reported as failed may
    /// have been committed.
    pub(crate) async fn changing<T>(
        &self,
        change: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let changed = change.await;
        self.generation.fetch_add(1, Ordering::SeqCst);
        changed
    }

    /// The current generation. Take it before a holder is read from the store.
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    fn find(&self, hash: TokenHash) -> Option<Arc<TokenHolder>> {
        let (generation, holder) = self.holders.get(&hash)?;
        (generation == self.generation()).then_some(holder)
    }

    fn forget(&self, hash: TokenHash) {
        self.holders.invalidate(&hash);
    }

    fn turn(&self, hash: TokenHash) -> &tokio::sync::Mutex<()> {
        &self.turns[usize::from(hash.0[0]) % TURNS]
    }

    fn keep(&self, hash: TokenHash, holder: &Arc<TokenHolder>, generation: u64) {
        self.holders.insert(hash, (generation, Arc::clone(holder)));
    }

    fn used(&self) -> MutexGuard<'_, HashMap<TokenId, Timestamp>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// The caller who presents a token.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] for a token that is unknown, revoked or expired; errors of the store.
    pub async fn authenticate(&self, token: &str, remote: Option<IpAddr>) -> Result<Caller, Error> {
        self.caller(self.keyring.token_hash(token), remote).await
    }

    /// The caller who presents a token to publish events, and for nothing else. It costs no read of a shared store if the
    /// token was used here recently: [`App::admit_publisher`] and each commit validate the caller's rights.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] for a token that is unknown, revoked or expired; errors of the store.
    pub async fn authenticate_publisher(&self, token: &str, remote: Option<IpAddr>) -> Result<Caller, Error> {
        self.recall(self.keyring.token_hash(token), remote).await
    }

    /// Looks a caller up again, with the rights of this moment.
    ///
    /// # Errors
    /// As of [`App::authenticate`].
    pub async fn renew(&self, caller: &Caller) -> Result<Caller, Error> {
        self.caller(caller.hash, caller.remote).await
    }

    /// Looks a caller in an organization up again, with the rights of this moment. A change calls this once its body has
    /// arrived, which may be long after the request began.
    ///
    /// # Errors
    /// As of [`App::authenticate`]; [`Code::NotFound`] if the caller no longer belongs to the organization.
    pub(crate) async fn renew_in(&self, caller: &OrganizationCaller) -> Result<OrganizationCaller, Error> {
        self.renew(caller).await?.enter(caller.organization().name.as_str())
    }

    /// The caller as a publisher in an organization. A caller whom remembered rights would refuse is looked up again first.
    ///
    /// # Errors
    /// [`Code::NotFound`] for an organization that the caller may not see, [`Code::Forbidden`]; errors of the store.
    pub async fn admit_publisher(&self, caller: Caller, organization: &str) -> Result<Publisher, Error> {
        let remembered = caller.is_remembered.then(|| caller.clone());
        match (Publisher::new(caller, organization), remembered) {
            (Err(_), Some(remembered)) => Publisher::new(self.renew(&remembered).await?, organization),
            (admitted, _) => admitted,
        }
    }

    /// Checks that a publisher may still publish. A response needs this check if no commit made it.
    ///
    /// # Errors
    /// As of [`App::admit_publisher`].
    pub async fn confirm_publisher(&self, publisher: &Publisher) -> Result<(), Error> {
        if publisher.is_remembered {
            Publisher::new(self.renew(publisher).await?, publisher.organization().name.as_str())?;
        }
        Ok(())
    }

    /// The publisher with rights that the commit of a publish validates.
    pub(crate) async fn renew_publisher(&self, publisher: &Publisher) -> Result<Publisher, Error> {
        let caller = self.recall(publisher.hash, publisher.remote).await?;
        self.admit_publisher(caller, publisher.organization().name.as_str()).await
    }

    /// The publisher with the rights of a later version of the organization than this one's, which a commit found outdated.
    pub(crate) async fn renew_outdated(&self, publisher: &Publisher) -> Result<Publisher, Error> {
        let Caller { hash, remote, .. } = ***publisher;
        let Organization { id, name, .. } = publisher.organization();
        let is_later = |holder: &Arc<TokenHolder>| {
            let mut held = holder.memberships.iter();
            held.any(|held| held.organization.id == *id && held.version > publisher.version())
        };
        let turn = self.sessions.turn(hash).lock().await;
        let caller = match self.sessions.find(hash).filter(is_later) {
            Some(holder) => self.good(hash, holder, remote, self.store.is_shared())?,
            None => self.read(hash, remote).await?,
        };
        drop(turn);
        self.admit_publisher(caller, name.as_str()).await
    }

    async fn caller(&self, hash: TokenHash, remote: Option<IpAddr>) -> Result<Caller, Error> {
        if self.store.is_shared() { self.read(hash, remote).await } else { self.recall(hash, remote).await }
    }

    async fn recall(&self, hash: TokenHash, remote: Option<IpAddr>) -> Result<Caller, Error> {
        match self.sessions.find(hash) {
            Some(holder) => self.good(hash, holder, remote, self.store.is_shared()),
            None => self.read(hash, remote).await,
        }
    }

    async fn read(&self, hash: TokenHash, remote: Option<IpAddr>) -> Result<Caller, Error> {
        let generation = self.sessions.generation();
        let Some(holder) = self.store.find_token(hash).await? else {
            self.sessions.forget(hash);
            return Err(Error::unauthenticated());
        };
        let holder = Arc::new(holder);
        self.sessions.keep(hash, &holder, generation);
        self.good(hash, holder, remote, false)
    }

    fn good(
        &self,
        hash: TokenHash,
        holder: Arc<TokenHolder>,
        remote: Option<IpAddr>,
        is_remembered: bool,
    ) -> Result<Caller, Error> {
        let now = self.now();
        if holder.token.expires_at.is_some_and(|at| at <= now) {
            return Err(Error::unauthenticated());
        }
        self.sessions.used().insert(holder.token.id, now);
        Ok(Caller { hash, holder, is_remembered, remote })
    }

    /// Writes the times of the last uses of tokens. Call it periodically, and before the process ends.
    ///
    /// # Errors
    /// [`StoreError`]; the next call writes the times again, unless a token was used since.
    pub async fn write_token_uses(&self) -> Result<(), StoreError> {
        let used: Vec<_> = self.sessions.used().drain().collect();
        if used.is_empty() {
            return Ok(());
        }
        let written = self.store.touch_tokens(&used).await;
        if written.is_err() {
            let mut newer = self.sessions.used();
            for (token, at) in used {
                newer.entry(token).or_insert(at);
            }
        }
        written
    }
}

impl Error {
    /// The error for a request without a valid token. Source of the text: wire-facts.md#transport.
    pub fn unauthenticated() -> Self {
        Self::new(Code::Unauthenticated, "No credentials provided or are invalid.")
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use stackbell_model::Entropy;
    use stackbell_model::identity::TokenOwner;
    use stackbell_model::ids::OrganizationId;
    use stackbell_model::names::DisplayName;

    use super::*;

    struct Zeros;

    impl Entropy for Zeros {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    fn holder() -> Arc<TokenHolder> {
        let now = Timestamp::from_millis(0);
        let id = OrganizationId::generate(now, &mut Zeros);
        let token = Token {
            id: TokenId::generate(now, &mut Zeros),
            owner: TokenOwner::Organization(id),
            name: DisplayName::parse("ci").expect("a name"),
            role: Role::Member,
            is_operator: false,
            created_at: now,
            expires_at: None,
            last_used_at: None,
        };
        Arc::new(TokenHolder { token, user: None, memberships: Vec::new() })
    }

    #[tokio::test]
    async fn a_change_forgets_all_holders_even_if_it_fails() {
        let sessions = Sessions::default();
        let hash = TokenHash([0; 32]);
        let keep = || sessions.keep(hash, &holder(), sessions.generation());
        let lost =
            || StoreError::Unknown { context: "a test", source: io::Error::other("no response").into() };
        keep();
        assert!(sessions.find(hash).is_some());
        assert!(sessions.changing(async { Ok(()) }).await.is_ok());
        assert!(sessions.find(hash).is_none());
        keep();
        assert!(sessions.find(hash).is_some());
        assert!(sessions.changing(async { Err::<(), _>(lost()) }).await.is_err());
        assert!(sessions.find(hash).is_none());
    }

    #[tokio::test]
    async fn a_holder_that_was_read_before_a_change_is_not_kept_after_it() {
        let sessions = Sessions::default();
        let hash = TokenHash([0; 32]);
        let generation = sessions.generation();
        assert!(sessions.changing(async { Ok(()) }).await.is_ok());
        sessions.keep(hash, &holder(), generation);
        assert!(sessions.find(hash).is_none());
    }
}
