//! Names by way of DNS.
//!
//! The system's own resolver would do but for two things: it holds a thread for each name until it gives up, so that names
//! that hang, which anybody can make, would keep everybody else's from being looked up (invariant 5); and it does not say
//! how long an answer holds, so that it would be asked at each connect.
//!
//! - [`DnsResolver`]: answers that still hold, and the rest looked up
//! - `names`: looking a name up, among hosts and at name servers
//! - `files`: where the system says which

mod files;
mod names;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use stackbell_model::Chain;
use tokio::time::Instant;

use super::resolve::{Resolve, ResolveError};
use files::{Files, Stamps};
use names::Names;

/// How often it is looked whether the files have changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The resolver: what `/etc/hosts` says, else what the servers of `/etc/resolv.conf` answer, for as long as that holds.
///
/// Both files are read again within a second when they have changed; while one of them cannot be read, what it said before
/// holds. Other sources of names, as `nsswitch.conf` may have, are not looked at.
#[derive(Debug, Default)]
pub struct DnsResolver {
    files: Files,
    current: Mutex<Current>,
}

/// What was read of the files last, and when that was looked at.
#[derive(Debug, Default)]
struct Current {
    names: Option<Arc<Names>>,
    stamps: Stamps,
    looked_at: Option<Instant>,
}

impl DnsResolver {
    /// The names as the files have them. Who comes while somebody else looks at the files takes what was there before.
    async fn names(&self) -> Result<Arc<Names>, ResolveError> {
        let stamps = {
            let mut current = self.lock();
            let is_fresh = current.looked_at.is_some_and(|at| at.elapsed() < LOOK_INTERVAL);
            if let Some(names) = current.names.as_ref().filter(|_| is_fresh) {
                return Ok(Arc::clone(names));
            }
            current.looked_at = Some(Instant::now());
            current.stamps
        };
        let files = self.files.clone();
        let read = tokio::task::spawn_blocking(move || files.read_if_changed(stamps)).await;
        let read = read.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let mut current = self.lock();
        let failed = match read {
            Ok(Some((stamps, names))) => {
                *current = Current { names: Some(Arc::new(names)), stamps, looked_at: current.looked_at };
                None
            }
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the files that say where names come from cannot be read");
                Some(error)
            }
        };
        match (&current.names, failed) {
            (Some(names), _) => Ok(Arc::clone(names)),
            (None, Some(error)) => Err(ResolveError::Unasked(error)),
            (None, None) => unreachable!("what was never read differs from all that there may be"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        // Nothing that can panic is done under it.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolve for DnsResolver {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<Vec<SocketAddr>, ResolveError>> {
        Box::pin(async move {
            let addresses = self.names().await?.addresses(host).await?;
            Ok(addresses.iter().map(|address| SocketAddr::new(*address, port)).collect())
        })
    }
}
