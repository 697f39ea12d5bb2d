//! Metrics of the listeners and of the log.
//!
//! | name | kind | labels | what |
//! | --- | --- | --- | --- |
//! | `stackbell_connections_cut_total` | counter | `reason` | connections that were closed or refused without a response |
//! | `stackbell_log_lines_left_out_total` | counter | | lines that were dropped, because the log was too slow or failed |
//!
//! `reason`: `silent`, no complete head arrived within 10 seconds; `displaced`, a new connection took the slot; `refused`, the
//! address has used its share of slots. Every series exists from the start.

use std::fmt;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Counts connections that were cut. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct CutConnections(Family<[(&'static str, Cut); 1], Counter>);

/// The reason for a cut connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cut {
    /// It sent no complete head in time.
    Silent,
    /// A new connection took its place.
    Displaced,
    /// Its address has used its share of slots.
    Refused,
}

impl prometheus_client::encoding::EncodeLabelValue for Cut {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>) -> fmt::Result {
        let word = match self {
            Self::Silent => "silent",
            Self::Displaced => "displaced",
            Self::Refused => "refused",
        };
        word.encode(encoder)
    }
}

impl CutConnections {
    /// Counts one.
    pub(crate) fn count(&self, cut: Cut) {
        self.0.get_or_create(&[("reason", cut)]).inc();
    }
}

/// The registry of these metrics.
pub(crate) struct ServerMetrics(Registry);

impl ServerMetrics {
    /// The registry of these two counters.
    pub(crate) fn new(cut: &CutConnections, lines_left_out: Counter) -> Self {
        for reason in [Cut::Silent, Cut::Displaced, Cut::Refused] {
            drop(cut.0.get_or_create(&[("reason", reason)]));
        }
        let mut registry = Registry::with_prefix("stackbell");
        let help = "Connections that were closed or refused without an answer, by reason";
        registry.register("connections_cut", help, cut.0.clone());
        let help = "Lines that could not be written to the log as fast as they came, or at all";
        registry.register("log_lines_left_out", help, lines_left_out);
        Self(registry)
    }

    /// Appends everything to an OpenMetrics text, without the line that ends it.
    ///
    /// # Errors
    /// If a metric cannot be written as text, which would be a defect.
    pub(crate) fn encode(&self, text: &mut String) -> fmt::Result {
        encode_registry(text, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_there_from_the_start() {
        let (cut, lines) = (CutConnections::default(), Counter::default());
        let metrics = ServerMetrics::new(&cut, lines.clone());
        cut.count(Cut::Displaced);
        lines.inc_by(2);
        let mut text = String::new();
        metrics.encode(&mut text).expect("text");
        for line in [
            "stackbell_connections_cut_total{reason=\"silent\"} 0\n",
            "stackbell_connections_cut_total{reason=\"displaced\"} 1\n",
            "stackbell_connections_cut_total{reason=\"refused\"} 0\n",
            "stackbell_log_lines_left_out_total 2\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
