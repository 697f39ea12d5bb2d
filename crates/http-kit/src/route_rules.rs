//! Rules of a route that its extractors apply.

use axum::http::Extensions;

use crate::need::Need;
use crate::scheme::Schemes;

/// Rules that a route declares. The extractors read them from the request's extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouteRules {
    /// `None` where the handler checks the need itself.
    pub(crate) need: Option<Need>,
    /// The schemes that the route takes.
    pub(crate) schemes: Schemes,
    /// The most bytes of a decoded body; `None` for the limit of the router.
    pub(crate) body_bytes_max: Option<usize>,
}

impl RouteRules {
    /// The rules of the route that serves a request.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        *extensions.get().expect("the router adds the rules of every route")
    }

    /// The need that the extractors have to check.
    pub(crate) fn need(&self) -> Need {
        self.need.expect("a route whose handler checks the need has no extractor that does")
    }
}
