//! A programmable endpoint on loopback.
//!
//! HTTP is read and written by hand, so that a test sees the spelling of header names and the exact bytes, and can end a
//! connection in the middle of anything. It reads what our own client and curl send: a length, and no chunks.

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

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Names and values in their order and spelling.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The event's id; empty when there is none.
    pub fn id(&self) -> &str {
        self.header("pulumi-webhook-id").unwrap_or_default()
    }

    /// The body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body in UTF-8")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a body in JSON")
    }
}

/// What a receiver keeps of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All of it.
    Whole,
    /// The event's id alone: cheap enough for hundreds of thousands.
    Ids,
}

/// An endpoint at work. It ends, with its connections, when dropped.
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
    /// How pings are answered, if not as everything else.
    pings: Option<Reply>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this")
    }

    /// Records a request and says how to answer it.
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
    /// An endpoint that keeps everything and answers 200.
    pub async fn start() -> Self {
        Self::keeping(Keep::Whole).await
    }

    /// An endpoint that answers 200.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn keeping(keep: Keep) -> Self {
        Self::listen(keep, None).await
    }

    /// An endpoint behind TLS that keeps everything and answers 200. Its certificate is for 127.0.0.1, and its own.
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

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// Its certificate in PEM, for whoever is to trust it.
    ///
    /// # Panics
    /// When it is not behind TLS.
    pub fn certificate(&self) -> &str {
        self.certificate.as_deref().expect("behind TLS")
    }

    /// Answers the next requests with these, in turn, before it answers as it did.
    pub fn then(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.state().next.extend(replies);
    }

    /// Answers all requests like this from here on.
    pub fn answer(&self, reply: Reply) {
        let mut state = self.shared.state();
        state.next.clear();
        state.afterwards = reply;
    }

    /// Answers pings like this from here on, whatever becomes of the other requests.
    pub fn answer_pings(&self, reply: Reply) {
        self.shared.state().pings = Some(reply);
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// How many requests there were.
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

    /// Waits until there were `count` requests, and gives them.
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

    /// Waits until the requests are as `is_met` wants them, and gives them.
    ///
    /// # Panics
    /// After [`wait::DEADLINE`].
    pub async fn wait_until(&self, what: &str, is_met: impl Fn(&[Request]) -> bool) -> Vec<Request> {
        let look = || Some(self.requests()).filter(|requests| is_met(requests));
        let met = wait::told(&self.shared.changed, look).await;
        met.unwrap_or_else(|()| panic!("{what} did not come; {} requests did", self.count()))
    }

    /// Waits until these events came, in any order, and gives how many requests there were beyond one for each.
    ///
    /// # Panics
    /// After [`wait::DEADLINE`], unless something arrives meanwhile.
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
