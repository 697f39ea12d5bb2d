//! Parts that every HTTP surface shares: a router built from routes as data, authentication, request bodies, errors, pages,
//! limits, and the request log.
//!
//! The crate knows no route. A surface (an API, a console) gives [`routes::router`] its routes and its state, from which
//! the [`context::Context`] can be taken. It also names the classes of its request metrics ([`request_metrics`]), the
//! media types that are never compressed, and, for each route, the right that it needs ([`need`]), the authentication
//! schemes that it accepts ([`scheme`]) and how large a body may be ([`body`]).
//!
//! Every response carries a request id in `X-Pulumi-Request-ID`, and every error has a JSON body, wherever it arises. A caller
//! without the right that a route needs is refused before the rest of the request is read: 401 without a valid token, 404
//! for an organization that the caller may not see (invariant 9), else 403.
//!
//! The crate does not listen, does not speak TLS, and does not decide who may do what: `stackbell-app` does.

pub mod auth;
pub mod body;
pub mod context;
pub mod description;
mod detached;
pub mod error;
pub mod large_response;
mod log_limit;
pub mod media_type;
pub mod need;
mod observe;
pub mod pagination;
pub mod path;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
pub mod query;
mod rate_limit;
pub mod request_metrics;
pub mod response;
mod route_rules;
pub mod routes;
pub mod scheme;
pub mod timeout;
mod trusted_proxies;

pub use log_limit::LogLimit;
pub use trusted_proxies::TrustedProxies;
