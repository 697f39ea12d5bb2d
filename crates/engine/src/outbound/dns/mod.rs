//! Name resolution by `/etc/hosts` and DNS, with the results that the system's libc would give.
//!
//! libc's own `getaddrinfo` has two problems. It blocks a thread for each name until it gives up, so anybody could stop all
//! lookups with names that hang (invariant 5). It does not return the TTL of an answer, so every connect would query again.
//! Resolver libraries for Rust ignore `ndots`, `attempts` and zones, and stop at a server's error, so only their message types
//! are used here.
//!
//! - [`DnsResolver`]: reads the files, and reads them again when they change
//! - `names`: resolves one name, by the hosts file and the name servers
//! - `answers`: caches answers, and shares lookups between concurrent callers
//! - `servers`, `reply`: ask the servers one question in turn, and interpret an answer
//! - `resolv_conf`, `hosts`, `files`: parse the files

mod answers;
mod files;
mod hosts;
mod names;
mod reply;
mod resolv_conf;
mod servers;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use stackbell_model::Chain;
use tokio::time::Instant;

use super::resolve::{Resolve, ResolveError, Resolved};
use files::{Files, Stamps};
use names::Names;
#[cfg(any(test, feature = "properties"))]
pub(super) use reply::property as reply_property;

/// How often the files are checked for changes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The resolver: `/etc/hosts` first, then the name servers of `/etc/resolv.conf`. Answers are cached for their TTL.
///
/// Changes of both files take effect within a second. If a file becomes unreadable, its last contents stay in effect. Other
/// configuration is not read: `nsswitch.conf`, `host.conf`, `gai.conf`, `LOCALDOMAIN`, `RES_OPTIONS`.
#[derive(Debug, Default)]
pub struct DnsResolver {
    files: Files,
    current: Mutex<Current>,
    /// Held while the files are read, so that there is one reader at a time.
    reading: tokio::sync::Mutex<()>,
}

/// The last contents of the files, and when the files were last checked.
#[derive(Debug, Default)]
struct Current {
    found: Option<Result<Arc<Names>, ResolveError>>,
    stamps: Stamps,
    looked_at: Option<Instant>,
}

impl DnsResolver {
    /// Returns the current names. One caller checks the files; other callers use the last contents meanwhile, and wait only if
    /// there are none.
    async fn names(&self) -> Result<Arc<Names>, ResolveError> {
        if let Some(names) = self.fresh() {
            return names;
        }
        let _reading = self.reading.lock().await;
        if let Some(names) = self.fresh() {
            return names;
        }
        let stamps = {
            let mut current = self.lock();
            current.looked_at = Some(Instant::now());
            current.stamps
        };
        let files = self.files.clone();
        let read = tokio::task::spawn_blocking(move || files.read_if_changed(stamps)).await;
        let mut current = self.lock();
        match read.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(Some((stamps, names))) => {
                current.found = Some(Ok(Arc::new(names)));
                current.stamps = stamps;
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the files that say where names come from cannot be read");
                if !matches!(current.found, Some(Ok(_))) {
                    current.found = Some(Err(ResolveError::Unasked(error)));
                }
            }
        }
        current.found.clone().expect("what was never read differs from all that there may be")
    }

    /// The current names, if the files were checked less than `LOOK_INTERVAL` ago.
    fn fresh(&self) -> Option<Result<Arc<Names>, ResolveError>> {
        let current = self.lock();
        current.found.clone().filter(|_| current.looked_at.is_some_and(|at| at.elapsed() < LOOK_INTERVAL))
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        // No code that can panic runs under this lock.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolve for DnsResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, Result<Resolved, ResolveError>> {
        Box::pin(async move {
            let found = self.names().await?.addresses(host).await?;
            let with_port = move |addresses: Arc<[IpAddr]>| -> Vec<_> {
                addresses.iter().map(|address| SocketAddr::new(*address, port)).collect()
            };
            Ok(Resolved {
                addresses: with_port(found.addresses),
                unanswered: found.unanswered,
                later: found.later.map(|later| later.map(move |later| later.map(with_port)).boxed()),
            })
        })
    }

    fn half_is_forbidden(&self, host: &str) {
        let found = self.lock().found.clone();
        if let Some(Ok(names)) = found {
            names.half_is_forbidden(host);
        }
    }
}
