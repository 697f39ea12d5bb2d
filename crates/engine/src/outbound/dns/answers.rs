//! A cache of answers, kept for their TTL, and the lookups in progress.
//!
//! Concurrent callers for one host share one lookup. A lookup ends when its last caller gives up.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, Shared, WeakShared};
use tokio::time::Instant;

use crate::outbound::resolve::{ResolveError, Unanswered};

/// The most hosts in the cache, and the most shared lookups. Most hosts have few addresses; even with the most addresses for
/// each host, the cache takes a few megabytes.
pub(super) const ANSWERS_MAX: usize = 4096;

/// How long a failure is kept. It is shorter than the wait before the first retry.
pub(super) const FAILURE_TIME: Duration = Duration::from_secs(2);

/// A lookup accepts no more callers after this time. If its question was lost, later callers would wait for the rest of its
/// time, although the name server has recovered.
const JOIN_TIME: Duration = FAILURE_TIME;

/// The addresses of a host.
#[derive(Clone)]
pub(super) struct Found {
    /// At least one.
    pub(super) addresses: Arc<[IpAddr]>,
    /// Why the addresses of the other family are missing, if they are.
    pub(super) unanswered: Option<Unanswered>,
    /// The other family's addresses, while a name server may still answer.
    pub(super) later: Option<Later>,
}

impl From<Arc<[IpAddr]>> for Found {
    /// Both families are complete.
    fn from(addresses: Arc<[IpAddr]>) -> Self {
        Self { addresses, unanswered: None, later: None }
    }
}

type Answered = Result<Found, ResolveError>;
type Looking = BoxFuture<'static, Answered>;
type Waiting = BoxFuture<'static, Result<Arc<[IpAddr]>, Unanswered>>;

pub(super) type Lookup = Shared<Looking>;
/// The addresses of one family. The list may be empty.
pub(super) type Later = Shared<Waiting>;

#[derive(Default)]
pub(super) struct Answers(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    kept: HashMap<Box<str>, Answer>,
    lookups: HashMap<Box<str>, Running>,
}

struct Answer {
    /// The answer without `later`, so that the cache does not keep that lookup alive.
    found: Answered,
    later: Option<WeakShared<Waiting>>,
    holds_until: Instant,
}

struct Running {
    lookup: WeakShared<Looking>,
    started: Instant,
}

impl Answers {
    /// Returns the cached answer for a host, else the result of the lookup in progress, else the result of a new lookup.
    pub(super) fn get(&self, host: &str, start: impl FnOnce() -> Lookup) -> Either<Ready<Answered>, Lookup> {
        let now = Instant::now();
        let mut inner = self.lock();
        if let Some(answer) = inner.kept.get(host).filter(|answer| answer.holds_until > now) {
            return Either::Left(ready(answer.found()));
        }
        let running = inner.lookups.get(host).filter(|running| running.started + JOIN_TIME > now);
        if let Some(lookup) = running.and_then(Running::lookup) {
            return Either::Right(lookup);
        }
        let lookup = start();
        if let Some(weak) = lookup.downgrade() {
            make_room(&mut inner.lookups, |running| running.lookup().is_some());
            inner.lookups.insert(host.into(), Running { lookup: weak, started: now });
        }
        Either::Right(lookup)
    }

    /// Caches an answer for `time`. All callers during that time share its `later`.
    pub(super) fn keep(&self, host: &str, mut found: Answered, time: Duration) {
        if time.is_zero() {
            return;
        }
        let now = Instant::now();
        let later = found.as_mut().ok().and_then(|found| found.later.take());
        let later = later.and_then(|later| later.downgrade());
        let mut inner = self.lock();
        make_room(&mut inner.kept, |answer| answer.holds_until > now);
        inner.kept.insert(host.into(), Answer { found, later, holds_until: now + time });
    }

    /// Sets the reason why one family is missing, if the cached answer lacks one.
    pub(super) fn explain(&self, host: &str, unanswered: Unanswered) {
        if let Some((_, missing)) = self.lock().half(host) {
            *missing = unanswered;
        }
    }

    /// Limits how long a cached answer without one family is kept, to the time for failures.
    pub(super) fn shorten_half(&self, host: &str) {
        if let Some((holds_until, _)) = self.lock().half(host) {
            *holds_until = (*holds_until).min(Instant::now() + FAILURE_TIME);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.kept.len(), inner.lookups.len())
    }
}

impl Inner {
    /// The cached answer for a host, if it lacks one family: its expiry, and why the family is missing.
    fn half(&mut self, host: &str) -> Option<(&mut Instant, &mut Unanswered)> {
        let answer = self.kept.get_mut(host)?;
        let missing = answer.found.as_mut().ok()?.unanswered.as_mut()?;
        Some((&mut answer.holds_until, missing))
    }
}

impl Answer {
    fn found(&self) -> Answered {
        let later = self.later.as_ref().and_then(WeakShared::upgrade).filter(|later| later.peek().is_none());
        self.found.clone().map(|found| Found { later, ..found })
    }
}

impl Running {
    /// `None` if the lookup has ended.
    fn lookup(&self) -> Option<Lookup> {
        self.lookup.upgrade().filter(|lookup| lookup.peek().is_none())
    }
}

/// Makes room for one more entry: removes useless entries, or all entries if that is not enough.
fn make_room<V>(entries: &mut HashMap<Box<str>, V>, is_of_use: impl Fn(&V) -> bool) {
    if entries.len() >= ANSWERS_MAX {
        entries.retain(|_, entry| is_of_use(entry));
    }
    if entries.len() >= ANSWERS_MAX {
        entries.clear();
    }
}
