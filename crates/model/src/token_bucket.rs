//! Token buckets: they limit a rate, spread evenly, with a burst after a rest.
//!
//! A bucket implements the generic cell rate algorithm: a single moment stores how much of the burst is used up. In any window
//! of time, at most `burst + window / interval` tokens are taken, unless [`TokenBucket::take`] takes more than are available.
//!
//! A bucket reads no clock. All moments of a bucket must count from one origin.

use std::time::Duration;

use crate::Timestamp;

/// The rate at which a bucket refills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRate {
    interval: Duration,
    /// The maximum time that a taken token may be ahead of its schedule.
    tolerance: Duration,
    burst: u32,
}

impl TokenRate {
    /// One token in each `interval`, and `burst` tokens after a rest. A burst of 0 counts as 1, and an interval of 0 as one
    /// nanosecond.
    pub const fn new(interval: Duration, burst: u32) -> Self {
        let interval = positive(interval);
        let tolerance = interval.saturating_mul(burst.saturating_sub(1));
        Self { interval, tolerance, burst: if burst == 0 { 1 } else { burst } }
    }

    /// One token in each `interval`. A token may be taken up to `tolerance` before its time.
    pub const fn with_tolerance(interval: Duration, tolerance: Duration) -> Self {
        let interval = positive(interval);
        let tokens = tolerance.as_nanos() / interval.as_nanos();
        let burst = if tokens < u32::MAX as u128 { tokens as u32 + 1 } else { u32::MAX };
        Self { interval, tolerance, burst }
    }

    /// The time that one token takes to come back.
    pub const fn interval(self) -> Duration {
        self.interval
    }

    /// The tokens of a full bucket, at least one.
    pub const fn burst(self) -> u32 {
        self.burst
    }
}

/// A moment in nanoseconds since an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i128);

impl Moment {
    /// Converts a moment whose origin is the Unix epoch. It is rounded up to a millisecond, so that the
    /// result is not before the moment.
    pub fn to_timestamp(self) -> Timestamp {
        let millis = -(-self.0).div_euclid(1_000_000);
        Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    }
}

/// The time since an origin.
impl From<Duration> for Moment {
    fn from(since: Duration) -> Self {
        Self(nanos(since))
    }
}

/// The origin is the Unix epoch.
impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self(i128::from(at.as_millis()) * 1_000_000)
    }
}

/// The used part of a burst. The rate is an argument of each method, so that many buckets can share one rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    /// The moment at which the bucket will be full again, less one interval.
    theoretical: Moment,
}

impl TokenBucket {
    /// A full bucket.
    pub const fn full(now: Moment) -> Self {
        Self { theoretical: now }
    }

    /// The tokens that can be taken now.
    pub fn available(&self, rate: TokenRate, now: Moment) -> u32 {
        let ahead = now.0 + nanos(rate.tolerance) - self.theoretical.0;
        if ahead < 0 {
            return 0;
        }
        let tokens = ahead / nanos(rate.interval) + 1;
        u32::try_from(tokens).unwrap_or(u32::MAX).min(rate.burst())
    }

    /// Takes one token.
    ///
    /// # Errors
    /// The time until a token is available, if none is. Nothing is taken.
    pub fn try_take(&mut self, rate: TokenRate, now: Moment) -> Result<(), Duration> {
        let early = self.theoretical.0 - now.0 - nanos(rate.tolerance);
        if early > 0 {
            return Err(Duration::from_nanos(u64::try_from(early).unwrap_or(u64::MAX)));
        }
        self.take(rate, 1, now);
        Ok(())
    }

    /// Takes this many tokens, whether or not they are available. Missing tokens delay later ones.
    pub fn take(&mut self, rate: TokenRate, tokens: u32, now: Moment) {
        let start = self.theoretical.0.max(now.0);
        self.theoretical = Moment(start + nanos(rate.interval) * i128::from(tokens));
    }

    /// Gives back this many taken tokens. A full bucket stays full.
    pub fn give_back(&mut self, rate: TokenRate, tokens: u32) {
        self.theoretical.0 -= nanos(rate.interval) * i128::from(tokens);
    }

    /// The moment at which this many tokens, at most a burst, are available; may be in the past.
    pub fn ready_for(&self, rate: TokenRate, tokens: u32) -> Moment {
        let more = nanos(rate.interval) * i128::from(tokens.saturating_sub(1));
        Moment(self.theoretical.0 + more - nanos(rate.tolerance))
    }

    /// Whether no token is missing. A full bucket equals a new one.
    pub fn is_full(&self, now: Moment) -> bool {
        self.theoretical <= now
    }

    /// Moves the bucket back in time, after the clock was set back by this much.
    pub fn set_back(&mut self, by: Duration) {
        self.theoretical.0 -= nanos(by);
    }

    /// Changes the rate. The number of missing tokens stays the same.
    pub fn change_rate(&mut self, from: TokenRate, to: TokenRate, now: Moment) {
        let missing = (self.theoretical.0 - now.0).max(0);
        self.theoretical = Moment(now.0 + missing * nanos(to.interval) / nanos(from.interval));
    }
}

const fn positive(interval: Duration) -> Duration {
    if interval.is_zero() { Duration::from_nanos(1) } else { interval }
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX / 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Moment {
        Duration::from_millis(millis).into()
    }

    /// One token in a second, three at once.
    fn rate() -> TokenRate {
        TokenRate::new(SECOND, 3)
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = TokenBucket::full(at(0));
        assert_eq!(bucket.available(rate(), at(0)), 3);
        for _ in 0..3 {
            assert_eq!(bucket.try_take(rate(), at(0)), Ok(()));
        }
        assert_eq!(bucket.available(rate(), at(0)), 0);
        assert_eq!(bucket.try_take(rate(), at(400)), Err(Duration::from_millis(600)));
        assert_eq!(bucket.ready_for(rate(), 1), at(1000));
        assert_eq!(bucket.try_take(rate(), at(1000)), Ok(()));
        assert_eq!(bucket.ready_for(rate(), 3), at(4000));
        assert!(!bucket.is_full(at(3999)) && bucket.is_full(at(4000)));
        assert_eq!(bucket.available(rate(), at(1_000_000)), 3, "a long rest makes no more than a burst");
    }

    #[test]
    fn tokens_beyond_the_available_ones_delay_later_ones() {
        let mut bucket = TokenBucket::full(at(0));
        bucket.take(rate(), 5, at(0));
        assert_eq!(bucket.ready_for(rate(), 1), at(3000));
        bucket.give_back(rate(), 4);
        assert_eq!(bucket.available(rate(), at(0)), 2);
        bucket.give_back(rate(), 20);
        assert_eq!(bucket.available(rate(), at(0)), 3);
    }

    #[test]
    fn another_rate_keeps_the_missing_tokens() {
        let mut bucket = TokenBucket::full(at(0));
        bucket.take(rate(), 3, at(0));
        let slow = TokenRate::new(10 * SECOND, 3);
        bucket.change_rate(rate(), slow, at(1000));
        assert_eq!(bucket.available(slow, at(1000)), 1);
        assert_eq!(bucket.ready_for(slow, 3), at(21_000));
    }

    #[test]
    fn a_clock_that_was_set_back_lengthens_nothing() {
        let mut bucket = TokenBucket::full(at(60_000));
        bucket.take(rate(), 3, at(60_000));
        bucket.set_back(50 * SECOND);
        assert_eq!(bucket.ready_for(rate(), 1), at(11_000));
    }

    #[test]
    fn rates_of_nothing() {
        assert_eq!(TokenRate::new(Duration::ZERO, 0), TokenRate::new(Duration::from_nanos(1), 1));
        assert_eq!(TokenRate::with_tolerance(SECOND, SECOND * 5 / 2).burst(), 3);
    }

    #[test]
    fn moments_become_timestamps_that_are_not_earlier() {
        let check = |nanos: i128, millis: i64| {
            assert_eq!(Moment(nanos).to_timestamp(), Timestamp::from_millis(millis), "{nanos}");
        };
        check(0, 0);
        check(1, 1);
        check(1_000_000, 1);
        check(-1, 0);
        check(i128::MAX / 2, i64::MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn no_window_has_more_than_its_share(
            interval in 1_u64..500,
            burst in 1_u32..8,
            steps in proptest::collection::vec(0_u64..400, 1..60),
        ) {
            let rate = TokenRate::new(Duration::from_millis(interval), burst);
            prop_assert_eq!(rate.burst(), burst);
            let (mut bucket, mut now, mut taken) = (TokenBucket::full(at(0)), 0, Vec::new());
            for step in steps {
                now += step;
                let available = bucket.available(rate, at(now));
                let mut count = 0;
                while bucket.try_take(rate, at(now)).is_ok() {
                    taken.push(now);
                    count += 1;
                }
                prop_assert_eq!(count, available);
            }
            for (first, begin) in taken.iter().enumerate() {
                for (last, end) in taken.iter().enumerate().skip(first) {
                    let most = u64::from(burst) + (end - begin) / interval;
                    prop_assert!((last - first + 1) as u64 <= most);
                }
            }
        }
    }
}
