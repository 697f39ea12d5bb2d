//! A minimal HTTP/1.1 client: one connection, one request after another.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) content_type: String,
    pub(crate) token: Option<String>,
    /// The body of a POST; `None` makes a GET.
    pub(crate) body: Option<String>,
    /// The expected status. Any other status is an error.
    pub(crate) expected: u16,
}

impl Request {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { path: path.into(), content_type: json(), token: None, body: None, expected: 200 }
    }

    pub(crate) fn post(path: impl Into<String>, body: impl Into<String>, expected: u16) -> Self {
        Self { body: Some(body.into()), expected, ..Self::get(path) }
    }
}

fn json() -> String {
    "application/json".to_owned()
}

/// A response with an unexpected status.
#[derive(Debug)]
pub(crate) struct Unexpected {
    pub(crate) status: u16,
    body: String,
}

impl std::fmt::Display for Unexpected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "answered {}: {}", self.status, self.body)
    }
}

impl std::error::Error for Unexpected {}

/// A keep-alive connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    _driving: JoinSet<hyper::Result<()>>,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(to).await.with_context(|| format!("connecting to {to}"))?;
        stream.set_nodelay(true)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driving = JoinSet::new();
        driving.spawn(driver);
        Ok(Self { sender, host: to.to_string(), _driving: driving })
    }

    /// Sends a request with `body`, and reads the whole response.
    pub(crate) async fn send(&mut self, request: &Request, body: Bytes) -> anyhow::Result<Bytes> {
        self.sender.ready().await?;
        let response = self.sender.send_request(self.build(request, body)?).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        if status != request.expected {
            bail!(Unexpected { status, body: String::from_utf8_lossy(&body).into_owned() });
        }
        Ok(body)
    }

    fn build(&self, request: &Request, body: Bytes) -> anyhow::Result<http::Request<Full<Bytes>>> {
        let method = if request.body.is_some() { "POST" } else { "GET" };
        let mut builder = http::Request::builder()
            .method(method)
            .uri(&request.path)
            .header("Host", &self.host)
            .header("Content-Type", &request.content_type);
        if let Some(token) = &request.token {
            builder = builder.header("Authorization", format!("token {token}"));
        }
        Ok(builder.body(Full::new(body))?)
    }
}

/// Sends one request on its own connection.
pub(crate) async fn exchange(to: SocketAddr, request: &Request) -> anyhow::Result<Bytes> {
    let body = Bytes::from(request.body.clone().unwrap_or_default());
    Connection::open(to).await?.send(request, body).await
}
