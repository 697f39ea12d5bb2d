//! The metrics of the engine. No metric has the name of an organization or a webhook as a label, because people choose them.
//!
//! | name | kind | labels | meaning |
//! | --- | --- | --- | --- |
//! | `stackbell_events_accepted_total` | counter | `kind` | accepted events, without duplicates |
//! | `stackbell_publishes_refused_total` | counter | `reason` | refused publishes |
//! | `stackbell_events_dropped_total` | counter | | events that a full quota dropped, while their change of state was accepted |
//! | `stackbell_deliveries_ended_total` | counter | `state` | deliveries that reached a final state |
//! | `stackbell_attempts_total` | counter | `result` | finished attempts, including those that sent nothing |
//! | `stackbell_attempt_duration_seconds` | histogram | | duration of attempts that sent a request |
//! | `stackbell_attempts_in_flight` | gauge | | attempts in flight |
//! | `stackbell_outcomes_unrecorded` | gauge | | outcomes that are not known to be on disk |
//! | `stackbell_deliveries_pending` | gauge | | unfinished deliveries, including waiting ones |
//! | `stackbell_deliveries_due` | gauge | | pending deliveries that nothing holds back |
//! | `stackbell_deliveries_waiting` | gauge | `reason` | pending deliveries that wait, by reason |
//! | `stackbell_oldest_due_seconds` | gauge | | how long the oldest delivery that nothing holds back has been due |
//! | `stackbell_webhooks_suspended` | gauge | | suspended webhooks |
//! | `stackbell_breakers_open` | gauge | `cause` | webhooks whose circuit breaker is open |
//! | `stackbell_recoveries_running` | gauge | | running recoveries |
//! | `stackbell_sending_held` | gauge | | 1 while all sending is held, else 0 |
//! | `stackbell_nodes` | gauge | | live nodes on the store, as this node sees them; 1 if the store is not shared |
//! | `stackbell_commit_duration_seconds` | histogram | | duration of commits, including the sync |
//! | `stackbell_commits_failed_total` | counter | `fault` | failed commits |
//!
//! `result`: `success`, `status`, `throttled`, `silence`, `our_fault`, `undeliverable`.
//! `state`: `succeeded`, `failed`, `cancelled`; deliveries that people cancel one by one are not counted.
//! `reason` of a refused publish: `conflict`, `change_refused`, `no_organization`, `quota_pending`, `quota_stored_bytes`, `overloaded`,
//! `unavailable`, `full`, `too_many_deliveries`. `reason` of a waiting delivery: `backoff`, `breaker`, `pace`, `busy`,
//! `suspended`, `inactive`, `sending_held`. `cause`: `failures`, `our_fault`.
//! `fault`: `unavailable`, `full`, `unknown`, `corrupt`.
//!
//! Every series exists from the start. The help text of a gauge says how often it is computed. Gauges of the whole store have
//! equal values on every node, within the delay of each node's own computation.

mod labels;

use std::time::Duration;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, State, Verdict};
use stackbell_model::filter::EventKind;
use stackbell_model::wait::WaitReason;
use stackbell_store::maintenance::{Depth, SweepReport};

use self::labels::{
    AttemptLabels, BreakerCause, BreakerLabels, DeliveryLabels, EventLabels, FaultLabels, Reason,
    RefusalLabels, WaitLabels,
};
use crate::core::{CommitFault, OpenBreakers, PublishRefusal, Waits};

/// The engine's metrics, in Prometheus' text format.
pub struct Metrics {
    registry: Registry,
    events: Family<EventLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    dropped: Counter,
    deliveries: Family<DeliveryLabels, Counter>,
    attempts: Family<AttemptLabels, Counter>,
    attempt_seconds: Histogram,
    in_flight: Gauge,
    unrecorded: Gauge,
    pending: Gauge,
    due: Gauge,
    waiting: Family<WaitLabels, Gauge>,
    oldest_due_seconds: Gauge,
    suspended: Gauge,
    breakers: Family<BreakerLabels, Gauge>,
    recoveries: Gauge,
    held: Gauge,
    nodes: Gauge,
    commit_seconds: Histogram,
    commits_failed: Family<FaultLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("stackbell");
        // From 1 ms to 33 s: an exchange takes at most 25 s.
        let attempt_seconds = Histogram::new(exponential_buckets(0.001, 2.0, 16));
        // From a quarter of a millisecond, the sync of a fast disk, to 8 s.
        let commit_seconds = Histogram::new(exponential_buckets(0.00025, 2.0, 16));
        let registry = &mut registry;
        Self {
            events: add(registry, "events_accepted", "Events that were accepted, by kind", labels::events()),
            refusals: add(
                registry,
                "publishes_refused",
                "Publishes that were refused, by reason",
                labels::refusals(),
            ),
            dropped: add(
                registry,
                "events_dropped",
                "Events dropped because the quota is full, although their change of state was accepted",
                Counter::default(),
            ),
            deliveries: add(
                registry,
                "deliveries_ended",
                "Deliveries that reached a final state, by state",
                labels::deliveries(),
            ),
            attempts: add(registry, "attempts", "Attempts that ended, by result", labels::attempts()),
            attempt_seconds: add(
                registry,
                "attempt_duration_seconds",
                "Duration of attempts that sent a request",
                attempt_seconds,
            ),
            in_flight: add(
                registry,
                "attempts_in_flight",
                "Attempts of this node in flight, at this moment",
                Gauge::default(),
            ),
            unrecorded: add(
                registry,
                "outcomes_unrecorded",
                "Outcomes of this node that are not known to be on disk, at this moment",
                Gauge::default(),
            ),
            pending: add(
                registry,
                "deliveries_pending",
                "Pending deliveries of the whole store, waiting ones included; counted every 30 seconds, or less often with a large backlog",
                Gauge::default(),
            ),
            due: add(
                registry,
                "deliveries_due",
                "Pending deliveries of the whole store that nothing holds back, as this node sees it; counted every 30 seconds, or less often with a large backlog",
                Gauge::default(),
            ),
            waiting: add(
                registry,
                "deliveries_waiting",
                "Pending deliveries of the whole store that wait, by reason, as this node sees it; counted every 30 seconds, or less often with a large backlog",
                labels::waits(),
            ),
            oldest_due_seconds: add(
                registry,
                "oldest_due_seconds",
                "How long the oldest delivery of the whole store that nothing holds back has been due, as this node sees it; \
                 worked out every 30 seconds, or less often with a large backlog",
                Gauge::default(),
            ),
            suspended: add(
                registry,
                "webhooks_suspended",
                "Webhooks of the whole store that are suspended; counted every 30 seconds, or less often with a large backlog",
                Gauge::default(),
            ),
            breakers: add(
                registry,
                "breakers_open",
                "Webhooks whose circuit breaker is open on this node, by cause; counted every 30 seconds, or less often with a large backlog",
                labels::breakers(),
            ),
            recoveries: add(
                registry,
                "recoveries_running",
                "Recoveries of the whole store that are not done; counted every 30 seconds, and after each step of one",
                Gauge::default(),
            ),
            held: add(
                registry,
                "sending_held",
                "Whether all sending is held, 1 or 0; read every 15 seconds, and at each commit",
                Gauge::default(),
            ),
            nodes: add(
                registry,
                "nodes",
                "Nodes that share the store and are live, as this one sees them; read every 5 seconds",
                Gauge::default(),
            ),
            commit_seconds: add(
                registry,
                "commit_duration_seconds",
                "How long commits took, their sync included",
                commit_seconds,
            ),
            commits_failed: add(
                registry,
                "commits_failed",
                "Commits that failed, by fault",
                labels::faults(),
            ),
            registry: std::mem::take(registry),
        }
    }
}

fn gauged(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn add<M: Metric + Clone>(registry: &mut Registry, name: &'static str, help: &'static str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    /// All metrics as OpenMetrics text, without the final `# EOF` line.
    ///
    /// # Errors
    /// A metric could not be written as text, which would be a defect.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        Ok(text)
    }

    pub(super) fn accepted(&self, kind: EventKind) {
        self.events.get_or_create(&EventLabels { kind: kind.as_str() }).inc();
    }

    pub(super) fn refused(&self, refusal: PublishRefusal) {
        if let Some(reason) = Reason::of(refusal) {
            self.refusals.get_or_create(&RefusalLabels { reason }).inc();
        }
    }

    pub(super) fn dropped(&self, events: usize) {
        self.dropped.inc_by(events as u64);
    }

    pub(super) fn attempted(&self, attempt: &Attempt) {
        self.attempts.get_or_create(&AttemptLabels { result: attempt.into() }).inc();
        if attempt.outcome.verdict() != Verdict::None {
            self.attempt_seconds.observe(attempt.duration.as_secs_f64());
        }
    }

    pub(super) fn ended(&self, state: &State) {
        self.deliveries.get_or_create(&DeliveryLabels { state: state.as_str() }).inc();
    }

    pub(super) fn under_way(&self, attempts: usize, unrecorded: usize) {
        self.in_flight.set(i64::try_from(attempts).unwrap_or(i64::MAX));
        self.unrecorded.set(i64::try_from(unrecorded).unwrap_or(i64::MAX));
    }

    pub(super) fn committed(&self, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
    }

    pub(super) fn commit_failed(&self, fault: CommitFault) {
        self.commits_failed.get_or_create(&FaultLabels { fault: fault.into() }).inc();
    }

    pub(super) fn swept(&self, report: &SweepReport) {
        let ended = |state, count| self.deliveries.get_or_create(&DeliveryLabels { state }).inc_by(count);
        ended("cancelled", report.cancelled);
        ended("failed", report.expired);
    }

    pub(super) fn depth(&self, depth: &Depth) {
        self.pending.set(gauged(depth.pending));
        self.suspended.set(gauged(depth.suspended));
    }

    pub(super) fn waits(&self, waits: &Waits, now: Timestamp) {
        self.due.set(gauged(waits.due));
        self.oldest_due_seconds.set(gauged(waits.oldest_due.map_or(0, |due| now.since(due).as_secs())));
        for (reason, count) in WaitReason::ALL.iter().zip(waits.waiting) {
            self.waiting.get_or_create(&WaitLabels { reason: reason.as_str() }).set(gauged(count));
        }
    }

    pub(super) fn open_breakers(&self, open: OpenBreakers) {
        let OpenBreakers { failures, our_fault } = open;
        for (cause, count) in [(BreakerCause::Failures, failures), (BreakerCause::OurFault, our_fault)] {
            self.breakers.get_or_create(&BreakerLabels { cause }).set(gauged(count));
        }
    }

    pub(super) fn recoveries(&self, running: u64) {
        self.recoveries.set(gauged(running));
    }

    pub(super) fn nodes(&self, count: usize) {
        self.nodes.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn held(&self, is_held: bool) {
        self.held.set(i64::from(is_held));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use stackbell_model::delivery::{AttemptTrigger, Outcome};

    use super::*;

    fn documentation() -> impl Iterator<Item = &'static str> {
        include_str!("metrics.rs").lines().map_while(|line| line.strip_prefix("//!")).map(str::trim)
    }

    fn from_the_start() -> String {
        Metrics::default().encode().expect("text")
    }

    /// Dashboards and alerts rely on the table above.
    #[test]
    fn the_metrics_are_those_of_the_documented_table() {
        let text = from_the_start();
        let help = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let is_counter = |kind| kind == "counter";
        let mut actual: Vec<_> = help
            .map(|(name, kind)| format!("{name}{}|{kind}", if is_counter(kind) { "_total" } else { "" }))
            .collect();
        let table = documentation().filter_map(|line| line.strip_prefix("| `"));
        let mut expected: Vec<_> = table
            .map(|row| {
                let mut cells = row.split('|').map(str::trim);
                let name = cells.next().unwrap_or_default().trim_end_matches('`');
                format!("{name}|{}", cells.next().unwrap_or_default())
            })
            .collect();
        actual.sort();
        expected.sort();
        assert_eq!(actual, expected);
    }

    /// The table does not list the kinds of events: the list would be long, and the API documents it.
    #[test]
    fn all_documented_label_values_exist_from_the_start() {
        let text = from_the_start();
        let series = text.lines().filter_map(|line| line.split_once('{')?.1.split_once("\"} "));
        let labels: BTreeSet<(&str, &str)> =
            series.filter_map(|(label, _)| label.split_once("=\"")).collect();
        let (kinds, others): (BTreeSet<_>, BTreeSet<_>) =
            labels.into_iter().filter(|(label, _)| *label != "le").partition(|(label, _)| *label == "kind");
        let words: BTreeSet<&str> = others.into_iter().flat_map(|(label, value)| [label, value]).collect();
        let paragraph = documentation().filter(|line| !line.starts_with('|')).collect::<Vec<_>>().join(" ");
        let documented: BTreeSet<&str> = paragraph.split('`').skip(1).step_by(2).collect();
        assert_eq!(words, documented);
        assert_eq!(kinds, EventKind::ALL.iter().map(|kind| ("kind", kind.as_str())).collect());
    }

    #[test]
    fn counts_add_to_the_existing_series() {
        let metrics = Metrics::default();
        metrics.accepted(EventKind::StackUpdate);
        metrics.refused(PublishRefusal::Full);
        metrics.dropped(3);
        metrics.attempted(&Attempt {
            trigger: AttemptTrigger::Schedule,
            started_at: Timestamp::from_millis(0),
            duration: Duration::ZERO,
            request_url: "".into(),
            request_headers: "".into(),
            outcome: Outcome::OurFault { text: "".into() },
        });
        metrics.ended(&State::Succeeded { at: Timestamp::from_millis(0) });
        metrics.commit_failed(CommitFault::Full);
        let text = metrics.encode().expect("text");
        let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(samples(&text), samples(&from_the_start()));
        for counted in [
            "stackbell_events_accepted_total{kind=\"stack_update\"} 1\n",
            "stackbell_publishes_refused_total{reason=\"full\"} 1\n",
            "stackbell_events_dropped_total 3\n",
            "stackbell_attempts_total{result=\"our_fault\"} 1\n",
            "stackbell_deliveries_ended_total{state=\"succeeded\"} 1\n",
            "stackbell_commits_failed_total{fault=\"full\"} 1\n",
        ] {
            assert!(text.contains(counted), "{counted}{text}");
        }
    }
}
