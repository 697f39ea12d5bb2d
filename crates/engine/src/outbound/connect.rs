//! A connection that is ready for a request: dialed, and under TLS where the URL asks for it.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::Service;

use super::dial::Dialer;
use super::failure::find;
use super::policy::Refusals;
use super::resolve::ResolveError;

/// Why there is no connection. Nothing of the request has been sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The policy forbids each of the host's addresses.
    #[error("the outbound policy forbids the host's addresses")]
    Forbidden(#[source] Refusals),
    /// The host has no addresses.
    #[error("the host could not be resolved")]
    Unresolved(#[source] ResolveError),
    /// No address took the connection; this is what the last of them said.
    #[error("no connection could be made")]
    Unreachable(#[source] io::Error),
    /// The server's TLS is not to be trusted, or is none.
    #[error("TLS could not be set up")]
    Tls(#[source] rustls::Error),
    /// The connection ended while TLS was being set up.
    #[error("the connection ended while TLS was being set up")]
    Handshake(#[source] Box<dyn Error + Send + Sync>),
    /// Connected, and TLS was not set up in time.
    #[error("no connection was ready in time")]
    TimedOut,
}

/// Makes connections for hyper's pool.
///
/// It keeps time by itself: the pool may go on making a connection whose request has found another one.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<Dialer>,
    time: Duration,
}

impl Connector {
    /// A connector that takes `time` at most, TLS included.
    pub(super) fn new(dialer: Dialer, tls: Arc<ClientConfig>, time: Duration) -> Self {
        Self { https: HttpsConnector::from((dialer, tls)), time }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.https.poll_ready(context).map_err(connect_error)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.https.call(uri);
        let time = self.time;
        Box::pin(async move {
            let connected = timeout(time, connecting).await.map_err(|_| ConnectError::TimedOut)?;
            connected.map_err(connect_error)
        })
    }
}

fn connect_error(error: Box<dyn Error + Send + Sync>) -> ConnectError {
    match error.downcast::<ConnectError>() {
        Ok(error) => *error,
        Err(error) => match find::<rustls::Error>(error.as_ref()) {
            Some(tls) => ConnectError::Tls(tls.clone()),
            None => ConnectError::Handshake(error),
        },
    }
}
