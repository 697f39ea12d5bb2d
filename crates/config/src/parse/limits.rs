//! Numbers with a range. Each bound has its reason, which the refusal tells.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use stackbell_model::retry::RetryPolicy;
use stackbell_store::commit::Quota;
use stackbell_store_postgres::PostgresStore;
use stackbell_system::{NotADuration, duration_text, parse_duration};

use super::Parser;
use crate::ConfigError;
use crate::sections::{DeliverySettings, LimitSettings, Raw};
use crate::size::{NotASize, bytes_text, parse_bytes};

/// A ping waits up to 30 s for its turn and is answered within 60 s, which leaves this for the exchange.
const EXCHANGE_TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(25);

/// Retries of one delivery. The longest schedule that has a use is one try an hour for a week.
const RETRIES_MAX: usize = 200;

/// One organization has a quarter of them, of which half are kept for quick endpoints. Each takes a socket, and there
/// are no more ports to call one address from.
const IN_FLIGHT: RangeInclusive<u32> = 8..=60_000;

/// Less would refuse what Pulumi's own events carry; more does not go into one commit.
const PAYLOAD_BYTES: RangeInclusive<u64> = 1 << 10..=8 << 20;

/// What may wait to be accepted, of all requests together, is 64 MiB.
const REQUEST_BYTES: RangeInclusive<u64> = 1 << 10..=64 << 20;

/// An array is accepted as a whole, in one commit.
const EVENTS_IN_REQUEST: RangeInclusive<u32> = 1..=10_000;

/// All webhooks of an organization are kept in memory for matching, and a list of a scope comes whole.
const WEBHOOKS_IN_SCOPE: RangeInclusive<u32> = 1..=10_000;

/// As many as can be counted.
const PENDING_DELIVERIES: RangeInclusive<u32> = 1..=u32::MAX;

/// Less is no room for the payloads of one request; more is more than a file can have.
const STORED_BYTES: RangeInclusive<u64> = 1 << 20..=256 << 40;

/// None is no limit; beyond the most a limit is none.
const REQUESTS_PER_SECOND: RangeInclusive<u32> = 0..=1_000_000;

/// Less than the least would have the engine wait for people; more than the most is no server's to give.
const DATABASE_CONNECTIONS: RangeInclusive<u32> = PostgresStore::CONNECTIONS_MIN..=1000;

/// Why a number is none of its setting's.
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
        "the waits come to {total}, chance adds up to a tenth, and nothing is sent for a delivery that is {age_max} old: take \
         some out, or shorten them"
    )]
    RetriesTooLong { total: String, age_max: String },
}

impl Parser<'_> {
    pub(crate) fn delivery(&self, raw: &Raw) -> Result<DeliverySettings, ConfigError> {
        Ok(DeliverySettings {
            exchange_time: self.one("exchange_timeout", raw.exchange_timeout.as_str(), exchange_time)?,
            retry_waits: self.one("retry_schedule", raw.retry_schedule.as_slice(), retry_waits)?,
            in_flight_max: self.count("in_flight_max", raw.in_flight_max, IN_FLIGHT)?,
        })
    }

    pub(crate) fn limits(&self, raw: &Raw) -> Result<LimitSettings, ConfigError> {
        let memory = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let payload = self.bytes("payload_bytes_max", &raw.payload_bytes_max, PAYLOAD_BYTES)?;
        let request = self.bytes("request_bytes_max", &raw.request_bytes_max, REQUEST_BYTES)?;
        let events = self.count("events_in_request_max", raw.events_in_request_max, EVENTS_IN_REQUEST)?;
        let webhooks = self.count("webhooks_in_scope_max", raw.webhooks_in_scope_max, WEBHOOKS_IN_SCOPE)?;
        let pending = self.count("pending_deliveries_max", raw.pending_deliveries_max, PENDING_DELIVERIES)?;
        let stored = self.bytes("stored_bytes_max", &raw.stored_bytes_max, STORED_BYTES)?;
        let rate = self.count("requests_per_second", raw.requests_per_second, REQUESTS_PER_SECOND)?;
        Ok(LimitSettings {
            payload_bytes_max: memory(payload),
            request_bytes_max: memory(request),
            events_in_request_max: memory(events.into()),
            webhooks_in_scope_max: webhooks,
            quota: Quota { pending_max: pending.into(), stored_bytes_max: stored },
            requests_per_second: NonZeroU32::new(rate),
        })
    }

    pub(crate) fn database_connections(&self, raw: &Raw) -> Result<u32, ConfigError> {
        self.count("database_connections", raw.database_connections, DATABASE_CONNECTIONS)
    }

    fn bytes(&self, key: &'static str, text: &str, range: RangeInclusive<u64>) -> Result<u64, ConfigError> {
        self.one(key, text, |text| within(parse_bytes(text)?, range, bytes_text))
    }

    fn count(&self, key: &'static str, number: u32, range: RangeInclusive<u32>) -> Result<u32, ConfigError> {
        self.one(key, &number, |number| within(*number, range, |number| number.to_string()))
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

/// None at all are a schedule too: one attempt, and no second one.
fn retry_waits(texts: &[String]) -> Result<Vec<Duration>, LimitError> {
    if texts.len() > RETRIES_MAX {
        return Err(LimitError::TooManyRetries);
    }
    let waits = texts.iter().map(|text| parse_duration(text)).collect::<Result<Vec<_>, _>>()?;
    let policy = RetryPolicy::default();
    let total = waits.iter().fold(Duration::ZERO, |total, wait| total.saturating_add(*wait));
    // Chance may lengthen each wait.
    let longest = Duration::try_from_secs_f64(total.as_secs_f64() * (1.0 + policy.jitter));
    if longest.is_ok_and(|longest| longest < policy.age_max) {
        return Ok(waits);
    }
    Err(LimitError::RetriesTooLong { total: duration_text(total), age_max: duration_text(policy.age_max) })
}
