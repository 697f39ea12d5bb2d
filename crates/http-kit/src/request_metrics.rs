//! Request metrics: the number of responses, and their latency.
//!
//! All labels come from closed sets. No label has a path, an organization or a webhook, because a client could make up any
//! number of them. Every series exists from the start, and counting a request looks no series up.

use std::fmt;
use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds in seconds, from a health check to a ping of a silent endpoint. Only streams take longer than 60 s.
const BUCKETS: [f64; 15] =
    [0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// The status codes that have a series of their own. Other codes are counted as `other`.
const CODES: [(u16, &str); 20] = [
    (200, "200"),
    (201, "201"),
    (202, "202"),
    (204, "204"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (409, "409"),
    (411, "411"),
    (413, "413"),
    (415, "415"),
    (422, "422"),
    (429, "429"),
    (500, "500"),
    (501, "501"),
    (503, "503"),
    (507, "507"),
];

/// The classes of routes that a server's requests are counted by.
#[derive(Clone, Copy, Debug)]
pub struct RouteClasses {
    /// The names of the classes, as the label `route` has them.
    pub names: &'static [&'static str],
    /// The index in `names` of a route by its pattern, as in `/v1/orgs/{orgName}`; the pattern is empty if no route matches.
    pub index: fn(pattern: &str) -> usize,
}

/// The first digit of a status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StatusClass {
    Success,
    Redirection,
    ClientError,
    ServerError,
}

impl StatusClass {
    const ALL: [Self; 4] = [Self::Success, Self::Redirection, Self::ClientError, Self::ServerError];

    fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            0..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CountLabels {
    route: &'static str,
    status: &'static str,
    code: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    route: &'static str,
    status: &'static str,
}

#[derive(Clone)]
struct DurationBuckets;

impl MetricConstructor<Histogram> for DurationBuckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(BUCKETS)
    }
}

/// The counters of one class of routes.
struct ClassMetrics {
    /// One for each of [`CODES`].
    codes: Vec<Counter>,
    /// Other codes, by [`StatusClass`].
    others: Vec<Counter>,
    /// By [`StatusClass`].
    durations: Vec<Histogram>,
}

/// Counts requests. All routers of a server share one.
///
/// | name | kind | labels | what |
/// | --- | --- | --- | --- |
/// | `stackbell_http_requests_total` | counter | `route`, `status`, `code` | responses |
/// | `stackbell_http_request_duration_seconds` | histogram | `route`, `status` | time to the head of the response |
pub struct RequestMetrics {
    registry: Registry,
    /// Finds the class of a route.
    index: fn(pattern: &str) -> usize,
    /// In the order of [`RouteClasses::names`].
    classes: Vec<ClassMetrics>,
}

impl RequestMetrics {
    /// Counters for these classes of routes, all zero.
    pub fn new(routes: RouteClasses) -> Self {
        let mut registry = Registry::with_prefix("stackbell_http");
        let counts = Family::<CountLabels, Counter>::default();
        let durations =
            Family::<DurationLabels, Histogram, DurationBuckets>::new_with_constructor(DurationBuckets);
        registry.register(
            "requests",
            "Requests that were answered, by class of route, class of status, and status code",
            counts.clone(),
        );
        registry.register(
            "request_duration_seconds",
            "How long requests took until the head of their answer, by class of route and of status",
            durations.clone(),
        );
        let class = |route: &'static str| {
            let count = |status: StatusClass, code| {
                let labels = CountLabels { route, status: status.as_str(), code };
                counts.get_or_create(&labels).clone()
            };
            let status_of = |code| StatusClass::of(StatusCode::from_u16(code).expect("a code of HTTP"));
            ClassMetrics {
                codes: CODES.iter().map(|(code, text)| count(status_of(*code), text)).collect(),
                others: StatusClass::ALL.iter().map(|status| count(*status, "other")).collect(),
                durations: StatusClass::ALL
                    .iter()
                    .map(|status| {
                        let labels = DurationLabels { route, status: status.as_str() };
                        durations.get_or_create(&labels).clone()
                    })
                    .collect(),
            }
        };
        let classes = routes.names.iter().map(|route| class(route)).collect();
        Self { registry, index: routes.index, classes }
    }

    /// Appends everything to an OpenMetrics text, without the line that ends it.
    ///
    /// # Errors
    /// If a metric cannot be written as text, which would be a defect.
    pub fn encode(&self, text: &mut String) -> Result<(), fmt::Error> {
        encode_registry(text, &self.registry)
    }

    /// Counts a response of the route with this pattern.
    pub(crate) fn count(&self, pattern: &str, status: StatusCode, took: Duration) {
        let class = &self.classes[(self.index)(pattern)];
        let status_class = StatusClass::of(status) as usize;
        let code = CODES.iter().position(|(code, _)| *code == status.as_u16());
        code.map_or(&class.others[status_class], |index| &class.codes[index]).inc();
        class.durations[status_class].observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["widgets", "unknown"];

    fn metrics() -> RequestMetrics {
        RequestMetrics::new(RouteClasses { names: NAMES, index: |pattern| usize::from(pattern.is_empty()) })
    }

    fn text(metrics: &RequestMetrics) -> String {
        let mut text = String::new();
        metrics.encode(&mut text).expect("text");
        text
    }

    #[test]
    fn every_series_exists_from_the_start() {
        let metrics = metrics();
        let before = text(&metrics);
        assert_eq!(
            before.lines().filter(|line| line.starts_with("stackbell_http_requests_total{")).count(),
            NAMES.len() * (CODES.len() + StatusClass::ALL.len())
        );
        for pattern in ["", "/widgets/{name}"] {
            for code in 100..600 {
                let status = StatusCode::from_u16(code).expect("a code");
                metrics.count(pattern, status, Duration::from_millis(3));
            }
        }
        assert_eq!(text(&metrics).lines().count(), before.lines().count());
    }

    #[test]
    fn a_response_counts_by_class_of_route_and_status() {
        let check = |pattern: &str, status: StatusCode, labels: &str| {
            let metrics = metrics();
            metrics.count(pattern, status, Duration::from_millis(3));
            let text = text(&metrics);
            let counted: Vec<&str> = text
                .lines()
                .filter(|line| line.starts_with("stackbell_http_requests_total{") && line.ends_with(" 1"))
                .collect();
            assert_eq!(counted, [format!("stackbell_http_requests_total{{{labels}}} 1")]);
            let (labels, _) = labels.split_once(",code").expect("the code is last");
            for (bound, count) in [("0.0025", 0), ("0.005", 1), ("+Inf", 1)] {
                let bucket = format!(
                    "stackbell_http_request_duration_seconds_bucket{{le=\"{bound}\",{labels}}} {count}\n"
                );
                assert!(text.contains(&bucket), "{bucket}{text}");
            }
        };
        let widget = "/widgets/{name}";
        check(widget, StatusCode::ACCEPTED, r#"route="widgets",status="2xx",code="202""#);
        check(widget, StatusCode::UNAUTHORIZED, r#"route="widgets",status="4xx",code="401""#);
        check(widget, StatusCode::SERVICE_UNAVAILABLE, r#"route="widgets",status="5xx",code="503""#);
        check("", StatusCode::NOT_FOUND, r#"route="unknown",status="4xx",code="404""#);
        check("", StatusCode::IM_A_TEAPOT, r#"route="unknown",status="4xx",code="other""#);
    }
}
