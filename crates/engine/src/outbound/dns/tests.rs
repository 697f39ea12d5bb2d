mod half;
mod joined;
mod server;

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use futures_util::future::{Either, join_all, select};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;

use self::server::Server;
use super::answers::ANSWERS_MAX;
use super::hosts::Hosts;
use super::reply::FAMILY_ADDRESSES_MAX;
use super::resolv_conf::ResolvConf;
use super::*;

/// Far longer than an answer takes, and far shorter than the time until a lookup gives up.
const SOON: Duration = Duration::from_secs(2);

/// Advances the time.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn an_answer_is_kept_as_long_as_it_holds() {
    let server = Server::start().await;
    for _ in 0..3 {
        server.check("lasting.example", &["192.0.2.1"]).await;
        server.check("brief.example", &["192.0.2.1"]).await;
        server.check("middling.example", &["192.0.2.1"]).await;
        server.check("my_service.example", &["192.0.2.1"]).await;
    }
    assert_eq!(server.asked("lasting.example"), 2, "once for each family, though it has none of one");
    assert_eq!(server.asked("brief.example"), 6);
    assert_eq!(server.asked("middling.example"), 2);
    pass(Duration::from_secs(31)).await;
    server.check("middling.example", &["192.0.2.1"]).await;
    server.check("lasting.example", &["192.0.2.1"]).await;
    assert_eq!((server.asked("middling.example"), server.asked("lasting.example")), (4, 2));
}

#[tokio::test]
async fn both_families_are_asked_for() {
    let server = Server::start().await;
    server
        .check("both.example", &["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8::3"])
        .await;
    let many = server.names.addresses("many.example").await.expect("some").addresses;
    assert_eq!(many.iter().filter(|address| address.is_ipv4()).count(), FAMILY_ADDRESSES_MAX);
    assert_eq!(many.iter().filter(|address| address.is_ipv6()).count(), FAMILY_ADDRESSES_MAX);
    let server = Server::with("options no-aaaa\n").await;
    server.check("both.example", &["192.0.2.1", "192.0.2.2"]).await;
    assert_eq!(server.asked("both.example"), 1);
}

#[tokio::test]
async fn an_error_says_why_there_is_no_address() {
    for conf in ["", "search corp.internal\noptions ndots:5\n", "search corp.internal\n"] {
        let server = Server::with(conf).await;
        assert!(matches!(server.error("nobody.example").await, ResolveError::NoName));
        assert!(matches!(server.error("empty.example").await, ResolveError::NoAddress));
        assert!(matches!(server.error("broken.example.").await, ResolveError::Failed));
        assert!(matches!(server.error("referral.example").await, ResolveError::Failed));
        assert!(matches!(server.error(&format!("{}.example", "a".repeat(70))).await, ResolveError::NoName));
        assert!(matches!(server.error("hook.invalid.").await, ResolveError::NoName));
        assert_eq!(server.asked("hook.invalid"), 0);
    }
}

#[tokio::test]
async fn errors_are_kept_as_long_as_they_hold() {
    let server = Server::start().await;
    let ask_all = async || {
        assert!(matches!(server.error("nobody.example").await, ResolveError::NoName));
        assert!(matches!(server.error("empty.example").await, ResolveError::NoAddress));
        assert!(matches!(server.error("soon.corp.internal").await, ResolveError::NoName));
        assert!(matches!(server.error("refused.corp.internal").await, ResolveError::Failed));
        ["nobody.example", "empty.example", "soon.corp.internal", "refused.corp.internal"]
            .map(|name| server.asked(name))
    };
    let once = ask_all().await;
    assert_eq!(ask_all().await, once, "all of them are kept");
    // A failure is cached for 2 s, "there is none" for 5 s or as long as the answer says.
    pass(Duration::from_secs(3)).await;
    let again = ask_all().await;
    assert_eq!(again[..3], once[..3]);
    assert!(again[3] > once[3]);
    pass(Duration::from_secs(5)).await;
    let later = ask_all().await;
    assert!(later[0] > again[0] && later[1] > again[1]);
    assert_eq!(later[2], again[2], "the zone says 20 s");
    pass(Duration::from_secs(21)).await;
    assert!(ask_all().await[2] > later[2]);
}

const POD: &str = "search team.corp.internal corp.internal\noptions ndots:5\n";

#[tokio::test]
async fn a_searched_name_goes_before_the_public_one() {
    let server = Server::with(POD).await;
    server.check("hook.dev", &["192.0.2.1"]).await;
    assert_eq!(server.names_asked(), ["hook.dev.team.corp.internal", "hook.dev.corp.internal", "hook.dev"]);
    let server = Server::with(POD).await;
    server.check("hook", &["192.0.2.1"]).await;
    assert_eq!(
        server.names_asked(),
        ["hook.team.corp.internal", "hook.corp.internal"],
        "and the public one is not asked"
    );
    let server = Server::with(POD).await;
    server.check("hook.dev.", &["192.0.2.1"]).await;
    assert_eq!(server.names_asked(), ["hook.dev"], "a dot at the end makes a name absolute");
}

/// Checks which names are looked up, and how often, if earlier ones have no address.
async fn check_asked(conf: &str, host: &str, expected: &[&str]) {
    let server = Server::with(conf).await;
    let _ = server.names.addresses(host).await;
    assert_eq!(server.names_asked(), expected, "{host} with {conf:?}");
}

#[tokio::test]
async fn failures_end_a_search_or_not_as_in_glibc() {
    let one_try = format!("{POD}options attempts:1\n");
    let all = ["broken.team.corp.internal", "broken.corp.internal"];
    check_asked(&one_try, "broken", &all).await;
    check_asked(POD, "broken", &[all[0], all[0], all[1]]).await;
    let dotted = ["broken.x", "broken.x.team.corp.internal", "broken.x.corp.internal"];
    check_asked("search team.corp.internal corp.internal\noptions attempts:1\n", "broken.x", &dotted).await;
    // The rest of the search list is skipped; the name itself is not.
    check_asked(&one_try, "refused.x", &["refused.x.team.corp.internal", "refused.x"]).await;
    check_asked(&one_try, "empty.x", &["empty.x.team.corp.internal", "empty.x.corp.internal", "empty.x"])
        .await;
    // The first name exists, although it leads to no address.
    check_asked(&one_try, "nowhere.x", &["nowhere.x.team.corp.internal"]).await;
}

#[tokio::test]
async fn a_lost_answer_sends_nothing_to_another_name() {
    let server = Server::with(&format!("{POD}options timeout:1 attempts:1\n")).await;
    assert!(matches!(server.error("lost.x").await, ResolveError::TimedOut));
    assert_eq!(server.names_asked(), ["lost.x.team.corp.internal"]);
}

#[tokio::test]
async fn an_answer_holds_no_longer_than_the_reason_to_pass_over_a_name() {
    let server = Server::with("search corp.internal\noptions ndots:5\n").await;
    server.check("soon.example", &["192.0.2.1"]).await;
    pass(Duration::from_secs(19)).await;
    server.check("soon.example", &["192.0.2.1"]).await;
    assert_eq!(server.asked("soon.example.corp.internal"), 2);
    pass(Duration::from_secs(2)).await;
    server.check("soon.example", &["192.0.2.1"]).await;
    assert_eq!(server.asked("soon.example.corp.internal"), 4);
}

#[tokio::test]
async fn half_an_answer_is_used_and_kept_for_a_short_time() {
    let server = Server::start().await;
    for _ in 0..2 {
        server.check("half.example", &["2001:db8::1"]).await;
        server.check("no6.example", &["192.0.2.1"]).await;
    }
    let before = server.asked("half.example");
    pass(Duration::from_secs(61)).await;
    server.check("half.example", &["2001:db8::1"]).await;
    server.check("no6.example", &["192.0.2.1"]).await;
    assert!(server.asked("half.example") > before);
    assert_eq!(server.asked("no6.example"), 2);
    assert!(matches!(server.error("other-half.example").await, ResolveError::Failed));
}

#[tokio::test]
async fn a_family_without_an_answer_is_awaited_apart_and_once() {
    let server = Server::start().await;
    for (name, expected) in [("mute6.example", "192.0.2.1"), ("mute4.example", "2001:db8::1")] {
        let found =
            tokio::time::timeout(SOON, server.names.addresses(name)).await.expect("in time").expect("found");
        assert_eq!(*found.addresses, [expected.parse::<IpAddr>().expect("an address")]);
        assert!(found.later.is_some(), "the other family may still come");
        // The connection is made, so no caller waits any more.
        drop(found);
        let asked = server.asked(name);
        let found = server.names.addresses(name).await.expect("found");
        assert!(found.later.is_none());
        assert_eq!(server.asked(name), asked, "it is known that one family is not answered");
        pass(Duration::from_secs(61)).await;
        assert!(server.names.addresses(name).await.expect("found").later.is_some());
        pass(Duration::from_secs(61)).await;
    }
}

#[tokio::test]
async fn aliases_are_followed_within_an_answer() {
    let server = Server::start().await;
    server.check("alias.example", &["192.0.2.1", "2001:db8::1"]).await;
    pass(Duration::from_secs(31)).await;
    server.check("alias.example", &["192.0.2.1", "2001:db8::1"]).await;
    assert_eq!(server.asked("alias.example"), 4, "the alias holds for 30 s");
    assert!(matches!(server.error("circle.example").await, ResolveError::NoAddress));
}

#[tokio::test]
async fn long_answers_come_by_tcp() {
    let server = Server::start().await;
    let found = server.names.addresses("long.example").await.expect("found").addresses;
    assert_eq!(found.len(), FAMILY_ADDRESSES_MAX);
    assert_eq!(server.asked("long.example"), 4);
    let server = Server::with("options use-vc\n").await;
    server.check("lasting.example", &["192.0.2.1"]).await;
}

#[tokio::test]
async fn servers_without_edns_are_asked_without() {
    let server = Server::with("options edns0\n").await;
    server.check("oldest.example", &["192.0.2.1"]).await;
    server.check("older.example", &["192.0.2.1"]).await;
    assert!(server.asked("older.example") < 4, "what a server lacks is remembered");
    let server = Server::with("options edns0\n").await;
    server.check("older.example", &["192.0.2.1"]).await;
    let server = Server::start().await;
    server.check("oldest.example", &["192.0.2.1"]).await;
    assert_eq!(server.asked("oldest.example"), 2, "without the option there is no EDNS");
}

#[tokio::test]
async fn forged_answers_are_ignored() {
    let server = Server::with("options timeout:1 attempts:1\n").await;
    assert!(matches!(server.error("forged.example").await, ResolveError::TimedOut));
}

#[tokio::test]
async fn a_silent_server_is_asked_as_often_as_the_file_says() {
    for (conf, expected) in
        [("timeout:0 attempts:1", 1), ("timeout:1 attempts:3", 3), ("timeout:1 attempts:0", 1)]
    {
        let server = Server::with(&format!("options {conf}\n")).await;
        assert!(matches!(server.error("hangs.example").await, ResolveError::TimedOut));
        assert_eq!(server.names_asked().len(), expected, "{conf}");
        server.check("lasting.example", &["192.0.2.1"]).await;
    }
}

#[tokio::test]
async fn a_server_that_is_down_holds_up_nobody() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let silent = silent.local_addr().expect("it is bound");
    let closed = "127.0.0.1:1".parse().expect("an address");
    let server = Server::among("options timeout:1\n", "", &[silent, closed]).await;
    server.check("lasting.example", &["192.0.2.1"]).await;
    assert_eq!(server.asked("lasting.example"), 2);
}

/// A name server that answers when the test says so.
struct Slow {
    socket: UdpSocket,
}

impl Slow {
    async fn start() -> (Self, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("it is bound");
        (Self { socket }, address)
    }

    /// Receives the next question, with the address of its sender.
    async fn question(&self) -> (Message, SocketAddr) {
        let mut buffer = [0; 4096];
        let (length, peer) = self.socket.recv_from(&mut buffer).await.expect("a datagram");
        (Message::from_vec(&buffer[..length]).expect("a question"), peer)
    }

    /// Answers with the address 192.0.2.77.
    async fn answer(&self, (question, peer): (Message, SocketAddr)) {
        let name = question.queries[0].name().clone();
        let mut response = question.into_response();
        response.metadata.recursion_available = true;
        response.add_answer(Record::from_rdata(name, 60, RData::A(Ipv4Addr::new(192, 0, 2, 77).into())));
        self.socket.send_to(&response.to_vec().expect("bytes"), peer).await.expect("sent");
    }

    /// Answers with a failure.
    async fn fail(&self, (question, peer): (Message, SocketAddr)) {
        let mut response = question.into_response();
        response.metadata.response_code = ResponseCode::ServFail;
        self.socket.send_to(&response.to_vec().expect("bytes"), peer).await.expect("sent");
    }

    /// Whether there are no unread questions.
    fn has_no_question(&self) -> bool {
        self.socket.try_recv_from(&mut [0; 4096]).is_err()
    }
}

#[tokio::test]
async fn a_server_that_answered_nobody_is_waited_for_a_short_time() {
    let (slow, address) = Slow::start().await;
    let server = Server::among("options no-aaaa timeout:1\n", "", &[address]).await;
    server.check("first.example", &["192.0.2.1"]).await;
    assert_eq!(server.names.unresponsive(), [address]);
    let _first = slow.question().await;
    // The second server is asked meanwhile. Its "there is no such name" must not overtake the first server's address.
    let others = async {
        let question = slow.question().await;
        while server.asked("nobody.example") == 0 {
            tokio::task::yield_now().await;
        }
        slow.answer(question).await;
    };
    tokio::join!(server.check("nobody.example", &["192.0.2.77"]), others);
    assert!(server.names.unresponsive().is_empty(), "it has answered");
    // The first server's time has passed without an answer, so the second server decides.
    assert!(matches!(server.error("nobody.other.example").await, ResolveError::NoName));
}

#[tokio::test]
async fn one_name_that_hangs_tells_nothing_about_the_server() {
    let (slow, address) = Slow::start().await;
    let server = Server::among("options no-aaaa timeout:1\n", "", &[address]).await;
    let hanging = server.check("lasting.example", &["192.0.2.1"]);
    let working = async {
        let _hangs = slow.question().await;
        let works = async { slow.answer(slow.question().await).await };
        tokio::join!(server.check("works.example", &["192.0.2.77"]), works);
    };
    tokio::join!(hanging, working);
    assert!(server.names.unresponsive().is_empty());
}

/// One of two servers is silent. A lost packet must not send the payload to another host.
#[tokio::test]
async fn silence_of_one_server_outweighs_the_failure_of_another() {
    let (_silent, silent) = Slow::start().await;
    let conf = "search corp.internal\noptions ndots:5 timeout:1 attempts:1\n";
    let check = async |host: &str, is_silent_first: bool| {
        let failing = Server::start().await;
        let mut conf = ResolvConf::parse(conf, "box", |_| None);
        conf.servers = failing.names.servers();
        conf.servers.insert(if is_silent_first { 0 } else { 1 }, silent);
        let names = Arc::new(Names::new(Hosts::default(), conf));
        let error = names.addresses(host).await.err();
        assert!(matches!(error, Some(ResolveError::TimedOut)), "{host}: {error:?}");
        assert_eq!(failing.asked(host), 0, "the search must not go on to {host}");
    };
    tokio::join!(
        check("refused.x", true),
        check("refused.x", false),
        check("broken.sub.x", true),
        check("broken.sub.x", false),
        check("garbled.x", true),
    );
}

#[tokio::test]
async fn servers_that_fail_or_refuse_give_way_to_the_next() {
    let failing = Server::start().await;
    let others = failing.names.servers();
    let server = Server::among("search team.corp.internal\noptions ndots:5\n", "", &others).await;
    server.check("lasting.example", &["192.0.2.1"]).await;
    assert_eq!(failing.asked("lasting.example.team.corp.internal"), 2);
    assert!(matches!(server.error("broken.example.").await, ResolveError::Failed));
    assert_eq!(
        (failing.asked("broken.example"), server.asked("broken.example")),
        (4, 4),
        "two attempts each"
    );
}

#[tokio::test]
async fn rotating_servers_share_the_lookups() {
    let other = Server::start().await;
    let server = Server::among("options rotate\n", "", &other.names.servers()).await;
    for n in 0..4 {
        server.check(&format!("{n}.example"), &["192.0.2.1"]).await;
    }
    assert_eq!((server.names_asked().len(), other.names_asked().len()), (2, 2));
}

#[tokio::test]
async fn no_server_at_all_is_an_error_of_its_own() {
    let mut conf = ResolvConf::parse(POD, "box", |_| None);
    conf.servers = vec!["127.0.0.1:1".parse().expect("an address")];
    let names = Arc::new(Names::new(Hosts::default(), conf));
    assert!(matches!(names.addresses("example.com").await, Err(ResolveError::Unasked(_))));
}

#[tokio::test]
async fn names_that_hang_hold_up_no_other() {
    let server = Server::start().await;
    let names: Vec<_> = (0..50).map(|n| format!("hangs.{n}.example")).collect();
    let hanging = join_all(names.iter().map(|name| server.names.addresses(name)));
    let others = async {
        while server.names_asked().len() < names.len() {
            tokio::task::yield_now().await;
        }
        tokio::time::timeout(SOON, server.check("lasting.example", &["192.0.2.1"])).await.expect("in time");
    };
    match select(Box::pin(hanging), Box::pin(others)).await {
        Either::Left(_) => panic!("they hang"),
        Either::Right(((), _)) => {}
    }
}

#[tokio::test]
async fn names_among_the_hosts_are_asked_for_nowhere_else() {
    let hosts = "10.1.2.3 hook.internal\nfd00::7 hook.internal six.internal";
    let server = Server::among("search corp.internal\n", hosts, &[]).await;
    server.check("hook.internal", &["10.1.2.3", "fd00::7"]).await;
    server.check("six.internal", &["fd00::7"]).await;
    assert!(server.names_asked().is_empty());
}

#[tokio::test]
async fn every_machine_knows_itself() {
    let server = Server::with(POD).await;
    for host in ["localhost", "localhost.", "hook.localhost"] {
        server.check(host, &["::1", "127.0.0.1"]).await;
    }
    assert!(server.names_asked().is_empty());
}

#[tokio::test]
async fn answers_are_bounded() {
    let server = Server::start().await;
    for n in 0..=ANSWERS_MAX {
        server.check(&format!("{n}.example"), &["192.0.2.1"]).await;
    }
    assert_eq!(server.names.counts(), (1, 1));
}

#[tokio::test]
async fn files_are_read_again_when_they_have_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = Files { resolv_conf: folder.path().join("resolv.conf"), hosts: folder.path().join("hosts") };
    let hosts = files.hosts.clone();
    let resolv_conf = files.resolv_conf.clone();
    let resolver = DnsResolver { files, ..DnsResolver::default() };
    let resolve =
        async || resolver.resolve("hook.internal", 80).await.map(|found| found.addresses[0].to_string());
    // The file exists and cannot be read.
    fs::create_dir(&hosts).expect("a folder");
    assert!(matches!(resolve().await, Err(ResolveError::Unasked(_))));
    fs::remove_dir(&hosts).expect("removed");
    pass(LOOK_INTERVAL).await;
    // No listed server is valid, and one search domain is not a name.
    fs::write(&resolv_conf, "nameserver nowhere\nsearch -- a..b\n").expect("written");
    // The comment is not UTF-8.
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
