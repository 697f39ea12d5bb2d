//! A bare HTTP/1.1 client: so many connections, each with one request after the other.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What every connection sends, over and over.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) content_type: &'static str,
    pub(crate) token: Option<String>,
    pub(crate) body: Bytes,
    /// The status that counts; any other ends the run.
    pub(crate) expected: u16,
}

/// What came of it.
pub(crate) struct Load {
    pub(crate) answered: u64,
    pub(crate) took: Duration,
}

impl Load {
    /// Sends for `time` to all of these by turns, then lets what is under way end.
    pub(crate) async fn run(
        to: &[SocketAddr],
        request: Request,
        connections: usize,
        time: Duration,
    ) -> anyhow::Result<Self> {
        let began = Instant::now();
        let until = began + time;
        let mut tasks = JoinSet::new();
        for to in to.iter().cycle().take(connections) {
            tasks.spawn(connection(*to, request.clone(), until));
        }
        let mut answered = 0;
        while let Some(count) = tasks.join_next().await {
            answered += count.context("a connection's task failed")??;
        }
        Ok(Self { answered, took: began.elapsed() })
    }
}

async fn connection(to: SocketAddr, request: Request, until: Instant) -> anyhow::Result<u64> {
    let stream = TcpStream::connect(to).await.with_context(|| format!("connecting to {to}"))?;
    stream.set_nodelay(true)?;
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
    let mut driving = JoinSet::new();
    driving.spawn(driver);
    let mut answered = 0;
    // At least one request, however short the time.
    while answered == 0 || Instant::now() < until {
        sender.ready().await?;
        let response = sender.send_request(build(to, &request)?).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        if status != request.expected {
            bail!("answered {status}: {}", String::from_utf8_lossy(&body));
        }
        answered += 1;
    }
    Ok(answered)
}

fn build(to: SocketAddr, request: &Request) -> anyhow::Result<http::Request<Full<Bytes>>> {
    let mut builder = http::Request::post(&request.path)
        .header("Host", to.to_string())
        .header("Content-Type", request.content_type);
    if let Some(token) = &request.token {
        builder = builder.header("Authorization", format!("token {token}"));
    }
    Ok(builder.body(Full::new(request.body.clone()))?)
}
