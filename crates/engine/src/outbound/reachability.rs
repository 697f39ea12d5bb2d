//! Remembers which addresses and families failed lately. A dead address then costs its connection timeout only once.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::time::Instant;

/// The time for which a failure counts. Source: RFC 6555, section 4.2, recommends ten minutes.
const FAILURE_TIME: Duration = Duration::from_secs(600);

/// The most failed addresses that are remembered; the least recently used one is evicted first.
const FAILURES_MAX: u64 = 4096;

/// Recent failures of addresses and families. They decide about the order only: every address is tried when the others fail.
#[derive(Debug)]
pub(super) struct Reachability {
    /// The end of the time for which an address counts as failed.
    failed: Cache<SocketAddr, Instant>,
    families: Mutex<Families>,
}

#[derive(Debug, Default)]
struct Families {
    v4: Family,
    v6: Family,
}

/// The state of a family. A family counts as failed only while none of its addresses worked lately, because one dead address
/// says nothing about the addresses of other hosts.
#[derive(Debug, Default)]
struct Family {
    worked_at: Option<Instant>,
    failed_at: Option<Instant>,
}

impl Family {
    fn has_failed(&self, now: Instant) -> bool {
        let lately = |at: Option<Instant>| at.is_some_and(|at| now < at + FAILURE_TIME);
        lately(self.failed_at) && !lately(self.worked_at)
    }
}

impl Default for Reachability {
    fn default() -> Self {
        let failed = Cache::builder().max_capacity(FAILURES_MAX).eviction_policy(EvictionPolicy::lru());
        Self { failed: failed.build(), families: Mutex::default() }
    }
}

impl Reachability {
    /// Records that the address accepted a connection.
    pub(super) fn worked(&self, address: SocketAddr) {
        self.failed.invalidate(&address);
        self.families().of(address).worked_at = Some(Instant::now());
    }

    /// Records that the address accepted no connection, or later than another address of its host.
    pub(super) fn failed(&self, address: SocketAddr) {
        let now = Instant::now();
        self.failed.insert(address, now + FAILURE_TIME);
        self.families().of(address).failed_at = Some(now);
    }

    /// The order in which a host's addresses are tried: families alternate, IPv6 first unless it failed, and failed addresses
    /// come last. Otherwise the order is kept. Source: RFC 8305, section 4.
    pub(super) fn order(&self, addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
        let now = Instant::now();
        let has_failed = |address: &SocketAddr| self.failed.get(address).is_some_and(|until| now < until);
        let families = self.families();
        let v6_leads = !families.v6.has_failed(now) || families.v4.has_failed(now);
        drop(families);
        let (failed, fresh): (Vec<_>, Vec<_>) = addresses.into_iter().partition(has_failed);
        by_turns(&fresh, v6_leads).chain(by_turns(&failed, v6_leads)).collect()
    }

    fn families(&self) -> MutexGuard<'_, Families> {
        // Nothing panics under this lock.
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Families {
    fn of(&mut self, address: SocketAddr) -> &mut Family {
        if address.is_ipv4() { &mut self.v4 } else { &mut self.v6 }
    }
}

fn by_turns(addresses: &[SocketAddr], v6_leads: bool) -> impl Iterator<Item = SocketAddr> {
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv6() == v6_leads);
    let turns = first.len().max(second.len());
    (0..turns).flat_map(move |turn| [first.get(turn).copied(), second.get(turn).copied()]).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(address: &str) -> SocketAddr {
        format!("{address}:443").parse().expect("an address")
    }

    fn check(known: &Reachability, addresses: &[&str], expected: &[&str]) {
        let ordered = known.order(addresses.iter().map(|address| parse(address)).collect());
        let expected: Vec<_> = expected.iter().map(|address| parse(address)).collect();
        assert_eq!(ordered, expected, "{addresses:?}");
    }

    const HOST: [&str; 5] = ["1.1.1.1", "1.1.1.2", "1.1.1.3", "[2600::1]", "[2600::2]"];

    #[tokio::test(start_paused = true)]
    async fn families_take_turns() {
        let known = Reachability::default();
        check(&known, &HOST, &["[2600::1]", "1.1.1.1", "[2600::2]", "1.1.1.2", "1.1.1.3"]);
        check(&known, &["1.1.1.2", "1.1.1.1"], &["1.1.1.2", "1.1.1.1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn failed_addresses_are_last_for_some_time() {
        let known = Reachability::default();
        known.worked(parse("[2600::9]"));
        known.failed(parse("[2600::1]"));
        known.failed(parse("1.1.1.2"));
        check(&known, &HOST, &["[2600::2]", "1.1.1.1", "1.1.1.3", "[2600::1]", "1.1.1.2"]);
        known.worked(parse("1.1.1.2"));
        check(&known, &HOST, &["[2600::2]", "1.1.1.1", "1.1.1.2", "1.1.1.3", "[2600::1]"]);
        tokio::time::advance(FAILURE_TIME).await;
        check(&known, &HOST, &["[2600::1]", "1.1.1.1", "[2600::2]", "1.1.1.2", "1.1.1.3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_family_without_success_comes_second() {
        let known = Reachability::default();
        known.failed(parse("[2600::9]"));
        check(&known, &HOST, &["1.1.1.1", "[2600::1]", "1.1.1.2", "[2600::2]", "1.1.1.3"]);
        known.worked(parse("[2600::8]"));
        check(&known, &HOST[2..], &["[2600::1]", "1.1.1.3", "[2600::2]"]);
        known.failed(parse("[2600::9]"));
        check(&known, &HOST[2..], &["[2600::1]", "1.1.1.3", "[2600::2]"]);
        tokio::time::advance(FAILURE_TIME).await;
        known.failed(parse("[2600::9]"));
        check(&known, &HOST[2..], &["1.1.1.3", "[2600::1]", "[2600::2]"]);
        tokio::time::advance(FAILURE_TIME).await;
        check(&known, &HOST[2..], &["[2600::1]", "1.1.1.3", "[2600::2]"]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_bounded() {
        let known = Reachability::default();
        let address = |port| SocketAddr::from(([10, 0, 0, 1], port));
        let newest = u16::try_from(2 * FAILURES_MAX).expect("a port");
        for port in 1..=newest {
            known.failed(address(port));
        }
        known.failed.run_pending_tasks();
        assert_eq!(known.failed.entry_count(), FAILURES_MAX);
        assert!(known.failed.contains_key(&address(newest)) && !known.failed.contains_key(&address(1)));
    }
}
