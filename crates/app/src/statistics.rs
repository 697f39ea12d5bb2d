//! Statistics of an organization or of one of its webhooks by hours or days, and the usage of the organization.

use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::ids::WebhookId;
use stackbell_model::permission::Permission;
use stackbell_store::commit::Quota;
pub use stackbell_store::statistics::{HourTally, Tally, Usage};

use crate::auth::OrganizationCaller;
use crate::{App, Error};

const HOUR: i64 = 3600 * 1000;

/// The length of a bucket. Buckets are in UTC, where every day has 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// An hour.
    Hour,
    /// A day.
    Day,
}

impl Interval {
    /// All intervals.
    pub const ALL: &'static [Self] = &[Self::Hour, Self::Day];

    /// The text form for requests and responses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Parses the text form; `None` if it is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|interval| interval.as_str() == text)
    }

    /// The length in milliseconds.
    const fn length(self) -> i64 {
        match self {
            Self::Hour => HOUR,
            Self::Day => 24 * HOUR,
        }
    }

    /// The most buckets of one request: 31 days, or a year.
    pub const fn buckets_max(self) -> usize {
        match self {
            Self::Hour => 31 * 24,
            Self::Day => 366,
        }
    }

    /// The number of buckets if no start is given.
    const fn buckets_default(self) -> i64 {
        match self {
            Self::Hour => 24,
            Self::Day => 30,
        }
    }
}

/// The statistics that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatisticsRequest {
    /// Only this webhook. A webhook that never existed has empty buckets.
    pub webhook: Option<WebhookId>,
    /// A moment in the first bucket; if absent, the last 24 hours or 30 days count.
    pub from: Option<Timestamp>,
    /// The last bucket ends at or after this moment; now if absent.
    pub to: Option<Timestamp>,
    /// The length of a bucket.
    pub interval: Interval,
}

/// Statistics, with usage and quota of the organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticsView {
    /// The length of a bucket.
    pub interval: Interval,
    /// All buckets of the requested time, oldest first, including empty ones.
    pub buckets: Vec<Bucket>,
    /// The usage of the organization.
    pub usage: Usage,
    /// The quota of the organization.
    pub quota: Quota,
}

/// A bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its start.
    pub start: Timestamp,
    /// Its counts.
    pub tally: Tally,
}

impl App {
    /// The statistics of a time, and the current usage of the organization.
    ///
    /// # Errors
    /// [`crate::Code::Invalid`] for a time that ends before it begins or has too many buckets; errors of access and store.
    pub async fn statistics(
        &self,
        caller: &OrganizationCaller,
        request: StatisticsRequest,
    ) -> Result<StatisticsView, Error> {
        let access = caller.require(Permission::Read)?;
        let mut buckets = empty_buckets(request, self.now())?;
        let length = request.interval.length();
        if let (Some(first), Some(last)) = (buckets.first(), buckets.last()) {
            let (from, to) = (first.start, Timestamp::from_millis(last.start.as_millis() + length));
            let hours = self.store.tallies(access.organization.id, request.webhook, from, to).await?;
            for HourTally { hour, tally } in hours {
                let index = (hour.as_millis() - from.as_millis()).div_euclid(length);
                let index = usize::try_from(index).ok();
                if let Some(bucket) = index.and_then(|index| buckets.get_mut(index)) {
                    add(&mut bucket.tally, tally);
                }
            }
        }
        let usage = self.store.usage(access.organization.id).await?;
        Ok(StatisticsView { interval: request.interval, buckets, usage, quota: self.limits.quota })
    }
}

fn empty_buckets(request: StatisticsRequest, now: Timestamp) -> Result<Vec<Bucket>, Error> {
    let interval = request.interval;
    let length = interval.length();
    let to = request.to.unwrap_or(now).as_millis();
    // `to` is exclusive: a full hour does not include the hour that begins then. Without `to`, the current hour is included.
    let end = if request.to.is_some() {
        to.div_euclid(length) + i64::from(to.rem_euclid(length) > 0)
    } else {
        to.div_euclid(length) + 1
    };
    let start = match request.from {
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
        let request =
            StatisticsRequest { webhook: None, from: from.map(moment), to: to.map(moment), interval };
        let actual = empty_buckets(request, Timestamp::from_millis(NOW));
        let actual = actual.map(|buckets| (buckets[0].start.as_millis() / HOUR, buckets.len()));
        let actual = actual.map_err(|error| error.message);
        assert_eq!(actual, expected.map_err(str::to_owned), "{from:?} to {to:?}");
    }

    #[test]
    fn buckets_cover_the_requested_time() {
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
