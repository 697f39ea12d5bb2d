//! Connections: taken up to a limit, served, with TLS or without, and ended in good order.

use stackbell_model::Chain;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::lingering::Lingering;
use crate::tls::Certificates;
use crate::write_limit::WriteLimited;

/// Connections at once. Each costs a descriptor and some tens of KiB; those beyond wait in the kernel's queue.
pub(crate) const CONNECTIONS_MAX: usize = 4096;

/// How long a connection may take to send a request's head, which is also how long it may be idle.
/// Longer than clients keep connections (Go: 90 s is theirs to end, most others 60 s or less would race with us).
const HEAD_TIME: Duration = Duration::from_secs(95);

/// Between two tries when the system has no descriptor or no memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a TLS handshake may take: a few round trips, with time for one packet that is lost twice.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// How the bytes of a connection are protected.
#[derive(Clone)]
pub(crate) enum Protection {
    /// Not at all: the other end is on this machine, or a proxy, or does not mind.
    Plain,
    /// By TLS, with the certificate of the moment.
    Tls(Arc<Certificates>),
}

/// A listener that serves.
pub(crate) struct Listener {
    address: SocketAddr,
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
}

impl Listener {
    /// Serves `router` on `socket`, until it is stopped.
    ///
    /// # Errors
    /// When the socket does not know its address.
    pub(crate) fn start(socket: TcpListener, protection: Protection, router: Router) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let (soft, hard, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let accepting = Accepting {
            socket,
            protection,
            router,
            permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            hard: hard.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(accepting.run(soft.clone()));
        tasks.close();
        Ok(Self { address, soft, hard, tasks })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends once nothing is served any more, which happens by itself only through a defect.
    pub(crate) async fn ended(&self) {
        self.tasks.wait().await;
    }

    /// Takes no more connections, lets requests under way end within `limit`, then cuts them.
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
    permits: Arc<Semaphore>,
    hard: CancellationToken,
    tasks: TaskTracker,
}

impl Accepting {
    async fn run(self, soft: CancellationToken) {
        let graceful = GracefulShutdown::new();
        while let Some((stream, remote, permit)) = soft.run_until_cancelled(self.accept()).await {
            // Answers are small and written at once; waiting to fill a packet would only delay them.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection was lost before it was served");
                continue;
            }
            let connection = Connection {
                stream: WriteLimited::new(Lingering::new(stream)),
                service: Requests { router: self.router.clone(), remote },
                watcher: graceful.watcher(),
                _permit: permit,
            };
            // What waits for the other end is done in the connection's own task, so that nobody else waits for it.
            let serving = connection.serve(self.protection.clone(), soft.clone());
            let hard = self.hard.clone();
            self.tasks.spawn(async move { hard.run_until_cancelled(serving).await });
        }
        drop(self.socket);
        let hard = self.hard.clone();
        hard.run_until_cancelled(graceful.shutdown()).await;
    }

    async fn accept(&self) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("it is never closed");
        loop {
            match self.socket.accept().await {
                Ok((stream, remote)) => return (stream, remote, permit),
                // The client left between connecting and being taken.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::error!(%error, "no connection can be taken; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// A connection that was taken.
struct Connection<S> {
    /// Limited below TLS, where it shows whether the other end reads.
    stream: S,
    service: Requests,
    watcher: Watcher,
    _permit: OwnedSemaphorePermit,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection<S> {
    async fn serve(self, protection: Protection, soft: CancellationToken) {
        let Self { stream, service, watcher, _permit } = self;
        match protection {
            Protection::Plain => serve(stream, service, watcher).await,
            Protection::Tls(certificates) => {
                let accepting = TlsAcceptor::from(certificates.config()).accept(stream);
                // Who has asked for nothing yet is not waited for when we stop.
                match soft.run_until_cancelled(tokio::time::timeout(HANDSHAKE_TIME, accepting)).await {
                    Some(Ok(Ok(stream))) => serve(stream, service, watcher).await,
                    Some(Ok(Err(error))) => tracing::debug!(%error, "a TLS handshake failed"),
                    Some(Err(_)) => tracing::debug!("a TLS handshake took too long"),
                    None => {}
                }
            }
        }
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: Requests,
    watcher: Watcher,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(error = %Chain(&error), "a connection ended early");
    }
}

/// Hands requests to the router, with the address that they came from.
struct Requests {
    router: Router,
    remote: SocketAddr,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(ConnectInfo(self.remote));
        // A router is always ready.
        Box::pin(self.router.clone().call(request))
    }
}

#[cfg(test)]
mod tests;
