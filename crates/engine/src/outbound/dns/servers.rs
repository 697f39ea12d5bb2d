//! Asks the name servers one question: each in turn, as often as `resolv.conf` says.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::reply::Reply;
use super::resolv_conf::ResolvConf;

/// The longest wait for a server before the next one is asked too. The total wait is as `resolv.conf` says. Its default step of
/// 5 s is too long for an attempt.
const STEP_TIME_MAX: Duration = Duration::from_secs(2);

/// The wait for an unresponsive server before the next one is asked too. A later server's "there is none" still waits for its
/// full step.
const UNRESPONSIVE_STEP_TIME: Duration = Duration::from_millis(250);

/// The largest answer that is accepted over UDP if the question uses `edns0`. Source: `RESOLV_EDNS_BUFFER_SIZE` in glibc.
const EDNS_BYTES_MAX: u16 = 1200;

/// The receive buffer for UDP. No server may send more than the question allows.
const DATAGRAM_BYTES_MAX: usize = 4096;

/// The name servers, and what is known about each.
pub(super) struct Servers {
    servers: Vec<Arc<Server>>,
    timeout: Duration,
    attempts: u32,
    rotate: bool,
    tcp: bool,
    edns: bool,
    /// The server at which the next lookup starts, if lookups rotate.
    next: AtomicUsize,
}

struct Server {
    address: SocketAddr,
    /// The server answered no question during a whole step.
    unresponsive: AtomicBool,
    /// The number of questions that the server has answered. Wraps around.
    answers: AtomicUsize,
    /// The server refused a question because of EDNS.
    lacks_edns: AtomicBool,
}

impl Servers {
    pub(super) fn new(conf: &ResolvConf) -> Self {
        let server = |address: &SocketAddr| {
            Arc::new(Server {
                address: *address,
                unresponsive: AtomicBool::new(false),
                answers: AtomicUsize::new(0),
                lacks_edns: AtomicBool::new(false),
            })
        };
        Self {
            servers: conf.servers.iter().map(server).collect(),
            timeout: conf.timeout,
            attempts: conf.attempts,
            rotate: conf.rotate,
            tcp: conf.tcp,
            edns: conf.edns,
            next: AtomicUsize::new(0),
        }
    }

    /// The servers that answered no question during a whole step.
    #[cfg(test)]
    pub(super) fn unresponsive(&self) -> Vec<SocketAddr> {
        let unresponsive = self.servers.iter().filter(|server| server.unresponsive.load(Ordering::Relaxed));
        unresponsive.map(|server| server.address).collect()
    }

    /// The server at which a lookup starts.
    pub(super) fn first(&self) -> usize {
        if self.rotate { self.next.fetch_add(1, Ordering::Relaxed) % self.servers.len() } else { 0 }
    }

    /// Asks for `name` (absolute) in `family`. Asks the servers in turn, starting at `first`, until one has an answer.
    ///
    /// If a server fails, the next one is asked at once; if it is silent, after a while. Late answers still count. A later
    /// server's "there is none" counts once each earlier server has failed or has had a full step. The whole takes at most
    /// `timeout` times `attempts` for each server.
    pub(super) async fn ask(self: Arc<Self>, name: Name, family: RecordType, first: usize) -> Reply {
        let steps = self.servers.len() * self.attempts as usize;
        let deadline = Instant::now() + self.timeout * u32::try_from(steps).unwrap_or(u32::MAX);
        let full_step = STEP_TIME_MAX.min(self.timeout);
        let mut running = FuturesUnordered::new();
        let mut heard = Heard::default();
        for step in 0..steps {
            let place = step % self.servers.len();
            let server = &self.servers[(first + step) % self.servers.len()];
            let answers_before = server.answers.load(Ordering::Relaxed);
            let exchange = Arc::clone(server).exchange(name.clone(), family, self.edns, self.tcp);
            running.push(exchange.map(move |answer| (step, answer)));
            let now = Instant::now();
            if step == place {
                heard.asked(now + full_step);
            }
            let patience = match server.unresponsive.load(Ordering::Relaxed) {
                true => UNRESPONSIVE_STEP_TIME.min(full_step),
                false => full_step,
            };
            let is_last = step + 1 == steps;
            let mut until = if is_last { deadline } else { deadline.min(now + patience) };
            let mut is_silent = true;
            loop {
                let until_now = heard.held_until().unwrap_or(until);
                match timeout_at(until_now, running.next()).await {
                    Ok(Some((asked, answer))) => {
                        let reply = match answer {
                            Ok(message) => Reply::read(&message, &name, family),
                            Err(error) => Reply::Unasked(error),
                        };
                        if let Some(reply) = heard.take(asked % self.servers.len(), reply) {
                            return reply;
                        }
                        if asked == step {
                            is_silent = false;
                            if !is_last && heard.held.is_none() {
                                break;
                            }
                            until = heard.all_until();
                        }
                    }
                    Ok(None) => break,
                    Err(_) if heard.held.is_some() => return heard.reply(),
                    Err(_) => {
                        // The server answered other questions in this time, so only this name is slow.
                        if is_silent && server.answers.load(Ordering::Relaxed) == answers_before {
                            server.unresponsive.store(true, Ordering::Relaxed);
                        }
                        break;
                    }
                }
            }
        }
        heard.reply()
    }
}

/// The replies to one question so far. Servers are numbered in the order of the questions.
#[derive(Default)]
struct Heard {
    /// For each server that was asked: the end of its first full step, and whether it is done (it has replied, or is
    /// unreachable).
    servers: Vec<(Instant, bool)>,
    /// A "there is none" from this server, held back while earlier servers still have time.
    held: Option<(usize, Reply)>,
    /// The last reply that does not settle the question.
    failure: Option<Reply>,
}

impl Heard {
    /// Adds a server, which has time to answer until `until`.
    fn asked(&mut self, until: Instant) {
        self.servers.push((until, false));
    }

    /// Takes a server's reply, and returns it if it settles the question.
    ///
    /// Addresses settle it at once. "There is none" waits for the earlier servers, because a public server does not know
    /// internal names.
    fn take(&mut self, place: usize, reply: Reply) -> Option<Reply> {
        self.servers[place].1 = true;
        match reply {
            Reply::Addresses(..) => return Some(reply),
            Reply::NoData(_) | Reply::NoAddress | Reply::NoName(_) => {
                if self.held.as_ref().is_none_or(|(held, _)| place < *held) {
                    self.held = Some((place, reply));
                }
            }
            Reply::Rejected => {
                self.failure = Some(reply);
                return self.held.is_none().then(|| std::mem::take(self).reply());
            }
            Reply::ServerFailed | Reply::Refused | Reply::Silent | Reply::Unasked(_) => {
                if !matches!(
                    (&self.failure, &reply),
                    (Some(Reply::ServerFailed | Reply::Refused), Reply::Unasked(_))
                ) {
                    self.failure = Some(reply);
                }
            }
        }
        let is_settled = self.held_until().is_some_and(|until| until <= Instant::now());
        is_settled.then(|| std::mem::take(self).reply())
    }

    /// When the held reply takes effect; in the past if it already has.
    fn held_until(&self) -> Option<Instant> {
        let (place, _) = self.held.as_ref()?;
        Some(self.latest(&self.servers[..*place]))
    }

    /// When every server has had its first full step.
    fn all_until(&self) -> Instant {
        self.latest(&self.servers)
    }

    fn latest(&self, servers: &[(Instant, bool)]) -> Instant {
        let awaited = servers.iter().filter(|(_, is_heard)| !is_heard).map(|(until, _)| *until);
        awaited.max().unwrap_or_else(Instant::now)
    }

    /// The final reply. Silence of one server outweighs failures of others, because a lost packet must not make the search go
    /// on to another name.
    fn reply(self) -> Reply {
        match (self.held, self.failure) {
            (Some((_, reply)), _) => reply,
            (None, Some(failure)) if self.servers.iter().all(|(_, is_heard)| *is_heard) => failure,
            (None, _) => Reply::Silent,
        }
    }
}

impl Server {
    /// Sends one question and returns the answer. Asks again without EDNS if the server does not support it.
    async fn exchange(
        self: Arc<Self>,
        name: Name,
        family: RecordType,
        edns: bool,
        tcp: bool,
    ) -> io::Result<Message> {
        let edns = edns && !self.lacks_edns.load(Ordering::Relaxed);
        let mut answer = self.ask(&question(&name, family, edns), tcp).await?;
        if edns && is_refusal_of_edns(answer.metadata.response_code) {
            self.lacks_edns.store(true, Ordering::Relaxed);
            answer = self.ask(&question(&name, family, false), tcp).await?;
        }
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.unresponsive.store(false, Ordering::Relaxed);
        Ok(answer)
    }

    /// Asks over UDP, and over TCP if the answer is truncated.
    async fn ask(&self, question: &Message, tcp: bool) -> io::Result<Message> {
        let bytes = question.to_vec().map_err(io::Error::other)?;
        if !tcp {
            let answer = self.by_udp(question, &bytes).await?;
            if !answer.metadata.truncation {
                return Ok(answer);
            }
        }
        self.by_tcp(question, &bytes).await
    }

    async fn by_udp(&self, question: &Message, bytes: &[u8]) -> io::Result<Message> {
        let any: SocketAddr = match self.address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        // Each question has its own port, chosen by the system, so that answers are hard to forge.
        let socket = UdpSocket::bind(any).await?;
        socket.connect(self.address).await?;
        socket.send(bytes).await?;
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let length = socket.recv(&mut buffer).await?;
            if let Some(answer) = answer_to(question, &buffer[..length]) {
                return Ok(answer);
            }
        }
    }

    async fn by_tcp(&self, question: &Message, bytes: &[u8]) -> io::Result<Message> {
        let mut stream = TcpStream::connect(self.address).await?;
        let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
        loop {
            let length = stream.read_u16().await?;
            let mut buffer = vec![0; length.into()];
            stream.read_exact(&mut buffer).await?;
            if let Some(answer) = answer_to(question, &buffer) {
                return Ok(answer);
            }
        }
    }
}

fn question(name: &Name, family: RecordType, edns: bool) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.clone(), family));
    if edns {
        let mut options = Edns::new();
        options.set_max_payload(EDNS_BYTES_MAX);
        message.set_edns(options);
    }
    message
}

/// Parses an answer. `None` if it is unreadable or belongs to another question; forged and late answers look so.
fn answer_to(question: &Message, bytes: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let is_response =
        answer.metadata.message_type == MessageType::Response && answer.metadata.id == question.metadata.id;
    // Some servers do not repeat a question that they could not read.
    let repeats = answer.queries == question.queries
        || (answer.queries.is_empty() && is_refusal_of_edns(answer.metadata.response_code));
    (is_response && repeats).then_some(answer)
}

/// Servers without EDNS respond in one of these ways. Source: RFC 6891, section 7.
fn is_refusal_of_edns(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::BADVERS)
}
