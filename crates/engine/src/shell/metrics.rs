//! What is counted. No metric carries the name of an organization or a webhook.

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, Outcome, State};
use stackbell_store::maintenance::{Depth, SweepReport};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Result {
    Success,
    Status,
    Silence,
    OurFault,
    Undeliverable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    result: Result,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    state: &'static str,
}

/// The engine's counters, in Prometheus' text format.
pub struct Metrics {
    registry: Registry,
    events: Counter,
    deliveries: Family<DeliveryLabels, Counter>,
    attempts: Family<AttemptLabels, Counter>,
    attempt_seconds: Histogram,
    in_flight: Gauge,
    pending: Gauge,
    oldest_due_seconds: Gauge,
    suspended: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("stackbell");
        let events = Counter::default();
        registry.register("events_accepted", "Events that were accepted", events.clone());
        let deliveries = Family::<DeliveryLabels, Counter>::default();
        registry.register(
            "deliveries_ended",
            "Deliveries that came to their end, by state",
            deliveries.clone(),
        );
        let attempts = Family::<AttemptLabels, Counter>::default();
        registry.register("attempts", "Attempts that ended, by result", attempts.clone());
        // 1 ms to 16 s: an exchange takes 15 s at the most.
        let attempt_seconds = Histogram::new(exponential_buckets(0.001, 2.0, 15));
        registry.register("attempt_duration_seconds", "How long attempts took", attempt_seconds.clone());
        let mut gauge = |name: &'static str, help: &'static str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let in_flight = gauge("attempts_in_flight", "Attempts that are on their way");
        let pending = gauge("deliveries_pending", "Deliveries that are not done, held ones included");
        let oldest_due_seconds = gauge("oldest_due_seconds", "How long the first of them has been due");
        let suspended = gauge("webhooks_suspended", "Webhooks that are suspended");
        Self {
            registry,
            events,
            deliveries,
            attempts,
            attempt_seconds,
            in_flight,
            pending,
            oldest_due_seconds,
            suspended,
        }
    }
}

impl Metrics {
    /// Everything that is counted, as `application/openmetrics-text`.
    ///
    /// # Errors
    /// When a metric cannot be written as text, which would be a defect.
    pub fn encode(&self) -> std::result::Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    pub(super) fn accepted(&self, events: usize) {
        self.events.inc_by(events as u64);
    }

    pub(super) fn attempted(&self, attempt: &Attempt) {
        let result = match &attempt.outcome {
            Outcome::Answered(answer) if (200..300).contains(&answer.status) => Result::Success,
            Outcome::Answered(_) => Result::Status,
            Outcome::Unanswered { .. } => Result::Silence,
            Outcome::OurFault { .. } => Result::OurFault,
            Outcome::Undeliverable { .. } => Result::Undeliverable,
        };
        self.attempts.get_or_create(&AttemptLabels { result }).inc();
        self.attempt_seconds.observe(attempt.duration.as_secs_f64());
    }

    pub(super) fn ended(&self, state: &State) {
        self.deliveries.get_or_create(&DeliveryLabels { state: state.as_str() }).inc();
    }

    pub(super) fn in_flight(&self, attempts: usize) {
        self.in_flight.set(i64::try_from(attempts).unwrap_or(i64::MAX));
    }

    pub(super) fn swept(&self, report: &SweepReport) {
        let ended = |state, count| self.deliveries.get_or_create(&DeliveryLabels { state }).inc_by(count);
        ended("cancelled", report.cancelled);
        ended("failed", report.expired);
    }

    pub(super) fn depth(&self, depth: &Depth, now: Timestamp) {
        self.pending.set(i64::try_from(depth.pending).unwrap_or(i64::MAX));
        let waited = depth.oldest_due.map_or(0, |due| now.since(due).as_secs());
        self.oldest_due_seconds.set(i64::try_from(waited).unwrap_or(i64::MAX));
        self.suspended.set(i64::try_from(depth.suspended).unwrap_or(i64::MAX));
    }
}
