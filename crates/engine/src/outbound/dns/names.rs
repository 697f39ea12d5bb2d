//! Looking a name up.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, select};
use hickory_proto::rr::{Name, RecordType};
use tokio::time::{Instant, timeout};

use super::hosts::Hosts;
use super::reply::Reply;
use super::resolv_conf::ResolvConf;
use super::servers::Servers;
use crate::outbound::resolve::ResolveError;

/// How many names' addresses or errors are kept: a few megabytes with the most addresses of each, which hardly any has.
pub(super) const ANSWERS_MAX: usize = 4096;

/// Answers are kept no longer than this, whatever they say.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3600);

/// "There is none" is kept no longer than this: a name that was just added must not wait for an hour.
const NEGATIVE_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a failure is kept: shorter than the first retry waits.
const FAILURE_TIME: Duration = Duration::from_secs(2);

/// An answer of one family is kept no longer than this while there is none of the other.
const HALF_ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// How long the second family is waited for once the first has addresses. Source: RFC 8305, section 3.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// Hosts, and the servers that are asked for other names, with what they answered.
pub(super) struct Names {
    hosts: Hosts,
    conf: ResolvConf,
    servers: Arc<Servers>,
    answers: Mutex<HashMap<Box<str>, Answer>>,
}

/// The addresses of a host.
pub(super) struct Found {
    /// At least one.
    pub(super) addresses: Arc<[IpAddr]>,
    /// The other family's addresses, where they are still awaited.
    pub(super) later: Option<BoxFuture<'static, Vec<IpAddr>>>,
}

struct Answer {
    found: Result<Arc<[IpAddr]>, Failure>,
    holds_until: Instant,
}

/// An error that is kept. An unreachable server is none: the cause may be ours.
#[derive(Clone, Copy)]
enum Failure {
    Failed,
    NoName,
    NoAddress,
    TimedOut,
}

impl Failure {
    fn of(error: &ResolveError) -> Option<Self> {
        match error {
            ResolveError::Unasked(_) => None,
            ResolveError::Failed => Some(Self::Failed),
            ResolveError::NoName => Some(Self::NoName),
            ResolveError::NoAddress => Some(Self::NoAddress),
            ResolveError::TimedOut => Some(Self::TimedOut),
        }
    }
}

impl From<Failure> for ResolveError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Failed => Self::Failed,
            Failure::NoName => Self::NoName,
            Failure::NoAddress => Self::NoAddress,
            Failure::TimedOut => Self::TimedOut,
        }
    }
}

/// The result of one candidate.
enum Verdict {
    Found(Found),
    /// The name has no address, and for how long that holds: the next candidate may be meant.
    None(ResolveError, Duration),
    /// Servers failed: the next candidate may be meant.
    ServerFailed,
    /// Servers do not tell: no domain is searched any more.
    Refused,
    /// No other name may be meant.
    Stop(ResolveError),
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("conf", &self.conf).finish_non_exhaustive()
    }
}

impl Names {
    pub(super) fn new(hosts: Hosts, conf: ResolvConf) -> Self {
        let servers = Arc::new(Servers::new(&conf));
        Self { hosts, conf, servers, answers: Mutex::default() }
    }

    /// The addresses of a host in lower case; a dot at its end makes it absolute.
    pub(super) async fn addresses(self: &Arc<Self>, host: &str) -> Result<Found, ResolveError> {
        if let Some(kept) = self.kept(host) {
            return Ok(Found { addresses: kept?, later: None });
        }
        let of_hosts = self.hosts.addresses(host);
        if !of_hosts.is_empty() {
            return Ok(Found { addresses: of_hosts.into(), later: None });
        }
        if is_local(host) {
            let addresses = [IpAddr::from(Ipv6Addr::LOCALHOST), Ipv4Addr::LOCALHOST.into()];
            return Ok(Found { addresses: addresses.into(), later: None });
        }
        self.search(host).await.map_err(|(error, time)| {
            if let Some(failure) = Failure::of(&error) {
                self.keep(host, Err(failure), time);
            }
            error
        })
    }

    /// Asks for the candidates in turn. Source: `__res_context_search` in glibc's `resolv/res_query.c`, but for one thing:
    /// glibc goes on to the name as it is when no server answers about a longer one. A lost answer must not send a payload
    /// to another host, so here the lookup fails. An error comes with how long it holds.
    async fn search(self: &Arc<Self>, host: &str) -> Result<Found, (ResolveError, Duration)> {
        let candidates = self.conf.candidates(host).ok_or((ResolveError::NoName, Duration::ZERO))?;
        // A kept answer must not outlive the reason why an earlier candidate was passed over.
        let mut holds = ANSWER_TIME_MAX;
        let mut first_error = None;
        let mut error = ResolveError::NoName;
        let mut refused = false;
        let mut error_holds = NEGATIVE_TIME_MAX;
        for (index, candidate) in candidates.into_iter().enumerate() {
            if refused && !candidate.as_is {
                continue;
            }
            let failed = match self.look_up(host, candidate.name, holds).await {
                Verdict::Found(found) => return Ok(found),
                Verdict::Stop(error) => return Err((error, FAILURE_TIME)),
                Verdict::None(error, time) => {
                    holds = holds.min(time);
                    error_holds = error_holds.min(time);
                    error
                }
                Verdict::ServerFailed => {
                    holds = Duration::ZERO;
                    error_holds = error_holds.min(FAILURE_TIME);
                    ResolveError::Failed
                }
                Verdict::Refused => {
                    holds = Duration::ZERO;
                    error_holds = error_holds.min(FAILURE_TIME);
                    refused = true;
                    ResolveError::Failed
                }
            };
            match (&error, &failed) {
                _ if index == 0 && candidate.as_is => first_error = Some(failed),
                // The most telling of them is said.
                (ResolveError::Failed, _) | (ResolveError::NoAddress, ResolveError::NoName) => {}
                _ => error = failed,
            }
        }
        Err((first_error.unwrap_or(error), error_holds))
    }

    /// Asks for both families of one name at once.
    async fn look_up(self: &Arc<Self>, host: &str, name: Name, holds: Duration) -> Verdict {
        if name.iter().next_back().is_some_and(|label| label.eq_ignore_ascii_case(b"invalid")) {
            // Source: RFC 6761, section 6.4.
            return Verdict::None(ResolveError::NoName, ANSWER_TIME_MAX);
        }
        let first = self.servers.first();
        let ask = |family| Arc::clone(&self.servers).ask(name.clone(), family, first).boxed();
        let (v4, v6) = if self.conf.no_aaaa {
            (ask(RecordType::A).await, Reply::NoData(ANSWER_TIME_MAX))
        } else {
            let (reply, mut other) = match select(ask(RecordType::A), ask(RecordType::AAAA)).await {
                Either::Left((v4, v6)) => (v4, Awaited { reply: v6, is_v6: true }),
                Either::Right((v6, v4)) => (v6, Awaited { reply: v4, is_v6: false }),
            };
            let second = match &reply {
                // Some servers say that there is no name where there is no IPv6 address.
                Reply::NoName(_) if other.is_v6 => timeout(RESOLUTION_DELAY, &mut other.reply).await.ok(),
                Reply::Addresses(..) => timeout(RESOLUTION_DELAY, &mut other.reply).await.ok(),
                _ => Some((&mut other.reply).await),
            };
            match (reply, second) {
                (Reply::Addresses(addresses, time), None) => {
                    let half = Half {
                        names: Arc::clone(self),
                        host: host.into(),
                        addresses,
                        holds: holds.min(time),
                    };
                    return Verdict::Found(half.with_later(other.reply));
                }
                (reply, second) => {
                    let second = second.unwrap_or(Reply::NoData(ANSWER_TIME_MAX));
                    if other.is_v6 { (reply, second) } else { (second, reply) }
                }
            }
        };
        tracing::debug!(endpoint.host = host, dns.name = %name, dns.a = ?v4, dns.aaaa = ?v6, "a name was looked up");
        self.judge(host, v4, v6, holds)
    }

    fn judge(&self, host: &str, v4: Reply, v6: Reply, holds: Duration) -> Verdict {
        use Reply::{Addresses, NoAddress, NoData, NoName, Refused, Rejected, ServerFailed, Silent, Unasked};
        let (addresses, time) = match (v4, v6) {
            (Addresses(mut v4, time), Addresses(v6, other_time)) => {
                v4.extend(v6);
                (v4, time.min(other_time))
            }
            (Addresses(addresses, time), other) | (other, Addresses(addresses, time)) => {
                (addresses, if other.is_failure() { time.min(HALF_ANSWER_TIME_MAX) } else { time })
            }
            // A name that is there, by an alias that leads nowhere, hides the others.
            (NoAddress, _) | (_, NoAddress) => return Verdict::Stop(ResolveError::NoAddress),
            (NoName(time), NoName(other)) => return Verdict::None(ResolveError::NoName, time.min(other)),
            // No name in one family is none in the other.
            (NoName(time), NoData(_) | ServerFailed | Refused | Rejected | Silent | Unasked(_)) => {
                return Verdict::None(ResolveError::NoName, time);
            }
            (Silent, _) | (_, Silent) => return Verdict::Stop(ResolveError::TimedOut),
            (Unasked(error), _) | (_, Unasked(error)) => return Verdict::Stop(ResolveError::Unasked(error)),
            (NoData(time), NoData(other) | NoName(other)) => {
                return Verdict::None(ResolveError::NoAddress, time.min(other));
            }
            (NoData(_) | ServerFailed, _) | (_, NoData(_) | ServerFailed) => return Verdict::ServerFailed,
            (Refused | Rejected, Refused | Rejected | NoName(_)) => return Verdict::Refused,
        };
        let addresses: Arc<[IpAddr]> = addresses.into();
        self.keep(host, Ok(Arc::clone(&addresses)), holds.min(time));
        Verdict::Found(Found { addresses, later: None })
    }

    fn kept(&self, host: &str) -> Option<Result<Arc<[IpAddr]>, Failure>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.get(host).filter(|answer| answer.holds_until > Instant::now());
        answer.map(|answer| answer.found.clone())
    }

    fn keep(&self, host: &str, found: Result<Arc<[IpAddr]>, Failure>, time: Duration) {
        if time.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= ANSWERS_MAX {
            answers.retain(|_, answer| answer.holds_until > now);
        }
        if answers.len() >= ANSWERS_MAX {
            answers.clear();
        }
        answers.insert(host.into(), Answer { found, holds_until: now + time });
    }

    #[cfg(test)]
    pub(super) fn servers(&self) -> Vec<std::net::SocketAddr> {
        self.conf.servers.clone()
    }

    #[cfg(test)]
    pub(super) fn unresponsive(&self) -> Vec<std::net::SocketAddr> {
        self.servers.unresponsive()
    }

    #[cfg(test)]
    pub(super) fn kept_count(&self) -> usize {
        self.answers.lock().expect("not poisoned").len()
    }
}

/// The reply of the second family.
struct Awaited {
    reply: BoxFuture<'static, Reply>,
    is_v6: bool,
}

/// The addresses of one family while the other is awaited. They are kept for a short time when nobody waits any more, so
/// that a family which is never answered costs its wait once.
struct Half {
    names: Arc<Names>,
    host: Box<str>,
    addresses: Vec<IpAddr>,
    holds: Duration,
}

impl Half {
    fn with_later(self, reply: BoxFuture<'static, Reply>) -> Found {
        let addresses = self.addresses.as_slice().into();
        Found { addresses, later: Some(self.complete(reply).boxed()) }
    }

    async fn complete(mut self, reply: BoxFuture<'static, Reply>) -> Vec<IpAddr> {
        match reply.await {
            Reply::Addresses(later, time) => {
                self.addresses.extend(&later);
                self.holds = self.holds.min(time);
                self.keep_whole();
                later
            }
            Reply::NoData(_) | Reply::NoName(_) | Reply::NoAddress => {
                self.keep_whole();
                Vec::new()
            }
            Reply::ServerFailed | Reply::Refused | Reply::Rejected | Reply::Silent | Reply::Unasked(_) => {
                Vec::new()
            }
        }
    }

    fn keep_whole(&mut self) {
        let addresses = std::mem::take(&mut self.addresses);
        self.names.keep(&self.host, Ok(addresses.into()), self.holds);
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        if !self.addresses.is_empty() {
            self.holds = self.holds.min(HALF_ANSWER_TIME_MAX);
            self.keep_whole();
        }
    }
}

/// Every machine knows itself. Source: RFC 6761, section 6.3.
fn is_local(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host == "localhost" || host.ends_with(".localhost")
}
