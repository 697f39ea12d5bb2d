//! A programmable endpoint on loopback.
//!
//! HTTP is read and written by hand. A test can therefore see the spelling of header names and the exact
//! bytes, and can close a connection at any point. Requests must have a content length: chunks are not
//! supported, and neither our own client nor curl sends them.

mod connection;
mod reply;
mod tarpit;
mod tls;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::wait;

pub use reply::{Gate, Reply};
pub use tarpit::{OpenTarpit, Tarpit};

/// A request as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Names and values, in their order and spelling.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// The first header with this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The event's id; empty if there is none.
    pub fn id(&self) -> &str {
        self.header("pulumi-webhook-id").unwrap_or_default()
    }

    /// The body as text.
    ///
    /// # Panics
    /// If it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body in UTF-8")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a body in JSON")
    }
}

/// The parts of a request that a receiver keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The whole request.
    Whole,
    /// Only the event's id: cheap enough for hundreds of thousands of requests.
    Ids,
}

/// A running endpoint. It stops, with its connections, when dropped.
pub struct Receiver {
    address: SocketAddr,
    certificate: Option<String>,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    keep: Keep,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    connections: usize,
    requests: Vec<Request>,
    ids: Vec<Box<str>>,
    next: VecDeque<Reply>,
    afterwards: Reply,
    /// The reply to pings, if it differs from that to other requests.
    pings: Option<Reply>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this")
    }

    /// Records a request and returns its reply.
    fn take(&self, request: Request) -> Reply {
        let mut state = self.state();
        state.ids.push(request.id().into());
        let is_ping = request.header("pulumi-webhook-kind") == Some("ping");
        if self.keep == Keep::Whole {
            state.requests.push(request);
        }
        let reply = match &state.pings {
            Some(reply) if is_ping => reply.clone(),
            Some(_) | None => state.next.pop_front().unwrap_or_else(|| state.afterwards.clone()),
        };
        drop(state);
        self.changed.notify_waiters();
        reply
    }
}

impl Receiver {
    /// Starts an endpoint that keeps whole requests and responds 200.
    pub async fn start() -> Self {
        Self::keeping(Keep::Whole).await
    }

    /// Starts an endpoint that responds 200.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn keeping(keep: Keep) -> Self {
        Self::listen(keep, None).await
    }

    /// Starts an endpoint with TLS that keeps whole requests and responds 200. Its certificate is
    /// self-signed, for 127.0.0.1.
    pub async fn start_tls() -> Self {
        Self::listen(Keep::Whole, Some(tls::for_loopback())).await
    }

    async fn listen(keep: Keep, tls: Option<(TlsAcceptor, String)>) -> Self {
        let (tls, certificate) = tls.unzip();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared { keep, state: Mutex::default(), changed: Notify::new() });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, tls, Arc::clone(&shared)));
        Self { address, certificate, shared, _tasks: tasks }
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of this endpoint.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// Its certificate in PEM, for clients that should trust it.
    ///
    /// # Panics
    /// If it has no TLS.
    pub fn certificate(&self) -> &str {
        self.certificate.as_deref().expect("behind TLS")
    }

    /// Adds replies for the next requests, in this order. The normal reply follows.
    pub fn then(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.state().next.extend(replies);
    }

    /// Sets the reply to all further requests.
    pub fn answer(&self, reply: Reply) {
        let mut state = self.shared.state();
        state.next.clear();
        state.afterwards = reply;
    }

    /// Sets the reply to all further pings, independent of other requests.
    pub fn answer_pings(&self, reply: Reply) {
        self.shared.state().pings = Some(reply);
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// The number of requests so far.
    pub fn count(&self) -> usize {
        self.shared.state().ids.len()
    }

    /// The events' ids, in the order of arrival.
    pub fn ids(&self) -> Vec<Box<str>> {
        self.shared.state().ids.clone()
    }

    /// The requests, in the order of arrival; none unless it keeps them.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// Waits for `count` requests, and returns them.
    ///
    /// # Panics
    /// After [`wait::DEADLINE`].
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> impl Future<Output = Vec<Request>> {
        let caller = std::panic::Location::caller();
        async move {
            let look = || (self.count() >= count).then_some(());
            let waited = wait::told(&self.shared.changed, look).await;
            assert!(waited.is_ok(), "{} of {count} requests came ({caller})", self.count());
            self.requests()
        }
    }

    /// Waits until the requests satisfy `is_met`, and returns them.
    ///
    /// # Panics
    /// After [`wait::DEADLINE`].
    pub async fn wait_until(&self, what: &str, is_met: impl Fn(&[Request]) -> bool) -> Vec<Request> {
        let look = || Some(self.requests()).filter(|requests| is_met(requests));
        let met = wait::told(&self.shared.changed, look).await;
        met.unwrap_or_else(|()| panic!("{what} did not come; {} requests did", self.count()))
    }

    /// Waits until these events have arrived, in any order. Returns the number of requests beyond one for each event.
    ///
    /// # Panics
    /// If no new request arrives within [`wait::DEADLINE`].
    pub async fn wait_for_ids(&self, expected: &std::collections::BTreeSet<Box<str>>) -> usize {
        loop {
            let before = self.count();
            let arrived: std::collections::BTreeSet<_> = self.ids().into_iter().collect();
            let missing = expected.difference(&arrived).count();
            if missing == 0 {
                return before - arrived.len();
            }
            let look = || (self.count() >= before + missing.min(1000)).then_some(());
            if wait::told(&self.shared.changed, look).await.is_err() {
                assert!(self.count() > before, "{missing} of {} events did not come", expected.len());
            }
        }
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.state().connections += 1;
        shared.changed.notify_waiters();
        while connections.try_join_next().is_some() {}
        connections.spawn(connection::begin(stream, tls.clone(), Arc::clone(&shared)));
    }
}
