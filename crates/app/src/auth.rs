//! Who asks, and what they may.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use stackbell_model::Timestamp;
use stackbell_model::identity::{Organization, Token, TokenHash, User};
use stackbell_model::ids::{OrganizationId, TokenId};
use stackbell_model::permission::{Permission, Role};
use stackbell_store::StoreError;
use stackbell_store::identity::{HeldMembership, TokenHolder};

use crate::{App, Code, Error};

/// Tokens whose holders are kept in memory. Beyond this all are let go and read anew.
const SESSIONS_MAX: usize = 10_000;

/// Somebody who asks: known by a token, which was good when they asked.
#[derive(Clone, Debug)]
pub struct Caller {
    hash: TokenHash,
    holder: Arc<TokenHolder>,
    /// As of an earlier request, while other nodes may have changed it: good only for what names the version that it is of.
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
    /// As of which version of it ([`stackbell_store::webhooks::OrganizationWebhooks::version`]).
    pub(crate) version: u64,
    owner: Role,
    token: Role,
}

impl<'a> Access<'a> {
    const fn new(membership: &'a HeldMembership, token: Role) -> Self {
        let HeldMembership { organization, role, version } = membership;
        Self { organization, version: *version, owner: *role, token }
    }

    /// Whether both the caller and the caller's token may do it.
    pub fn may(&self, permission: Permission) -> bool {
        self.owner.may(permission) && self.token.may(permission)
    }

    /// Refuses who may not.
    ///
    /// # Errors
    /// [`Code::Forbidden`], with what would be needed.
    pub fn require(&self, permission: Permission) -> Result<(), Error> {
        if self.may(permission) {
            return Ok(());
        }
        let message = format!("this token may not {} in '{}'", permission.as_str(), self.organization.name);
        Err(Error::new(Code::Forbidden, message))
    }

    /// Whether a token with this role may be made here: it may do nothing that its maker may not.
    pub fn may_grant(&self, role: Role) -> bool {
        role.is_within(self.owner) && role.is_within(self.token)
    }
}

impl Caller {
    /// The caller's access to an organization.
    ///
    /// # Errors
    /// [`Code::NotFound`], the same whether there is no such organization or the caller does not belong to it.
    pub fn in_organization(&self, name: &str) -> Result<Access<'_>, Error> {
        let membership = &self.holder.memberships[self.membership(name)?];
        Ok(Access::new(membership, self.holder.token.role))
    }

    /// The caller in an organization, for the operations there.
    ///
    /// # Errors
    /// [`Code::NotFound`], as of [`Caller::in_organization`].
    pub fn enter(self, name: &str) -> Result<OrganizationCaller, Error> {
        let membership = self.membership(name)?;
        Ok(OrganizationCaller { caller: self, membership })
    }

    fn membership(&self, name: &str) -> Result<usize, Error> {
        let found = self.holder.memberships.iter().position(|held| held.organization.name.as_str() == name);
        found.ok_or_else(|| Error::not_found("Organization", name))
    }

    /// Whether what is known of the caller is of an earlier request, and other nodes may have changed it since.
    pub(crate) fn is_remembered(&self) -> bool {
        self.is_remembered
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

    /// Where the caller asks from.
    pub fn remote(&self) -> Option<IpAddr> {
        self.remote
    }

    /// What the audit log calls the caller.
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

    /// Whether a token of this role, for a user with these memberships, may do nothing in any organization that the caller
    /// may not do there.
    pub(crate) fn may_all_of(&self, memberships: &[HeldMembership], role: Role) -> bool {
        memberships.iter().all(|held| {
            let own = self.in_organization(held.organization.name.as_str()).ok();
            let is_granted = |permission: Permission| held.role.may(permission) && role.may(permission);
            let is_own = |permission| own.is_some_and(|access| access.may(permission));
            Permission::ALL.iter().all(|permission| !is_granted(*permission) || is_own(*permission))
        })
    }

    /// Whether the caller may act as operator of the instance.
    pub fn is_operator(&self) -> bool {
        self.holder.token.is_operator && self.user().is_some_and(|user| user.is_operator)
    }

    /// Refuses who is no operator.
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

/// Holders of tokens that were used lately, so that a request costs no read of the store.
///
/// Where one process owns the store that is right: whatever changes a holder goes through [`App`] and
/// [`Sessions::changing`] before it is answered (invariant 10). Such a change must not be dropped halfway: whoever calls
/// sees to it that it goes on.
///
/// Where other nodes use the store too, a holder that is kept serves publishing alone, whose commit finds out whether the
/// organization is as it was when the holder was read. Everything else reads the holder anew, and so does whoever is to be
/// refused.
pub(crate) struct Sessions {
    known: Mutex<Known>,
    /// Of many who find a holder outdated at the same time one reads it anew.
    turns: [tokio::sync::Mutex<()>; TURNS],
}

/// Holders that are read anew at the same time; two of them may have to wait for each other.
const TURNS: usize = 64;

impl Default for Sessions {
    fn default() -> Self {
        Self { known: Mutex::default(), turns: std::array::from_fn(|_| tokio::sync::Mutex::default()) }
    }
}

#[derive(Default)]
struct Known {
    /// Counts the changes. What was read before one must not be kept after it.
    generation: u64,
    holders: HashMap<TokenHash, Arc<TokenHolder>>,
    used: HashMap<TokenId, Timestamp>,
}

impl Sessions {
    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_all(&self) {
        let mut known = self.lock();
        known.generation += 1;
        known.holders.clear();
    }

    /// Lets a change of the store happen and forgets all, whatever came of it: a change that was reported as failed may be in
    /// nevertheless.
    pub(crate) async fn changing<T>(
        &self,
        change: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let changed = change.await;
        self.forget_all();
        changed
    }

    fn generation(&self) -> u64 {
        self.lock().generation
    }

    fn find(&self, hash: TokenHash) -> Option<Arc<TokenHolder>> {
        self.lock().holders.get(&hash).cloned()
    }

    fn forget(&self, hash: TokenHash) {
        self.lock().holders.remove(&hash);
    }

    fn turn(&self, hash: TokenHash) -> &tokio::sync::Mutex<()> {
        &self.turns[usize::from(hash.0[0]) % TURNS]
    }

    fn keep(&self, hash: TokenHash, holder: &Arc<TokenHolder>, generation: u64) {
        let mut known = self.lock();
        if known.generation != generation {
            return;
        }
        if known.holders.len() >= SESSIONS_MAX {
            known.holders.clear();
        }
        known.holders.insert(hash, Arc::clone(holder));
    }
}

impl App {
    /// Finds out who presents a token.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] for a token that is unknown, revoked or expired; errors of the store.
    pub async fn authenticate(&self, token: &str, remote: Option<IpAddr>) -> Result<Caller, Error> {
        self.caller(self.keyring.token_hash(token), remote).await
    }

    /// The same for somebody who is going to publish, and nothing else. Costs no read of a store that nodes share, if the
    /// token was used here lately: whether what is known of the caller still holds, [`App::admit_publisher`] and each
    /// publish see to.
    ///
    /// # Errors
    /// The same.
    pub async fn authenticate_publisher(&self, token: &str, remote: Option<IpAddr>) -> Result<Caller, Error> {
        self.recall(self.keyring.token_hash(token), remote).await
    }

    /// Finds out whether a caller is still who they were when they asked, and may still do what they might.
    ///
    /// # Errors
    /// As of [`App::authenticate`].
    pub async fn renew(&self, caller: &Caller) -> Result<Caller, Error> {
        self.caller(caller.hash, caller.remote).await
    }

    /// Finds out whether a caller in an organization is still who they were when they asked, and still belongs to it. A
    /// change calls this once its body has arrived, which may be long after the request began.
    ///
    /// # Errors
    /// As of [`App::authenticate`]; [`Code::NotFound`] if the caller no longer belongs to the organization.
    pub(crate) async fn renew_in(&self, caller: &OrganizationCaller) -> Result<OrganizationCaller, Error> {
        self.renew(caller).await?.enter(caller.organization().name.as_str())
    }

    /// A caller as the organization's commits will check.
    pub(crate) async fn renew_publisher(&self, caller: &Caller) -> Result<Caller, Error> {
        self.recall(caller.hash, caller.remote).await
    }

    /// The caller as of a later version of an organization than this one, which a commit found to be outdated.
    pub(crate) async fn renew_beyond(
        &self,
        caller: &Caller,
        organization: OrganizationId,
        version: u64,
    ) -> Result<Caller, Error> {
        let Caller { hash, remote, .. } = *caller;
        let _turn = self.sessions.turn(hash).lock().await;
        let is_later = |holder: &Arc<TokenHolder>| {
            let mut held = holder.memberships.iter();
            held.any(|held| held.organization.id == organization && held.version > version)
        };
        match self.sessions.find(hash).filter(is_later) {
            Some(holder) => self.good(hash, holder, remote, self.store.is_shared()),
            None => self.read(hash, remote).await,
        }
    }

    /// Lets a caller through whom `check` passes. One who is only remembered, and would be refused, is found anew.
    pub(crate) async fn or_anew(
        &self,
        caller: Caller,
        check: impl Fn(&Caller) -> Result<(), Error>,
    ) -> Result<Caller, Error> {
        let caller = match check(&caller) {
            Err(_) if caller.is_remembered => self.renew(&caller).await?,
            Ok(()) | Err(_) => caller,
        };
        check(&caller).map(|()| caller)
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
        self.sessions.lock().used.insert(holder.token.id, now);
        Ok(Caller { hash, holder, is_remembered, remote })
    }

    /// Writes down when tokens were last used. To be called now and then, and before the process ends.
    ///
    /// # Errors
    /// [`StoreError`]; what was not written is written with the next call, unless the token was used since.
    pub async fn write_token_uses(&self) -> Result<(), StoreError> {
        let used: Vec<_> = self.sessions.lock().used.drain().collect();
        if used.is_empty() {
            return Ok(());
        }
        let written = self.store.touch_tokens(&used).await;
        if written.is_err() {
            let mut known = self.sessions.lock();
            for (token, at) in used {
                known.used.entry(token).or_insert(at);
            }
        }
        written
    }
}

impl Error {
    /// What whoever presents no good token is told. Source of the text: wire-facts.md#transport.
    pub fn unauthenticated() -> Self {
        Self::new(Code::Unauthenticated, "No credentials provided or are invalid.")
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[tokio::test]
    async fn what_failed_may_be_in_and_is_forgotten_too() {
        let sessions = Sessions::default();
        let generation = || sessions.generation();
        let lost = || StoreError::Unknown { context: "a test", source: io::Error::other("no answer").into() };
        let before = generation();
        assert!(sessions.changing(async { Ok(()) }).await.is_ok());
        let between = generation();
        assert!(sessions.changing(async { Err::<(), _>(lost()) }).await.is_err());
        assert!(before != between && between != generation());
    }
}
