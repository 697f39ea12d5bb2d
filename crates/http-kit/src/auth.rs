//! Authentication of requests. Source: wire-facts.md#transport.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use stackbell_app::Error;
use stackbell_app::auth::Caller;
use tokio::time::Instant;

use crate::context::Context;
use crate::error::{HttpError, about};
use crate::rate_limit::TooFast;
use crate::route_rules::RouteRules;
use crate::scheme::{Scheme, Schemes};

/// The credential of a request, in one of the schemes that the route accepts. It is not verified: the handler does that for
/// its own scheme, and [`Authenticated`] for access tokens.
pub struct Credential {
    /// The scheme.
    pub scheme: Scheme,
    /// The rest of the header, without spaces around it and not empty.
    pub secret: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Credential {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpError> {
        let (scheme, secret) = credential_of(parts)?;
        Ok(Self { scheme, secret: secret.to_owned() })
    }
}

/// The owner of a valid access token, who may use the route. The right in the organization of the path is not checked:
/// [`crate::path::InOrganization`] does that.
pub struct Authenticated(pub Caller);

impl<S> FromRequestParts<S> for Authenticated
where
    S: Send + Sync,
    Arc<Context>: FromRef<S>,
{
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let context = Arc::<Context>::from_ref(state);
        let (token, remote) = identify(parts, &context)?;
        let caller = admit(context.app.authenticate(token, remote).await, parts, &context)?;
        RouteRules::of(&parts.extensions).need().check(&caller)?;
        Ok(Self(caller))
    }
}

/// The owner of an access token that is presented to publish events. The publish itself finds out whether the token is still
/// valid.
pub struct AuthenticatedPublisher(pub Caller);

impl<S> FromRequestParts<S> for AuthenticatedPublisher
where
    S: Send + Sync,
    Arc<Context>: FromRef<S>,
{
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let context = Arc::<Context>::from_ref(state);
        let (token, remote) = identify(parts, &context)?;
        let authenticated = context.app.authenticate_publisher(token, remote).await;
        admit(authenticated, parts, &context).map(Self)
    }
}

/// An extension of a request: whether its caller presented a valid token.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallerSeen(Arc<AtomicBool>);

impl CallerSeen {
    fn set_known(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_known(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The access token of a request, and the address of its client.
fn identify<'a>(parts: &'a Parts, context: &Context) -> Result<(&'a str, Option<IpAddr>), HttpError> {
    let token = access_token(parts)?;
    Ok((token, client(&parts.extensions, &parts.headers, context)))
}

/// Records that the caller is known, and counts the request against the token's rate.
fn admit(
    authenticated: Result<Caller, Error>,
    parts: &Parts,
    context: &Context,
) -> Result<Caller, HttpError> {
    let caller = authenticated.map_err(about("Token"))?;
    if let Some(seen) = parts.extensions.get::<CallerSeen>() {
        seen.set_known();
    }
    let Some(limiter) = &context.rate_limiter else { return Ok(caller) };
    match limiter.count(caller.token().id, context.app.nodes(), Instant::now()) {
        Ok(()) => Ok(caller),
        Err(TooFast { wait }) => {
            let rate = limiter.rate();
            let detail =
                format!("one token may make {rate} requests a second (the setting requests_per_second)");
            Err(HttpError::too_many(detail, wait))
        }
    }
}

/// The access token of a request.
fn access_token(parts: &Parts) -> Result<&str, HttpError> {
    let (scheme, token) = credential_of(parts)?;
    match Schemes::ACCESS_TOKEN.contains(scheme) {
        true => Ok(token),
        false => Err(HttpError::unauthenticated(Scheme::TOKEN)),
    }
}

fn credential_of(parts: &Parts) -> Result<(Scheme, &str), HttpError> {
    let schemes = RouteRules::of(&parts.extensions).schemes;
    credential(&parts.headers, schemes).ok_or_else(|| HttpError::unauthenticated(schemes.preferred()))
}

/// Scheme and secret of the one `Authorization` header; `None` if there is no such header, more than one, or another scheme.
pub(crate) fn credential(headers: &HeaderMap, schemes: Schemes) -> Option<(Scheme, &str)> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (name, secret) = value.to_str().ok()?.trim().split_once(' ')?;
    let (scheme, secret) = (schemes.find(name)?, secret.trim());
    (!secret.is_empty()).then_some((scheme, secret))
}

/// The address of the client; `None` if the server does not know the peer.
pub(crate) fn client(extensions: &Extensions, headers: &HeaderMap, context: &Context) -> Option<IpAddr> {
    let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(context.settings.trusted_proxies.client(peer.ip(), headers))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const UPDATE_TOKEN: Schemes = Schemes::new(&[Scheme::new("update-token")]);

    fn find(schemes: Schemes, values: &[&'static str]) -> Option<(&'static str, String)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        credential(&headers, schemes).map(|(scheme, secret)| (scheme.name(), secret.to_owned()))
    }

    fn check(values: &[&'static str], expected: Option<&str>) {
        let found = find(Schemes::ACCESS_TOKEN, values).map(|(_, secret)| secret);
        assert_eq!(found.as_deref(), expected, "{values:?}");
    }

    #[test]
    fn access_tokens() {
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

    #[test]
    fn a_scheme_counts_where_it_is_declared() {
        let update = Some(("update-token", "abc".to_owned()));
        assert_eq!(find(UPDATE_TOKEN, &["update-token abc"]), update);
        assert_eq!(find(UPDATE_TOKEN, &["Update-Token abc"]), update);
        for other in ["token abc", "Bearer abc", "update-token", "update-tokens abc"] {
            assert_eq!(find(UPDATE_TOKEN, &[other]), None, "{other}");
        }
    }
}
