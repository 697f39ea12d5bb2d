//! The addresses of one host: from `/etc/hosts`, from the cache, or from the name servers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, select};
use hickory_proto::rr::{Name, RecordType};
use tokio::time::timeout;

use super::answers::{Answers, FAILURE_TIME, Found, Lookup};
use super::hosts::Hosts;
use super::reply::{Reply, SILENT};
use super::resolv_conf::ResolvConf;
use super::servers::Servers;
use crate::outbound::resolve::{ResolveError, Unanswered};

/// The longest time for which an answer is cached, whatever its TTL.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3600);

/// The longest time for which "there is none" is cached, so that a new name does not wait for an hour.
const NEGATIVE_TIME_MAX: Duration = Duration::from_secs(60);

/// The longest time for which an answer without one family is cached.
const HALF_ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// How long the second family is awaited after the first has addresses. Source: RFC 8305, section 3.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// The entries of `/etc/hosts`, the name servers for all other names, and the cache of their answers.
pub(super) struct Names {
    hosts: Hosts,
    conf: ResolvConf,
    servers: Arc<Servers>,
    answers: Arc<Answers>,
}

/// The result for one candidate name.
enum Verdict {
    Found(Found),
    /// The name has no address. The result holds for this time, and the next candidate is tried.
    None(ResolveError, Duration),
    /// The servers failed. The next candidate is tried.
    ServerFailed,
    /// The servers refused the question. No further search domains are tried.
    Refused,
    /// The search ends with this error.
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
        Self { hosts, conf, servers, answers: Arc::default() }
    }

    /// Returns the addresses of a host (in lower case). A final dot makes it absolute.
    ///
    /// Concurrent calls for one host share one lookup. The lookup continues as long as one caller waits.
    pub(super) async fn addresses(self: &Arc<Self>, host: &str) -> Result<Found, ResolveError> {
        let of_hosts = self.hosts.addresses(host);
        if !of_hosts.is_empty() {
            return Ok(Found::from(Arc::from(of_hosts)));
        }
        if is_local(host) {
            let addresses = [IpAddr::from(Ipv6Addr::LOCALHOST), Ipv4Addr::LOCALHOST.into()];
            return Ok(Found::from(Arc::from(addresses)));
        }
        self.answers.get(host, || Arc::clone(self).lookup(host.into())).await
    }

    /// The outbound policy forbids all addresses of an answer without one family. The answer is cached no longer than a
    /// failure.
    pub(super) fn half_is_forbidden(&self, host: &str) {
        self.answers.shorten_half(host);
    }

    fn lookup(self: Arc<Self>, host: Box<str>) -> Lookup {
        let lookup = async move {
            self.search(&host).await.map_err(|(error, time)| {
                // This machine may be the cause if no server is reachable, so that error is not cached.
                if !matches!(error, ResolveError::Unasked(_)) {
                    self.answers.keep(&host, Err(error.clone()), time);
                }
                error
            })
        };
        lookup.boxed().shared()
    }

    /// Looks up the candidates in turn. Source: `__res_context_search` in glibc's `resolv/res_query.c`, with one difference: if
    /// no server answers about a longer name, glibc goes on to the name as it is. Here the lookup fails, because a lost answer
    /// must not send a payload to another host. An error comes with the time for which it holds.
    async fn search(&self, host: &str) -> Result<Found, (ResolveError, Duration)> {
        let candidates = self.conf.candidates(host).ok_or((ResolveError::NoName, Duration::ZERO))?;
        // A cached answer must not outlive the reason for skipping an earlier candidate.
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
                // The most specific error is reported.
                (ResolveError::Failed, _) | (ResolveError::NoAddress, ResolveError::NoName) => {}
                _ => error = failed,
            }
        }
        Err((first_error.unwrap_or(error), error_holds))
    }

    /// Looks up both families of one name at the same time.
    async fn look_up(&self, host: &str, name: Name, holds: Duration) -> Verdict {
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
                // Some servers report that the name does not exist if it only lacks an IPv6 address.
                Reply::NoName(_) if other.is_v6 => timeout(RESOLUTION_DELAY, &mut other.reply).await.ok(),
                Reply::Addresses(..) => timeout(RESOLUTION_DELAY, &mut other.reply).await.ok(),
                _ => Some((&mut other.reply).await),
            };
            match (reply, second) {
                (Reply::Addresses(addresses, time), None) => {
                    return Verdict::Found(self.half(host, addresses.into(), holds.min(time), other));
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

    /// Returns the addresses of one family while the other is pending. They are cached at once, so that a family without an
    /// answer costs its wait once.
    fn half(&self, host: &str, addresses: Arc<[IpAddr]>, holds: Duration, other: Awaited) -> Found {
        let unanswered = Some(Unanswered { question: other.question(), failure: SILENT });
        let later = other.complete(Arc::clone(&self.answers), host.into(), Arc::clone(&addresses), holds);
        let found = Found { addresses, unanswered, later: Some(later.boxed().shared()) };
        self.answers.keep(host, Ok(found.clone()), holds.min(HALF_ANSWER_TIME_MAX));
        found
    }

    fn judge(&self, host: &str, v4: Reply, v6: Reply, holds: Duration) -> Verdict {
        use Reply::{Addresses, NoAddress, NoData, NoName, Refused, Rejected, ServerFailed, Silent, Unasked};
        let (addresses, time, unanswered) = match (v4, v6) {
            (Addresses(mut v4, time), Addresses(v6, other_time)) => {
                v4.extend(v6);
                (v4, time.min(other_time), None)
            }
            (Addresses(addresses, time), other) => (addresses, time, other.unanswered(AAAA)),
            (other, Addresses(addresses, time)) => (addresses, time, other.unanswered(A)),
            // The name exists as an alias without an address. It hides the other candidates.
            (NoAddress, _) | (_, NoAddress) => return Verdict::Stop(ResolveError::NoAddress),
            (NoName(time), NoName(other)) => return Verdict::None(ResolveError::NoName, time.min(other)),
            // A name that does not exist in one family does not exist in the other.
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
        let time = if unanswered.is_some() { time.min(HALF_ANSWER_TIME_MAX) } else { time };
        let found = Found { addresses: addresses.into(), unanswered, later: None };
        self.answers.keep(host, Ok(found.clone()), holds.min(time));
        Verdict::Found(found)
    }

    #[cfg(test)]
    pub(super) fn servers(&self) -> Vec<std::net::SocketAddr> {
        self.conf.servers.clone()
    }

    #[cfg(test)]
    pub(super) fn unresponsive(&self) -> Vec<std::net::SocketAddr> {
        self.servers.unresponsive()
    }

    /// The number of cached answers, and of lookups that accept further callers.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        self.answers.counts()
    }
}

const A: &str = "A";
const AAAA: &str = "AAAA";

/// The pending reply of the second family.
struct Awaited {
    reply: BoxFuture<'static, Reply>,
    is_v6: bool,
}

impl Awaited {
    fn question(&self) -> &'static str {
        if self.is_v6 { AAAA } else { A }
    }

    /// Waits for the addresses of the second family. Then caches the whole answer, with the addresses of the first family,
    /// `known`, which hold for `holds`.
    async fn complete(
        self,
        answers: Arc<Answers>,
        host: Box<str>,
        known: Arc<[IpAddr]>,
        holds: Duration,
    ) -> Result<Arc<[IpAddr]>, Unanswered> {
        let question = self.question();
        let reply = self.reply.await;
        if let Some(unanswered) = reply.unanswered(question) {
            answers.explain(&host, unanswered);
            return Err(unanswered);
        }
        let (later, time) = match reply {
            Reply::Addresses(later, time) => (later, time),
            _ => (Vec::new(), ANSWER_TIME_MAX),
        };
        let all: Arc<[IpAddr]> = known.iter().chain(&later).copied().collect();
        answers.keep(&host, Ok(all.into()), holds.min(time));
        Ok(later.into())
    }
}

/// Localhost names are never looked up. Source: RFC 6761, section 6.3.
fn is_local(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host == "localhost" || host.ends_with(".localhost")
}
