//! Where names come from.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

/// The most look-ups at once. The system's resolver holds a thread until it gives up, which may be long after
/// the request that asked for it has ended; this leaves half of the runtime's 512 blocking threads to
/// everybody else.
const LOOKUPS_MAX: usize = 256;

/// Why a name has no addresses.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The resolver said no, or could not be asked.
    #[error("the name could not be resolved")]
    Lookup(#[source] io::Error),
    /// There is such a name, and it has no address.
    #[error("the name has no address")]
    NoAddress,
    /// It took too long.
    #[error("the name was not resolved in time")]
    TimedOut,
}

/// Finds the addresses of names.
///
/// Nothing that it says is trusted: whatever it gives is judged at each connect, and connected to without
/// asking again.
pub trait Resolve: Send + Sync {
    /// The addresses of `host`, which is lower-case, without a dot at its end, and no literal address; each
    /// with `port`.
    ///
    /// # Errors
    /// [`ResolveError`], when there is none. An empty list says the same as [`ResolveError::NoAddress`].
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<Vec<SocketAddr>, ResolveError>>;
}

/// The resolver of the operating system, which knows `/etc/hosts` and the like.
#[derive(Debug)]
pub struct SystemResolver {
    lookups: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<Vec<SocketAddr>, ResolveError>> {
        Box::pin(async move {
            let permit = Arc::clone(&self.lookups)
                .acquire_owned()
                .await
                .map_err(|closed| ResolveError::Lookup(io::Error::other(closed)))?;
            let host = host.to_owned();
            // Not tokio's lookup_host: the permit has to stay with the thread when nobody waits for it any
            // more.
            let looked_up = tokio::task::spawn_blocking(move || {
                let addresses = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
                drop(permit);
                addresses
            });
            looked_up.await.map_err(io::Error::other).flatten().map_err(ResolveError::Lookup)
        })
    }
}

/// The one spelling of a host: lower-case, without the dot that ends an absolute name, and without any more of them. It is
/// its own: what is judged when a webhook is saved must be what is dialled, however often the host was spelled meanwhile.
pub(super) fn normal_host(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}
