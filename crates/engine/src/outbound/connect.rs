//! A connection that is ready for requests: dialed, with TLS if the URL asks for it, and handed to hyper.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use stackbell_system::find_cause;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::dial::Dialer;
use super::policy::Refusals;
use super::pool::Link;
use super::resolve::ResolveError;
use super::stream::{AnswerStream, Exchanging};
use super::target::Origin;
use super::tls::{Greeting, TlsRequests};

/// The most bytes that hyper reads at once, not counting heads.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Why there is no connection. No byte of the request was sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The policy forbids each of the host's addresses.
    #[error("the outbound policy forbids the host's addresses")]
    Forbidden(#[source] Refusals),
    /// The host has no addresses.
    #[error("the host could not be resolved")]
    Unresolved(#[source] ResolveError),
    /// No address accepted the connection. The source is the error of the last address.
    #[error("no connection could be made")]
    Unreachable(#[source] io::Error),
    /// The host is not a name for which certificates exist.
    #[error("the host name is not valid in a TLS certificate")]
    NoName,
    /// TLS failed: the server's certificate is not trusted, or the server does not speak TLS.
    #[error("TLS could not be set up")]
    Tls(#[source] TlsError),
    /// The connection was made, but TLS was not set up in time.
    #[error("no connection was ready in time")]
    TimedOut,
    /// hyper rejected the connection.
    #[error("the connection could not be used")]
    Unusable(#[source] hyper::Error),
}

/// Why the TLS handshake failed.
#[derive(Debug, thiserror::Error)]
#[error("the handshake failed")]
pub(super) struct TlsError {
    #[source]
    pub(super) source: io::Error,
    /// Whether the server asked for a client certificate.
    pub(super) asked_for_certificate: bool,
    /// Whether the server responded in plain HTTP.
    pub(super) is_http: bool,
}

/// Makes connections.
pub(super) struct Connector {
    pub(super) dialer: Dialer,
    pub(super) tls: Arc<ClientConfig>,
    /// The time limit for a connection, including TLS.
    pub(super) time: Duration,
}

impl Connector {
    /// Connects, and spawns hyper's connection task on `tasks`.
    pub(super) async fn connect(&self, origin: &Origin, tasks: &TaskTracker) -> Result<Link, ConnectError> {
        let deadline = Instant::now() + self.time;
        let dialed = timeout_at(deadline, self.dialer.dial(&origin.host, origin.port)).await;
        let stream = dialed.map_err(|_| ConnectError::Unreachable(io::ErrorKind::TimedOut.into()))??;
        if !origin.is_tls {
            return link(stream, TlsRequests::default(), tasks).await;
        }
        let name = origin.host.trim_matches(['[', ']', '.']).to_owned();
        let name = ServerName::try_from(name).map_err(|_| ConnectError::NoName)?;
        let requests = TlsRequests::default();
        let connector = TlsConnector::from(Arc::new(requests.watching(&self.tls)));
        let greeting = Greeting::default();
        let handshake = connector.connect(name, greeting.observe(stream));
        match timeout_at(deadline, handshake).await {
            Ok(Ok(stream)) => link(stream, requests, tasks).await,
            Ok(Err(source)) => Err(ConnectError::Tls(TlsError {
                source,
                asked_for_certificate: requests.were_made(),
                is_http: greeting.is_http(),
            })),
            Err(_) => Err(ConnectError::TimedOut),
        }
    }
}

async fn link<S>(stream: S, tls_requests: TlsRequests, tasks: &TaskTracker) -> Result<Link, ConnectError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let exchanging = Arc::new(Exchanging::default());
    let stream = TokioIo::new(AnswerStream::new(stream, Arc::clone(&exchanging)));
    let mut builder = http1::Builder::new();
    builder.max_buf_size(READ_BYTES_MAX).title_case_headers(true);
    let (sender, connection) = builder.handshake(stream).await.map_err(ConnectError::Unusable)?;
    let driver = tasks.spawn(async move {
        // The sender on this connection gets the error too.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended");
        }
    });
    Ok(Link::new(sender, exchanging, tls_requests, AbortOnDropHandle::new(driver)))
}

impl TlsError {
    /// The error of rustls, if rustls caused the failure.
    pub(super) fn tls(&self) -> Option<&rustls::Error> {
        find_cause::<rustls::Error>(&self.source)
    }
}
