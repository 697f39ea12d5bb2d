//! The routes of both APIs, Pulumi's (`/api`) and our own (`/v1`), and of operations.
//!
//! A handler decodes, makes one call of [`stackbell_app`], and encodes. All routes are data
//! ([`stackbell_http_kit::routes`]). Both the router and the OpenAPI document are built from them, so neither has an operation
//! that the other lacks.
//!
//! The rules that hold for every route and every response are those of [`stackbell_http_kit`].
//!
//! The crate does not listen, does not speak TLS, and does not decide who may do what.

mod cloud_api;
mod limits;
mod openapi;
mod operations;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
mod route_class;
mod scope;
mod state;
mod v1;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::Method;
use stackbell_app::App;
use stackbell_http_kit::context::{Context, Settings};
use stackbell_http_kit::media_type::NDJSON;
use stackbell_http_kit::request_metrics::RequestMetrics;
use stackbell_http_kit::routes;
use stackbell_model::Entropy;
use tokio_util::task::TaskTracker;

use operations::Operations;
use state::State;

pub use limits::Limits;
pub use openapi::openapi;
pub use stackbell_http_kit::{LogLimit, TrustedProxies};

/// A route of ours.
type Route = routes::Route<State>;

/// Media types that are never compressed: a stream of lines must arrive line by line, and a backup has a digest of the bytes
/// that are sent.
const UNCOMPRESSED: &[&str] = &[NDJSON, v1::SQLITE];

/// The routes of a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// All routes.
    Whole,
    /// Both APIs, for a server with a separate address for operations.
    Apis,
    /// `/healthz`, `/readyz`, `/metrics`, `/openapi.json`.
    Operations,
}

/// Settings of a router.
#[derive(Clone)]
pub struct HttpSettings {
    /// The routes to serve.
    pub surface: Surface,
    /// Limits of one request.
    pub limits: Limits,
    /// The proxies that are trusted to report the address of a client.
    pub trusted_proxies: TrustedProxies,
    /// Requests a second with one token, and twice as many at once; `None` for no limit. The limit holds for all nodes
    /// together: each allows its share.
    pub requests_per_second: Option<NonZeroU32>,
    /// Whether this process takes requests: false before it has started and once it stops. `/readyz` calls it.
    pub readiness: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Whether the data folder exists and still belongs to this process; true if it holds no data. `/readyz` calls
    /// it on a blocking thread.
    pub data_folder: Arc<dyn Fn() -> bool + Send + Sync>,
    /// The metrics of the process, except those of requests, as OpenMetrics text without the line that ends it. May block.
    pub metrics: Arc<dyn Fn() -> Result<String, fmt::Error> + Send + Sync>,
    /// The counters of requests. All routers of a server share them.
    pub requests: Arc<RequestMetrics>,
    /// The running requests that may change something. They continue after their client hangs up: close this tracker and
    /// wait for it before the store or the engine ends.
    pub changes: TaskTracker,
    /// Randomness for request ids.
    pub entropy: Arc<Mutex<dyn Entropy>>,
}

/// The router of `settings.surface`. Serve it with
/// [`into_make_service_with_connect_info::<SocketAddr>`](Router::into_make_service_with_connect_info), so that the audit
/// log has the addresses of callers; without it, the log has none.
pub fn router(app: Arc<App>, settings: HttpSettings) -> Router {
    let HttpSettings { surface, limits, trusted_proxies, requests_per_second, .. } = settings;
    let HttpSettings { readiness, data_folder, metrics, requests, changes, entropy, .. } = settings;
    let operations = Operations::new(readiness, data_folder, metrics, openapi());
    let settings = Settings {
        request_bytes_max: limits.request_bytes_max,
        trusted_proxies,
        requests_per_second,
        requests,
        changes,
        entropy,
    };
    let state = State::new(Context::new(app, settings), limits, operations);
    routes::router(routes_of(surface), state, UNCOMPRESSED)
}

/// New counters of requests, all zero.
pub fn request_metrics() -> RequestMetrics {
    RequestMetrics::new(route_class::CLASSES)
}

/// The method and the path of every route of a surface, for tests that must not miss one. Parameters are named as in
/// `/v1/orgs/{orgName}`.
pub fn paths(surface: Surface) -> Vec<(Method, String)> {
    routes_of(surface).into_iter().map(|route| (route.method, route.path)).collect()
}

/// The routes of a surface.
fn routes_of(surface: Surface) -> Vec<Route> {
    let apis = || cloud_api::routes().chain(v1::routes());
    match surface {
        Surface::Whole => apis().chain(operations::routes()).collect(),
        Surface::Apis => apis().collect(),
        Surface::Operations => operations::routes().collect(),
    }
}
