//! The routes: Pulumi's API (`/api`), our own (`/v1`), operations.
//!
//! A handler decodes, makes one call of [`stackbell_app`], encodes; one operation a file. All routes are data
//! (the module `shared::routes`), from which both the router and the OpenAPI document are made, so that neither has what the other has not.
//!
//! What holds for every answer: a request id in `X-Pulumi-Request-ID`; errors are JSON, whoever refuses. Each route says which
//! right it needs (the module `shared::need`). A caller without it is refused before the rest of the request is read: 401
//! without a good token, 404 for an organization that the caller may not see (invariant 9), else 403.
//!
//! What it does not do: listen, speak TLS, or decide who may do what.

mod cloud_api;
mod limits;
mod openapi;
mod operations;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
mod shared;
mod v1;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::Method;
use stackbell_app::App;
use stackbell_model::Entropy;
use tokio_util::task::TaskTracker;

use shared::context::Context;
use shared::routes::Route;

pub use limits::Limits;
pub use openapi::openapi;
pub use shared::log_limit::LogLimit;
pub use shared::proxies::TrustedProxies;
pub use shared::requests::RequestMetrics;

/// Which routes a router has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// All.
    Whole,
    /// Both APIs, for where operations have an address of their own.
    Apis,
    /// `/healthz`, `/readyz`, `/metrics`, `/openapi.json`.
    Operations,
}

/// What a router is made of, beside the control plane.
#[derive(Clone)]
pub struct HttpSettings {
    /// The routes to serve.
    pub surface: Surface,
    /// How much one request may bring.
    pub limits: Limits,
    /// The proxies that are believed when they say where a request comes from.
    pub trusted_proxies: TrustedProxies,
    /// Requests a second with one token, and twice as many at once; `None` for as many as come. Of all nodes together: each
    /// allows its share.
    pub requests_per_second: Option<NonZeroU32>,
    /// Whether this process takes work: false before it has begun and once it is stopping. Asked by `/readyz`.
    pub readiness: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Whether the data folder is there and still this process's; true where nothing of worth is in it. Asked by `/readyz`, on
    /// a thread that may wait for the disk.
    pub data_folder: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Gives the process's metrics, those of requests aside, as OpenMetrics text without the line that ends it. May block.
    pub metrics: Arc<dyn Fn() -> Result<String, fmt::Error> + Send + Sync>,
    /// Where to count requests. The same for all routers of a server.
    pub requests: Arc<RequestMetrics>,
    /// The requests under way that may change something. They go on when their client is gone: close this and wait for it
    /// before what they work with ends.
    pub changes: TaskTracker,
    /// Chance for request ids.
    pub entropy: Arc<Mutex<dyn Entropy>>,
}

/// The routes of `settings.surface`. Serve it with
/// [`into_make_service_with_connect_info::<SocketAddr>`](Router::into_make_service_with_connect_info), so that the audit
/// log knows where callers are; without, it says nothing of that.
pub fn router(app: Arc<App>, settings: HttpSettings) -> Router {
    let routes = routes(settings.surface);
    shared::routes::router(routes, Arc::new(Context::new(app, settings)))
}

/// The method and the path of every route of a surface, for tests that must not miss one. Parameters are named as in
/// `/v1/orgs/{orgName}`.
pub fn paths(surface: Surface) -> Vec<(Method, String)> {
    routes(surface).into_iter().map(|route| (route.method, route.path)).collect()
}

/// The routes of a surface.
fn routes(surface: Surface) -> Vec<Route> {
    let apis = || cloud_api::routes().chain(v1::routes());
    match surface {
        Surface::Whole => apis().chain(operations::routes()).collect(),
        Surface::Apis => apis().collect(),
        Surface::Operations => operations::routes().collect(),
    }
}
