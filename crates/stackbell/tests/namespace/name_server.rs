//! A small name server. Its records are lines of text, and it logs its queries.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

/// The queries of all servers, in order: the server's address, the name without the last dot, the record type.
pub(crate) type Log = Arc<Mutex<Vec<(IpAddr, String, RecordType)>>>;

/// The records of names: addresses, or a word for the server's behaviour.
///
/// `servfail`, `refused`, `formerr` are errors; `silent` never responds, `silent6` not to IPv6 queries; `nodata` is a name
/// without addresses; `truncated` sends long responses only over TCP; `noedns` responds FORMERR to EDNS; `alias:NAME` leads
/// to a name without records. Other names do not exist.
#[derive(Clone, Default)]
pub(crate) struct Zone(Arc<HashMap<String, Vec<String>>>);

impl Zone {
    /// Parses one name a line, followed by its words.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::split_whitespace);
        let of_line = |mut words: std::str::SplitWhitespace<'_>| {
            Some((words.next()?.to_owned(), words.map(str::to_owned).collect()))
        };
        Self(Arc::new(lines.filter_map(of_line).collect()))
    }
}

/// Name servers at port 53, which stop on drop.
pub(crate) struct NameServers {
    log: Log,
    tasks: JoinSet<()>,
}

impl NameServers {
    pub(crate) fn new() -> Self {
        Self { log: Log::default(), tasks: JoinSet::new() }
    }

    /// Adds a name server at an address. An IPv6 address may have a scope.
    pub(crate) async fn add(&mut self, address: SocketAddr, zone: &str) {
        let zone = Zone::parse(zone);
        let udp = UdpSocket::bind(address).await.expect("a socket at port 53");
        let tcp = TcpListener::bind(address).await.expect("a socket at port 53");
        self.tasks.spawn(serve_udp(udp, zone.clone(), Arc::clone(&self.log)));
        self.tasks.spawn(serve_tcp(tcp, zone, Arc::clone(&self.log)));
    }

    /// The queries since the last call.
    pub(crate) fn take_log(&self) -> Vec<(IpAddr, String, RecordType)> {
        std::mem::take(&mut self.log.lock().expect("not poisoned"))
    }
}

async fn serve_udp(socket: UdpSocket, zone: Zone, log: Log) {
    let server = socket.local_addr().expect("it is bound").ip();
    let mut buffer = [0; 4096];
    loop {
        // A client that has left may cause an error here.
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        if let Some(answer) = answer(&buffer[..length], server, &zone, &log, false) {
            let _ = socket.send_to(&answer, peer).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, zone: Zone, log: Log) {
    let server = listener.local_addr().expect("it is bound").ip();
    let mut connections = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        let (zone, log) = (zone.clone(), Arc::clone(&log));
        connections.spawn(async move {
            while let Ok(length) = stream.read_u16().await {
                let mut question = vec![0; length.into()];
                stream.read_exact(&mut question).await.expect("a question");
                let Some(answer) = answer(&question, server, &zone, &log, true) else { return };
                let length = u16::try_from(answer.len()).expect("short");
                stream.write_all(&[&length.to_be_bytes(), &answer[..]].concat()).await.expect("sent");
            }
        });
    }
}

fn answer(bytes: &[u8], server: IpAddr, zone: &Zone, log: &Log, tcp: bool) -> Option<Vec<u8>> {
    let question = Message::from_vec(bytes).expect("a question");
    let (name, family) = (question.queries[0].name().clone(), question.queries[0].query_type());
    let text = name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
    log.lock().expect("not poisoned").push((server, text.clone(), family));
    let edns = question.edns.is_some();
    let mut response = question.into_response();
    response.metadata.recursion_available = true;
    let Some(words) = zone.0.get(&text) else {
        response.metadata.response_code = ResponseCode::NXDomain;
        return Some(response.to_vec().expect("bytes"));
    };
    let mut code = |code| response.metadata.response_code = code;
    let mut records = Vec::new();
    for word in words {
        match word.as_str() {
            "servfail" => code(ResponseCode::ServFail),
            "refused" => code(ResponseCode::Refused),
            "formerr" => code(ResponseCode::FormErr),
            "noedns" if edns => {
                code(ResponseCode::FormErr);
                return Some(response.to_vec().expect("bytes"));
            }
            "silent" => return None,
            "silent6" if family == RecordType::AAAA => return None,
            "nodata" | "silent6" | "noedns" => {}
            "truncated" if tcp => {}
            "truncated" => {
                response.metadata.truncation = true;
                return Some(response.to_vec().expect("bytes"));
            }
            word => records.extend(record(&name, family, word)),
        }
    }
    response.insert_answers(records);
    Some(response.to_vec().expect("bytes"))
}

fn record(name: &Name, family: RecordType, word: &str) -> Option<Record> {
    let data = match word.strip_prefix("alias:") {
        Some(to) => RData::CNAME(CNAME(to.parse().expect("a name"))),
        None => match word.parse().expect("an address") {
            IpAddr::V4(v4) => RData::A(v4.into()),
            IpAddr::V6(v6) => RData::AAAA(v6.into()),
        },
    };
    let is_asked_for = [family, RecordType::CNAME].contains(&data.record_type());
    // The TTL is zero, so that responses are not cached.
    is_asked_for.then(|| Record::from_rdata(name.clone(), 0, data))
}
