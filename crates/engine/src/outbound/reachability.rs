//! Remembers which addresses and families accepted connections lately, so that a dead one costs its wait only once.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a failure is remembered. Source: RFC 6555, section 4.2, recommends ten minutes.
const FAILURE_TIME: Duration = Duration::from_secs(600);

/// The most failed addresses that are remembered.
const FAILURES_MAX: usize = 4096;

/// The known state of addresses. It affects only their order: a failed address is still tried if the others fail.
#[derive(Debug, Default)]
pub(super) struct Reachability(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The time until which an address counts as failed.
    failed: HashMap<SocketAddr, Instant>,
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

impl Reachability {
    /// Records that the address accepted a connection.
    pub(super) fn worked(&self, address: SocketAddr) {
        let mut state = self.lock();
        state.failed.remove(&address);
        state.family(address).worked_at = Some(Instant::now());
    }

    /// Records that the address accepted no connection, or only later than another address of its host.
    pub(super) fn failed(&self, address: SocketAddr) {
        let now = Instant::now();
        let mut state = self.lock();
        if state.failed.len() >= FAILURES_MAX {
            state.failed.retain(|_, until| now < *until);
        }
        if state.failed.len() >= FAILURES_MAX {
            state.failed.clear();
        }
        state.failed.insert(address, now + FAILURE_TIME);
        state.family(address).failed_at = Some(now);
    }

    /// The order in which a host's addresses are tried: families alternate, IPv6 first unless it failed, and failed addresses
    /// come last. Otherwise the order is kept. Source: RFC 8305, section 4.
    pub(super) fn order(&self, addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
        let now = Instant::now();
        let state = self.lock();
        let has_failed = |address: &SocketAddr| state.failed.get(address).is_some_and(|until| now < *until);
        let v6_leads = !state.v6.has_failed(now) || state.v4.has_failed(now);
        let (failed, fresh): (Vec<_>, Vec<_>) = addresses.into_iter().partition(has_failed);
        by_turns(&fresh, v6_leads).chain(by_turns(&failed, v6_leads)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn family(&mut self, address: SocketAddr) -> &mut Family {
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
        for port in 0..=FAILURES_MAX {
            known.failed(SocketAddr::from(([10, 0, 0, 1], u16::try_from(port).expect("a port"))));
        }
        assert_eq!(known.lock().failed.len(), 1);
    }
}
