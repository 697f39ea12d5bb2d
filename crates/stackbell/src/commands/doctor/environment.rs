//! The environment of a server: the limit of open files, trusted certificates, name resolution.

use std::time::Duration;

use stackbell_config::Settings;
use stackbell_engine::outbound::{DnsResolver, OutboundPolicy, Resolve as _, ResolveError};
use stackbell_server::{fd_limit, wiring};

use super::{Finding, Fine, Warn, failed};

/// The longest time for a DNS lookup. It is short, because a person waits for the result.
const LOOKUP_TIME: Duration = Duration::from_secs(10);

pub(super) fn open_files(settings: &Settings) -> Finding {
    let wanted = fd_limit::wanted(&settings.delivery);
    match fd_limit::most() {
        Some(most) if most < wanted => Warn(format!(
            "{most} open files are allowed, and {wanted} may be needed: raise `ulimit -Hn` (LimitNOFILE of a unit)"
        )),
        Some(most) => Fine(format!("{most} open files are allowed, {wanted} may be needed")),
        None => Fine("open files are not limited".to_owned()),
    }
}

pub(super) async fn authorities(settings: &Settings) -> Finding {
    match wiring::outbound_client(settings, &OutboundPolicy::default()).await {
        Ok(_) => Fine("the certificates to trust can be read".to_owned()),
        Err(error) => failed(error),
    }
}

pub(super) async fn names(settings: &Settings) -> Finding {
    let Some(host) = settings.outbound.slack_hosts.first() else {
        return Fine("no host to try".to_owned());
    };
    // The host has the form of a URL's host: with its port unless that is 443.
    let (name, port) = match host.rsplit_once(':').map(|(name, port)| (name, port.parse())) {
        Some((name, Ok(port))) => (name, port),
        Some((_, Err(_))) | None => (host.as_str(), 443),
    };
    let resolver = DnsResolver::default();
    let resolved = tokio::time::timeout(LOOKUP_TIME, resolver.resolve(name, port)).await;
    match resolved.unwrap_or(Err(ResolveError::TimedOut)) {
        Ok(_) => Fine(format!("{host} can be resolved")),
        Err(error) => Warn(format!(
            "{host} cannot be resolved ({:#}): deliveries to names that are not local will wait",
            anyhow::Error::new(error)
        )),
    }
}
