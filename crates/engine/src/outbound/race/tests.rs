use std::collections::HashMap;
use std::sync::Mutex;

use futures_util::FutureExt as _;
use proptest::prelude::*;
use stackbell_model::names::OrganizationName;

use super::*;
use crate::outbound::{Allowance, OutboundPolicy, Unanswered};

/// The behaviour of an address when it is dialled.
#[derive(Clone, Copy, Debug)]
enum Address {
    Takes,
    TakesAfter(u64),
    Refuses,
    Silent,
}

use Address::{Refuses, Silent, Takes, TakesAfter};

/// A simulated network, and the addresses that were dialled in it.
struct Network {
    addresses: HashMap<SocketAddr, Address>,
    known: Reachability,
    dialled: Mutex<Vec<SocketAddr>>,
}

const TIME: Duration = Duration::from_secs(7);

fn parse(address: &str) -> SocketAddr {
    format!("{address}:443").parse().expect("an address")
}

/// A network with these addresses, in this order; the family of the first address comes first.
fn network(addresses: &[(&str, Address)]) -> Network {
    let addresses = addresses.iter().map(|(address, what)| (parse(address), *what)).collect();
    Network { addresses, known: Reachability::default(), dialled: Mutex::default() }
}

impl Network {
    async fn race(
        &self,
        resolved: Resolved,
        judge: impl Fn(SocketAddr) -> Result<(), Refusal>,
    ) -> Result<SocketAddr, ConnectError> {
        let connect = |address: SocketAddr| {
            self.dialled.lock().expect("not poisoned").push(address);
            let what = self.addresses[&address];
            async move {
                match what {
                    Takes => {}
                    TakesAfter(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
                    Refuses => return Err(io::ErrorKind::ConnectionRefused.into()),
                    Silent => pending().await,
                }
                Ok(address)
            }
        };
        race(resolved, judge, connect, &self.known, Instant::now() + TIME).await
    }

    /// Checks which address accepted the connection, after how many milliseconds, and which addresses were dialled by then.
    async fn check(
        &self,
        resolved: Resolved,
        expected: Result<(&str, u64), io::ErrorKind>,
        dialled: &[&str],
    ) {
        let started = Instant::now();
        let won = match self.race(resolved, |_| Ok(())).await {
            Ok(address) => Ok((address, millis(started.elapsed()))),
            Err(ConnectError::Unreachable(error)) => Err(error.kind()),
            Err(error) => panic!("{error:?}"),
        };
        assert_eq!(won, expected.map(|(address, millis)| (parse(address), millis)));
        let dialled: Vec<_> = dialled.iter().map(|address| parse(address)).collect();
        assert_eq!(std::mem::take(&mut *self.dialled.lock().expect("not poisoned")), dialled);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("a short time")
}

fn now(addresses: &[&str]) -> Resolved {
    addresses.iter().map(|address| parse(address)).collect::<Vec<_>>().into()
}

fn with_later(first: &[&str], later: &'static [&'static str], millis: u64) -> Resolved {
    let later = async move {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        Ok(later.iter().map(|address| parse(address)).collect())
    };
    Resolved { later: Some(later.boxed()), ..now(first) }
}

#[tokio::test(start_paused = true)]
async fn a_dead_address_costs_a_quarter_of_a_second_and_that_once() {
    let dead_first = network(&[("1.1.1.1", Silent), ("1.1.1.2", TakesAfter(20))]);
    let addresses = ["1.1.1.1", "1.1.1.2"];
    dead_first.check(now(&addresses), Ok(("1.1.1.2", 270)), &addresses).await;
    dead_first.check(now(&addresses), Ok(("1.1.1.2", 20)), &["1.1.1.2"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_family_costs_a_quarter_of_a_second_and_that_once_for_all_hosts() {
    let v6_is_dead =
        network(&[("1.1.1.1", Takes), ("1.1.1.2", Takes), ("[2600::1]", Silent), ("[2600::2]", Silent)]);
    v6_is_dead.check(now(&["1.1.1.1", "[2600::1]"]), Ok(("1.1.1.1", 250)), &["[2600::1]", "1.1.1.1"]).await;
    v6_is_dead.check(now(&["1.1.1.2", "[2600::2]"]), Ok(("1.1.1.2", 0)), &["1.1.1.2"]).await;
    let v4_is_dead = network(&[("1.1.1.1", Silent), ("[2600::1]", TakesAfter(600))]);
    let both = ["[2600::1]", "1.1.1.1"];
    v4_is_dead.check(now(&both), Ok(("[2600::1]", 600)), &both).await;
}

#[tokio::test(start_paused = true)]
async fn an_address_that_refuses_gives_way_at_once() {
    let network = network(&[("1.1.1.1", Refuses), ("1.1.1.2", Refuses), ("1.1.1.3", Takes)]);
    let addresses = ["1.1.1.1", "1.1.1.2", "1.1.1.3"];
    network.check(now(&addresses), Ok(("1.1.1.3", 0)), &addresses).await;
    network.check(now(&addresses[..2]), Err(io::ErrorKind::ConnectionRefused), &addresses[..2]).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_address_is_not_given_up_for_the_next() {
    let network = network(&[("1.1.1.1", TakesAfter(400)), ("1.1.1.2", Silent), ("1.1.1.3", TakesAfter(240))]);
    network.check(now(&["1.1.1.1", "1.1.1.2"]), Ok(("1.1.1.1", 400)), &["1.1.1.1", "1.1.1.2"]).await;
    network.check(now(&["1.1.1.3", "1.1.1.1"]), Ok(("1.1.1.3", 240)), &["1.1.1.3"]).await;
}

#[tokio::test(start_paused = true)]
async fn silent_addresses_hold_few_sockets_and_end_in_time() {
    let names =
        ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5", "1.1.1.6", "1.1.1.7", "1.1.1.8", "1.1.1.9"];
    let network = network(&names.map(|name| (name, Silent)));
    network.check(now(&names), Err(io::ErrorKind::TimedOut), &names[..ADDRESSES_TRIED_MAX]).await;
    let one = self::network(&[("1.1.1.1", TakesAfter(6000))]);
    one.check(now(&["1.1.1.1"]), Ok(("1.1.1.1", 6000)), &["1.1.1.1"]).await;
    // The fifth attempt replaces the first.
    let fifth = self::network(&[
        ("1.1.1.1", TakesAfter(1200)),
        ("1.1.1.2", Silent),
        ("1.1.1.3", Silent),
        ("1.1.1.4", Silent),
        ("1.1.1.5", TakesAfter(500)),
    ]);
    fifth.check(now(&names[..5]), Ok(("1.1.1.5", 1500)), &names[..5]).await;
}

#[tokio::test(start_paused = true)]
async fn addresses_that_come_later_join_in() {
    let network = network(&[("1.1.1.1", Silent), ("1.1.1.2", Refuses), ("[2600::1]", Takes)]);
    let later = with_later(&["1.1.1.1"], &["[2600::1]"], 100);
    network.check(later, Ok(("[2600::1]", 250)), &["1.1.1.1", "[2600::1]"]).await;
    let later = with_later(&["1.1.1.2"], &["[2600::1]"], 100);
    network.check(later, Ok(("[2600::1]", 100)), &["1.1.1.2", "[2600::1]"]).await;
    let never = with_later(&["1.1.1.2"], &[], 100);
    network.check(never, Err(io::ErrorKind::ConnectionRefused), &["1.1.1.2"]).await;
    let hangs = with_later(&["1.1.1.2"], &[], 60_000);
    network.check(hangs, Err(io::ErrorKind::TimedOut), &["1.1.1.2"]).await;
}

#[tokio::test(start_paused = true)]
async fn addresses_that_would_not_be_tried_are_not_awaited() {
    let names = ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5", "1.1.1.6", "1.1.1.7", "1.1.1.8"];
    let network = network(&names.map(|name| (name, Refuses)));
    let started = Instant::now();
    let late = with_later(&names, &["[2600::1]"], 6_000);
    network.check(late, Err(io::ErrorKind::ConnectionRefused), &names).await;
    assert_eq!(millis(started.elapsed()), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_holds_up_no_connection() {
    let network = network(&[("1.1.1.1", TakesAfter(20))]);
    network.check(with_later(&["1.1.1.1"], &[], 60_000), Ok(("1.1.1.1", 20)), &["1.1.1.1"]).await;
}

#[tokio::test(start_paused = true)]
async fn only_addresses_that_come_later_may_be_allowed() {
    let network = network(&[("[2600::1]", Takes), ("10.0.0.1", Takes)]);
    let policy = OutboundPolicy::default();
    let acme = OrganizationName::parse("acme").expect("a name");
    let judge = |address| policy.judge(address, &acme);
    let found = network.race(with_later(&["10.0.0.1"], &["[2600::1]"], 100), judge).await;
    assert_eq!(found.expect("connected"), parse("[2600::1]"));
    let refused = network.race(with_later(&["10.0.0.1"], &["[fd00::1]"], 100), judge).await;
    let Err(ConnectError::Forbidden(refusals)) = refused else { panic!("{refused:?}") };
    let text = refusals.to_string();
    assert!(text.starts_with("10.0.0.1 (a private address), fd00::1 (a unique-local address) are"), "{text}");
    let none = network.race(with_later(&[], &[], 100), judge).await;
    assert!(matches!(none, Err(ConnectError::Unresolved(ResolveError::NoAddress))), "{none:?}");
    assert_eq!(*network.dialled.lock().expect("not poisoned"), [parse("[2600::1]")]);
}

/// Checks a host with a forbidden address, whose other family is answered after this many milliseconds.
async fn check_unanswered(
    later: Option<(Result<&str, &'static str>, u64)>,
    expected: Option<&str>,
    after: u64,
) {
    let unanswered = |failure| Unanswered { question: "AAAA", failure };
    let later = later.map(|(answer, millis)| {
        let answer = answer.map(|address| vec![parse(address)]).map_err(unanswered);
        tokio::time::sleep(Duration::from_millis(millis)).map(|()| answer).boxed()
    });
    let resolved = Resolved { later, unanswered: Some(unanswered("too late")), ..now(&["10.0.0.1"]) };
    let started = Instant::now();
    let policy = OutboundPolicy::default();
    let acme = OrganizationName::parse("acme").expect("a name");
    let refused = network(&[]).race(resolved, |address| policy.judge(address, &acme)).await;
    let Err(ConnectError::Forbidden(refusals)) = refused else { panic!("{refused:?}") };
    let text = refusals.to_string();
    let (_, reason) = text.split_once("; the AAAA question").unzip();
    assert_eq!((reason, millis(started.elapsed())), (expected, after), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_question_without_an_answer() {
    check_unanswered(None, Some(" was not answered: too late"), 0).await;
    check_unanswered(Some((Err("SERVFAIL"), 100)), Some(" was not answered: SERVFAIL"), 100).await;
    check_unanswered(Some((Err("SERVFAIL"), 60_000)), Some(" was not answered: too late"), 7_000).await;
    check_unanswered(Some((Ok("[fd00::1]"), 100)), None, 100).await;
}

/// Addresses of all kinds, including public ones.
const KINDS: [&str; 20] = [
    "1.1.1.1",
    "8.8.8.8",
    "[2606:4700::1111]",
    "[2620:fe::fe]",
    "[64:ff9b::1.1.1.1]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1::1.1.1.1]",
    "127.0.0.1",
    "[::1]",
    "10.0.0.1",
    "192.168.7.7",
    "[fd00::1]",
    "[fe80::1]",
    "169.254.169.254",
    "[::ffff:10.0.0.1]",
    "[::ffff:1.1.1.1]",
    "[2002:a00:1::]",
    "0.0.0.0",
    "100.64.0.1",
];

const ALLOWANCES: [&str; 7] =
    ["127.0.0.0/8", "10.0.0.0/8:443", "fd00::/8", "0.0.0.0/0", "::/0", "169.254.169.254", "::1"];

proptest! {
    /// Invariant 7.
    #[test]
    fn a_forbidden_address_is_never_dialled(
        first in prop::collection::vec(0..KINDS.len(), 0..10),
        later in prop::option::of((prop::collection::vec(0..KINDS.len(), 0..10), 0u64..8_000)),
        behaviours in prop::collection::vec(0..4usize, KINDS.len()),
        allowances in prop::collection::vec(0..ALLOWANCES.len(), 0..3),
    ) {
        let behaviour = |index: usize| [Takes, TakesAfter(300), Refuses, Silent][behaviours[index]];
        let all: Vec<_> = KINDS.iter().enumerate().map(|(index, kind)| (*kind, behaviour(index))).collect();
        let network = network(&all);
        let allowances = allowances.iter().map(|index| ALLOWANCES[*index].parse::<Allowance>().expect("an allowance"));
        let policy = OutboundPolicy::new(allowances);
        let acme = OrganizationName::parse("acme").expect("a name");
        let judge = |address: SocketAddr| policy.judge(address, &acme);
        let addresses = |indices: &[usize]| indices.iter().map(|index| parse(KINDS[*index])).collect::<Vec<_>>();
        let every: Vec<_> =
            addresses(&first).into_iter().chain(later.iter().flat_map(|(later, _)| addresses(later))).collect();
        let late = later.map(|(later, millis)| {
            let later = addresses(&later);
            let late = async move {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                Ok(later)
            };
            late.boxed()
        });
        let resolved = Resolved { later: late, ..Resolved::from(addresses(&first)) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let result = runtime.expect("a runtime").block_on(network.race(resolved, judge));
        let dialled = network.dialled.into_inner().expect("not poisoned");
        for address in &dialled {
            prop_assert!(judge(*address).is_ok(), "{} was dialled", address);
        }
        prop_assert!(dialled.len() <= ADDRESSES_TRIED_MAX);
        match result {
            Ok(address) => prop_assert!(dialled.contains(&address)),
            Err(ConnectError::Unreachable(_)) => {}
            Err(ConnectError::Forbidden(refusals)) => {
                prop_assert!(dialled.is_empty() && !every.is_empty());
                prop_assert!(refusals.to_string().contains(&every[0].ip().to_string()) || first.is_empty());
            }
            Err(ConnectError::Unresolved(_)) => prop_assert!(dialled.is_empty()),
            Err(error) => prop_assert!(false, "{:?}", error),
        }
    }
}
