//! A receiver as anybody could write one: it checks the signature, and prints a line for each delivery.

use std::io::{self, Write as _};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use stackbell_model::secret::WebhookSecret;
use stackbell_wire::signature::SigningKey;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::listener::Listener;

/// The most bytes of a delivery: more than a payload may have.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// For requests under way when everything stops.
const STOP_TIME: Duration = Duration::from_secs(1);

pub(super) struct Receiver {
    listener: Listener,
    url: String,
    count: watch::Receiver<u64>,
}

#[derive(Clone)]
struct Inbox {
    key: SigningKey,
    count: watch::Sender<u64>,
}

impl Receiver {
    /// Starts one on a free port of this machine.
    pub(super) async fn start(secret: &WebhookSecret) -> io::Result<Self> {
        let (sender, count) = watch::channel(0);
        let inbox = Inbox { key: SigningKey::new(secret), count: sender };
        let router = Router::new()
            .route("/", post(receive))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(inbox);
        let listener = Listener::start(TcpListener::bind("127.0.0.1:0").await?, router)?;
        let url = format!("http://{}/", listener.address());
        Ok(Self { listener, url, count })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Returns once a delivery was received.
    pub(super) async fn first_delivery(&self) {
        // The sender lives as long as the listener does.
        let _ = self.count.clone().wait_for(|count| *count > 0).await;
    }

    pub(super) async fn stop(self) {
        self.listener.stop(STOP_TIME).await;
    }
}

async fn receive(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
    // Source of the names: wire-facts.md#outgoing-request.
    let is_signed = header("Pulumi-Webhook-Signature") == inbox.key.sign_pulumi(&body);
    let line = line(header("Pulumi-Webhook-Kind"), header("Pulumi-Webhook-Id"), is_signed, body.len());
    // A terminal that is held (Ctrl-S) must not hold the server.
    let printed = tokio::task::spawn_blocking(move || writeln!(io::stdout(), "{line}")).await;
    if !matches!(printed, Ok(Ok(()))) {
        tracing::warn!("a delivery was received and cannot be printed");
    }
    inbox.count.send_modify(|count| *count += 1);
    if is_signed { StatusCode::NO_CONTENT } else { StatusCode::UNAUTHORIZED }
}

fn line(kind: &str, id: &str, is_signed: bool, length: usize) -> String {
    let signature = if is_signed { "signature verified" } else { "SIGNATURE WRONG" };
    format!("received  {kind}  {id}  {signature}  {length} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn signatures_are_checked() {
        let secret = WebhookSecret::new("a secret").expect("short enough");
        let inbox = Inbox { key: SigningKey::new(&secret), count: watch::Sender::new(0) };
        let body = Bytes::from_static(b"{}");
        let check = async |signature: &str, expected: StatusCode, count: u64| {
            let mut headers = HeaderMap::new();
            headers.insert("pulumi-webhook-signature", signature.parse().expect("a header"));
            assert_eq!(receive(State(inbox.clone()), headers, body.clone()).await, expected);
            assert_eq!(*inbox.count.borrow(), count);
        };
        check(&inbox.key.sign_pulumi(&body), StatusCode::NO_CONTENT, 1).await;
        check("00", StatusCode::UNAUTHORIZED, 2).await;
    }
}
