use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::future::{Either, join_all, select};
use hickory_resolver::Hosts;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::names::{ADDRESSES_MAX, ANSWERS_MAX};
use super::*;

/// Far longer than an answer takes, and far shorter than it takes to give up.
const SOON: Duration = Duration::from_secs(2);

/// The questions for a name in each family. One that is put again, as the answer takes its time, has the same id.
type Asked = Arc<Mutex<HashMap<(String, RecordType), HashSet<u16>>>>;

/// A name server, until it is dropped. What it says depends on the first label of a name.
struct Server {
    names: Names,
    asked: Asked,
    _task: JoinSet<()>,
}

impl Server {
    async fn start() -> Self {
        Self::with("", &[]).await
    }

    async fn with(hosts: &str, search: &[&str]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("it is bound");
        Self::behind(socket, vec![address], hosts, search)
    }

    fn behind(socket: UdpSocket, servers: Vec<SocketAddr>, hosts: &str, search: &[&str]) -> Self {
        let servers = servers.into_iter().map(|address| {
            let mut server = NameServerConfig::udp(address.ip());
            server.connections[0].port = address.port();
            server
        });
        let search = search.iter().map(|name| Name::from_ascii(name).expect("a name")).collect();
        let config = ResolverConfig::from_parts(None, search, servers.collect());
        let mut read = Hosts::default();
        read.read_hosts_conf(hosts.as_bytes()).expect("hosts");
        let asked = Asked::default();
        let mut task = JoinSet::new();
        task.spawn(serve(socket, Arc::clone(&asked)));
        Self { names: Names::new(read, config, ResolverOpts::default()), asked, _task: task }
    }

    /// In both families together.
    fn asked(&self, name: &str) -> usize {
        let asked = self.asked.lock().expect("not poisoned");
        asked.iter().filter(|((asked, _), _)| asked == name).map(|(_, ids)| ids.len()).sum()
    }

    fn names_asked(&self) -> usize {
        self.asked.lock().expect("not poisoned").keys().filter(|(_, family)| *family == RecordType::A).count()
    }

    async fn check(&self, name: &str, expected: &[&str]) {
        let found = self.names.addresses(name).await.expect(name);
        let expected: Vec<IpAddr> = expected.iter().map(|one| one.parse().expect("an address")).collect();
        assert_eq!(*found, *expected, "{name}");
    }
}

async fn serve(socket: UdpSocket, asked: Asked) {
    let mut buffer = [0; 4096];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await.expect("a datagram");
        let question = Message::from_vec(&buffer[..length]).expect("a question");
        let (name, family) = (question.queries[0].name().clone(), question.queries[0].query_type());
        let text = name.to_ascii().trim_end_matches('.').to_owned();
        let key = (text.clone(), family);
        asked.lock().expect("not poisoned").entry(key).or_default().insert(question.metadata.id);
        // So many IPv4 addresses, so many IPv6 addresses, and how long they hold.
        let answer = |v4: u8, v6: u8, seconds| {
            let data = |n| match family {
                RecordType::A => RData::A(Ipv4Addr::new(192, 0, 2, n).into()),
                _ => RData::AAAA(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into()).into()),
            };
            let count = if family == RecordType::A { v4 } else { v6 };
            (1..=count).map(|n| Record::from_rdata(name.clone(), seconds, data(n))).collect()
        };
        let mut response = question.into_response();
        match text.split('.').next().unwrap_or_default() {
            "hangs" => continue,
            "hook" | "broken" if text.ends_with(".corp.internal") => {
                response.insert_answers(answer(1, 0, 3600));
            }
            "broken" => response.metadata.response_code = ResponseCode::ServFail,
            "half" if family == RecordType::A => response.metadata.response_code = ResponseCode::ServFail,
            "half" => response.insert_answers(answer(0, 1, 3600)),
            "other-half" if family == RecordType::AAAA => {
                response.metadata.response_code = ResponseCode::ServFail;
            }
            "other-half" => {}
            "empty" => {}
            "brief" => response.insert_answers(answer(1, 0, 0)),
            "middling" => response.insert_answers(answer(1, 0, 30)),
            "both" => response.insert_answers(answer(2, 3, 3600)),
            "many" => response.insert_answers(answer(40, 40, 3600)),
            "nobody" | "hook" => response.metadata.response_code = ResponseCode::NXDomain,
            _ => response.insert_answers(answer(1, 0, 3600)),
        }
        socket.send_to(&response.to_vec().expect("bytes"), peer).await.expect("sent");
    }
}

/// So much later.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn an_answer_is_kept_as_long_as_it_holds() {
    let server = Server::start().await;
    for _ in 0..3 {
        server.check("long.example", &["192.0.2.1"]).await;
        server.check("brief.example", &["192.0.2.1"]).await;
        server.check("middling.example", &["192.0.2.1"]).await;
        server.check("my_service.example", &["192.0.2.1"]).await;
    }
    assert_eq!(server.asked("long.example"), 2, "once for each family, though it has none of one");
    assert_eq!(server.asked("brief.example"), 6);
    assert_eq!(server.asked("middling.example"), 2);
    pass(Duration::from_secs(31)).await;
    server.check("middling.example", &["192.0.2.1"]).await;
    server.check("long.example", &["192.0.2.1"]).await;
    assert_eq!((server.asked("middling.example"), server.asked("long.example")), (4, 2));
}

#[tokio::test]
async fn addresses_of_both_families_take_turns() {
    let server = Server::start().await;
    let expected = ["192.0.2.1", "2001:db8::1", "192.0.2.2", "2001:db8::2", "2001:db8::3"];
    server.check("both.example", &expected).await;
    let many = server.names.addresses("many.example").await.expect("some");
    assert_eq!(many.len(), ADDRESSES_MAX);
    assert_eq!(many.iter().filter(|address| address.is_ipv4()).count(), ADDRESSES_MAX / 2);
}

#[tokio::test]
async fn why_there_is_no_address_is_said() {
    for search in [&[][..], &["corp.internal"]] {
        let server = Server::with("", search).await;
        let error = async |name| server.names.addresses(name).await.expect_err("there is none");
        assert!(matches!(error("nobody.example").await, ResolveError::NoName));
        assert!(matches!(error("empty.example").await, ResolveError::NoAddress));
        assert!(matches!(error("broken.example").await, ResolveError::Failed));
        assert!(matches!(error(&format!("{}.example", "a".repeat(70))).await, ResolveError::NoName));
        assert_eq!(server.names.kept_count(), 0);
    }
}

#[tokio::test]
async fn a_short_name_may_stand_for_a_longer_one() {
    let server = Server::with("", &["corp.internal"]).await;
    server.check("hook", &["192.0.2.1"]).await;
    // Of a single word many servers say that they fail; of others that is no reason to ask somebody else.
    server.check("broken", &["192.0.2.1"]).await;
    assert!(matches!(server.names.addresses("broken.example").await, Err(ResolveError::Failed)));
    assert_eq!(server.asked("broken.example.corp.internal"), 0);
    assert!(matches!(Server::start().await.names.addresses("hook").await, Err(ResolveError::NoName)));
}

#[tokio::test]
async fn half_an_answer_is_used_and_not_kept() {
    let server = Server::with("", &["corp.internal"]).await;
    server.check("half.example", &["2001:db8::1"]).await;
    assert_eq!(server.names.kept_count(), 0);
    server.check("half.example", &["2001:db8::1"]).await;
    assert_eq!(server.asked("half.example"), 4);
    assert!(matches!(server.names.addresses("other-half.example").await, Err(ResolveError::Failed)));
}

#[tokio::test]
async fn a_server_that_is_down_holds_up_nobody() {
    let [silent, socket] = [UdpSocket::bind("127.0.0.1:0").await, UdpSocket::bind("127.0.0.1:0").await];
    let (silent, socket) = (silent.expect("a port"), socket.expect("a port"));
    let servers = [&silent, &socket].map(|socket| socket.local_addr().expect("it is bound"));
    let server = Server::behind(socket, servers.to_vec(), "", &[]);
    tokio::time::timeout(SOON, server.check("long.example", &["192.0.2.1"])).await.expect("in time");
}

#[tokio::test]
async fn names_that_hang_hold_up_no_other() {
    let server = Server::start().await;
    let names: Vec<_> = (0..50).map(|n| format!("hangs.{n}.example")).collect();
    let hanging = join_all(names.iter().map(|name| server.names.addresses(name)));
    let others = async {
        while server.names_asked() < names.len() {
            tokio::task::yield_now().await;
        }
        tokio::time::timeout(SOON, server.check("long.example", &["192.0.2.1"])).await.expect("in time");
    };
    match select(Box::pin(hanging), Box::pin(others)).await {
        Either::Left(_) => panic!("they hang"),
        Either::Right(((), _)) => {}
    }
}

#[tokio::test]
async fn who_is_among_the_hosts_is_asked_for_nowhere_else() {
    let server = Server::with("10.1.2.3 hook.internal\nfd00::7 hook.internal six.internal", &[]).await;
    server.check("hook.internal", &["10.1.2.3", "fd00::7"]).await;
    server.check("six.internal", &["fd00::7"]).await;
    assert_eq!(server.names_asked(), 0);
}

#[tokio::test]
async fn every_machine_knows_itself() {
    let config = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
    let names = Names::new(Hosts::default(), config, ResolverOpts::default());
    let found = names.addresses("localhost").await.expect("itself");
    assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
    assert!(matches!(names.addresses("example.com").await, Err(ResolveError::Failed)));
}

#[tokio::test]
async fn answers_are_bounded() {
    let server = Server::start().await;
    for n in 0..=ANSWERS_MAX {
        server.check(&format!("{n}.example"), &["192.0.2.1"]).await;
    }
    assert_eq!(server.names.kept_count(), 1);
}

#[tokio::test]
async fn files_are_read_again_when_they_have_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = Files { resolv_conf: folder.path().join("resolv.conf"), hosts: folder.path().join("hosts") };
    let hosts = files.hosts.clone();
    let resolv_conf = files.resolv_conf.clone();
    let resolver = DnsResolver { files, ..DnsResolver::default() };
    let resolve = async || resolver.resolve("hook.internal", 80).await.map(|found| found[0].to_string());
    // It is there, and cannot be read.
    fs::create_dir(&hosts).expect("a folder");
    assert!(matches!(resolve().await, Err(ResolveError::Unasked(_))));
    fs::remove_dir(&hosts).expect("removed");
    pass(LOOK_INTERVAL).await;
    // Nobody that it names can be asked, and one word is no name.
    fs::write(&resolv_conf, "nameserver nowhere\nsearch -- a..b\n").expect("written");
    // Its comment is no UTF-8.
    fs::write(&hosts, b"10.1.2.3 hook.internal # Caf\xe9\n").expect("written");
    assert_eq!(resolve().await.expect("found"), "10.1.2.3:80");
    fs::write(&hosts, "10.1.2.34 hook.internal\n").expect("written");
    pass(LOOK_INTERVAL).await;
    assert_eq!(resolve().await.expect("found"), "10.1.2.34:80");
    fs::remove_file(&hosts).expect("removed");
    fs::create_dir(&hosts).expect("a folder");
    pass(LOOK_INTERVAL).await;
    assert_eq!(resolve().await.expect("what it said before holds"), "10.1.2.34:80");
}
