//! Who asks. Source: wire-facts.md#transport.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use stackbell_app::auth::Caller;
use tokio::time::Instant;

use super::context::Context;
use super::error::{HttpError, about};
use super::need::Need;
use super::observe::CallerSeen;
use super::rates::TooFast;

/// The holder of a good token, who may use the route.
pub(crate) struct Authenticated(pub(crate) Caller);

impl FromRequestParts<Arc<Context>> for Authenticated {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, context: &Arc<Context>) -> Result<Self, HttpError> {
        let token = token(&parts.headers).ok_or_else(HttpError::unauthenticated)?;
        let remote = client(&parts.extensions, &parts.headers, context);
        let caller = context.app.authenticate(token, remote).await.map_err(about("Token"))?;
        admit(&caller, &parts.extensions, context)?;
        Need::of(parts).check(&caller)?;
        Ok(Self(caller))
    }
}

/// Somebody who presents a token to publish. Whether it is good yet, publishing finds out.
pub(crate) struct AuthenticatedPublisher(pub(crate) Caller);

impl FromRequestParts<Arc<Context>> for AuthenticatedPublisher {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, context: &Arc<Context>) -> Result<Self, HttpError> {
        let token = token(&parts.headers).ok_or_else(HttpError::unauthenticated)?;
        let remote = client(&parts.extensions, &parts.headers, context);
        let caller = context.app.authenticate_publisher(token, remote).await.map_err(about("Token"))?;
        admit(&caller, &parts.extensions, context)?;
        Ok(Self(caller))
    }
}

/// Notes that the caller is known, and counts the request.
fn admit(caller: &Caller, extensions: &Extensions, context: &Context) -> Result<(), HttpError> {
    if let Some(seen) = extensions.get::<CallerSeen>() {
        seen.set_known();
    }
    let Some(rates) = &context.rates else { return Ok(()) };
    let nodes = context.app.nodes();
    let counted = rates.count(caller.token().id, nodes, Instant::now());
    counted.map_err(|TooFast { wait }| {
        let rate = rates.rate();
        let detail =
            format!("with one token {rate} requests a second may come (the setting requests_per_second)");
        HttpError::too_many(detail, wait)
    })
}

/// The token of the one `Authorization` header; `None` where there is none, another scheme, or more than one.
pub(crate) fn token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
    let is_known = ["token", "bearer"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    Some(token.trim()).filter(|token| is_known && !token.is_empty())
}

/// Where the request comes from; `None` where nobody knows who is connected.
pub(crate) fn client(extensions: &Extensions, headers: &HeaderMap, context: &Context) -> Option<IpAddr> {
    let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(context.settings.trusted_proxies.client(peer.ip(), headers))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn check(values: &[&'static str], expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        assert_eq!(token(&headers), expected, "{values:?}");
    }

    #[test]
    fn schemes() {
        check(&["token abc"], Some("abc"));
        check(&["Token abc"], Some("abc"));
        check(&["TOKEN   abc "], Some("abc"));
        check(&["Bearer abc"], Some("abc"));
        check(&["bearer abc"], Some("abc"));
        check(&[], None);
        check(&["abc"], None);
        check(&["token"], None);
        check(&["token "], None);
        check(&["update-token abc"], None);
        check(&["Basic abc"], None);
        check(&["token abc", "token abc"], None);
    }
}
