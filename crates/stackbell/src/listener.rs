//! Connections: taken up to a limit, served, and ended in good order.

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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::write_limit::WriteLimited;

/// Connections at once. Each costs a descriptor and some tens of KiB; those beyond wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4096;

/// How long a connection may take to send a request's head, which is also how long it may be idle.
/// Longer than clients keep connections (Go: 90 s is theirs to end, most others 60 s or less would race with us).
const HEAD_TIME: Duration = Duration::from_secs(95);

/// Between two tries when the system has no descriptor or no memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    pub(crate) fn start(socket: TcpListener, router: Router) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let (soft, hard, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let accepting = Accepting {
            socket,
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
            let service = Requests { router: self.router.clone(), remote };
            let serving = serve(stream, service, graceful.watcher(), permit);
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

async fn serve(stream: TcpStream, service: Requests, watcher: Watcher, permit: OwnedSemaphorePermit) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(WriteLimited::new(stream)), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended early");
    }
    drop(permit);
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
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;

    async fn start(router: Router) -> Listener {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Listener::start(socket, router).expect("started")
    }

    #[tokio::test]
    async fn a_stop_lets_requests_end_and_closes_idle_connections() {
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (in_handler, may_leave) = (Arc::clone(&entered), Arc::clone(&leave));
        let router = Router::new().route(
            "/",
            get(|ConnectInfo(remote): ConnectInfo<SocketAddr>| async move {
                in_handler.notify_one();
                may_leave.notified().await;
                remote.ip().to_string()
            }),
        );
        let listener = start(router).await;
        let address = listener.address();
        let mut idle = TcpStream::connect(address).await.expect("connected");
        let mut busy = TcpStream::connect(address).await.expect("connected");
        busy.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        entered.notified().await;
        let soft = listener.soft.clone();
        let stop = listener.stop(Duration::from_secs(60));
        let client = async {
            soft.cancelled().await;
            leave.notify_one();
            let mut answer = String::new();
            busy.read_to_string(&mut answer).await.expect("an answer, then the end");
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"), "{answer}");
            let mut rest = Vec::new();
            idle.read_to_end(&mut rest).await.expect("the end");
        };
        tokio::join!(stop, client);
        TcpStream::connect(address).await.expect_err("nobody listens");
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_is_cut() {
        let entered = Arc::new(Notify::new());
        let in_handler = Arc::clone(&entered);
        let handler = get(|| async move {
            in_handler.notify_one();
            std::future::pending::<()>().await;
        });
        let listener = start(Router::new().route("/", handler)).await;
        let mut busy = TcpStream::connect(listener.address()).await.expect("connected");
        busy.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        entered.notified().await;
        listener.stop(Duration::ZERO).await;
        let mut rest = Vec::new();
        // The end, or a reset: either way nobody waits any more.
        let _ = busy.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    }
}
