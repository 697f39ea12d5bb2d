//! A limit for log lines that others can cause: a few each second, then the number of lines that were left out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use stackbell_model::token_bucket::{Moment, TokenBucket, TokenRate};
use tokio::time::Instant;

/// The time in which a full burst of lines comes back.
const WINDOW: Duration = Duration::from_secs(1);

/// Limits log lines of one kind. Lines that are left out are counted, and the next line that is logged tells their number.
#[derive(Debug)]
pub struct LogLimit {
    rate: TokenRate,
    /// The origin of moments.
    started: Instant,
    bucket: Mutex<TokenBucket>,
    left_out: AtomicU64,
}

impl LogLimit {
    /// Allows `lines_max` lines each second; 0 counts as 1.
    pub fn new(lines_max: u32) -> Self {
        let lines_max = lines_max.max(1);
        Self::with_rate(TokenRate::new(WINDOW / lines_max, lines_max))
    }

    /// Allows one line in each `interval`.
    pub(crate) fn once_in(interval: Duration) -> Self {
        Self::with_rate(TokenRate::new(interval, 1))
    }

    fn with_rate(rate: TokenRate) -> Self {
        let (started, bucket) = (Instant::now(), TokenBucket::full(Duration::ZERO.into()));
        Self { rate, started, bucket: Mutex::new(bucket), left_out: AtomicU64::new(0) }
    }

    fn now(&self) -> Moment {
        self.started.elapsed().into()
    }

    /// `Some` if one more line may be logged now, with the number of lines that were left out before it and not reported yet.
    /// `None` if the line has to be left out; it is counted.
    pub fn next_line(&self) -> Option<u64> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        match bucket.try_take(self.rate, self.now()) {
            Ok(()) => Some(self.left_out.swap(0, Ordering::Relaxed)),
            Err(_) => {
                self.left_out.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// The number of lines that were left out, if any, once a whole burst may be logged again. Each line is reported once.
    pub fn left_out(&self) -> Option<u64> {
        // Called for every request, and nearly always 0.
        if self.left_out.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        // The bucket is still locked, so no line is counted in between.
        let count = if bucket.is_full(self.now()) { self.left_out.swap(0, Ordering::Relaxed) } else { 0 };
        drop(bucket);
        (count > 0).then_some(count)
    }
}

/// The refused requests without a valid token that are logged each second. Anybody who reaches the server can cause them.
const STRANGERS_LOGGED_MAX: u32 = 5;

/// The refused requests with a valid token that are logged each second. They are rarer, and operators look for these lines.
const CALLERS_LOGGED_MAX: u32 = 20;

/// Limits of the refused requests that are logged one by one.
#[derive(Debug)]
pub(crate) struct RefusalLimits {
    strangers: LogLimit,
    callers: LogLimit,
}

impl Default for RefusalLimits {
    fn default() -> Self {
        Self { strangers: LogLimit::new(STRANGERS_LOGGED_MAX), callers: LogLimit::new(CALLERS_LOGGED_MAX) }
    }
}

impl RefusalLimits {
    pub(crate) fn of(&self, is_known: bool) -> &LogLimit {
        if is_known { &self.callers } else { &self.strangers }
    }

    /// Logs how many lines were left out.
    pub(crate) fn log_left_out(&self) {
        for (limit, has_token) in [(&self.strangers, false), (&self.callers, true)] {
            if let Some(left_out) = limit.left_out() {
                tracing::info!(left_out, has_token, "more requests were refused than are logged one by one");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_few_lines_a_second_and_the_number_of_the_others() {
        let limit = LogLimit::new(3);
        let logged: Vec<u64> = (0..10).filter_map(|_| limit.next_line()).collect();
        assert_eq!((logged, limit.left_out()), (vec![0; 3], None));
        tokio::time::advance(WINDOW).await;
        assert_eq!([limit.left_out(), limit.left_out()], [Some(7), None]);
        for expected in [Some(0), Some(0), Some(0), None, None] {
            assert_eq!(limit.next_line(), expected);
        }
        tokio::time::advance(WINDOW).await;
        assert_eq!([limit.next_line(), limit.left_out()], [Some(2), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_line_in_an_interval() {
        let limit = LogLimit::once_in(60 * WINDOW);
        assert_eq!([limit.next_line(), limit.next_line()], [Some(0), None]);
        tokio::time::advance(59 * WINDOW).await;
        assert_eq!(limit.next_line(), None);
        tokio::time::advance(WINDOW).await;
        assert_eq!(limit.next_line(), Some(2));
    }
}
