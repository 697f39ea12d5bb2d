//! Numbers with a range, and the reason for each bound.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use stackbell_model::retry::RetryPolicy;
use stackbell_store::commit::Quota;
use stackbell_store_postgres::PostgresStore;
use stackbell_system::{NotADuration, duration_text, parse_duration};

use super::{Parser, number};
use crate::ConfigError;
use crate::definitions::{
    DATABASE_CONNECTIONS, EVENTS_IN_REQUEST_MAX, EXCHANGE_TIMEOUT, IN_FLIGHT_MAX, PAYLOAD_BYTES_MAX,
    PENDING_DELIVERIES_MAX, REQUEST_BYTES_MAX, REQUESTS_PER_SECOND, RETRY_SCHEDULE, STORED_BYTES_MAX,
    Setting, WEBHOOKS_IN_SCOPE_MAX,
};
use crate::sections::{DeliverySettings, LimitSettings};
use crate::size::{NotASize, bytes_text, parse_bytes};

/// The range of the exchange time. A ping waits up to 30 s for its turn and must end within 60 s.
const EXCHANGE_TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(25);

/// The most retries of one delivery. The longest useful schedule is one try an hour for a week.
const RETRIES_MAX: usize = 200;

/// The range of attempts in flight. One organization gets a quarter of them, and half of that is reserved for fast
/// endpoints. Each attempt takes a socket, and the ports for connections to one address are limited.
const IN_FLIGHT: RangeInclusive<u32> = 8..=60_000;

/// The range of a payload. The minimum is enough for Pulumi's own events. The maximum is what one commit can hold.
const PAYLOAD_BYTES: RangeInclusive<u64> = 1 << 10..=8 << 20;

/// The range of a request's body. All requests that wait to be accepted share 64 MiB.
const REQUEST_BYTES: RangeInclusive<u64> = 1 << 10..=64 << 20;

/// The range of an array, which is accepted as a whole in one commit.
const EVENTS_IN_REQUEST: RangeInclusive<u32> = 1..=10_000;

/// The range of webhooks in a scope. It is bounded because all webhooks of an organization are in memory for matching, and a list
/// returns a whole scope.
const WEBHOOKS_IN_SCOPE: RangeInclusive<u32> = 1..=10_000;

/// The range of pending deliveries, up to the largest number that is counted.
const PENDING_DELIVERIES: RangeInclusive<u32> = 1..=u32::MAX;

/// The range of stored bytes. The minimum is enough for the payloads of one request. The maximum is what a file can hold.
const STORED_BYTES: RangeInclusive<u64> = 1 << 20..=256 << 40;

/// The range of requests a second. Zero means no limit. A limit above the maximum would have no effect.
const REQUEST_RATE: RangeInclusive<u32> = 0..=1_000_000;

/// The range of connections. Below the minimum the engine would wait for API requests. No database server allows more than the
/// maximum.
const CONNECTIONS: RangeInclusive<u32> = PostgresStore::CONNECTIONS_MIN..=1000;

/// A number that is not valid for its setting.
#[derive(Debug, thiserror::Error)]
enum LimitError {
    #[error("must be from {least} to {most}")]
    Range { least: String, most: String },
    #[error(transparent)]
    Size(#[from] NotASize),
    #[error(transparent)]
    Duration(#[from] NotADuration),
    #[error("may have at most {RETRIES_MAX} waits")]
    TooManyRetries,
    #[error(
        "the waits add up to {total} (jitter adds up to 10 %), but deliveries expire after {age_max}: remove or shorten some waits"
    )]
    RetriesTooLong { total: String, age_max: String },
}

impl Parser<'_> {
    pub(super) fn delivery(&self) -> Result<DeliverySettings, ConfigError> {
        Ok(DeliverySettings {
            exchange_time: self.one(&EXCHANGE_TIMEOUT, exchange_time)?,
            retry_waits: self.list(&RETRY_SCHEDULE, retry_waits)?,
            in_flight_max: self.count(&IN_FLIGHT_MAX, IN_FLIGHT)?,
        })
    }

    pub(super) fn limits(&self) -> Result<LimitSettings, ConfigError> {
        let memory = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let quota = |pending: u32, stored| Quota { pending_max: pending.into(), stored_bytes_max: stored };
        Ok(LimitSettings {
            payload_bytes_max: memory(self.bytes(&PAYLOAD_BYTES_MAX, PAYLOAD_BYTES)?),
            request_bytes_max: memory(self.bytes(&REQUEST_BYTES_MAX, REQUEST_BYTES)?),
            events_in_request_max: memory(self.count(&EVENTS_IN_REQUEST_MAX, EVENTS_IN_REQUEST)?.into()),
            webhooks_in_scope_max: self.count(&WEBHOOKS_IN_SCOPE_MAX, WEBHOOKS_IN_SCOPE)?,
            quota: quota(
                self.count(&PENDING_DELIVERIES_MAX, PENDING_DELIVERIES)?,
                self.bytes(&STORED_BYTES_MAX, STORED_BYTES)?,
            ),
            requests_per_second: NonZeroU32::new(self.count(&REQUESTS_PER_SECOND, REQUEST_RATE)?),
        })
    }

    pub(super) fn database_connections(&self) -> Result<u32, ConfigError> {
        self.count(&DATABASE_CONNECTIONS, CONNECTIONS)
    }

    fn bytes(&self, setting: &Setting, range: RangeInclusive<u64>) -> Result<u64, ConfigError> {
        self.one(setting, |text| within(parse_bytes(text)?, range, bytes_text))
    }

    fn count(&self, setting: &Setting, range: RangeInclusive<u32>) -> Result<u32, ConfigError> {
        self.one(setting, |text| within(number(text), range, |number| number.to_string()))
    }
}

fn within<N: Copy + PartialOrd>(
    number: N,
    range: RangeInclusive<N>,
    show: impl Fn(N) -> String,
) -> Result<N, LimitError> {
    if range.contains(&number) {
        return Ok(number);
    }
    Err(LimitError::Range { least: show(*range.start()), most: show(*range.end()) })
}

fn exchange_time(text: &str) -> Result<Duration, LimitError> {
    within(parse_duration(text)?, EXCHANGE_TIME, duration_text)
}

/// An empty list is valid: one attempt and no retry.
fn retry_waits(texts: &[String]) -> Result<Vec<Duration>, LimitError> {
    if texts.len() > RETRIES_MAX {
        return Err(LimitError::TooManyRetries);
    }
    let waits = texts.iter().map(|text| parse_duration(text)).collect::<Result<Vec<_>, _>>()?;
    let policy = RetryPolicy::default();
    let total = waits.iter().fold(Duration::ZERO, |total, wait| total.saturating_add(*wait));
    // Jitter may lengthen each wait.
    let longest = Duration::try_from_secs_f64(total.as_secs_f64() * (1.0 + policy.jitter));
    if longest.is_ok_and(|longest| longest < policy.age_max) {
        return Ok(waits);
    }
    Err(LimitError::RetriesTooLong { total: duration_text(total), age_max: duration_text(policy.age_max) })
}
