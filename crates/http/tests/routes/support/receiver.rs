use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// An endpoint on loopback that gives every request the same response, and passes the requests on to the test.
pub(crate) struct Receiver {
    address: SocketAddr,
    received: mpsc::UnboundedReceiver<Received>,
    status: Arc<Mutex<StatusCode>>,
    // Its drop ends the server.
    _task: JoinSet<()>,
}

/// A received request.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Receiver {
    pub(crate) async fn answering(status: StatusCode) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (sender, received) = mpsc::unbounded_channel();
        let status = Arc::new(Mutex::new(status));
        let answer = Arc::clone(&status);
        let take = move |request: Request| {
            let sender = sender.clone();
            let status = *answer.lock().expect("nobody panics with it");
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.expect("a whole body");
                // The test may have ended.
                let _ = sender.send(Received { headers: parts.headers, body });
                status
            }
        };
        let mut task = JoinSet::new();
        task.spawn(async move {
            axum::serve(listener, Router::new().fallback(take)).await.expect("it never ends");
        });
        Self { address, received, status, _task: task }
    }

    /// Sets the response from now on.
    pub(crate) fn answer(&self, status: StatusCode) {
        *self.status.lock().expect("nobody panics with it") = status;
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/secret", self.address)
    }

    /// The next request, once it has arrived.
    pub(crate) async fn next(&mut self) -> Received {
        self.received.recv().await.expect("the server runs")
    }
}
