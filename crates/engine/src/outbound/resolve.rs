//! Name resolution.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use futures_util::future::BoxFuture;

use super::dial::literal;

/// Why a name could not be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No name server is reachable.
    #[error("no name server could be asked")]
    Unasked(#[source] io::Error),
    /// The name servers reported a failure.
    #[error("the name servers could not say")]
    Failed,
    /// The name does not exist.
    #[error("there is no such name")]
    NoName,
    /// The name exists without an address.
    #[error("the name has no address")]
    NoAddress,
    /// The time limit passed.
    #[error("the name was not resolved in time")]
    TimedOut,
}

impl Clone for ResolveError {
    fn clone(&self) -> Self {
        match self {
            // The operating system's error code is kept, because it distinguishes faults of this machine from others.
            Self::Unasked(error) => Self::Unasked(
                error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error),
            ),
            Self::Failed => Self::Failed,
            Self::NoName => Self::NoName,
            Self::NoAddress => Self::NoAddress,
            Self::TimedOut => Self::TimedOut,
        }
    }
}

/// A question for the addresses of one family that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {question} question was not answered: {failure}")]
pub struct Unanswered {
    /// `A` or `AAAA`.
    pub question: &'static str,
    /// The failure of the name servers, in words.
    pub failure: &'static str,
}

/// The resolved addresses of a host.
pub struct Resolved {
    /// The addresses that are known now.
    pub addresses: Vec<SocketAddr>,
    /// Why the addresses of the other family are missing, if they are.
    pub unanswered: Option<Unanswered>,
    /// The addresses of the other family, if their answer is late, so that one lost answer does not delay a connection. The
    /// future ends with the answer, or when the name servers have failed.
    pub later: Option<BoxFuture<'static, Result<Vec<SocketAddr>, Unanswered>>>,
}

impl From<Vec<SocketAddr>> for Resolved {
    /// All addresses are known; no family is late.
    fn from(addresses: Vec<SocketAddr>) -> Self {
        Self { addresses, unanswered: None, later: None }
    }
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { addresses, unanswered, later } = self;
        let mut fields = f.debug_struct("Resolved");
        fields.field("addresses", addresses).field("unanswered", unanswered);
        fields.field("later", &later.is_some()).finish()
    }
}

/// Resolves names.
///
/// Results are not trusted. Each address is judged at each connect, and the connection goes to exactly the judged address,
/// without another lookup.
pub trait Resolve: Send + Sync {
    /// Resolves `host` to addresses with `port`. The host is in lower case and is not a literal address. A final dot makes the
    /// name absolute: no search domain may be added.
    ///
    /// # Errors
    /// [`ResolveError`], if there are no addresses. An empty list, now and later, means [`ResolveError::NoAddress`].
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, Result<Resolved, ResolveError>>;

    /// Reports that the policy forbids all addresses of `host`, and that one family is unanswered. A resolver with a cache
    /// should keep this answer no longer than a failure, because the missing family may be allowed.
    fn half_is_forbidden(&self, _host: &str) {}
}

/// The normal spelling of a host: in lower case, without final dots. The host that is judged when a webhook is saved is thus
/// the host that is dialled.
pub(super) fn normal_host(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// The spelling of a host for lookups: the normal one, with one final dot if the name had any.
pub(super) fn dialled_host(host: &str) -> String {
    let normal = normal_host(host);
    if host.ends_with('.') && literal(&normal).is_none() && !normal.is_empty() {
        normal + "."
    } else {
        normal
    }
}
