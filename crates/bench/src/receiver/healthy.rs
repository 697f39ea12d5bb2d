//! The process of healthy endpoints.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::bail;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use crate::attached::raise_open_files;
use crate::child_process::Orders;
use crate::load::NUMBER;
use crate::monotonic_time::MonotonicTime;
use crate::server::NUMBER_MEMBER;

/// The path on which deliveries are counted.
pub(crate) const HOOK_PATH: &str = "/hook";
/// The path on which arrival times are stored as well.
pub(crate) const STAMPED_PATH: &str = "/stamped";

/// Commands.
pub(super) const COUNT: &str = "count";
pub(super) const ARRIVALS: &str = "arrivals";

#[derive(Default)]
struct Seen {
    deliveries: AtomicU64,
    arrivals: Mutex<Vec<(u64, MonotonicTime)>>,
}

impl Seen {
    fn arrived(&self, body: &[u8], at: MonotonicTime) {
        self.lock().push((number(body), at));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(u64, MonotonicTime)>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the number in a paced request's body; 0 if there is none.
fn number(body: &[u8]) -> u64 {
    let member = NUMBER_MEMBER.as_bytes();
    let found = body.windows(member.len()).position(|window| window == member);
    let digits = found.and_then(|at| body.get(at + member.len()..at + member.len() + NUMBER.len()));
    digits.and_then(|digits| str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0)
}

/// Listens on free ports, prints them, and executes commands until its input ends.
pub(crate) async fn receive(endpoints: usize) -> anyhow::Result<()> {
    raise_open_files()?;
    let seen = Arc::new(Seen::default());
    let mut serving = JoinSet::new();
    let mut addresses = Vec::new();
    for _ in 0..endpoints {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        addresses.push(listener.local_addr()?);
        serving.spawn(serve(listener, Arc::clone(&seen)));
    }
    println!("{}", serde_json::to_string(&addresses)?);
    let mut orders = Orders::new();
    loop {
        tokio::select! {
            Some(ended) = serving.join_next() => return ended?,
            order = orders.next() => match order?.as_deref() {
                None => return Ok(()),
                Some(COUNT) => println!("{}", seen.deliveries.load(Ordering::Relaxed)),
                Some(ARRIVALS) => println!("{}", serde_json::to_string(&std::mem::take(&mut *seen.lock()))?),
                Some(other) => bail!("no such order: {other}"),
            }
        }
    }
}

async fn serve(listener: TcpListener, seen: Arc<Seen>) -> anyhow::Result<()> {
    let tasks = TaskTracker::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let seen = Arc::clone(&seen);
        let service = service_fn(move |request| answer(request, Arc::clone(&seen)));
        tasks.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(request: Request<Incoming>, seen: Arc<Seen>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    // An incomplete body means that the connection was closed, so no response is possible.
    if let Ok(body) = request.into_body().collect().await {
        if path == STAMPED_PATH {
            seen.arrived(&body.to_bytes(), MonotonicTime::now());
        }
        if path == STAMPED_PATH || path == HOOK_PATH {
            seen.deliveries.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(Response::new(Full::default()))
}
