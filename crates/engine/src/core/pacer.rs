//! The rate limit of a lane. Attempts are spread evenly, with a short burst after a rest.
//!
//! A pacer is a [`TokenBucket`] on a clock that may be set back.

use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::token_bucket::{TokenBucket, TokenRate};
use stackbell_model::webhook::{Format, Pace, Webhook};

use super::rendezvous::Share;

/// The rate of a lane's attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate(TokenRate);

impl Rate {
    /// One message a second for a webhook, with short bursts. Source: wire-facts.md#slack.
    const SLACK: Self = Self::new(Duration::from_secs(1), 3);

    /// Four messages a second, and 60 in 30 seconds: a burst of 4 and one for each 56th part of the rest.
    /// Source: wire-facts.md#microsoft-teams.
    const MS_TEAMS: Self = Self::new(Duration::from_millis(536), 4);

    /// Attempts within this time form one burst, because a lease request for each would cost more than even spacing gains.
    const EVEN_WITHIN: Duration = Duration::from_millis(100);

    /// `burst` attempts at once, at least one; then one in each `interval`, which is not zero.
    pub(super) const fn new(interval: Duration, burst: u32) -> Self {
        Self(TokenRate::new(interval, burst))
    }

    /// The rate of a webhook: its own pace if it has one, else the rate of its format's service; `None` for no limit.
    pub(super) fn of(webhook: &Webhook) -> Option<Self> {
        match (webhook.pace, webhook.format) {
            (Some(pace), _) => Some(Self::even(pace)),
            (None, Format::Slack) => Some(Self::SLACK),
            (None, Format::MsTeams) => Some(Self::MS_TEAMS),
            (None, Format::Raw | Format::PulumiDeployments) => None,
        }
    }

    /// From this interval on, deliveries keep the order of their events: single attempts are as fast as the rate.
    const ORDERED_FROM: Duration = Duration::from_millis(500);

    /// True if deliveries keep the order of their events: for chat formats, and for rates from [`Self::ORDERED_FROM`] on.
    pub(super) fn keeps_order(self, format: Format) -> bool {
        matches!(format, Format::Slack | Format::MsTeams) || self.interval() >= Self::ORDERED_FROM
    }

    fn even(pace: Pace) -> Self {
        let interval = pace.interval();
        let in_burst = Self::EVEN_WITHIN.as_nanos() / interval.as_nanos().max(1);
        Self::new(interval, u32::try_from(in_burst).unwrap_or(u32::MAX))
    }

    /// A node's share of the rate and of the burst, which is at least one. All nodes together keep to the rate.
    pub(super) fn part(self, share: Share) -> Self {
        Self::new(share.turn(self.interval()), share.part_of(self.burst()))
    }

    const fn interval(self) -> Duration {
        self.0.interval()
    }

    const fn burst(self) -> u32 {
        self.0.burst()
    }
}

/// Keeps a lane to its rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacer {
    rate: Rate,
    bucket: TokenBucket,
    /// The current time, as last set by [`Self::tell`].
    told_at: Timestamp,
}

impl Pacer {
    pub(super) fn new(rate: Rate, now: Timestamp) -> Self {
        Self { rate, bucket: TokenBucket::full(now.into()), told_at: now }
    }

    pub(super) fn rate(self) -> Rate {
        self.rate
    }

    /// Changes the rate. The number of attempts missing from the burst stays.
    pub(super) fn set_rate(&mut self, rate: Rate, now: Timestamp) {
        self.tell(now);
        self.bucket.change_rate(self.rate.0, rate.0, now.into());
        self.rate = rate;
    }

    /// Sets the current time. Call it before any question. A clock that was set back does not lengthen any wait.
    pub(super) fn tell(&mut self, now: Timestamp) {
        self.bucket.set_back(self.told_at.since(now));
        self.told_at = now;
    }

    /// The number of attempts that may be made at the current time.
    pub(super) fn available(&self) -> u32 {
        self.bucket.available(self.rate.0, self.told_at.into())
    }

    /// True if the burst is not full at the current time.
    pub(super) fn is_in_use(&self) -> bool {
        !self.bucket.is_full(self.told_at.into())
    }

    /// When the next attempt may be made; may be in the past.
    pub(super) fn ready_at(&self) -> Timestamp {
        self.ready_for(1)
    }

    /// When so many attempts, at most a burst, may be made; may be in the past.
    pub(super) fn ready_for(&self, attempts: u32) -> Timestamp {
        self.bucket.ready_for(self.rate.0, attempts).to_timestamp()
    }

    /// Counts attempts that are made at `now`, even beyond the rate: an attempt that a user requested does not wait.
    pub(super) fn take(&mut self, attempts: u32, now: Timestamp) {
        self.tell(now);
        self.take_now(attempts);
    }

    /// Counts attempts that are made at the current time.
    pub(super) fn take_now(&mut self, attempts: u32) {
        self.bucket.take(self.rate.0, attempts, self.told_at.into());
    }

    /// Gives back counted attempts that were not made.
    pub(super) fn give_back(&mut self, attempts: u32) {
        self.bucket.give_back(self.rate.0, attempts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, prop_assert, proptest};

    const BEGIN: Timestamp = Timestamp::from_millis(1_778_653_205_000);

    fn at(milliseconds: u64) -> Timestamp {
        BEGIN.after(Duration::from_millis(milliseconds))
    }

    fn per_minute(attempts: u32) -> Rate {
        Rate::even(Pace::per_minute(attempts).expect("in range"))
    }

    fn available_at(mut pacer: Pacer, now: Timestamp) -> u32 {
        pacer.tell(now);
        pacer.available()
    }

    /// Makes every attempt as early as possible until `end`. Returns the times in milliseconds.
    fn drain(rate: Rate, end: u64) -> Vec<u64> {
        let mut pacer = Pacer::new(rate, BEGIN);
        let mut now = BEGIN;
        let mut taken = Vec::new();
        while now < at(end) {
            pacer.tell(now);
            let attempts = pacer.available();
            assert!(attempts > 0, "ready at {now:?}, and is not");
            pacer.take(attempts, now);
            let since = u64::try_from(now.since(BEGIN).as_millis()).expect("short");
            taken.extend((0..attempts).map(|_| since));
            now = pacer.ready_at();
        }
        taken
    }

    #[test]
    fn a_burst_and_then_evenly() {
        assert_eq!(drain(Rate::SLACK, 4000), [0, 0, 0, 1000, 2000, 3000]);
        assert_eq!(drain(per_minute(60), 3000), [0, 1000, 2000]);
        assert_eq!(drain(per_minute(7), 20_000), [0, 8572, 17_144]);
        assert_eq!(drain(Rate::MS_TEAMS, 30_000).len(), 59);
        let fast = drain(per_minute(60_000), 1000);
        assert!((1000..=1100).contains(&fast.len()), "{}", fast.len());
    }

    #[test]
    fn a_rest_gives_the_burst_back_and_no_more() {
        let mut pacer = Pacer::new(Rate::SLACK, BEGIN);
        pacer.take(3, BEGIN);
        let available = [0, 999, 1000, 3000, 3_600_000].map(|later| available_at(pacer, at(later)));
        assert_eq!(available, [0, 0, 1, 3, 3]);
    }

    #[test]
    fn attempts_that_people_ask_for_count() {
        let mut pacer = Pacer::new(Rate::SLACK, BEGIN);
        pacer.take(10, BEGIN);
        assert_eq!(pacer.ready_at(), at(8000));
        assert_eq!((available_at(pacer, at(7999)), available_at(pacer, at(8000))), (0, 1));
    }

    #[test]
    fn another_rate_keeps_the_missing_attempts() {
        let mut pacer = Pacer::new(per_minute(1), BEGIN);
        pacer.take(1, BEGIN);
        assert_eq!(pacer.ready_at(), at(60_000));
        pacer.set_rate(per_minute(60), BEGIN);
        assert_eq!(pacer.ready_at(), at(1000));
    }

    #[test]
    fn a_clock_that_was_set_back_lengthens_nothing() {
        let mut pacer = Pacer::new(Rate::SLACK, BEGIN);
        pacer.take(3, BEGIN);
        let earlier = BEGIN.before(Duration::from_secs(24 * 3600));
        pacer.tell(earlier);
        assert_eq!(pacer.ready_at(), earlier.after(Duration::from_secs(1)));
        assert_eq!(available_at(pacer, earlier.after(Duration::from_secs(1))), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// All nodes together make no more attempts than a single node could, except for the first attempt of each.
        #[test]
        fn pacers_of_several_nodes_keep_one_rate(
            attempts in 1..60_000_u32,
            nodes in 1..6_u32,
            steps in proptest::collection::vec((0..3000_u64, 0..6_u32, 1..20_u32), 1..80),
        ) {
            let rates = [per_minute(attempts), Rate::SLACK, Rate::MS_TEAMS];
            for whole in rates {
                let part = |rank| Pacer::new(whole.part(Share::nth(rank, nodes)), BEGIN);
                let mut pacers: Vec<_> = (0..nodes).map(part).collect();
                let (mut now, mut taken) = (0, Vec::new());
                for (wait, node, wanted) in &steps {
                    now += wait;
                    let pacer = &mut pacers[(node % nodes) as usize];
                    pacer.tell(at(now));
                    let given = (*wanted).min(pacer.available());
                    pacer.take(given, at(now));
                    taken.extend((0..given).map(|_| now));
                }
                let at_once = u128::from(whole.burst().max(nodes));
                for (n, from) in taken.iter().enumerate() {
                    for (count, to) in (1..).zip(&taken[n..]) {
                        let window = u128::from(to - from) * 1_000_000;
                        let share = at_once + window / whole.interval().as_nanos();
                        prop_assert!(count <= share, "{count} within {window} ns of {whole:?}");
                    }
                }
            }
        }

        /// Nodes that all have deliveries to send reach the rate, except for the clock's rounding to a millisecond.
        #[test]
        fn pacers_of_several_nodes_come_to_one_rate(attempts in 1..6000_u32, nodes in 1..6_u32) {
            let whole = per_minute(attempts);
            let end = 600_000;
            let sent = |rank| drain(whole.part(Share::nth(rank, nodes)), end).len() as u128;
            let all: u128 = (0..nodes).map(sent).sum();
            let nanos = u128::from(end) * 1_000_000;
            let most = nanos / whole.interval().as_nanos() + u128::from(whole.burst().max(nodes));
            let least = nanos / (whole.interval().as_nanos() * u128::from(nodes) + 1_000_000) * u128::from(nodes);
            prop_assert!((least..=most).contains(&all), "{all} of {least} to {most}");
        }

        #[test]
        fn no_window_has_more_than_its_share(
            attempts in 1..60_000u32,
            steps in proptest::collection::vec((0..3000u64, 1..20u32), 1..60),
        ) {
            let rate = per_minute(attempts);
            let mut pacer = Pacer::new(rate, BEGIN);
            let (mut now, mut taken) = (0, Vec::new());
            for (wait, wanted) in steps {
                now += wait;
                pacer.tell(at(now));
                let given = wanted.min(pacer.available());
                pacer.take(given, at(now));
                taken.extend((0..given).map(|_| now));
            }
            for (n, from) in taken.iter().enumerate() {
                for (count, to) in (1..).zip(&taken[n..]) {
                    let window = u128::from(to - from) * 1_000_000;
                    let share = u128::from(rate.burst()) + window / rate.interval().as_nanos();
                    prop_assert!(count <= share, "{count} within {window} ns");
                }
            }
        }
    }
}
