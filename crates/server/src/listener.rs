//! The listener: it accepts connections within the [limit](crate::connection_slots), serves them with or without TLS, and closes
//! them gracefully.

use stackbell_model::Chain;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ConnectInfo;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use stackbell_http::LogLimit;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::connection_slots::{Admission, ConnectionSlot, ConnectionSlots, Doing, Phase};
use crate::lingering_close::LingeringClose;
use crate::tls::Certificates;
use crate::write_timeout::WriteTimeout;

/// The longest idle time of a connection. It is longer than clients keep connections (Go: 90 s, most others at most 60 s),
/// so that the client closes first and no request races with our close.
const IDLE_TIME: Duration = Duration::from_secs(95);

/// The pause between two tries while the system has no file descriptor or no memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most log lines a second for each kind of line about connections. Any client can cause them.
const LOGGED_MAX: u32 = 2;

/// The encryption of connections.
#[derive(Clone)]
pub(crate) enum Protection {
    /// No encryption: clients are on this machine, or a proxy is in front.
    Plain,
    /// TLS, with the current certificate.
    Tls(Arc<Certificates>),
}

/// A running listener.
pub(crate) struct Listener {
    address: SocketAddr,
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
}

impl Listener {
    /// Serves `router` on `socket`, with at most one connection for each of the `slots`, until it is stopped.
    ///
    /// # Errors
    /// If the socket does not know its address.
    pub(crate) fn start(
        socket: TcpListener,
        protection: Protection,
        router: Router,
        slots: Arc<ConnectionSlots>,
    ) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let (soft, hard, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let accepting = Accepting {
            socket,
            protection,
            router,
            slots,
            log: Arc::default(),
            soft: soft.clone(),
            hard: hard.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(accepting.run());
        tasks.close();
        Ok(Self { address, soft, hard, tasks })
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns once the listener has ended. Without a stop only a defect ends it.
    pub(crate) async fn ended(&self) {
        self.tasks.wait().await;
    }

    /// Accepts no more connections, and gives requests in progress `limit` to end before they are cut.
    pub(crate) async fn stop(self, limit: Duration) {
        self.soft.cancel();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::warn!("requests were cut, as they did not end in time");
            self.hard.cancel();
            self.tasks.wait().await;
        }
    }
}

struct Accepting {
    socket: TcpListener,
    protection: Protection,
    router: Router,
    slots: Arc<ConnectionSlots>,
    log: Arc<ConnectionLog>,
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
}

impl Accepting {
    async fn run(self) {
        while let Some((stream, remote)) = self.soft.run_until_cancelled(self.accept()).await {
            // Responses are small and written at once, so waiting to fill a packet would only delay them.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection was lost before it was served");
                continue;
            }
            let Some(admission) =
                self.soft.run_until_cancelled(self.slots.take(remote.ip(), &self.soft)).await
            else {
                break;
            };
            let slot = match admission {
                Admission::Taken(slot, was_given_up) => {
                    if was_given_up {
                        self.log.displaced(remote);
                    }
                    slot
                }
                Admission::ShareUsed => {
                    self.log.refused(remote);
                    continue;
                }
            };
            let connection = Connection {
                stream: WriteTimeout::new(LingeringClose::new(stream)),
                router: self.router.clone(),
                remote,
                slot,
                stop: self.soft.clone(),
                log: Arc::clone(&self.log),
            };
            // Each connection has its own task, so a slow client delays no other.
            let serving = connection.serve(self.protection.clone());
            let hard = self.hard.clone();
            self.tasks.spawn(async move { hard.run_until_cancelled(serving).await });
        }
    }

    async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok(accepted) => return accepted,
                // The client left before its connection was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // A waiting connection is closed to free its file descriptor.
                    let gave_way = self.slots.give_up_one();
                    self.log.not_taken(&error, gave_way);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// An accepted connection.
struct Connection<S> {
    /// The stream below TLS, where the write timeout sees whether the client reads.
    stream: S,
    router: Router,
    remote: SocketAddr,
    slot: ConnectionSlot,
    /// Cancelled when the listener stops.
    stop: CancellationToken,
    log: Arc<ConnectionLog>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection<S> {
    async fn serve(self, protection: Protection) {
        let Self { stream, router, remote, slot, stop, log } = self;
        let serving =
            Serving { service: Requests { router, remote, phase: Arc::clone(&slot.phase) }, stop, log };
        match protection {
            Protection::Plain => serving.run(stream, &slot).await,
            Protection::Tls(certificates) => {
                let accepting = TlsAcceptor::from(certificates.config()).accept(stream);
                let accepted = tokio::select! {
                    accepted = accepting => accepted,
                    // A connection without a request is closed at once.
                    () = slot.leave.cancelled() => return,
                    () = slot.phase.overdue() => return serving.silent(&slot),
                };
                match accepted {
                    Ok(stream) => serving.run(stream, &slot).await,
                    Err(error) => serving.log.no_handshake(&error),
                }
            }
        }
    }
}

/// Serves the requests of a connection.
struct Serving {
    service: Requests,
    stop: CancellationToken,
    log: Arc<ConnectionLog>,
}

impl Serving {
    fn silent(&self, slot: &ConnectionSlot) {
        slot.slots.count_silent();
        self.log.silent(self.service.remote);
    }

    async fn run(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, slot: &ConnectionSlot) {
        let Self { service, stop, log } = self;
        let (remote, phase) = (service.remote, &slot.phase);
        let stream = Watched { stream, phase: Arc::clone(phase) };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_TIME)
            .serve_connection(TokioIo::new(stream), service);
        let (mut connection, mut is_leaving) = (pin!(connection), false);
        let ended = loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => break ended,
                () = slot.leave.cancelled(), if !is_leaving => {
                    let has_no_head = matches!(phase.doing(), Doing::Head(_));
                    if has_no_head && !stop.is_cancelled() {
                        return;
                    }
                    // The request in progress still gets its response; no further request is read.
                    connection.as_mut().graceful_shutdown();
                    is_leaving = true;
                }
                () = phase.overdue() => {
                    slot.slots.count_silent();
                    return log.silent(remote);
                }
            }
        };
        if let Err(error) = ended {
            log.ended_early(&error);
        }
    }
}

/// A stream that notes incoming bytes.
struct Watched<S> {
    stream: S,
    phase: Arc<Phase>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.phase.read();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Passes requests to the router, with the client's address.
struct Requests {
    router: Router,
    remote: SocketAddr,
    phase: Arc<Phase>,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.phase.begin_request();
        request.extensions_mut().insert(ConnectInfo(self.remote));
        let phase = Arc::clone(&self.phase);
        // An axum router is always ready.
        let answering = self.router.clone().call(request);
        Box::pin(async move { Ok(answering.await?.map(|body| Answer { body, phase })) })
    }
}

/// The body of a response. Dropping it marks the connection as idle.
struct Answer {
    body: axum::body::Body,
    phase: Arc<Phase>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.phase.end_request();
    }
}

/// Log lines about connections. Any client can cause them, so each kind has its own limit.
#[derive(Debug)]
struct ConnectionLog {
    not_taken: LogLimit,
    displaced: LogLimit,
    refused: LogLimit,
    silent: LogLimit,
    no_handshake: LogLimit,
    ended_early: LogLimit,
}

impl Default for ConnectionLog {
    fn default() -> Self {
        let limit = || LogLimit::new(LOGGED_MAX);
        Self {
            not_taken: limit(),
            displaced: limit(),
            refused: limit(),
            silent: limit(),
            no_handshake: limit(),
            ended_early: limit(),
        }
    }
}

impl ConnectionLog {
    fn not_taken(&self, error: &io::Error, gave_way: bool) {
        if let Some(left_out) = self.not_taken.next_line() {
            tracing::error!(%error, gave_way, left_out, "no connection can be taken; trying again");
        }
    }

    fn displaced(&self, remote: SocketAddr) {
        if let Some(left_out) = self.displaced.next_line() {
            tracing::warn!(
                client.address = %remote.ip(),
                left_out,
                "a waiting connection was closed for a new one: all slots, or all slots of its address, are in use"
            );
        }
    }

    fn refused(&self, remote: SocketAddr) {
        if let Some(left_out) = self.refused.next_line() {
            tracing::warn!(
                client.address = %remote.ip(),
                left_out,
                "a connection was refused: its address has half of all slots, and each of them has a request"
            );
        }
    }

    fn silent(&self, remote: SocketAddr) {
        if let Some(left_out) = self.silent.next_line() {
            tracing::debug!(client.address = %remote.ip(), left_out, "a connection sent no whole head in time");
        }
    }

    fn no_handshake(&self, error: &io::Error) {
        if let Some(left_out) = self.no_handshake.next_line() {
            tracing::debug!(%error, left_out, "a TLS handshake failed");
        }
    }

    fn ended_early(&self, error: &hyper::Error) {
        if let Some(left_out) = self.ended_early.next_line() {
            tracing::debug!(error = %Chain(error), left_out, "a connection ended early");
        }
    }
}

#[cfg(test)]
mod tests;
