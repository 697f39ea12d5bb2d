//! A request, in the form of callers and in the form of hyper.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use stackbell_model::names::OrganizationName;
use stackbell_wire::headers as wire;

use super::spelling::{EXACT, Spellings, is_kept};
use super::target::Target;

/// The connections that a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// An idle connection if there is one, which is cheap. If it turns out to be closed before the first byte of a response,
    /// the request is written once more, on a new connection.
    Any,
    /// Only a new connection. The request is written at most once, and never to a connection that may be closed.
    New,
}

/// One request to an endpoint.
#[derive(Clone, Debug)]
pub struct OutboundRequest {
    /// The organization that sends the request. Its allowances apply.
    pub organization: OrganizationName,
    /// `POST`, or `GET` for pings that only check.
    pub method: Method,
    /// The destination.
    pub target: Arc<Target>,
    /// The headers, in Title-Case or in the spelling of Standard Webhooks (`webhook-id`). The spelling is sent unchanged.
    ///
    /// The client adds `Host`, `Content-Length`, `Accept-Encoding`, `User-Agent` and the target's `Authorization`. Headers
    /// given here replace the last three.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
    /// The connections that the request may use.
    pub connections: Connections,
}

impl OutboundRequest {
    /// A `POST` on any connection.
    pub fn post(
        organization: OrganizationName,
        target: Arc<Target>,
        headers: Vec<(&'static str, String)>,
        body: Bytes,
    ) -> Self {
        Self { organization, method: Method::POST, target, headers, body, connections: Connections::Any }
    }

    /// A `GET` without a body, on any connection.
    pub fn get(
        organization: OrganizationName,
        target: Arc<Target>,
        headers: Vec<(&'static str, String)>,
    ) -> Self {
        let body = Bytes::new();
        Self { organization, method: Method::GET, target, headers, body, connections: Connections::Any }
    }

    /// Changes the connections that the request may use.
    #[must_use]
    pub fn on(self, connections: Connections) -> Self {
        Self { connections, ..self }
    }
}

/// Why a request could not be built. Every cause is our own fault.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    #[error("{0:?} is not the name of a header that could be sent in this spelling")]
    Name(&'static str),
    #[error("the value of header {0} cannot be sent")]
    Value(&'static str),
}

/// Builds hyper's request.
pub(super) fn build(
    request: &OutboundRequest,
    spellings: &Spellings,
) -> Result<Request<Full<Bytes>>, BuildError> {
    let target = &request.target;
    let mut built = Request::new(Full::new(request.body.clone()));
    *built.method_mut() = request.method.clone();
    *built.uri_mut() = target.path().clone();
    if request.headers.iter().any(|(name, _)| EXACT.contains(name)) {
        *built.extensions_mut() = spellings.extensions();
    }
    let map = built.headers_mut();
    map.insert(HOST, target.host().clone());
    // Some servers compress anyway; the response is then decompressed.
    map.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    map.insert(USER_AGENT, HeaderValue::from_static(wire::USER_AGENT));
    if let Some(authorization) = target.authorization() {
        map.insert(AUTHORIZATION, authorization.clone());
    }
    for (name, value) in &request.headers {
        let (key, value) = header(name, value)?;
        map.insert(key, value);
    }
    Ok(built)
}

fn header(name: &'static str, value: &str) -> Result<(HeaderName, HeaderValue), BuildError> {
    let key = HeaderName::from_bytes(name.as_bytes()).ok().filter(|_| is_kept(name));
    let key = key.ok_or(BuildError::Name(name))?;
    let value = HeaderValue::from_str(value).map_err(|_| BuildError::Value(name))?;
    Ok((key, value))
}
