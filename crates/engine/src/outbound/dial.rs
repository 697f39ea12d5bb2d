//! From a name to a TCP connection: resolve, judge, connect. This is the only place that opens sockets to endpoints.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

use super::connect::ConnectError;
use super::policy::Rules;
use super::race::race;
use super::reachability::Reachability;
use super::resolve::{Resolve, ResolveError, Resolved, dialled_host};

/// The kernel's receive buffer for unread bytes of a response. It is about as large as the part of a response that is kept. By
/// default the kernel buffers some megabytes for each connection, for any endpoint that sends them.
const RECEIVE_BUFFER_BYTES: u32 = 64 * 1024;

/// Opens TCP connections to hosts that its rules allow.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) rules: Arc<Rules>,
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) reachability: Arc<Reachability>,
    /// The time limit for resolving and connecting together.
    pub(super) time: Duration,
}

impl Dialer {
    /// Connects to a host: an IP address, or a name, which is resolved first.
    pub(super) async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let deadline = Instant::now() + self.time;
        let host = dialled_host(host);
        let resolved = match literal(&host) {
            Some(address) => vec![SocketAddr::new(address, port)].into(),
            None => self.resolve(&host, port, deadline).await?,
        };
        let judge = |address| {
            self.rules.judge(address).inspect_err(|refusal| {
                tracing::debug!(endpoint.host = host, endpoint.address = %address, %refusal, "address refused");
            })
        };
        let raced = race(resolved, judge, connect_to, &self.reachability, deadline).await;
        if let Err(ConnectError::Forbidden(refusals)) = &raced
            && refusals.unanswered.is_some()
        {
            self.resolver.half_is_forbidden(&host);
        }
        raced
    }

    async fn resolve(&self, host: &str, port: u16, deadline: Instant) -> Result<Resolved, ConnectError> {
        let resolved = timeout_at(deadline, self.resolver.resolve(host, port)).await;
        resolved.unwrap_or(Err(ResolveError::TimedOut)).map_err(ConnectError::Unresolved)
    }
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    // A request is written in one or two pieces, so waiting for more data would only delay it.
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

/// The IP address in a normalized host; `None` if the host is a name.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host).parse().ok()
}
