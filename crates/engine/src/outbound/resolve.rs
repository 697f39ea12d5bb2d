//! Finding the addresses of names.

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

impl Clone for ResolveError {
    fn clone(&self) -> Self {
        match self {
            // The operating system's error code is kept: it tells this machine's faults from others.
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

/// The question for the addresses of one family, without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {question} question was not answered: {failure}")]
pub struct Unanswered {
    /// `A` or `AAAA`.
    pub question: &'static str,
    /// The name servers' failure, in words.
    pub failure: &'static str,
}

/// The addresses of a host.
pub struct Resolved {
    /// The addresses that are known now.
    pub addresses: Vec<SocketAddr>,
    /// Why the other family's addresses are not among them, if they are not.
    pub unanswered: Option<Unanswered>,
    /// The other family's addresses, when their answer is late: one lost answer holds up no connection. The future ends
    /// with the answer, or when the name servers are given up.
    pub later: Option<BoxFuture<'static, Result<Vec<SocketAddr>, Unanswered>>>,
}

impl From<Vec<SocketAddr>> for Resolved {
    /// All of the addresses, now.
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

    /// The policy forbids all addresses of `host`, and the question for one family was not answered. A resolver that keeps
    /// answers keeps this one no longer than a failure: the missing family may be allowed.
    fn half_is_forbidden(&self, _host: &str) {}
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
