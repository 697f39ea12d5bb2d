//! Who asks. Source: wire-facts.md#transport.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use stackbell_app::auth::Caller;

use super::context::Context;
use super::error::{HttpError, about};

/// Somebody who presents a good token.
pub(crate) struct Authenticated(pub(crate) Caller);

impl FromRequestParts<Arc<Context>> for Authenticated {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, context: &Arc<Context>) -> Result<Self, HttpError> {
        let token = token(&parts.headers).ok_or_else(HttpError::unauthenticated)?;
        let caller = context.app.authenticate(token, remote(parts)).await;
        caller.map(Self).map_err(about("Token"))
    }
}

/// The token of the one `Authorization` header; `None` where there is none, another scheme, or more than one.
fn token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
    let is_known = ["token", "bearer"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    Some(token.trim()).filter(|token| is_known && !token.is_empty())
}

fn remote(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
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
