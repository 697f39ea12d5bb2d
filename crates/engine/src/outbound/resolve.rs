//! Where names come from.

use std::io;
use std::net::SocketAddr;

use futures_util::future::BoxFuture;

/// Why a name has no addresses.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Nobody could be asked.
    #[error("no name server could be asked")]
    Unasked(#[source] io::Error),
    /// Whoever was asked could not say.
    #[error("the name servers could not say")]
    Failed,
    /// There is no such name.
    #[error("there is no such name")]
    NoName,
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

/// The one spelling of a host: lower-case, without the dot that ends an absolute name, and without any more of them. It is
/// its own: what is judged when a webhook is saved must be what is dialled, however often the host was spelled meanwhile.
pub(super) fn normal_host(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}
