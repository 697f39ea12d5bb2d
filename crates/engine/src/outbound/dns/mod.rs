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

use std::io;
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
    /// Held while the files are read: one reader at a time.
    reading: tokio::sync::Mutex<()>,
}

/// What was read of the files last, and when that was looked at.
#[derive(Debug, Default)]
struct Current {
    found: Option<Result<Arc<Names>, io::Error>>,
    stamps: Stamps,
    looked_at: Option<Instant>,
}

impl Current {
    fn names(&self) -> Option<Result<Arc<Names>, ResolveError>> {
        self.found.as_ref().map(|found| match found {
            Ok(names) => Ok(Arc::clone(names)),
            Err(error) => Err(ResolveError::Unasked(same_again(error))),
        })
    }
}

impl DnsResolver {
    /// The names as the files have them. Who comes while somebody else looks at the files takes what was there before, and
    /// waits only where there was nothing.
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
                    current.found = Some(Err(error));
                }
            }
        }
        current.names().expect("what was never read differs from all that there may be")
    }

    /// What there is, where it was looked at just now.
    fn fresh(&self) -> Option<Result<Arc<Names>, ResolveError>> {
        let current = self.lock();
        current.names().filter(|_| current.looked_at.is_some_and(|at| at.elapsed() < LOOK_INTERVAL))
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

/// An error of the system stays what it is: some of them are our fault.
fn same_again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}
