//! A connection that is ready for requests: dialed, under TLS where the URL asks for it, and handed to hyper.

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

/// The most that hyper reads at once, heads apart.
const READ_BYTES_MAX: usize = 64 * 1024;

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
    /// No certificate can be for this host.
    #[error("no certificate can be for this host")]
    NoName,
    /// The server's TLS is not to be trusted, or is none.
    #[error("TLS could not be set up")]
    Tls(#[source] TlsError),
    /// Connected, and TLS was not set up in time.
    #[error("no connection was ready in time")]
    TimedOut,
    /// hyper did not take the connection.
    #[error("the connection could not be used")]
    Unusable(#[source] hyper::Error),
}

/// Why TLS was not set up.
#[derive(Debug, thiserror::Error)]
#[error("the handshake failed")]
pub(super) struct TlsError {
    #[source]
    pub(super) source: io::Error,
    /// Whether the server asked for a client's certificate.
    pub(super) asked_for_certificate: bool,
    /// Whether it answered in plain HTTP.
    pub(super) is_http: bool,
}

/// Makes connections.
pub(super) struct Connector {
    pub(super) dialer: Dialer,
    pub(super) tls: Arc<ClientConfig>,
    /// For a connection, TLS included.
    pub(super) time: Duration,
}

impl Connector {
    /// Connects, and lets hyper's half run as one of `tasks`.
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
        // Whoever sends on it is told.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended");
        }
    });
    Ok(Link::new(sender, exchanging, tls_requests, AbortOnDropHandle::new(driver)))
}

impl TlsError {
    /// What rustls says, where it is the one who says something.
    pub(super) fn tls(&self) -> Option<&rustls::Error> {
        find_cause::<rustls::Error>(&self.source)
    }
}
