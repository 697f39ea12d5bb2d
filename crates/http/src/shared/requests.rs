//! Request metrics: how many requests were answered, and how long the answers took.
//!
//! All labels come from closed sets. No label has a path, an organization or a webhook: a client could make up any number
//! of those. Every series exists from the start, and the hot path looks nothing up.

use std::fmt;
use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds in seconds: from a health check to a ping of a silent endpoint. No request takes longer than 60 s, streams aside.
const BUCKETS: [f64; 15] =
    [0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// The codes that get a series of their own. Others are counted as `other`.
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

/// Which part of the server a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteClass {
    /// `POST /v1/orgs/{orgName}/events`: producers.
    Publish,
    /// The rest of our own API.
    V1,
    /// Pulumi's API.
    Api,
    /// Health, metrics and the OpenAPI document.
    Operations,
    /// No route has this path.
    Unknown,
}

impl RouteClass {
    const ALL: [Self; 5] = [Self::Publish, Self::V1, Self::Api, Self::Operations, Self::Unknown];

    /// The class of a route by its pattern, as in `/v1/orgs/{orgName}`; empty where no route matches.
    pub(crate) fn of(pattern: &str) -> Self {
        match pattern {
            "" => Self::Unknown,
            "/v1/orgs/{orgName}/events" => Self::Publish,
            _ if pattern.starts_with("/v1/") => Self::V1,
            _ if pattern.starts_with("/api/") => Self::Api,
            _ => Self::Operations,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::V1 => "v1",
            Self::Api => "api",
            Self::Operations => "operations",
            Self::Unknown => "unknown",
        }
    }
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

/// Counts requests. Give the same one to all routers of a server.
///
/// | name | kind | labels | what |
/// | --- | --- | --- | --- |
/// | `stackbell_http_requests_total` | counter | `route`, `status`, `code` | requests that were answered |
/// | `stackbell_http_request_duration_seconds` | histogram | `route`, `status` | how long the answers took, to their heads |
pub struct RequestMetrics {
    registry: Registry,
    /// By [`RouteClass`].
    classes: Vec<ClassMetrics>,
}

impl Default for RequestMetrics {
    fn default() -> Self {
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
        let classes = RouteClass::ALL.map(|route| {
            let route = route.as_str();
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
        });
        Self { registry, classes: classes.into() }
    }
}

impl RequestMetrics {
    /// Appends everything to an OpenMetrics text, without the line that ends it.
    ///
    /// # Errors
    /// If a metric cannot be written as text, which would be a defect.
    pub(crate) fn encode(&self, text: &mut String) -> Result<(), fmt::Error> {
        encode_registry(text, &self.registry)
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, class: RouteClass, status: StatusCode, took: Duration) {
        let class = &self.classes[class as usize];
        let status_class = StatusClass::of(status) as usize;
        let code = CODES.iter().position(|(code, _)| *code == status.as_u16());
        code.map_or(&class.others[status_class], |index| &class.codes[index]).inc();
        class.durations[status_class].observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &RequestMetrics) -> String {
        let mut text = String::new();
        metrics.encode(&mut text).expect("text");
        text
    }

    #[test]
    fn every_series_exists_from_the_start() {
        let metrics = RequestMetrics::default();
        let before = text(&metrics);
        assert_eq!(
            before.lines().filter(|line| line.starts_with("stackbell_http_requests_total{")).count(),
            RouteClass::ALL.len() * (CODES.len() + StatusClass::ALL.len())
        );
        for pattern in ["", "/v1/orgs/{orgName}/events", "/v1/users", "/api/user", "/metrics"] {
            for code in 100..600 {
                let status = StatusCode::from_u16(code).expect("a code");
                metrics.answered(RouteClass::of(pattern), status, Duration::from_millis(3));
            }
        }
        assert_eq!(text(&metrics).lines().count(), before.lines().count());
    }

    #[test]
    fn an_answer_counts_by_class_of_route_and_status() {
        let check = |pattern: &str, status: StatusCode, labels: &str| {
            let metrics = RequestMetrics::default();
            metrics.answered(RouteClass::of(pattern), status, Duration::from_millis(3));
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
        check(
            "/v1/orgs/{orgName}/events",
            StatusCode::ACCEPTED,
            r#"route="publish",status="2xx",code="202""#,
        );
        check("/v1/orgs/{orgName}/events/{eventId}", StatusCode::OK, r#"route="v1",status="2xx",code="200""#);
        check("/api/user", StatusCode::UNAUTHORIZED, r#"route="api",status="4xx",code="401""#);
        check("/readyz", StatusCode::SERVICE_UNAVAILABLE, r#"route="operations",status="5xx",code="503""#);
        check("", StatusCode::NOT_FOUND, r#"route="unknown",status="4xx",code="404""#);
        check("", StatusCode::IM_A_TEAPOT, r#"route="unknown",status="4xx",code="other""#);
    }

    /// A new route is in no class by accident.
    #[test]
    fn every_route_has_the_class_of_its_surface() {
        let classes = |surface| {
            let mut found: Vec<&str> =
                crate::routes(surface).iter().map(|route| RouteClass::of(&route.path).as_str()).collect();
            found.sort_unstable();
            found.dedup();
            found
        };
        assert_eq!(classes(crate::Surface::Operations), ["operations"]);
        assert_eq!(classes(crate::Surface::Apis), ["api", "publish", "v1"]);
    }
}
