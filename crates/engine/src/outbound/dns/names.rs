//! Looking a name up.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hickory_resolver::config::{LookupIpStrategy, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, Resolver, TokioResolver};
use tokio::time::Instant;

use crate::outbound::resolve::ResolveError;

/// How many names' addresses are kept: a few megabytes with [`ADDRESSES_MAX`] of each, which hardly any has.
pub(super) const ANSWERS_MAX: usize = 4096;

/// Of a name with more addresses than this the others are left alone.
pub(super) const ADDRESSES_MAX: usize = 64;

/// Hosts, and the servers that are asked for other names, with what they answered.
pub(super) struct Names {
    hosts: Hosts,
    resolver: TokioResolver,
    /// Whether names may stand for longer ones.
    has_search: bool,
    answers: Mutex<HashMap<Box<str>, Answer>>,
}

#[derive(Clone)]
struct Answer {
    addresses: Arc<[IpAddr]>,
    holds_until: Instant,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("has_search", &self.has_search).finish_non_exhaustive()
    }
}

impl Names {
    pub(super) fn new(hosts: Hosts, config: ResolverConfig, mut options: ResolverOpts) -> Self {
        // Ours has both families of a name together, and is bounded by addresses; theirs is by answers, of any size. And what
        // a name does not have is not kept: somebody may be about to mend that, and few ask.
        options.cache_size = 0;
        // They are looked at before: who has an address of one family there is not asked for one of the other.
        options.use_hosts_file = ResolveHosts::Never;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // One server after the other, the quickest first: two at a time would take twice the sockets.
        options.num_concurrent_reqs = 1;
        let has_search = config.domain().is_some() || !config.search().is_empty();
        let provider = TokioRuntimeProvider::default();
        let builder = Resolver::builder_with_config(config, provider).with_options(options);
        let resolver = builder.build().expect("only TLS could fail, and there is none");
        Self { hosts, resolver, has_search, answers: Mutex::default() }
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

    /// As it stands first: what fails there is what is said, and not what a longer name comes to.
    async fn look_up(&self, host: &str, name: Name) -> Result<Answer, ResolveError> {
        let mut whole = name.clone();
        whole.set_fqdn(true);
        match self.ask(host, whole).await {
            Err(error @ (ResolveError::NoName | ResolveError::NoAddress)) if self.has_search => {
                self.ask(host, name).await.map_err(|_| error)
            }
            answer => answer,
        }
    }

    async fn ask(&self, host: &str, name: Name) -> Result<Answer, ResolveError> {
        match self.resolver.lookup_ip(name).await {
            Ok(found) => {
                let addresses = by_turns(found.iter().collect());
                let holds_until = Instant::from_std(found.valid_until());
                if addresses.is_empty() {
                    return Err(ResolveError::NoAddress);
                }
                Ok(Answer { addresses: addresses.into(), holds_until })
            }
            Err(error) => {
                tracing::debug!(endpoint.host = host, %error, "a name was not resolved");
                Err(refusal(error))
            }
        }
    }

    fn kept(&self, host: &str) -> Option<Arc<[IpAddr]>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.get(host).filter(|answer| answer.holds_until > Instant::now());
        answer.map(|answer| Arc::clone(&answer.addresses))
    }

    fn keep(&self, host: &str, answer: Answer) {
        let now = Instant::now();
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
        // The system's own errors stay what they are: some of them are our fault.
        NetError::Io(error) => ResolveError::Unasked(match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => error.kind().into(),
        }),
        _ => ResolveError::Failed,
    }
}
