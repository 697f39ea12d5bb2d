//! Receives webhooks, and rejects every request without a valid signature.
//!
//! ```sh
//! WEBHOOK_SECRET='a secret' webhook-receiver PORT [standard|pulumi]
//! ```
//!
//! Each event becomes a line of JSON on standard output.

mod ids;
mod signature;

use std::env;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use ids::Ids;
use signature::Verifier;

/// Stackbell sends at most 256 KiB, unless its `payload_bytes_max` is set higher.
const BODY_BYTES_MAX: usize = 1024 * 1024;

struct Receiver {
    verifier: Verifier,
    ids: Mutex<Ids>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (port, scheme) = match &*arguments {
        [port] => (port, "standard"),
        [port, scheme] => (port, scheme.as_str()),
        _ => bail!("usage: webhook-receiver PORT [standard|pulumi]"),
    };
    let port: u16 = port.parse().with_context(|| format!("{port} is no port"))?;
    let secret = env::var("WEBHOOK_SECRET").context("WEBHOOK_SECRET is not set")?;
    let receiver = Receiver { verifier: Verifier::new(scheme, &secret)?, ids: Mutex::default() };
    let app = Router::new()
        .route("/", post(receive))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::new(receiver));
    // The address is on loopback. To be reachable from outside, put a proxy with TLS in front of it.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.context("cannot listen")?;
    eprintln!("listening on http://{}/", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

/// The signature covers the received bytes, so the body is kept as it is. JSON that was parsed and serialized
/// again may differ.
async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, (StatusCode, String)> {
    let id = receiver
        .verifier
        .verify(&headers, &body)
        .map_err(|refusal| (StatusCode::UNAUTHORIZED, refusal.to_string()))?;
    // The body is parsed only after the signature was verified.
    let payload = serde_json::from_slice(&body)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}")))?;
    // A duplicate gets the response of the first request, or it would be sent again.
    if receiver.ids.lock().expect("nothing panics while it holds this").add(id) {
        println!("{}", summary(&headers, &payload));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// One line of JSON, so that a payload cannot start a line of its own.
fn summary(headers: &HeaderMap, payload: &Value) -> Value {
    let text = |field: &str| payload[field].as_str();
    let of = text("stackName").or_else(|| text("environmentName"));
    let name = text("projectName").zip(of).map(|(project, of)| format!("{project}/{of}"));
    let result = ["result", "status", "action", "level"].into_iter().find_map(text);
    // The signature does not cover the kind header, so decide by the body.
    let kind = headers.get("Pulumi-Webhook-Kind").and_then(|kind| kind.to_str().ok());
    json!({"kind": kind, "name": name, "result": result})
}
