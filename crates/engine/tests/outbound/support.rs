//! Servers and names that follow a script, and a client between them.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use stackbell_engine::outbound::{
    Exchange, OutboundClient, OutboundPolicy, OutboundRequest, OutboundSettings, Resolve, ResolveError,
    Resolved, Target,
};
use stackbell_model::delivery::{Outcome, Response, Silence};
use stackbell_model::names::OrganizationName;
use stackbell_model::{Clock, Timestamp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use url::Url;

pub(crate) const KEEP: usize = 1024;

pub(crate) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A listener that counts its connections. It stops when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    // Dropping the task closes its connections too.
    _task: JoinSet<()>,
}

impl Server {
    /// Hands each connection to `serve`.
    pub(crate) async fn start<F, S>(serve: S) -> Self
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), serve).await
    }

    pub(crate) async fn start_at<F, S>(address: SocketAddr, serve: S) -> Self
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(stream));
            }
        });
        Self { address, accepted, _task: task }
    }

    /// Responds to every request of every connection with these bytes, and keeps the connection open.
    pub(crate) async fn answering(answer: impl Into<Bytes>) -> Self {
        let answer = answer.into();
        Self::start(move |stream| keep_answering(stream, answer.clone())).await
    }

    /// Responds to one request with these bytes, and closes the connection.
    pub(crate) async fn answering_once(answer: impl Into<Bytes>) -> Self {
        let answer = answer.into();
        Self::start(move |mut stream| {
            let answer = answer.clone();
            async move {
                read_request(&mut stream).await;
                // The client may already have closed the connection.
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            }
        })
        .await
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/secret", self.address)
    }

    /// The start of every recorded reason.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

async fn keep_answering(mut stream: TcpStream, answer: Bytes) {
    while !read_request(&mut stream).await.is_empty() {
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// Reads one request with its body; empty if the connection was closed instead.
pub(crate) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut request = Vec::new();
    loop {
        if let Some(head_end) = find(&request, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..head_end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
            if request.len() >= head_end + 4 + length {
                return request;
            }
        }
        match stream.read_buf(&mut request).await {
            Ok(0) | Err(_) => return Vec::new(),
            Ok(_) => {}
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// Waits forever with an open connection.
pub(crate) async fn hold(stream: TcpStream) {
    std::future::pending::<()>().await;
    drop(stream);
}

/// A resolver that returns the scripted answers in turn, and repeats the last one.
pub(crate) struct Names {
    answers: Mutex<VecDeque<Vec<SocketAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    pub(crate) fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |address: &&str| format!("{address}:0").parse().expect("an address");
        let answers = answers.iter().map(|addresses| addresses.iter().map(parse).collect()).collect();
        Arc::new(Self { answers: Mutex::new(answers), asked: Mutex::new(Vec::new()) })
    }

    /// The names that were looked up so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, Result<Resolved, ResolveError>> {
        self.asked.lock().expect("not poisoned").push(host.to_owned());
        let mut answers = self.answers.lock().expect("not poisoned");
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        let addresses = answer.unwrap_or_default().into_iter();
        let addresses: Vec<_> = addresses.map(|address| SocketAddr::new(address.ip(), port)).collect();
        Box::pin(async move { Ok(addresses.into()) })
    }
}

/// A clock that never moves.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(FixedClock)
}

struct FixedClock;

impl Clock for FixedClock {
    /// Sun, 06 Nov 1994 08:49:37 GMT
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(784_111_777_000)
    }
}

/// The settings of a test's client.
pub(crate) struct Setup {
    pub(crate) allow: &'static str,
    pub(crate) names: Arc<dyn Resolve>,
    pub(crate) settings: OutboundSettings,
}

impl Default for Setup {
    fn default() -> Self {
        Self { allow: "127.0.0.0/8", names: Names::new(&[&[]]), settings: OutboundSettings::default() }
    }
}

impl Setup {
    pub(crate) fn allowing(allow: &'static str) -> Self {
        Self { allow, ..Self::default() }
    }

    pub(crate) fn within(exchange_time: Duration) -> Self {
        Self {
            settings: OutboundSettings { exchange_time, ..OutboundSettings::default() },
            ..Self::default()
        }
    }

    pub(crate) fn names(self, names: &Arc<Names>) -> Self {
        Self { names: Arc::<Names>::clone(names), ..self }
    }

    pub(crate) async fn client(self) -> OutboundClient {
        let allowances = self.allow.split_whitespace().map(|text| text.parse().expect("an allowance"));
        let policy = OutboundPolicy::new(allowances);
        OutboundClient::new(&self.settings, &policy, self.names, clock()).await.expect("a client")
    }
}

pub(crate) fn request(organization: &str, url: &str) -> OutboundRequest {
    let organization = OrganizationName::parse(organization).expect("a name");
    let target = Target::new(&Url::parse(url).expect("a URL")).expect("a target");
    OutboundRequest::post(organization, Arc::new(target), Vec::new(), Bytes::from_static(b"{}"))
}

pub(crate) async fn send(client: &OutboundClient, url: &str) -> Exchange {
    client.send(request("acme", url), KEEP).await
}

#[track_caller]
pub(crate) fn answer(exchange: Exchange) -> Response {
    match exchange.outcome {
        Outcome::Answered(answer) => answer,
        other => panic!("not answered: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn assert_silent(exchange: &Exchange, expected: Silence, part_of_text: &str) {
    match &exchange.outcome {
        Outcome::Unanswered { silence, text } => {
            assert_eq!(*silence, expected, "{text}");
            assert!(text.contains(part_of_text), "{text}");
            assert!(!text.contains("/secret"), "the path is a credential: {text}");
        }
        other => panic!("not silent: {other:?}"),
    }
}
