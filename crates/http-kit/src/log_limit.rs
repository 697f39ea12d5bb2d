//! A limit for log lines that others can cause: a few each second, then the number of lines that were left out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The time for which the limit counts.
const WINDOW: Duration = Duration::from_secs(1);

/// Limits log lines of one kind to a few each second.
#[derive(Debug)]
pub struct LogLimit {
    lines_max: u32,
    window: Mutex<Window>,
    left_out: AtomicU64,
}

#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    lines: u32,
}

impl Window {
    fn is_over(&self) -> bool {
        self.since.is_none_or(|since| since.elapsed() >= WINDOW)
    }
}

impl LogLimit {
    /// Allows so many lines each second.
    pub fn new(lines_max: u32) -> Self {
        Self { lines_max, window: Mutex::default(), left_out: AtomicU64::new(0) }
    }

    /// `Some` if one more line may be logged now, with the number of lines that were left out before it and not reported yet.
    /// `None` if the line has to be left out; it is counted.
    pub fn next_line(&self) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left_out = 0;
        if window.is_over() {
            *window = Window { since: Some(Instant::now()), lines: 0 };
            left_out = self.left_out.swap(0, Ordering::Relaxed);
        }
        if window.lines < self.lines_max {
            window.lines += 1;
            Some(left_out)
        } else {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            None
        }
    }

    /// The number of lines that were left out in a second that is over, if any. Each line is reported once.
    pub fn left_out(&self) -> Option<u64> {
        // Called for every request, and nearly always 0.
        if self.left_out.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = window.is_over();
        // The window is still locked, so no line is counted in between.
        let count = if is_over { self.left_out.swap(0, Ordering::Relaxed) } else { 0 };
        drop(window);
        (count > 0).then_some(count)
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
}
