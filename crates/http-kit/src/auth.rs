//! Authentication of requests. Source: wire-facts.md#transport.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use stackbell_app::auth::Caller;
use tokio::time::Instant;

use crate::context::Context;
use crate::error::{HttpError, about};
use crate::observe::CallerSeen;
use crate::rate_limit::TooFast;
use crate::routes::RouteRules;

/// A scheme of the `Authorization` header, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme(&'static str);

impl Scheme {
    /// `token`: an access token, as Pulumi's clients send it.
    pub const TOKEN: Self = Self("token");
    /// `Bearer`: an access token.
    pub const BEARER: Self = Self("Bearer");

    /// A scheme by its name: visible ASCII without spaces.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name, as a 401 shows it.
    pub const fn name(self) -> &'static str {
        self.0
    }
}

/// The schemes that a route takes, the preferred one first. A 401 names that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schemes(&'static [Scheme]);

impl Schemes {
    /// The two schemes of access tokens. Routes take these unless they declare others.
    pub const ACCESS_TOKEN: Self = Self::new(&[Scheme::TOKEN, Scheme::BEARER]);

    /// These schemes.
    ///
    /// # Panics
    /// If there is none: no caller could use the route.
    pub const fn new(schemes: &'static [Scheme]) -> Self {
        assert!(!schemes.is_empty(), "a route takes at least one scheme");
        Self(schemes)
    }

    const fn preferred(self) -> Scheme {
        self.0[0]
    }

    fn find(self, name: &str) -> Option<Scheme> {
        self.0.iter().copied().find(|scheme| scheme.0.eq_ignore_ascii_case(name))
    }
}

/// The credential of a request, by one of the schemes that the route takes. It was not verified: a handler of a scheme of its
/// own does that, and access tokens are [`Authenticated`].
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
        let token = access_token(parts)?;
        let remote = client(&parts.extensions, &parts.headers, &context);
        let caller = context.app.authenticate(token, remote).await.map_err(about("Token"))?;
        admit(&caller, &parts.extensions, &context)?;
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
        let token = access_token(parts)?;
        let remote = client(&parts.extensions, &parts.headers, &context);
        let caller = context.app.authenticate_publisher(token, remote).await.map_err(about("Token"))?;
        admit(&caller, &parts.extensions, &context)?;
        Ok(Self(caller))
    }
}

/// Records that the caller is known, and counts the request against the token's rate.
fn admit(caller: &Caller, extensions: &Extensions, context: &Context) -> Result<(), HttpError> {
    if let Some(seen) = extensions.get::<CallerSeen>() {
        seen.set_known();
    }
    let Some(limiter) = &context.rate_limiter else { return Ok(()) };
    let nodes = context.app.nodes();
    let counted = limiter.count(caller.token().id, nodes, Instant::now());
    counted.map_err(|TooFast { wait }| {
        let rate = limiter.rate();
        let detail =
            format!("with one token {rate} requests a second may come (the setting requests_per_second)");
        HttpError::too_many(detail, wait)
    })
}

/// The access token of a request.
fn access_token(parts: &Parts) -> Result<&str, HttpError> {
    let (scheme, token) = credential_of(parts)?;
    match Schemes::ACCESS_TOKEN.0.contains(&scheme) {
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

/// The address of the client; `None` if the server does not say who is connected.
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
