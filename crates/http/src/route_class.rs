//! The classes of routes by which requests are counted.

use stackbell_http_kit::request_metrics::RouteClasses;

/// The classes, for [`stackbell_http_kit::request_metrics::RequestMetrics`].
pub(crate) const CLASSES: RouteClasses = RouteClasses {
    names: &["publish", "v1", "api", "operations", "unknown"],
    index: |pattern| RouteClass::of(pattern) as usize,
};

/// A class, in the order of [`CLASSES`].
#[derive(Clone, Copy)]
enum RouteClass {
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
    fn of(pattern: &str) -> Self {
        match pattern {
            "" => Self::Unknown,
            "/v1/orgs/{orgName}/events" => Self::Publish,
            _ if pattern.starts_with("/v1/") => Self::V1,
            _ if pattern.starts_with("/api/") => Self::Api,
            _ => Self::Operations,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Surface, routes_of};

    fn name(pattern: &str) -> &'static str {
        CLASSES.names[(CLASSES.index)(pattern)]
    }

    #[test]
    fn classes_of_patterns() {
        assert_eq!(name("/v1/orgs/{orgName}/events"), "publish");
        assert_eq!(name("/v1/orgs/{orgName}/events/{eventId}"), "v1");
        assert_eq!(name("/api/user"), "api");
        assert_eq!(name("/readyz"), "operations");
        assert_eq!(name(""), "unknown");
    }

    /// Every new route needs a class.
    #[test]
    fn every_route_has_the_class_of_its_surface() {
        let classes = |surface| {
            let mut found: Vec<&str> = routes_of(surface).iter().map(|route| name(&route.path)).collect();
            found.sort_unstable();
            found.dedup();
            found
        };
        assert_eq!(classes(Surface::Operations), ["operations"]);
        assert_eq!(classes(Surface::Apis), ["api", "publish", "v1"]);
    }
}
