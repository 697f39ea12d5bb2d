//! Statistics: what an organization or a webhook of it saw, hour by hour or day by day, and what the organization keeps.

use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::ids::WebhookId;
use stackbell_model::permission::Permission;
use stackbell_store::commit::Quota;
pub use stackbell_store::statistics::{HourTally, Tally, Usage};

use crate::auth::OrganizationCaller;
use crate::{App, Error};

const HOUR: i64 = 3600 * 1000;

/// How long a bucket is. In UTC, where every day has 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// An hour.
    Hour,
    /// A day.
    Day,
}

impl Interval {
    /// Both.
    pub const ALL: &'static [Self] = &[Self::Hour, Self::Day];

    /// The word for it in questions and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Reads that word; `None` when there is no such interval.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|interval| interval.as_str() == text)
    }

    /// Milliseconds.
    const fn length(self) -> i64 {
        match self {
            Self::Hour => HOUR,
            Self::Day => 24 * HOUR,
        }
    }

    /// The most buckets that may be asked for: 31 days, or a year.
    pub const fn buckets_max(self) -> usize {
        match self {
            Self::Hour => 31 * 24,
            Self::Day => 366,
        }
    }

    /// The buckets that are meant where no beginning is named.
    const fn buckets_default(self) -> i64 {
        match self {
            Self::Hour => 24,
            Self::Day => 30,
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatisticsAsked {
    /// Of this webhook alone; one that there never was has seen nothing.
    pub webhook: Option<WebhookId>,
    /// From the bucket that holds this moment on; the last 24 hours or 30 days if absent.
    pub from: Option<Timestamp>,
    /// Up to the bucket that ends at or after this moment; now if absent.
    pub to: Option<Timestamp>,
    /// How long a bucket is.
    pub interval: Interval,
}

/// What was seen, and what is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticsView {
    /// How long a bucket is.
    pub interval: Interval,
    /// All buckets of the time that was asked for, oldest first; those that saw nothing, too.
    pub buckets: Vec<Bucket>,
    /// What the organization keeps.
    pub usage: Usage,
    /// What it may keep.
    pub quota: Quota,
}

/// A bucket and what it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// When it began.
    pub start: Timestamp,
    /// What it saw.
    pub tally: Tally,
}

impl App {
    /// What was seen in a time, and what the organization keeps now.
    ///
    /// # Errors
    /// [`crate::Code::Invalid`] for a time that ends before it begins or has too many buckets; those of access and store.
    pub async fn statistics(
        &self,
        caller: &OrganizationCaller,
        asked: StatisticsAsked,
    ) -> Result<StatisticsView, Error> {
        let access = caller.require(Permission::Read)?;
        let mut buckets = empty_buckets(asked, self.now())?;
        let length = asked.interval.length();
        if let (Some(first), Some(last)) = (buckets.first(), buckets.last()) {
            let (from, to) = (first.start, Timestamp::from_millis(last.start.as_millis() + length));
            let hours = self.store.tallies(access.organization.id, asked.webhook, from, to).await?;
            for HourTally { hour, tally } in hours {
                let index = (hour.as_millis() - from.as_millis()).div_euclid(length);
                let index = usize::try_from(index).ok();
                if let Some(bucket) = index.and_then(|index| buckets.get_mut(index)) {
                    add(&mut bucket.tally, tally);
                }
            }
        }
        let usage = self.store.usage(access.organization.id).await?;
        Ok(StatisticsView { interval: asked.interval, buckets, usage, quota: self.limits.quota })
    }
}

fn empty_buckets(asked: StatisticsAsked, now: Timestamp) -> Result<Vec<Bucket>, Error> {
    let interval = asked.interval;
    let length = interval.length();
    let to = asked.to.unwrap_or(now).as_millis();
    // The moment itself is not in: at a full hour the hour that begins is none of those asked for, unless it is now.
    let end = if asked.to.is_some() {
        to.div_euclid(length) + i64::from(to.rem_euclid(length) > 0)
    } else {
        to.div_euclid(length) + 1
    };
    let start = match asked.from {
        Some(from) => from.as_millis().div_euclid(length),
        None => end - interval.buckets_default(),
    };
    if start >= end {
        return Err(Error::invalid_field("from", "must be before to"));
    }
    let count = usize::try_from(end - start).unwrap_or(usize::MAX);
    let max = interval.buckets_max();
    if count > max {
        let word = interval.as_str();
        let message = format!("is {count} {word}s before to, and at most {max} may be asked for at once");
        return Err(Error::invalid_field("from", message));
    }
    let bucket = |number| Bucket { start: Timestamp::from_millis(number * length), tally: Tally::default() };
    Ok((start..end).map(bucket).collect())
}

fn add(sum: &mut Tally, hour: Tally) {
    let Tally { events, made, succeeded, failed, cancelled, attempts, attempts_failed, attempts_took } = hour;
    sum.events += events;
    sum.made += made;
    sum.succeeded += succeeded;
    sum.failed += failed;
    sum.cancelled += cancelled;
    sum.attempts += attempts;
    sum.attempts_failed += attempts_failed;
    sum.attempts_took = sum.attempts_took.saturating_add(attempts_took);
}

/// How long an attempt took on average; `None` where there was none.
pub fn attempt_mean(tally: &Tally) -> Option<Duration> {
    let attempts = u32::try_from(tally.attempts).ok().filter(|attempts| *attempts > 0)?;
    Some(tally.attempts_took / attempts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    fn check(interval: Interval, from: Option<i64>, to: Option<i64>, expected: Result<(i64, usize), &str>) {
        let moment = |hours: i64| Timestamp::from_millis(hours * HOUR);
        let asked = StatisticsAsked { webhook: None, from: from.map(moment), to: to.map(moment), interval };
        let actual = empty_buckets(asked, Timestamp::from_millis(NOW));
        let actual = actual.map(|buckets| (buckets[0].start.as_millis() / HOUR, buckets.len()));
        let actual = actual.map_err(|error| error.message);
        assert_eq!(actual, expected.map_err(str::to_owned), "{from:?} to {to:?}");
    }

    #[test]
    fn buckets_cover_what_is_asked_for() {
        let now = NOW / HOUR;
        check(Interval::Hour, None, None, Ok((now - 23, 24)));
        check(Interval::Day, None, None, Ok(((now / 24 - 29) * 24, 30)));
        check(Interval::Hour, Some(100), Some(103), Ok((100, 3)));
        check(Interval::Day, Some(100), Some(103), Ok((96, 1)));
        check(Interval::Day, Some(95), Some(97), Ok((72, 2)));
        check(Interval::Hour, Some(-5), Some(0), Ok((-5, 5)));
        check(Interval::Hour, None, Some(100), Ok((76, 24)));
        check(Interval::Hour, Some(100), Some(100), Err("from must be before to"));
        check(Interval::Hour, Some(0), Some(744), Ok((0, 744)));
        let long = "from is 745 hours before to, and at most 744 may be asked for at once";
        check(Interval::Hour, Some(0), Some(745), Err(long));
        check(Interval::Day, Some(0), Some(366 * 24), Ok((0, 366)));
    }

    #[test]
    fn means() {
        assert_eq!(attempt_mean(&Tally::default()), None);
        let tally = Tally { attempts: 4, attempts_took: Duration::from_millis(10), ..Tally::default() };
        assert_eq!(attempt_mean(&tally), Some(Duration::from_micros(2500)));
    }
}
