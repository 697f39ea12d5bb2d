//! The two text formats of metrics: OpenMetrics 1.0, and Prometheus' classic text format 0.0.4.
//!
//! The registry's crate writes only OpenMetrics. The formats differ in a few lines, which are translated here.
//! Sources: OpenMetrics 1.0.0 (prometheus.io/docs/specs/om), and Prometheus' exposition formats.

use std::fmt::Write as _;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposition {
    OpenMetrics,
    Classic,
}

pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
pub(super) const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Exposition {
    /// OpenMetrics if `Accept` names it and prefers nothing else. Otherwise the classic format, which every scraper reads.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<Range> = values.flat_map(|value| value.split(',')).map(Range::read).collect();
        let quality = |names: &[&str], version: &str| {
            let of = |name: &str| {
                let named = ranges.iter().filter(|range| range.is_for(name, version));
                named.map(|range| range.quality).max()
            };
            // The most precise range counts (RFC 9110).
            names.iter().find_map(|name| of(name)).unwrap_or(0)
        };
        let open_metrics = quality(&["application/openmetrics-text"], "1.0.0");
        let classic = quality(&["text/plain", "text/*", "*/*"], "0.0.4");
        if open_metrics > 0 && open_metrics >= classic { Self::OpenMetrics } else { Self::Classic }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => OPEN_METRICS,
            Self::Classic => CLASSIC,
        }
    }

    /// A text of OpenMetrics in this format.
    pub(super) fn of(self, text: String) -> String {
        match self {
            Self::OpenMetrics => text,
            Self::Classic => classic(&text),
        }
    }
}

/// A media range of `Accept`.
struct Range {
    /// The media range in lower case.
    name: String,
    version: Option<String>,
    /// The quality in thousandths.
    quality: u32,
}

impl Range {
    fn read(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut range = Self { name, version: None, quality: 1000 };
        for (parameter, value) in parts.filter_map(|part| part.split_once('=')) {
            match (parameter.trim().to_ascii_lowercase().as_str(), value.trim().trim_matches('"')) {
                ("version", value) => range.version = Some(value.to_owned()),
                ("q", value) => range.quality = read_quality(value),
                _ => {}
            }
        }
        range
    }

    fn is_for(&self, name: &str, version: &str) -> bool {
        self.name == name && self.version.as_deref().is_none_or(|wanted| wanted == version)
    }
}

/// The quality in thousandths; 0, which excludes the range, for an invalid text.
fn read_quality(text: &str) -> u32 {
    let quality = text.parse::<f32>().ok().filter(|quality| (0.0..=1.0).contains(quality));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 1000")]
    quality.map_or(0, |quality| (quality * 1000.0).round() as u32)
}

/// Translates a text of OpenMetrics.
///
/// In the classic format, counters are described by the names of their samples, units are absent, and nothing marks the end.
/// `HELP` stands before the `TYPE` that decides its name. Timestamps and exemplars would differ, too, but we write none.
fn classic(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            let (ending, kind) = match kind {
                "counter" => ("_total", "counter"),
                "gauge" | "histogram" | "summary" => ("", kind),
                "info" => ("_info", "gauge"),
                _ => ("", "untyped"),
            };
            if let Some((_, help)) = help.take().filter(|(of, _)| *of == name) {
                let _ = writeln!(out, "# HELP {name}{ending} {help}");
            }
            let _ = writeln!(out, "# TYPE {name}{ending} {kind}");
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_given_to_those_who_ask_for_it() {
        let check = |accept: &[&str], expected: Exposition| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(ACCEPT, value.parse().expect("a header"));
            }
            assert_eq!(Exposition::accepted(&headers), expected, "{accept:?}");
        };
        use Exposition::{Classic, OpenMetrics};
        check(&[], Classic);
        check(&[""], Classic);
        check(&["*/*"], Classic);
        check(&["text/html, */*;q=0.1"], Classic);
        check(&["application/json"], Classic);
        check(&["text/plain"], Classic);
        check(&["text/plain;version=0.0.4"], Classic);
        check(&["application/openmetrics-text"], OpenMetrics);
        check(&["application/openmetrics-text; version=1.0.0; charset=utf-8"], OpenMetrics);
        check(&["Application/OpenMetrics-Text; Version=\"1.0.0\""], OpenMetrics);
        check(&["application/openmetrics-text;version=0.0.1"], Classic);
        check(&["application/openmetrics-text;version=2.0.0, text/plain"], Classic);
        check(&["application/openmetrics-text;q=0"], Classic);
        check(&["application/openmetrics-text;q=nonsense"], Classic);
        check(&["application/openmetrics-text;q=0.5, text/plain;q=0.8"], Classic);
        check(&["application/openmetrics-text;q=0.5, */*;q=0.8"], Classic);
        check(&["application/openmetrics-text, */*"], OpenMetrics);
        check(&["text/plain;q=0.5", "application/openmetrics-text;version=1.0.0;q=0.75"], OpenMetrics);
        // Prometheus 2.42, and 3.
        check(
            &[
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ],
            OpenMetrics,
        );
        check(
            &[
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            ],
            OpenMetrics,
        );
        // Prometheus 3 with `scrape_protocols: [PrometheusText0.0.4, OpenMetricsText1.0.0]`.
        check(
            &["text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.4"],
            Classic,
        );
    }

    #[test]
    fn the_classic_format_names_counters_as_their_samples_and_has_no_end() {
        let open_metrics = "\
# HELP a Some.
# TYPE a counter
a_total{b=\"c\"} 1
# HELP d_seconds Others.
# TYPE d_seconds gauge
# UNIT d_seconds seconds
d_seconds 2
# HELP e Times.
# TYPE e histogram
e_sum 0.5
e_count 1
e_bucket{le=\"+Inf\"} 1
# HELP f Facts.
# TYPE f info
f_info{version=\"1\"} 1
# EOF
";
        let expected = "\
# HELP a_total Some.
# TYPE a_total counter
a_total{b=\"c\"} 1
# HELP d_seconds Others.
# TYPE d_seconds gauge
d_seconds 2
# HELP e Times.
# TYPE e histogram
e_sum 0.5
e_count 1
e_bucket{le=\"+Inf\"} 1
# HELP f_info Facts.
# TYPE f_info gauge
f_info{version=\"1\"} 1
";
        assert_eq!(Exposition::Classic.of(open_metrics.to_owned()), expected);
        assert_eq!(Exposition::OpenMetrics.of(open_metrics.to_owned()), open_metrics);
    }
}
