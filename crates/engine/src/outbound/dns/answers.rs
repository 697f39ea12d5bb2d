//! Answers that are kept for as long as they hold, and the lookups in progress.
//!
//! Callers that ask for one host at the same time share one lookup. A lookup ends when its last caller gives up.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, Shared, WeakShared};
use tokio::time::Instant;

use crate::outbound::resolve::{ResolveError, Unanswered};

/// The most hosts with kept answers, and the most with shared lookups. A few megabytes hold the most addresses of each, and
/// hardly any host has that many.
pub(super) const ANSWERS_MAX: usize = 4096;

/// How long a failure is kept: shorter than the first retry waits.
pub(super) const FAILURE_TIME: Duration = Duration::from_secs(2);

/// A lookup takes no more callers after this time. A lost question would cost them the rest of its time, though the name
/// server has recovered.
const JOIN_TIME: Duration = FAILURE_TIME;

/// The addresses of a host.
#[derive(Clone)]
pub(super) struct Found {
    /// At least one.
    pub(super) addresses: Arc<[IpAddr]>,
    /// Why the addresses of the other family are not among them, if they are not.
    pub(super) unanswered: Option<Unanswered>,
    /// The other family's addresses, while a name server may still answer.
    pub(super) later: Option<Later>,
}

impl From<Arc<[IpAddr]>> for Found {
    /// All addresses of the host.
    fn from(addresses: Arc<[IpAddr]>) -> Self {
        Self { addresses, unanswered: None, later: None }
    }
}

type Answered = Result<Found, ResolveError>;
type Looking = BoxFuture<'static, Answered>;
type Waiting = BoxFuture<'static, Result<Arc<[IpAddr]>, Unanswered>>;

pub(super) type Lookup = Shared<Looking>;
/// Addresses of one family. There may be none.
pub(super) type Later = Shared<Waiting>;

#[derive(Default)]
pub(super) struct Answers(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    kept: HashMap<Box<str>, Answer>,
    lookups: HashMap<Box<str>, Running>,
}

struct Answer {
    /// Without `later`, which ends when nobody waits for it any more.
    found: Answered,
    later: Option<WeakShared<Waiting>>,
    holds_until: Instant,
}

struct Running {
    lookup: WeakShared<Looking>,
    started: Instant,
}

impl Answers {
    /// The kept answer about a host, else the result of the lookup in progress, else that of a new one.
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

    /// Keeps an answer for `time`. Its `later` is shared with all who ask meanwhile.
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

    /// Says why one family is not in the kept answer, where one is missing.
    pub(super) fn explain(&self, host: &str, unanswered: Unanswered) {
        if let Some((_, missing)) = self.lock().half(host) {
            *missing = unanswered;
        }
    }

    /// A kept answer without one family is kept no longer than a failure from now on.
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
    /// A kept answer without one family: how long it holds, and why the family is missing.
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
    /// `None` when it has ended.
    fn lookup(&self) -> Option<Lookup> {
        self.lookup.upgrade().filter(|lookup| lookup.peek().is_none())
    }
}

/// Makes room for one more entry: by removing those that are of no use any more, else all.
fn make_room<V>(entries: &mut HashMap<Box<str>, V>, is_of_use: impl Fn(&V) -> bool) {
    if entries.len() >= ANSWERS_MAX {
        entries.retain(|_, entry| is_of_use(entry));
    }
    if entries.len() >= ANSWERS_MAX {
        entries.clear();
    }
}
