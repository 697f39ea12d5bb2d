//! A receiver for `dev` and `listen`: it checks signatures and prints deliveries.
//!
//! - [`receipt`]: a received delivery and the verdict on its signatures
//! - [`show`]: its output

mod receipt;
mod show;

use std::future::IntoFuture as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use stackbell_model::Clock as _;
use stackbell_system::{SystemClock, local_url};
use stackbell_wire::signature::SigningKey;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use receipt::{Receipt, Signatures};
pub use show::Style;
pub(crate) use show::pretty;

/// The most bytes of a delivery: more than a payload may have.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The longest wait for requests in progress at a stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The behaviour of a receiver.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// The key that signatures are checked with; `None` to check none.
    pub key: Option<SigningKey>,
    /// The status of the response to a delivery with right signatures.
    pub status: StatusCode,
    /// The delay before the response.
    pub delay: Duration,
    /// The format of its output.
    pub style: Style,
}

/// A running receiver.
pub struct Receiver {
    url: String,
    printed: watch::Receiver<u64>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct Inbox {
    behaviour: Behaviour,
    received: AtomicU64,
    /// Held while a delivery is printed, so that the lines of two deliveries do not mix.
    printing: Mutex<()>,
    printed: watch::Sender<u64>,
}

impl Receiver {
    /// Starts a receiver on this address; with port 0 the system chooses the port.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn start(address: SocketAddr, behaviour: Behaviour) -> io::Result<Self> {
        let (sender, printed) = watch::channel(0);
        let inbox =
            Inbox { behaviour, received: AtomicU64::new(0), printing: Mutex::new(()), printed: sender };
        // The owner of the webhook chooses the path, so every path is accepted.
        let router = Router::new()
            .fallback(receive)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(Arc::new(inbox));
        let listener = TcpListener::bind(address).await?;
        let url = local_url(listener.local_addr()?, false).to_string();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let serving = axum::serve(listener, router)
            .with_graceful_shutdown(stop.clone().cancelled_owned())
            .into_future();
        tasks.spawn(serving);
        tasks.close();
        Ok(Self { url, printed, stop, tasks })
    }

    /// The URL under which this machine reaches it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns once `count` deliveries have been received and printed.
    pub async fn received(&self, count: u64) {
        // An error would mean that the sender was dropped, but it lives as long as the router.
        let _ = self.printed.clone().wait_for(|printed| *printed >= count).await;
    }

    /// Accepts no more connections, and gives requests in progress a second to end.
    pub async fn stop(self) {
        self.stop.cancel();
        if tokio::time::timeout(STOP_TIMEOUT, self.tasks.wait()).await.is_err() {
            tracing::warn!("requests were cut, as they did not end in time");
        }
    }
}

async fn receive(
    State(inbox): State<Arc<Inbox>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let behaviour = &inbox.behaviour;
    let at = SystemClock.now();
    let signatures = Signatures::check(behaviour.key.as_ref(), &headers, &body, at);
    let status = if signatures.are_wrong() { StatusCode::UNAUTHORIZED } else { behaviour.status };
    let number = inbox.received.fetch_add(1, Ordering::Relaxed) + 1;
    let receipt = Receipt { number, at, method, path: uri.to_string(), headers, body, signatures, status };
    let text = behaviour.style.show(&receipt);
    let printing = inbox.printing.lock().await;
    // Printing blocks while a terminal is stopped (Ctrl-S), and must not block the server.
    let printed = tokio::task::spawn_blocking(move || io::stdout().lock().write_all(text.as_bytes())).await;
    drop(printing);
    if !matches!(printed, Ok(Ok(()))) {
        tracing::warn!("a delivery was received and cannot be printed");
    }
    tokio::time::sleep(behaviour.delay).await;
    inbox.printed.send_modify(|count| *count += 1);
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use stackbell_model::secret::WebhookSecret;

    #[tokio::test]
    async fn wrong_signatures_are_refused() {
        let secret = WebhookSecret::new("a secret").expect("short enough");
        let key = SigningKey::new(&secret);
        let body = Bytes::from_static(b"{}");
        let inbox = |key: Option<SigningKey>| {
            let behaviour =
                Behaviour { key, status: StatusCode::IM_A_TEAPOT, delay: Duration::ZERO, style: Style::Line };
            Arc::new(Inbox {
                behaviour,
                received: AtomicU64::new(0),
                printing: Mutex::new(()),
                printed: watch::Sender::new(0),
            })
        };
        let send = async |inbox: &Arc<Inbox>, signature: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("pulumi-webhook-signature", signature.parse().expect("a header"));
            receive(State(Arc::clone(inbox)), Method::POST, Uri::from_static("/x"), headers, body.clone())
                .await
        };
        let strict = inbox(Some(key.clone()));
        assert_eq!(send(&strict, &key.sign_pulumi(&body)).await, StatusCode::IM_A_TEAPOT);
        assert_eq!(send(&strict, "00").await, StatusCode::UNAUTHORIZED);
        assert_eq!(*strict.printed.borrow(), 2);
        assert_eq!(send(&inbox(None), "00").await, StatusCode::IM_A_TEAPOT);
    }
}
