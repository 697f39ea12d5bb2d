//! The limit of requests a second with one access token.
//!
//! Each access token has a [`TokenBucket`]. A full bucket lets two
//! seconds' worth of requests through at once; after that, requests pass at the rate. Memory is bounded by the access tokens
//! that were used in the last two seconds.
//!
//! If several nodes are at work, each allows its share: rate and burst divided by the number of nodes. In the long run all
//! nodes together never allow more than the rate. At once they allow two seconds' worth or one request on each node,
//! whichever is more: a node always lets one request through after a long enough pause. A client that sends all its requests
//! to one node gets that node's share only.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use stackbell_model::ids::TokenId;
use stackbell_model::token_bucket::{Moment, TokenBucket, TokenRate};
use tokio::time::Instant;

/// How much the requests of one token may be ahead of the rate.
const EARLY_MAX: Duration = Duration::from_secs(2);

/// The tokens that are kept before unused ones are removed.
const TOKENS_MIN: usize = 1024;

/// The limit, and the use that each token makes of it.
pub(crate) struct RateLimiter {
    /// The most requests a second.
    rate: NonZeroU32,
    /// The origin of moments.
    started: Instant,
    used: Mutex<Used>,
}

struct Used {
    /// The buckets that are not full, and some that are full again.
    buckets: HashMap<TokenId, TokenBucket>,
    /// The number of tokens at which unused ones are removed.
    tokens_max: usize,
}

/// The token was used for too many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooFast {
    /// The time until the next request passes.
    pub(crate) wait: Duration,
}

impl RateLimiter {
    pub(crate) fn new(rate: NonZeroU32) -> Self {
        let used = Used { buckets: HashMap::new(), tokens_max: TOKENS_MIN };
        Self { rate, started: Instant::now(), used: Mutex::new(used) }
    }

    /// The most requests a second.
    pub(crate) fn rate(&self) -> NonZeroU32 {
        self.rate
    }

    /// Counts a request. The rate is shared by `nodes` nodes.
    ///
    /// # Errors
    /// [`TooFast`]: the request exceeds the rate. It is not counted.
    pub(crate) fn count(&self, token: TokenId, nodes: usize, now: Instant) -> Result<(), TooFast> {
        let nodes = u32::try_from(nodes).unwrap_or(u32::MAX).max(1);
        let interval = (Duration::from_secs(1) / self.rate.get()).saturating_mul(nodes);
        let rate = TokenRate::with_tolerance(interval, EARLY_MAX.saturating_sub(interval));
        let now = now.saturating_duration_since(self.started).into();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bucket = used.buckets.get(&token).copied().unwrap_or(TokenBucket::full(now));
        bucket.try_take(rate, now).map_err(|wait| TooFast { wait })?;
        used.buckets.insert(token, bucket);
        used.remove_unused(now);
        Ok(())
    }
}

impl Used {
    /// Removes the tokens whose bucket is full again: they are like tokens that were never used.
    fn remove_unused(&mut self, now: Moment) {
        if self.buckets.len() <= self.tokens_max {
            return;
        }
        self.buckets.retain(|_, bucket| !bucket.is_full(now));
        // Twice the rest, so that scans stay rare.
        self.tokens_max = TOKENS_MIN.max(2 * self.buckets.len());
        self.buckets.shrink_to(self.tokens_max);
    }
}

#[cfg(test)]
mod tests {
    use stackbell_model::Timestamp;

    use super::*;

    /// A different id for each number, without randomness.
    fn token(number: u64) -> TokenId {
        struct Counting(u64);
        impl stackbell_model::Entropy for Counting {
            fn fill(&mut self, bytes: &mut [u8]) {
                for (byte, value) in bytes.iter_mut().rev().zip(self.0.to_le_bytes()) {
                    *byte = value;
                }
            }
        }
        TokenId::generate(Timestamp::from_millis(0), &mut Counting(number))
    }

    fn rates(rate: u32) -> RateLimiter {
        RateLimiter::new(NonZeroU32::new(rate).expect("not zero"))
    }

    /// The number of requests that pass out of many at one moment.
    fn burst(rates: &RateLimiter, token: TokenId, now: Instant) -> usize {
        (0..10_000).take_while(|_| rates.count(token, 1, now).is_ok()).count()
    }

    #[test]
    fn twice_the_rate_at_once_and_then_the_rate() {
        for rate in [1, 3, 10, 1000] {
            let (rates, begun) = (rates(rate), Instant::now());
            let rate = usize::try_from(rate).expect("small");
            assert_eq!(burst(&rates, token(1), begun), 2 * rate);
            assert_eq!(burst(&rates, token(1), begun), 0);
            assert_eq!(burst(&rates, token(2), begun), 2 * rate, "others have their own");
            let later = begun + Duration::from_secs(1);
            assert_eq!(burst(&rates, token(1), later), rate);
            let much_later = begun + Duration::from_secs(100);
            assert_eq!(burst(&rates, token(1), much_later), 2 * rate);
        }
    }

    /// The number of accepted requests on all `nodes`, if each node gets one request each millisecond for `seconds` seconds.
    fn through(rate: u32, nodes: usize, seconds: u32) -> usize {
        let (each, begun) = ((0..nodes).map(|_| rates(rate)).collect::<Vec<_>>(), Instant::now());
        let moments = (0..seconds * 1000).map(|moment| begun + Duration::from_millis(1) * moment);
        moments.map(|now| each.iter().filter(|node| node.count(token(1), nodes, now).is_ok()).count()).sum()
    }

    #[test]
    fn all_nodes_together_keep_to_the_rate() {
        for (rate, nodes) in [(1, 1), (1, 2), (1, 5), (2, 3), (10, 3), (100, 7)] {
            let (seconds, at_once) = (60, nodes.max(2 * rate as usize));
            let most = at_once + (rate * seconds) as usize;
            // A node may have less than one request of its share left at the end.
            let least = (rate * seconds) as usize;
            let through = through(rate, nodes, seconds);
            assert!((least..=most).contains(&through), "{rate} a second on {nodes} nodes: {through}");
        }
    }

    #[test]
    fn each_node_lets_one_request_through_whatever_its_share() {
        let (rates, now) = (rates(1), Instant::now());
        assert_eq!(rates.count(token(1), 60, now), Ok(()));
        assert_eq!(rates.count(token(1), 60, now), Err(TooFast { wait: Duration::from_secs(60) }));
        let alone = now + Duration::from_secs(59);
        assert_eq!(rates.count(token(1), 1, alone), Ok(()), "the others have gone");
    }

    #[test]
    fn the_wait_is_long_enough_and_no_longer() {
        let (rates, now) = (rates(10), Instant::now());
        burst(&rates, token(1), now);
        let TooFast { wait } = rates.count(token(1), 1, now).expect_err("too many");
        assert_eq!(wait, Duration::from_millis(100));
        let too_early = now + wait - Duration::from_millis(1);
        assert_eq!(rates.count(token(1), 1, too_early), Err(TooFast { wait: Duration::from_millis(1) }));
        assert_eq!(rates.count(token(1), 1, now + wait), Ok(()));
    }

    #[test]
    fn unused_tokens_take_no_memory() {
        let (rates, begun) = (rates(1), Instant::now());
        for number in 0..100_000_u32 {
            let now = begun + Duration::from_millis(10) * number;
            rates.count(token(number.into()), 1, now).expect("one request each");
        }
        let used = rates.used.lock().expect("nobody panics with it");
        assert!(
            used.buckets.len() <= TOKENS_MIN && used.buckets.capacity() <= 4 * TOKENS_MIN,
            "{}",
            used.buckets.len()
        );
    }

    #[test]
    fn tokens_in_use_are_kept_however_many_they_are() {
        let (rates, now) = (rates(1), Instant::now());
        for number in 0..5000 {
            burst(&rates, token(number), now);
        }
        assert!((0..5000).all(|number| rates.count(token(number), 1, now).is_err()));
    }
}
