//! A name server whose answer depends on the first label of a name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use crate::outbound::dns::hosts::Hosts;
use crate::outbound::dns::names::Names;
use crate::outbound::dns::resolv_conf::ResolvConf;
use crate::outbound::resolve::ResolveError;

/// The questions in order: each with its name, without the final dot, and its family.
type Asked = Arc<Mutex<Vec<(String, RecordType)>>>;

/// A running name server. It stops when it is dropped.
pub(super) struct Server {
    pub(super) names: Arc<Names>,
    asked: Asked,
    _tasks: JoinSet<()>,
}

/// Binds one port for both protocols.
async fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().expect("it is bound")).await {
            return (udp, tcp);
        }
    }
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::with("").await
    }

    pub(super) async fn with(conf: &str) -> Self {
        Self::among(conf, "", &[]).await
    }

    /// Starts a server that comes after `others` in the list of servers.
    pub(super) async fn among(conf: &str, hosts: &str, others: &[SocketAddr]) -> Self {
        let (udp, tcp) = sockets().await;
        let mut conf = ResolvConf::parse(conf, "box", |_| None);
        conf.servers = [others, &[udp.local_addr().expect("it is bound")]].concat();
        let asked = Asked::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(udp, Arc::clone(&asked)));
        tasks.spawn(serve_tcp(tcp, Arc::clone(&asked)));
        Self { names: Arc::new(Names::new(Hosts::parse(hosts), conf)), asked, _tasks: tasks }
    }

    /// The number of questions for a name, both families together.
    pub(super) fn asked(&self, name: &str) -> usize {
        self.asked.lock().expect("not poisoned").iter().filter(|(asked, _)| asked == name).count()
    }

    /// The names in the order of the questions for their IPv4 addresses.
    pub(super) fn names_asked(&self) -> Vec<String> {
        let asked = self.asked.lock().expect("not poisoned");
        asked.iter().filter(|(_, family)| *family == RecordType::A).map(|(name, _)| name.clone()).collect()
    }

    pub(super) async fn check(&self, name: &str, expected: &[&str]) {
        let found = self.names.addresses(name).await.expect(name);
        let expected: Vec<IpAddr> = expected.iter().map(|one| one.parse().expect("an address")).collect();
        assert_eq!(*found.addresses, *expected, "{name}");
    }

    pub(super) async fn error(&self, name: &str) -> ResolveError {
        match self.names.addresses(name).await {
            Ok(found) => panic!("{name} has {:?}", found.addresses),
            Err(error) => error,
        }
    }
}

async fn serve_udp(socket: UdpSocket, asked: Asked) {
    let mut buffer = [0; 4096];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await.expect("a datagram");
        if let Some(answer) = answer(&buffer[..length], &asked, false) {
            socket.send_to(&answer, peer).await.expect("sent");
        }
    }
}

async fn serve_tcp(listener: TcpListener, asked: Asked) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let length = stream.read_u16().await.expect("a length");
        let mut question = vec![0; length.into()];
        stream.read_exact(&mut question).await.expect("a question");
        let answer = answer(&question, &asked, true).expect("an answer");
        let length = u16::try_from(answer.len()).expect("short");
        stream.write_all(&[&length.to_be_bytes(), &answer[..]].concat()).await.expect("sent");
    }
}

/// The answer to a question; `None` if the server stays silent.
fn answer(bytes: &[u8], asked: &Asked, tcp: bool) -> Option<Vec<u8>> {
    let question = Message::from_vec(bytes).expect("a question");
    let (name, family) = (question.queries[0].name().clone(), question.queries[0].query_type());
    let text = name.to_ascii().trim_end_matches('.').to_owned();
    asked.lock().expect("not poisoned").push((text.clone(), family));
    let edns = question.edns.is_some();
    // The given number of records of each family, with their TTL.
    let records = |owner: &Name, v4: u8, v6: u8, seconds| -> Vec<Record> {
        let data = |n| match family {
            RecordType::A => RData::A(Ipv4Addr::new(192, 0, 2, n).into()),
            _ => RData::AAAA(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into()).into()),
        };
        let count = if family == RecordType::A { v4 } else { v6 };
        (1..=count).map(|n| Record::from_rdata(owner.clone(), seconds, data(n))).collect()
    };
    let mut response = question.into_response();
    response.metadata.recursion_available = true;
    let (first, domain) = text.split_once('.').unwrap_or((&text, ""));
    let is_searched = domain.ends_with("corp.internal");
    let alias = |to: &Name| Record::from_rdata(name.clone(), 30, RData::CNAME(CNAME(to.clone())));
    let other: Name = "other.example.".parse().expect("a name");
    let v4 = family == RecordType::A;
    match first {
        "hangs" => return None,
        "mute4" if v4 => return None,
        "mute6" if !v4 => return None,
        "mute4" => response.insert_answers(records(&name, 0, 1, 3600)),
        "hook" | "broken" if domain == "corp.internal" => response.insert_answers(records(&name, 1, 0, 3600)),
        "lost" if is_searched => return None,
        "broken" => response.metadata.response_code = ResponseCode::ServFail,
        "refused" if is_searched => response.metadata.response_code = ResponseCode::Refused,
        "garbled" if is_searched => response.metadata.response_code = ResponseCode::FormErr,
        "refused6" if !v4 => response.metadata.response_code = ResponseCode::Refused,
        "half" if v4 => response.metadata.response_code = ResponseCode::ServFail,
        "half" => response.insert_answers(records(&name, 0, 1, 3600)),
        "other-half" if !v4 => response.metadata.response_code = ResponseCode::ServFail,
        "other-half" | "empty" => {}
        "no6" if !v4 => response.metadata.response_code = ResponseCode::NXDomain,
        "referral" => response.metadata.recursion_available = false,
        "alias" => {
            let answers = [
                vec![alias(&other)],
                records(&other, 1, 1, 3600),
                records(&"evil.".parse().expect("a name"), 2, 2, 9),
            ];
            response.insert_answers(answers.concat());
        }
        "circle" => response.insert_answers(vec![alias(&name)]),
        "nowhere" if is_searched => response.insert_answers(vec![alias(&other)]),
        "long" if !tcp => response.metadata.truncation = true,
        "long" => response.insert_answers(records(&name, 200, 0, 3600)),
        "oldest" if edns => response.metadata.response_code = ResponseCode::FormErr,
        "older" if edns => response.metadata.response_code = ResponseCode::NotImp,
        "forged" => response.metadata.id ^= 1,
        "brief" => response.insert_answers(records(&name, 1, 0, 0)),
        "middling" => response.insert_answers(records(&name, 1, 0, 30)),
        "both" => response.insert_answers(records(&name, 2, 3, 3600)),
        "many" => response.insert_answers(records(&name, 40, 40, 3600)),
        "nobody" => response.metadata.response_code = ResponseCode::NXDomain,
        "hook" | "soon" if is_searched => {
            response.metadata.response_code = ResponseCode::NXDomain;
            let zone = SOA::new(other.clone(), other.clone(), 1, 2, 3, 4, 20);
            response.add_authority(Record::from_rdata(name.clone(), 60, RData::SOA(zone)));
        }
        "hook" if domain.is_empty() => response.metadata.response_code = ResponseCode::NXDomain,
        _ => response.insert_answers(records(&name, 1, 0, 3600)),
    }
    let mut bytes = response.to_vec().expect("bytes");
    if first == "oldest" && edns {
        // Only the header, as servers answer that cannot read the rest.
        bytes.truncate(12);
        bytes[4..].fill(0);
    }
    Some(bytes)
}
