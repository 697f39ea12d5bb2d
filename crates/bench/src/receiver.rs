//! The receiver: answers 200 to everything, and says how many deliveries came.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

const COUNT_PATH: &str = "/count";
pub(crate) const HOOK_PATH: &str = "/hook";

/// The receiver's process. Killed when dropped.
pub(crate) struct ReceiverProcess {
    _child: Child,
    address: SocketAddr,
}

impl ReceiverProcess {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("receive")
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting the receiver")?;
        let stdout = child.stdout.take().context("the receiver has no output")?;
        let line = BufReader::new(stdout).lines().next_line().await?.context("the receiver said nothing")?;
        Ok(Self { _child: child, address: line.parse().context("the receiver's address")? })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many deliveries came so far.
    pub(crate) async fn delivered(&self) -> anyhow::Result<u64> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut driving = JoinSet::new();
        driving.spawn(driver);
        let request = Request::get(COUNT_PATH).header("Host", "receiver").body(Full::<Bytes>::default())?;
        let body = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
        String::from_utf8_lossy(&body).parse().context("the receiver's count")
    }
}

/// Serves on a port of the system's choice, which it prints, until it is killed.
pub(crate) async fn receive() -> anyhow::Result<()> {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?);
    let delivered = Arc::new(AtomicU64::new(0));
    let tasks = TaskTracker::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let delivered = Arc::clone(&delivered);
        let service = service_fn(move |request| answer(request, Arc::clone(&delivered)));
        tasks.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    request: Request<Incoming>,
    delivered: Arc<AtomicU64>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    // A body that breaks off is a connection that ends; there is nobody to tell.
    let _ = request.into_body().collect().await;
    let body = match path.as_str() {
        COUNT_PATH => Bytes::from(delivered.load(Ordering::Relaxed).to_string()),
        HOOK_PATH => {
            delivered.fetch_add(1, Ordering::Relaxed);
            Bytes::new()
        }
        _ => Bytes::new(),
    };
    Ok(Response::new(Full::new(body)))
}
