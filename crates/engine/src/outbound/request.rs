//! A request as callers give it, and as hyper takes it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use stackbell_model::names::OrganizationName;
use stackbell_wire::headers as wire;

use super::spelling::{EXACT, Spellings, is_kept};
use super::target::Target;

/// Which connections a request may go out on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// One that has served others, where there is one: cheap. If it turns out to be closed before any byte of an
    /// answer, the request is written once more, on a new one.
    Any,
    /// A new one alone, so that the request is written once at the most, and never to a connection that may be closed.
    New,
}

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
    /// `Host`, `Content-Length`, `Accept-Encoding`, `User-Agent` and the `Authorization` of the target are added. The
    /// last three give way to headers given here.
    pub headers: Vec<(&'static str, String)>,
    /// Its bytes.
    pub body: Bytes,
    /// Which connections it may go out on.
    pub connections: Connections,
}

impl OutboundRequest {
    /// A `POST`, on any connection.
    pub fn post(
        organization: OrganizationName,
        target: Arc<Target>,
        headers: Vec<(&'static str, String)>,
        body: Bytes,
    ) -> Self {
        Self { organization, method: Method::POST, target, headers, body, connections: Connections::Any }
    }

    /// A `GET`, which has no bytes, on any connection.
    pub fn get(
        organization: OrganizationName,
        target: Arc<Target>,
        headers: Vec<(&'static str, String)>,
    ) -> Self {
        let body = Bytes::new();
        Self { organization, method: Method::GET, target, headers, body, connections: Connections::Any }
    }

    /// The same on such connections.
    #[must_use]
    pub fn on(self, connections: Connections) -> Self {
        Self { connections, ..self }
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
    // Some servers compress what they were not asked to: that is undone.
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
