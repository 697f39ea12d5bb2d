//! Where names come from.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use futures_util::future::BoxFuture;

use super::dial::literal;

/// Why a name has no addresses.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No name server could be reached.
    #[error("no name server could be asked")]
    Unasked(#[source] io::Error),
    /// The name servers answered that they failed.
    #[error("the name servers could not say")]
    Failed,
    /// There is no such name.
    #[error("there is no such name")]
    NoName,
    /// The name exists without an address.
    #[error("the name has no address")]
    NoAddress,
    /// It took too long.
    #[error("the name was not resolved in time")]
    TimedOut,
}

/// The addresses of a host.
pub struct Resolved {
    /// The addresses that are known now.
    pub addresses: Vec<SocketAddr>,
    /// The other family's addresses, when their answer is late: one lost answer holds up no connection. The future ends
    /// when the answer is here or is given up.
    pub later: Option<BoxFuture<'static, Vec<SocketAddr>>>,
}

impl From<Vec<SocketAddr>> for Resolved {
    /// All of the addresses, now.
    fn from(addresses: Vec<SocketAddr>) -> Self {
        Self { addresses, later: None }
    }
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { addresses, later } = self;
        f.debug_struct("Resolved").field("addresses", addresses).field("later", &later.is_some()).finish()
    }
}

/// Finds the addresses of names.
///
/// Answers are not trusted: each address is judged at each connect, and the connection goes to the very address that was
/// judged, without another lookup.
pub trait Resolve: Send + Sync {
    /// The addresses of `host`, each with `port`. The host is in lower case and no literal address. One dot at its end means
    /// that the name is absolute: no search domain may be added to it.
    ///
    /// # Errors
    /// [`ResolveError`], when there is none. No addresses, now or later, mean the same as [`ResolveError::NoAddress`].
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, Result<Resolved, ResolveError>>;
}

/// The one spelling of a host: in lower case, without the dots at its end, so that the host that is judged when a webhook is
/// saved is the host that is dialled.
pub(super) fn normal_host(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// The same with one dot at its end where a name had any: the spelling under which it is looked up.
pub(super) fn dialled_host(host: &str) -> String {
    let normal = normal_host(host);
    if host.ends_with('.') && literal(&normal).is_none() && !normal.is_empty() {
        normal + "."
    } else {
        normal
    }
}
