//! Looking a name up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join;
use hickory_resolver::config::{ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, Resolver, TokioResolver};
use tokio::time::Instant;

use super::same_again;
use crate::outbound::resolve::ResolveError;

/// How many names' addresses are kept: a few megabytes with [`ADDRESSES_MAX`] of each, which hardly any has.
pub(super) const ANSWERS_MAX: usize = 4096;

/// Of a name with more addresses than this the others are left alone.
pub(super) const ADDRESSES_MAX: usize = 64;

/// How long one server is waited for.
const TRY_TIME_MAX: Duration = Duration::from_secs(2);

/// How many answers by TCP are on their way at once.
const LONG_ANSWERS_MAX: usize = 4096;

/// Hosts, and the servers that are asked for other names, with what they answered.
pub(super) struct Names {
    hosts: Hosts,
    resolver: TokioResolver,
    /// What names that are not there may be followed by.
    search: Vec<Name>,
    answers: Mutex<HashMap<Box<str>, Answer>>,
}

#[derive(Clone)]
struct Answer {
    addresses: Arc<[IpAddr]>,
    holds_until: Instant,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("search", &self.search).finish_non_exhaustive()
    }
}

impl Names {
    pub(super) fn new(hosts: Hosts, config: ResolverConfig, mut options: ResolverOpts) -> Self {
        // Ours has both families of a name together, and is bounded by addresses; theirs is by answers, of any size. And what
        // a name does not have is not kept: somebody may be about to mend that, and few ask.
        options.cache_size = 0;
        // They are looked at before: who has an address of one family there is not asked for one of the other.
        options.use_hosts_file = ResolveHosts::Never;
        // The longest that an attempt waits has room for three of these, and so for a server that is down.
        options.timeout = options.timeout.min(TRY_TIME_MAX);
        // Long answers would go by way of TCP without, where few are on their way at once.
        options.edns0 = true;
        options.max_active_requests = LONG_ANSWERS_MAX;
        let search = config.search().to_vec();
        let provider = TokioRuntimeProvider::default();
        let builder = Resolver::builder_with_config(config, provider).with_options(options);
        let resolver = builder.build().expect("only TLS could fail, and there is none");
        Self { hosts, resolver, search, answers: Mutex::default() }
    }

    /// The addresses of a host, at least one; of two families by turns, as nobody knows which of them works from here.
    pub(super) async fn addresses(&self, host: &str) -> Result<Arc<[IpAddr]>, ResolveError> {
        if let Some(addresses) = self.kept(host) {
            return Ok(addresses);
        }
        // URLs have names in ASCII; underscores, which hosts of containers have, are fine. What is no name, nobody has.
        let name = Name::from_ascii(host).map_err(|_| ResolveError::NoName)?;
        let of_hosts = self.addresses_of_hosts(&name);
        if !of_hosts.is_empty() {
            return Ok(by_turns(of_hosts).into());
        }
        let answer = self.look_up(host, name).await?;
        self.keep(host, answer.clone());
        Ok(answer.addresses)
    }

    fn addresses_of_hosts(&self, name: &Name) -> Vec<IpAddr> {
        let of = |family| self.hosts.lookup_static_host(&Query::query(name.clone(), family));
        let found = [RecordType::A, RecordType::AAAA].into_iter().filter_map(of);
        found
            .flat_map(|lookup| lookup.answers().to_vec())
            .filter_map(|record| record.data.ip_addr())
            .collect()
    }

    /// As it stands first. Where that is not there, and by no means where nobody could say, a longer name may be meant: a
    /// name server that fails must not send a payload to somebody else. A single word is no public name, and many servers
    /// say of one that they fail.
    async fn look_up(&self, host: &str, name: Name) -> Result<Answer, ResolveError> {
        let is_word = name.num_labels() == 1;
        let first = match self.ask(host, whole(name.clone())).await {
            Err(error) if says_none(&error) => error,
            Err(error @ ResolveError::Failed) if is_word => error,
            answer => return answer,
        };
        for suffix in &self.search {
            // What is too long is no name.
            let Ok(longer) = name.clone().append_domain(suffix) else { continue };
            match self.ask(host, whole(longer)).await {
                Err(ResolveError::NoName | ResolveError::NoAddress | ResolveError::Failed) => {}
                answer => return answer,
            }
        }
        Err(first)
    }

    /// Both families. One that failed takes nothing from the other, but then the answer is not kept.
    async fn ask(&self, host: &str, name: Name) -> Result<Answer, ResolveError> {
        let of = |family| self.ask_for(host, name.clone(), family);
        match join(of(RecordType::A), of(RecordType::AAAA)).await {
            (Ok(v4), Ok(v6)) => Ok(v4.and(&v6)),
            (Ok(found), Err(error)) | (Err(error), Ok(found)) if says_none(&error) => Ok(found),
            (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(Answer { holds_until: Instant::now(), ..found }),
            (Err(v4), Err(v6)) => Err(if says_none(&v4) { v6 } else { v4 }),
        }
    }

    async fn ask_for(&self, host: &str, name: Name, family: RecordType) -> Result<Answer, ResolveError> {
        let found = self.resolver.lookup(name, family).await.map_err(|error| {
            tracing::debug!(endpoint.host = host, %error, "a name was not resolved");
            refusal(error)
        })?;
        let addresses = found.answers().iter().filter_map(|record| record.data.ip_addr());
        let addresses: Arc<[IpAddr]> = addresses.take(ADDRESSES_MAX).collect();
        if addresses.is_empty() {
            return Err(ResolveError::NoAddress);
        }
        Ok(Answer { addresses, holds_until: Instant::from_std(found.valid_until()) })
    }

    fn kept(&self, host: &str) -> Option<Arc<[IpAddr]>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.get(host).filter(|answer| answer.holds_until > Instant::now());
        answer.map(|answer| Arc::clone(&answer.addresses))
    }

    fn keep(&self, host: &str, answer: Answer) {
        let now = Instant::now();
        if answer.holds_until <= now {
            return;
        }
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= ANSWERS_MAX {
            answers.retain(|_, answer| answer.holds_until > now);
        }
        if answers.len() >= ANSWERS_MAX {
            answers.clear();
        }
        answers.insert(host.into(), answer);
    }

    #[cfg(test)]
    pub(super) fn kept_count(&self) -> usize {
        self.answers.lock().expect("not poisoned").len()
    }
}

impl Answer {
    fn and(&self, other: &Self) -> Self {
        let addresses = self.addresses.iter().chain(&*other.addresses).copied().collect();
        let holds_until = self.holds_until.min(other.holds_until);
        Self { addresses: by_turns(addresses).into(), holds_until }
    }
}

/// Whether somebody could say, and said that there is none.
fn says_none(error: &ResolveError) -> bool {
    matches!(error, ResolveError::NoName | ResolveError::NoAddress)
}

/// A name that stands for nothing but itself.
fn whole(mut name: Name) -> Name {
    name.set_fqdn(true);
    name
}

fn by_turns(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv4);
    let turns = (0..v4.len().max(v6.len())).flat_map(|turn| [v4.get(turn), v6.get(turn)]);
    turns.flatten().take(ADDRESSES_MAX).copied().collect()
}

/// In words of our own: an answer can make the resolver say anything.
fn refusal(error: NetError) -> ResolveError {
    match error {
        error if error.is_nx_domain() => ResolveError::NoName,
        error if error.is_no_records_found() => ResolveError::NoAddress,
        NetError::Timeout => ResolveError::TimedOut,
        NetError::Io(error) => ResolveError::Unasked(same_again(&error)),
        _ => ResolveError::Failed,
    }
}
