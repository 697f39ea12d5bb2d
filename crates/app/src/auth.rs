//! Who asks, and what they may.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use stackbell_model::Timestamp;
use stackbell_model::identity::{Organization, Token, TokenHash, User};
use stackbell_model::ids::TokenId;
use stackbell_model::permission::{Permission, Role};
use stackbell_store::StoreError;
use stackbell_store::identity::TokenHolder;

use crate::{App, Code, Error};

/// Tokens whose holders are kept in memory. Beyond this all are let go and read anew.
const SESSIONS_MAX: usize = 10_000;

/// Somebody who asks: known by a token, which was good when they asked.
#[derive(Clone, Debug)]
pub struct Caller {
    hash: TokenHash,
    holder: Arc<TokenHolder>,
    remote: Option<IpAddr>,
}

/// What a caller may do in one organization.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The organization.
    pub organization: &'a Organization,
    owner: Role,
    token: Role,
}

impl Access<'_> {
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
        let found =
            self.holder.memberships.iter().find(|(organization, _)| organization.name.as_str() == name);
        let (organization, owner) = found.ok_or_else(|| Error::not_found("Organization", name))?;
        Ok(Access { organization, owner: *owner, token: self.holder.token.role })
    }

    /// The organizations that the caller belongs to, with the caller's role.
    pub fn organizations(&self) -> impl Iterator<Item = (&Organization, Role)> {
        self.holder.memberships.iter().map(|(organization, role)| (organization, *role))
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
/// Right because one process owns an embedded store: whatever changes a holder goes through [`App`] and
/// [`Sessions::changing`] before it is answered (invariant 10). Such a change must not be dropped halfway: whoever calls
/// sees to it that it goes on.
#[derive(Default)]
pub(crate) struct Sessions {
    known: Mutex<Known>,
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

    fn find(&self, hash: TokenHash) -> Result<Arc<TokenHolder>, u64> {
        let known = self.lock();
        known.holders.get(&hash).cloned().ok_or(known.generation)
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

    /// Finds out whether a caller is still who they were when they asked, and may still do what they might.
    ///
    /// # Errors
    /// As of [`App::authenticate`].
    pub async fn renew(&self, caller: &Caller) -> Result<Caller, Error> {
        self.caller(caller.hash, caller.remote).await
    }

    async fn caller(&self, hash: TokenHash, remote: Option<IpAddr>) -> Result<Caller, Error> {
        let holder = match self.sessions.find(hash) {
            Ok(holder) => holder,
            Err(generation) => {
                let holder = self.store.find_token(hash).await?.ok_or_else(Error::unauthenticated)?;
                let holder = Arc::new(holder);
                self.sessions.keep(hash, &holder, generation);
                holder
            }
        };
        let now = self.now();
        if holder.token.expires_at.is_some_and(|at| at <= now) {
            return Err(Error::unauthenticated());
        }
        self.sessions.lock().used.insert(holder.token.id, now);
        Ok(Caller { hash, holder, remote })
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
        let generation = || sessions.find(TokenHash([0; 32])).err();
        let lost = || StoreError::Unknown { context: "a test", source: io::Error::other("no answer").into() };
        let before = generation();
        assert!(sessions.changing(async { Ok(()) }).await.is_ok());
        let between = generation();
        assert!(sessions.changing(async { Err::<(), _>(lost()) }).await.is_err());
        assert!(before != between && between != generation());
    }
}
