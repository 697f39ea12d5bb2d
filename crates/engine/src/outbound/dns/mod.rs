//! Names as the system's libc would resolve them, by `/etc/hosts` and DNS.
//!
//! Two things keep us from libc's own `getaddrinfo`. It holds a thread for each name until it gives up, so names that hang,
//! which anybody can make, would keep all others from being looked up (invariant 5). It does not say how long an answer
//! holds, so every connect would ask again. Resolver libraries for Rust ignore `ndots`, `attempts` and zones, and give up at
//! a server's error, so only their messages are used here.
//!
//! - [`DnsResolver`]: the files, read again when they change
//! - `names`: one name, among hosts and at name servers
//! - `answers`: kept answers, and lookups that concurrent callers share
//! - `servers`, `reply`: one question to the servers in turn, and the meaning of an answer
//! - `resolv_conf`, `hosts`, `files`: the files' contents

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

/// How often it is looked whether the files have changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The resolver: what `/etc/hosts` says, else what the servers of `/etc/resolv.conf` answer, for as long as that holds.
///
/// Both files are read again within a second when they have changed. While one of them cannot be read, its last contents
/// hold. Other sources of names are not read: `nsswitch.conf`, `host.conf`, `gai.conf`, `LOCALDOMAIN`, `RES_OPTIONS`.
#[derive(Debug, Default)]
pub struct DnsResolver {
    files: Files,
    current: Mutex<Current>,
    /// Held while the files are read: one reader at a time.
    reading: tokio::sync::Mutex<()>,
}

/// What was read of the files last, and when that was looked at.
#[derive(Debug, Default)]
struct Current {
    found: Option<Result<Arc<Names>, ResolveError>>,
    stamps: Stamps,
    looked_at: Option<Instant>,
}

impl DnsResolver {
    /// The names as the files have them. One caller looks at the files; others take the last contents meanwhile, and wait
    /// only when there are none.
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

    /// What there is, where it was looked at just now.
    fn fresh(&self) -> Option<Result<Arc<Names>, ResolveError>> {
        let current = self.lock();
        current.found.clone().filter(|_| current.looked_at.is_some_and(|at| at.elapsed() < LOOK_INTERVAL))
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        // Nothing that can panic is done under it.
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
