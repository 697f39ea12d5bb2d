//! Routes as data, and the router that is built from them.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::FromRef;
use axum::handler::Handler;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Extensions, HeaderMap, Method, StatusCode, Version};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Router};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate};

use crate::context::Context;
use crate::description::Description;
use crate::detached::detached;
use crate::error::{no_such_method, no_such_route};
use crate::need::Need;
use crate::observe::{observe, panic_response};
use crate::route_rules::RouteRules;
use crate::scheme::Schemes;
use crate::timeout::limit_time;

/// One method of one path. `S` is the state that handlers of the surface share.
pub struct Route<S> {
    /// The method.
    pub method: Method,
    /// The path, with parameters as in `/v1/orgs/{orgName}`.
    pub path: String,
    /// The route's part of the OpenAPI document; `None` for a route that is not in it.
    pub description: Option<Description>,
    /// The right that the route needs.
    pub need: Need,
    handler: MethodRouter<S>,
    schemes: Schemes,
    body_bytes_max: Option<usize>,
    /// Whether the handler checks the need itself.
    is_self_checked: bool,
    /// Whether the handler limits its own time and may be dropped at any moment.
    is_unlimited: bool,
}

impl<S: Clone + Send + Sync + 'static> Route<S> {
    /// A route whose handler has [`crate::timeout::REQUEST_TIME_MAX`] to respond. Unless the method is GET, the handler runs
    /// to its end even if the client hangs up.
    pub fn new<H, T>(method: Method, path: impl Into<String>, need: Need, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        Self { is_unlimited: false, ..Self::unlimited(method, path, need, handler) }
    }

    /// A route whose handler limits its own time, and can be dropped at any moment without leaving a change half done.
    pub fn unlimited<H, T>(method: Method, path: impl Into<String>, need: Need, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("a method of HTTP");
        Self {
            method,
            path: path.into(),
            description: None,
            need,
            handler: on(filter, handler),
            schemes: Schemes::ACCESS_TOKEN,
            body_bytes_max: None,
            is_self_checked: false,
            is_unlimited: true,
        }
    }

    /// This route with a handler that checks the need itself, before it looks at the rest of the request.
    #[must_use]
    pub fn self_checked(self) -> Self {
        Self { is_self_checked: true, ..self }
    }

    /// This route with these authentication schemes instead of [`Schemes::ACCESS_TOKEN`].
    #[must_use]
    pub fn schemes(self, schemes: Schemes) -> Self {
        Self { schemes, ..self }
    }

    /// This route with its own limit for decoded bodies that are read as a whole, instead of
    /// [`crate::context::Settings::request_bytes_max`].
    #[must_use]
    pub fn body_bytes_max(self, bytes_max: usize) -> Self {
        Self { body_bytes_max: Some(bytes_max), ..self }
    }

    /// This route with a description.
    #[must_use]
    pub fn described(self, description: Description) -> Self {
        Self { description: Some(description), ..self }
    }

    /// The rules that the route declares.
    fn rules(&self) -> RouteRules {
        RouteRules {
            need: (!self.is_self_checked).then_some(self.need),
            schemes: self.schemes,
            body_bytes_max: self.body_bytes_max,
        }
    }

    /// The handler, wrapped in everything that holds for the route.
    fn into_handler(self, context: &Arc<Context>) -> MethodRouter<S> {
        let rules = self.rules();
        let handler = self.handler.layer(Extension(rules));
        if self.is_unlimited {
            return handler;
        }
        let handler = if self.method == Method::GET {
            handler
        } else {
            handler.layer(from_fn_with_state(Arc::clone(context), detached))
        };
        handler.layer(from_fn(limit_time))
    }
}

/// Builds the router of these routes, with everything that holds for every response. Responses whose media type begins with
/// one of `uncompressed` are never compressed.
pub fn router<S>(routes: Vec<Route<S>>, state: S, uncompressed: &'static [&'static str]) -> Router
where
    S: Clone + Send + Sync + 'static,
    Arc<Context>: FromRef<S>,
{
    let context = Arc::<Context>::from_ref(&state);
    let mut paths: BTreeMap<String, MethodRouter<S>> = BTreeMap::new();
    for route in routes {
        let methods = paths.remove(&route.path).unwrap_or_default();
        let path = route.path.clone();
        paths.insert(path, methods.merge(route.into_handler(&context)));
    }
    let router =
        paths.into_iter().fold(Router::new(), |router, (path, methods)| router.route(&path, methods));
    let is_compressible = move |_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions| {
        let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        !uncompressed.iter().any(|except| media_type.starts_with(except))
    };
    router
        .method_not_allowed_fallback(no_such_method)
        .fallback(no_such_route)
        .layer(CompressionLayer::new().compress_when(DefaultPredicate::new().and(is_compressible)))
        .layer(CatchPanicLayer::custom(|panic: Box<dyn Any + Send>| panic_response(panic.as_ref())))
        .layer(from_fn_with_state(context, observe))
        .with_state(state)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::FromRequestParts as _;
    use axum::http::Request;
    use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
    use axum::response::IntoResponse as _;

    use super::*;
    use crate::auth::Credential;
    use crate::scheme::Scheme;

    fn route() -> Route<()> {
        Route::new(Method::POST, "/widgets", Need::Token, || async {})
    }

    /// The scheme by which a route takes a credential, or the scheme that its refusal asks for.
    async fn ask(route: &Route<()>, authorization: &str) -> Result<&'static str, String> {
        let request = Request::get("/").header(AUTHORIZATION, authorization).extension(route.rules());
        let (mut parts, _) = request.body(Body::empty()).expect("a request").into_parts();
        match Credential::from_request_parts(&mut parts, &()).await {
            Ok(credential) => Ok(credential.scheme.name()),
            Err(error) => {
                let response = error.into_response();
                assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
                Err(response.headers()[WWW_AUTHENTICATE].to_str().expect("a scheme").to_owned())
            }
        }
    }

    #[tokio::test]
    async fn a_route_takes_the_schemes_that_it_declares() {
        const UPDATE_TOKEN: Schemes = Schemes::new(&[Scheme::new("update-token")]);
        let (usual, own) = (route(), route().schemes(UPDATE_TOKEN));
        assert_eq!(ask(&usual, "token abc").await, Ok("token"));
        assert_eq!(ask(&usual, "bearer abc").await, Ok("Bearer"));
        assert_eq!(ask(&usual, "update-token abc").await, Err("token".to_owned()));
        assert_eq!(ask(&own, "update-token abc").await, Ok("update-token"));
        assert_eq!(ask(&own, "token abc").await, Err("update-token".to_owned()));
        assert_eq!(ask(&own, "Bearer abc").await, Err("update-token".to_owned()));
    }

    #[test]
    fn a_route_declares_its_limit_of_bodies() {
        assert_eq!(route().rules().body_bytes_max, None);
        assert_eq!(route().body_bytes_max(100 << 20).rules().body_bytes_max, Some(100 << 20));
    }
}
