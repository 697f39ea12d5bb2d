//! How many requests a second come with one token.
//!
//! Requests with a token are to come evenly spaced, and may be early by up to two seconds' worth of them: so many go
//! through at once, then as many as the rate allows (the generic cell rate algorithm, with one moment for each token).
//! Memory is bounded by the tokens that were used in the last two seconds.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use stackbell_model::ids::TokenId;
use tokio::time::Instant;

/// How early requests may be, all together.
const EARLY_MAX: Duration = Duration::from_secs(2);

/// Tokens that are kept before those are looked for that need not be.
const TOKENS_MIN: usize = 1024;

/// The limit, and who has used how much of it.
pub(crate) struct TokenRates {
    /// The most requests a second.
    rate: NonZeroU32,
    used: Mutex<Used>,
}

struct Used {
    /// When each token's next request would be on time; not later than [`EARLY_MAX`] from now.
    due: HashMap<TokenId, Instant>,
    /// How many tokens there may be before those are let go whose moment has passed.
    tokens_max: usize,
}

/// A token has made too many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooFast {
    /// After this the next one goes through.
    pub(crate) wait: Duration,
}

impl TokenRates {
    pub(crate) fn new(rate: NonZeroU32) -> Self {
        Self { rate, used: Mutex::new(Used { due: HashMap::new(), tokens_max: TOKENS_MIN }) }
    }

    /// The most requests a second.
    pub(crate) fn rate(&self) -> NonZeroU32 {
        self.rate
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`TooFast`]: it was one too many, and does not count.
    pub(crate) fn count(&self, token: TokenId, now: Instant) -> Result<(), TooFast> {
        let interval = Duration::from_secs(1) / self.rate.get();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let due = used.due.get(&token).copied().unwrap_or(now).max(now);
        let early = (due + interval).duration_since(now);
        if early > EARLY_MAX {
            return Err(TooFast { wait: early - EARLY_MAX });
        }
        used.due.insert(token, due + interval);
        used.let_go(now);
        Ok(())
    }
}

impl Used {
    /// A token whose moment has passed is as good as one that was never seen.
    fn let_go(&mut self, now: Instant) {
        if self.due.len() <= self.tokens_max {
            return;
        }
        self.due.retain(|_, due| *due > now);
        // Twice of what is left, so that looking through them stays rare.
        self.tokens_max = TOKENS_MIN.max(2 * self.due.len());
        self.due.shrink_to(self.tokens_max);
    }
}

#[cfg(test)]
mod tests {
    use stackbell_model::Timestamp;

    use super::*;

    /// Ids that differ, without chance.
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

    fn rates(rate: u32) -> TokenRates {
        TokenRates::new(NonZeroU32::new(rate).expect("not zero"))
    }

    /// How many of many requests at one moment go through.
    fn burst(rates: &TokenRates, token: TokenId, now: Instant) -> usize {
        (0..10_000).take_while(|_| rates.count(token, now).is_ok()).count()
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

    #[test]
    fn the_wait_is_long_enough_and_no_longer() {
        let (rates, now) = (rates(10), Instant::now());
        burst(&rates, token(1), now);
        let TooFast { wait } = rates.count(token(1), now).expect_err("too many");
        assert_eq!(wait, Duration::from_millis(100));
        let too_early = now + wait - Duration::from_millis(1);
        assert_eq!(rates.count(token(1), too_early), Err(TooFast { wait: Duration::from_millis(1) }));
        assert_eq!(rates.count(token(1), now + wait), Ok(()));
    }

    #[test]
    fn tokens_that_rest_take_no_memory() {
        let (rates, begun) = (rates(1), Instant::now());
        for number in 0..100_000_u32 {
            let now = begun + Duration::from_millis(10) * number;
            rates.count(token(number.into()), now).expect("one request each");
        }
        let used = rates.used.lock().expect("nobody panics with it");
        assert!(used.due.len() <= TOKENS_MIN && used.due.capacity() <= 4 * TOKENS_MIN, "{}", used.due.len());
    }

    #[test]
    fn tokens_in_use_are_kept_however_many_they_are() {
        let (rates, now) = (rates(1), Instant::now());
        for number in 0..5000 {
            burst(&rates, token(number), now);
        }
        assert!((0..5000).all(|number| rates.count(token(number), now).is_err()));
    }
}
