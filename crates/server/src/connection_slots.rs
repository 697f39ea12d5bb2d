//! Connection slots: the limit on connections, one client's share of it, and the connection that yields to a new one.
//!
//! One address may have half of the slots, so that it cannot lock others out. A new connection is admitted even if its address
//! has used its share, or if no slot is free: a connection that waits for a request is then closed instead. Connections without a
//! complete request head are closed first, oldest first. Next is the connection that has been idle for longest. A connection with
//! a request in progress is never closed for another.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::server_metrics::{Cut, CutConnections};

/// The most connections at once. Each costs a file descriptor and some tens of KiB.
pub(crate) const CONNECTIONS_MAX: usize = 4096;

/// The most connections at once for operations: probes and collectors of metrics.
pub(crate) const OPERATIONS_CONNECTIONS_MAX: usize = 256;

/// The longest time for a request head, from its first byte. For the first head of a connection the time starts at the connect
/// and includes the TLS handshake. It is enough for a few round trips with one packet that is lost twice.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(10);

/// The pause between two tries to get a slot while every connection has a request in progress.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The connection slots of a listener.
#[derive(Debug)]
pub(crate) struct ConnectionSlots {
    count: usize,
    /// The most slots for one address.
    share: usize,
    /// Networks of proxies. An address there stands for many clients, so no share limits it.
    proxies: Vec<IpNet>,
    /// The counter of connections that were cut.
    cut: CutConnections,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// Ordered by number, so the oldest comes first.
    all: BTreeMap<u64, Entry>,
    by_site: HashMap<IpAddr, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Entry {
    site: IpAddr,
    phase: Arc<Phase>,
    leave: CancellationToken,
}

/// The right to one connection. Dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    /// The slots that it belongs to.
    pub(crate) slots: Arc<ConnectionSlots>,
    number: u64,
    /// The present activity of the connection.
    pub(crate) phase: Arc<Phase>,
    /// Cancelled when the connection must end: it lost its slot, or the listener stops.
    pub(crate) leave: CancellationToken,
}

/// The result of a request for a slot.
#[derive(Debug)]
pub(crate) enum Admission {
    /// The connection has a slot. The flag says whether another connection was closed for it.
    Taken(ConnectionSlot, bool),
    /// The address has used its share, and each of its connections has a request in progress.
    ShareUsed,
}

/// The activity of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It has waited for the rest of a head for this long.
    Head(Duration),
    /// A request is in progress.
    Request,
    /// It has been idle after a request for this long.
    Idle(Duration),
}

/// [`Doing`] as one atomic word, so that a write costs next to nothing.
#[derive(Debug)]
pub(crate) struct Phase {
    begun: Instant,
    /// The lowest two bits are one of the constants below, the others milliseconds since `begun`.
    word: AtomicU64,
}

const HEAD: u64 = 0;
const REQUEST: u64 = 1;
const IDLE: u64 = 2;
const KIND_BITS: u32 = 2;

impl Phase {
    /// The phase of a new connection, which waits for its first head.
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), word: AtomicU64::new(HEAD) }
    }

    /// The present activity.
    pub(crate) fn doing(&self) -> Doing {
        let word = self.word.load(Ordering::Relaxed);
        let since = || self.begun.elapsed().saturating_sub(Duration::from_millis(word >> KIND_BITS));
        match word & ((1 << KIND_BITS) - 1) {
            HEAD => Doing::Head(since()),
            REQUEST => Doing::Request,
            _ => Doing::Idle(since()),
        }
    }

    /// Notes that bytes came.
    pub(crate) fn read(&self) {
        if matches!(self.doing(), Doing::Idle(_)) {
            self.set(HEAD);
        }
    }

    /// Notes that a head is complete.
    pub(crate) fn begin_request(&self) {
        self.word.store(REQUEST, Ordering::Relaxed);
    }

    /// Notes that the response was sent.
    pub(crate) fn end_request(&self) {
        self.set(IDLE);
    }

    fn set(&self, kind: u64) {
        let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX >> KIND_BITS);
        self.word.store(millis << KIND_BITS | kind, Ordering::Relaxed);
    }

    /// Returns once a head has taken longer than [`HEAD_TIME`].
    pub(crate) async fn overdue(&self) {
        loop {
            let left = match self.doing() {
                Doing::Head(since) => HEAD_TIME.saturating_sub(since),
                // A wake-up for each request would cost more than a late cut.
                Doing::Request | Doing::Idle(_) => HEAD_TIME,
            };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

impl ConnectionSlots {
    /// `count` slots, of which one address may have half. Addresses in `proxies` have no such limit.
    pub(crate) fn new(count: usize, proxies: Vec<IpNet>, cut: CutConnections) -> Arc<Self> {
        Arc::new(Self { count, share: count / 2, proxies, cut, table: Mutex::default() })
    }

    /// Takes a slot for a connection from `peer`. Waits while each connection has a request in progress.
    pub(crate) async fn take(self: &Arc<Self>, peer: IpAddr, leave: &CancellationToken) -> Admission {
        loop {
            if let Some(admission) = self.try_take(peer, leave) {
                return admission;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// `None` if no slot is free and no connection can be closed.
    fn try_take(self: &Arc<Self>, peer: IpAddr, leave: &CancellationToken) -> Option<Admission> {
        let (site, is_proxy) =
            (site(peer), self.proxies.iter().any(|network| network.contains(&peer.to_canonical())));
        let mut table = self.lock();
        let has_share = is_proxy || table.by_site.get(&site).is_none_or(|numbers| numbers.len() < self.share);
        let given_up = if !has_share {
            match table.waiting_longest(Some(site)) {
                Some(number) => Some(number),
                None => {
                    self.cut.count(Cut::Refused);
                    return Some(Admission::ShareUsed);
                }
            }
        } else if table.all.len() >= self.count {
            Some(table.waiting_longest(None)?)
        } else {
            None
        };
        if let Some(number) = given_up {
            self.cut.count(Cut::Displaced);
            table.cut(number);
        }
        let slot = table.insert(self, site, leave.child_token());
        Some(Admission::Taken(slot, given_up.is_some()))
    }

    /// Closes a connection that waits for a request, after the system ran out of file descriptors. Returns whether there was one.
    pub(crate) fn give_up_one(&self) -> bool {
        let mut table = self.lock();
        let found = table.waiting_longest(None);
        if let Some(number) = found {
            self.cut.count(Cut::Displaced);
            table.cut(number);
        }
        found.is_some()
    }

    /// Counts a connection that sent no whole head in time.
    pub(crate) fn count_silent(&self) {
        self.cut.count(Cut::Silent);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn insert(
        &mut self,
        slots: &Arc<ConnectionSlots>,
        site: IpAddr,
        leave: CancellationToken,
    ) -> ConnectionSlot {
        let (number, phase) = (self.next, Arc::new(Phase::new()));
        self.next += 1;
        self.all.insert(number, Entry { site, phase: Arc::clone(&phase), leave: leave.clone() });
        self.by_site.entry(site).or_default().insert(number);
        ConnectionSlot { slots: Arc::clone(slots), number, phase, leave }
    }

    fn cut(&mut self, number: u64) {
        if let Some(entry) = self.remove(number) {
            entry.leave.cancel();
        }
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.all.remove(&number)?;
        if let Some(numbers) = self.by_site.get_mut(&entry.site) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_site.remove(&entry.site);
            }
        }
        Some(entry)
    }

    /// The connection to close first: among those of `site`, or among all.
    fn waiting_longest(&self, site: Option<IpAddr>) -> Option<u64> {
        match site {
            Some(site) => {
                let numbers = self.by_site.get(&site)?;
                waiting_longest(numbers.iter().filter_map(|number| Some((*number, self.all.get(number)?))))
            }
            None => waiting_longest(self.all.iter().map(|(number, entry)| (*number, entry))),
        }
    }
}

/// The first connection without a whole head; else the one that has been idle for longest.
fn waiting_longest<'a>(entries: impl Iterator<Item = (u64, &'a Entry)>) -> Option<u64> {
    let mut idle: Option<(Duration, u64)> = None;
    for (number, entry) in entries {
        match entry.phase.doing() {
            Doing::Head(_) => return Some(number),
            Doing::Idle(since) if idle.is_none_or(|(longest, _)| since > longest) => {
                idle = Some((since, number));
            }
            Doing::Idle(_) | Doing::Request => {}
        }
    }
    idle.map(|(_, number)| number)
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.slots.lock().remove(self.number);
    }
}

/// The unit for shares: an IPv4 address, or an IPv6 /64 network, because one machine can use every address of its /64.
fn site(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    struct Bench {
        slots: Arc<ConnectionSlots>,
        stop: CancellationToken,
    }

    impl Bench {
        fn new(count: usize, proxies: &[&str]) -> Self {
            let proxies = proxies.iter().map(|text| text.parse().expect("a network")).collect();
            Self {
                slots: ConnectionSlots::new(count, proxies, CutConnections::default()),
                stop: CancellationToken::new(),
            }
        }

        /// A slot that is free, or taken from another connection.
        #[track_caller]
        fn take(&self, peer: &str) -> ConnectionSlot {
            match self.slots.try_take(ip(peer), &self.stop) {
                Some(Admission::Taken(slot, _)) => slot,
                other => panic!("{other:?}"),
            }
        }

        fn is_refused(&self, peer: &str) -> bool {
            matches!(self.slots.try_take(ip(peer), &self.stop), Some(Admission::ShareUsed))
        }
    }

    fn left(slots: &[&ConnectionSlot]) -> Vec<bool> {
        slots.iter().map(|slot| slot.leave.is_cancelled()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn within_a_share_the_oldest_without_a_head_gives_way() {
        let bench = Bench::new(6, &[]);
        let (busy, first, second) = (bench.take("10.0.0.1"), bench.take("10.0.0.1"), bench.take("10.0.0.1"));
        busy.phase.begin_request();
        let other = bench.take("10.0.0.2");
        let third = bench.take("10.0.0.1");
        assert_eq!(left(&[&busy, &first, &second, &other, &third]), [false, true, false, false, false]);
        drop(first);
        let fourth = bench.take("10.0.0.1");
        assert_eq!(left(&[&busy, &second, &other, &third, &fourth]), [false, true, false, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_connection_yields_if_all_have_sent_heads() {
        let bench = Bench::new(6, &[]);
        let (one, two, three) = (bench.take("10.0.0.1"), bench.take("10.0.0.1"), bench.take("10.0.0.1"));
        for slot in [&two, &one, &three] {
            slot.phase.begin_request();
            slot.phase.end_request();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        three.phase.begin_request();
        let four = bench.take("10.0.0.1");
        assert_eq!(left(&[&one, &two, &three]), [false, true, false]);
        four.phase.begin_request();
        one.phase.begin_request();
        assert!(bench.is_refused("10.0.0.1"), "all are answered");
        drop(four);
        bench.take("10.0.0.1");
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_cannot_keep_others_out() {
        let bench = Bench::new(4, &[]);
        let held = [bench.take("10.0.0.1"), bench.take("10.0.0.1")];
        for slot in &held {
            slot.phase.begin_request();
        }
        assert!(bench.is_refused("10.0.0.1"));
        let (one, two) = (bench.take("10.0.0.2"), bench.take("10.0.0.3"));
        // All slots are taken now, so the oldest of all connections yields.
        let three = bench.take("10.0.0.4");
        assert_eq!(left(&[&one, &two, &three]), [true, false, false]);
        for slot in [&two, &three] {
            slot.phase.begin_request();
        }
        assert!(bench.slots.try_take(ip("10.0.0.5"), &bench.stop).is_none());
        two.phase.end_request();
        let Admission::Taken(..) = bench.slots.take(ip("10.0.0.5"), &bench.stop).await else {
            panic!("a slot was given up")
        };
        assert_eq!(left(&[&held[0], &two, &three]), [false, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trusted_proxy_may_use_all_slots() {
        let bench = Bench::new(4, &["10.0.0.0/24"]);
        let held: Vec<ConnectionSlot> = (0..4).map(|_| bench.take("::ffff:10.0.0.1")).collect();
        assert!(held.iter().all(|slot| !slot.leave.is_cancelled()));
        let fifth = bench.take("10.0.0.1");
        assert!(held[0].leave.is_cancelled() && !fifth.leave.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_returned_slot_is_free() {
        let bench = Bench::new(2, &[]);
        for _ in 0..10 {
            let slot = bench.take("10.0.0.1");
            assert!(!slot.leave.is_cancelled());
            drop(slot);
        }
        let table = bench.slots.lock();
        assert!(table.all.is_empty() && table.by_site.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_given_up_if_descriptors_run_short() {
        let bench = Bench::new(4, &[]);
        assert!(!bench.slots.give_up_one());
        let slot = bench.take("10.0.0.1");
        assert!(bench.slots.give_up_one() && slot.leave.is_cancelled());
    }

    #[test]
    fn one_machine_is_one_address() {
        let check = |one: &str, other: &str, expected: bool| {
            assert_eq!(site(ip(one)) == site(ip(other)), expected, "{one} {other}");
        };
        check("10.0.0.1", "::ffff:10.0.0.1", true);
        check("10.0.0.1", "10.0.0.2", false);
        check("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true);
        check("2001:db8:0:1::1", "2001:db8:0:2::1", false);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_limited_time_and_an_idle_connection_has_more() {
        let phase = Phase::new();
        let begun = Instant::now();
        phase.overdue().await;
        assert_eq!(begun.elapsed(), HEAD_TIME);
        phase.begin_request();
        phase.end_request();
        tokio::time::timeout(9 * HEAD_TIME, phase.overdue())
            .await
            .expect_err("an idle connection is not overdue");
        // Single bytes do not extend the time.
        phase.read();
        let (begun, late) = (Instant::now(), phase.overdue());
        let trickle = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                phase.read();
            }
        };
        tokio::select! {
            () = late => {}
            () = trickle => {}
        }
        assert_eq!(begun.elapsed(), HEAD_TIME);
    }
}
