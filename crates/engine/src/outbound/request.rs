//! A request as callers give it, and as hyper takes it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use stackbell_model::names::OrganizationName;
use stackbell_wire::headers as wire;

use super::spelling::{EXACT, Spellings, is_kept};
use super::target::Target;

/// One request to an endpoint.
#[derive(Clone, Debug)]
pub struct OutboundRequest {
    /// On whose behalf: its allowances count.
    pub organization: OrganizationName,
    /// `POST`, but for pings that only look.
    pub method: Method,
    /// Where it goes.
    pub target: Arc<Target>,
    /// Its headers, in Title-Case or as Standard Webhooks spells its own (`webhook-id`). They go out spelled
    /// as they are.
    ///
    /// `Host`, `Content-Length`, `User-Agent` and the `Authorization` of the target come of themselves;
    /// the last two give way to headers given here.
    pub headers: Vec<(&'static str, String)>,
    /// Its bytes.
    pub body: Bytes,
}

impl OutboundRequest {
    /// A `POST`.
    pub fn post(
        organization: OrganizationName,
        target: Arc<Target>,
        headers: Vec<(&'static str, String)>,
        body: Bytes,
    ) -> Self {
        Self { organization, method: Method::POST, target, headers, body }
    }

    /// A `GET`, which has no bytes.
    pub fn get(
        organization: OrganizationName,
        target: Arc<Target>,
        headers: Vec<(&'static str, String)>,
    ) -> Self {
        Self { organization, method: Method::GET, target, headers, body: Bytes::new() }
    }
}

/// Why a request could not be built: our own fault, each of them.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    #[error("{0:?} is not the name of a header that could be sent in this spelling")]
    Name(&'static str),
    #[error("the value of header {0} cannot be sent")]
    Value(&'static str),
}

/// Makes hyper's request of ours.
pub(super) fn build(
    request: OutboundRequest,
    spellings: &Spellings,
) -> Result<Request<Full<Bytes>>, BuildError> {
    let OutboundRequest { organization: _, method, target, headers, body } = request;
    let mut built = Request::new(Full::new(body));
    *built.method_mut() = method;
    *built.uri_mut() = target.uri().clone();
    if headers.iter().any(|(name, _)| EXACT.contains(name)) {
        *built.extensions_mut() = spellings.extensions();
    }
    let map = built.headers_mut();
    map.insert(USER_AGENT, HeaderValue::from_static(wire::USER_AGENT));
    if let Some(host) = target.host() {
        map.insert(HOST, host.clone());
    }
    if let Some(authorization) = target.authorization() {
        map.insert(AUTHORIZATION, authorization.clone());
    }
    for (name, value) in headers {
        let (key, value) = header(name, value)?;
        map.insert(key, value);
    }
    Ok(built)
}

fn header(name: &'static str, value: String) -> Result<(HeaderName, HeaderValue), BuildError> {
    let key = HeaderName::from_bytes(name.as_bytes()).ok().filter(|_| is_kept(name));
    let key = key.ok_or(BuildError::Name(name))?;
    let value = HeaderValue::try_from(value).map_err(|_| BuildError::Value(name))?;
    Ok((key, value))
}
