//! From a name to a connection: resolve, judge, connect. The one place where sockets to endpoints are opened.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};
use tower::Service;

use super::connect::ConnectError;
use super::policy::Rules;
use super::resolve::{Resolve, ResolveError, normal_host};

/// The most addresses of a name that are tried. All of them are judged.
const ADDRESSES_TRIED_MAX: usize = 8;

/// What the system keeps of an answer that nobody has read yet, about twice: as much as is kept of one. Left to itself
/// it takes some megabytes for each connection, from any endpoint that sends them.
const RECEIVE_BUFFER_BYTES: u32 = 64 * 1024;

/// Opens TCP connections to the hosts of URIs, as far as its rules allow.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) rules: Arc<Rules>,
    pub(super) resolver: Arc<dyn Resolve>,
    /// For resolving and connecting together.
    pub(super) time: Duration,
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move { dialer.dial(&uri).await.map(TokioIo::new) })
    }
}

impl Dialer {
    async fn dial(&self, uri: &Uri) -> Result<TcpStream, ConnectError> {
        let deadline = Instant::now() + self.time;
        let host = normal_host(uri.host().unwrap_or_default());
        let port = port(uri);
        let addresses = match literal(&host) {
            Some(address) => vec![SocketAddr::new(address, port)],
            None => self.resolve(&host, port, deadline).await?,
        };
        for address in &addresses {
            self.rules.judge(*address).map_err(|refusal| {
                tracing::debug!(endpoint.host = host, endpoint.address = %address, %refusal, "address refused");
                ConnectError::Forbidden(refusal)
            })?;
        }
        let tried = &addresses[..addresses.len().min(ADDRESSES_TRIED_MAX)];
        connect(tried, deadline).await.map_err(ConnectError::Unreachable)
    }

    async fn resolve(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, ConnectError> {
        let resolved = timeout_at(deadline, self.resolver.resolve(host, port)).await;
        match resolved.unwrap_or(Err(ResolveError::TimedOut)) {
            Ok(addresses) if addresses.is_empty() => Err(ConnectError::Unresolved(ResolveError::NoAddress)),
            Ok(addresses) => Ok(addresses),
            Err(error) => Err(ConnectError::Unresolved(error)),
        }
    }
}

/// Tries the addresses in turn. Each gets an even share of the time that is left, so that a dead one costs
/// its share alone.
async fn connect(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut last_error = io::Error::from(io::ErrorKind::TimedOut);
    for (index, address) in addresses.iter().enumerate() {
        let addresses_left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / addresses_left;
        match timeout(share, connect_to(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last_error = error,
            Err(_) => last_error = io::Error::from(io::ErrorKind::TimedOut),
        }
    }
    Err(last_error)
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    // A request is written in one piece or two: waiting for more to send would only delay it.
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

/// The address that a host in its normal spelling is; `None` when it is a name.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host).parse().ok()
}

pub(super) fn port(uri: &Uri) -> u16 {
    let default = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    uri.port_u16().unwrap_or(default)
}
