//! Routes as data, and the router that is made of them.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Router};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};

use super::carry_on::carry_on;
use super::context::Context;
use super::description::Description;
use super::error::{no_such_method, no_such_route};
use super::need::Need;
use super::observe::{answer_panic, observe};
use super::time_limit::limit_time;
use crate::v1::SQLITE;

/// A method of a path.
pub(crate) struct Route {
    pub(crate) method: Method,
    /// With parameters as in `/v1/orgs/{orgName}`.
    pub(crate) path: String,
    /// What the OpenAPI document says of it; `None`: nothing.
    pub(crate) description: Option<Description>,
    /// What it needs of its caller.
    pub(crate) need: Need,
    handler: MethodRouter<Arc<Context>>,
    /// Whether the handler checks the need itself.
    is_self_checked: bool,
    /// Whether the handler limits its time itself and bears being dropped.
    is_unlimited: bool,
}

impl Route {
    /// A route whose handler is given [`super::time_limit::REQUEST_TIME_MAX`]. If it may change something, it goes on
    /// when nobody waits any more.
    pub(crate) fn new<H, T>(method: Method, path: impl Into<String>, need: Need, handler: H) -> Self
    where
        H: Handler<T, Arc<Context>>,
        T: 'static,
    {
        Self { is_unlimited: false, ..Self::unlimited(method, path, need, handler) }
    }

    /// A route whose handler limits its time itself, and can be dropped at any moment without leaving a change half done.
    pub(crate) fn unlimited<H, T>(method: Method, path: impl Into<String>, need: Need, handler: H) -> Self
    where
        H: Handler<T, Arc<Context>>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("a method of HTTP");
        Self {
            method,
            path: path.into(),
            description: None,
            need,
            handler: on(filter, handler),
            is_self_checked: false,
            is_unlimited: true,
        }
    }

    /// The handler with what holds for its route.
    fn into_handler(self, context: &Arc<Context>) -> MethodRouter<Arc<Context>> {
        let handler = match (self.need, self.is_self_checked) {
            (Need::Nothing, _) | (_, true) => self.handler,
            (need, false) => self.handler.layer(Extension(need)),
        };
        if self.is_unlimited {
            return handler;
        }
        let handler = if self.method == Method::GET {
            handler
        } else {
            handler.layer(from_fn_with_state(Arc::clone(context), carry_on))
        };
        handler.layer(from_fn(limit_time))
    }

    /// The same with a handler that checks the need itself, before it looks at the rest of the request.
    #[must_use]
    pub(crate) fn self_checked(self) -> Self {
        Self { is_self_checked: true, ..self }
    }

    /// The same with a description.
    #[must_use]
    pub(crate) fn described(self, description: Description) -> Self {
        Self { description: Some(description), ..self }
    }
}

/// A router of these routes, with all that holds for every answer.
pub(crate) fn router(routes: Vec<Route>, context: Arc<Context>) -> Router {
    let mut paths: BTreeMap<String, MethodRouter<Arc<Context>>> = BTreeMap::new();
    for route in routes {
        let methods = paths.remove(&route.path).unwrap_or_default();
        let path = route.path.clone();
        paths.insert(path, methods.merge(route.into_handler(&context)));
    }
    let router =
        paths.into_iter().fold(Router::new(), |router, (path, methods)| router.route(&path, methods));
    // What is streamed line by line is to arrive line by line.
    let compressed = DefaultPredicate::new()
        .and(NotForContentType::const_new("application/x-ndjson"))
        // A backup has a digest of the bytes that are sent.
        .and(NotForContentType::const_new(SQLITE));
    router
        .method_not_allowed_fallback(no_such_method)
        .fallback(no_such_route)
        .layer(CompressionLayer::new().compress_when(compressed))
        .layer(CatchPanicLayer::custom(|panic: Box<dyn Any + Send>| answer_panic(panic.as_ref())))
        .layer(from_fn_with_state(Arc::clone(&context), observe))
        .with_state(context)
}
