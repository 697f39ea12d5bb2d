//! Compares the resolver with glibc's: the same files, the same servers, the same queries and addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use hickory_proto::rr::RecordType;
use stackbell_engine::outbound::{DnsResolver, Resolve as _};
use tokio::process::Command;
use tokio::time::timeout;

use crate::name_server::NameServers;
use crate::network::{INTERFACE, inside, write_hosts, write_resolv_conf};

/// The longest time for glibc, which waits as long as the files say. All files here allow less.
const TIME: Duration = Duration::from_secs(20);

const ZONE: &str = "
receiver.dev 93.184.216.34
receiver.dev.default.svc.cluster.local 10.96.1.1
second.dev 93.184.216.34
second.dev.svc.cluster.local 10.96.1.2
public.dev 93.184.216.34 2606:2800:220:1::1
failing.dev 93.184.216.34
failing.dev.default.svc.cluster.local servfail
failing.dev.svc.cluster.local 10.96.1.3
refusing.dev 93.184.216.34
refusing.dev.default.svc.cluster.local refused
refusing.dev.svc.cluster.local 10.96.1.4
garbled.dev 93.184.216.34
garbled.dev.default.svc.cluster.local formerr
garbled.dev.svc.cluster.local 10.96.1.5
bare.dev 93.184.216.34
bare.dev.default.svc.cluster.local nodata
alias.dev 93.184.216.34
alias.dev.default.svc.cluster.local alias:gone.example.
word 10.9.9.9
word.default.svc.cluster.local 10.96.1.6
lonely 10.9.9.8
brokenword servfail
brokenword.svc.cluster.local 10.96.1.7
hooks.slack.com 54.1.2.3 2600::1
hooks.slack.com.default.svc.cluster.local 10.66.6.6
down.example servfail
down.example.default.svc.cluster.local 10.66.6.7
long.example truncated 10.1.1.1 10.1.1.2 2001:db8::5
six.example 2001:db8::6
a.b.c.d.e 93.184.216.35
a.b.c.d.e.default.svc.cluster.local 10.96.1.8
web.example.org 10.5.5.5
";

const POD: &str = "nameserver 127.0.0.53\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";

const PLAIN: &str = "nameserver 127.0.0.53\nsearch default.svc.cluster.local svc.cluster.local\n";

/// A file and a name for which both must give the same result.
const CASES: &[(&str, &str)] = &[
    (POD, "receiver.dev"),
    (POD, "receiver.dev."),
    (POD, "second.dev"),
    (POD, "public.dev"),
    (POD, "failing.dev"),
    (POD, "refusing.dev"),
    (POD, "garbled.dev"),
    (POD, "bare.dev"),
    (POD, "alias.dev"),
    (POD, "word"),
    (POD, "word."),
    (POD, "lonely"),
    (POD, "hooks.slack.com"),
    (POD, "a.b.c.d.e"),
    (POD, "nowhere.example"),
    (PLAIN, "receiver.dev"),
    (PLAIN, "word"),
    (PLAIN, "lonely"),
    (PLAIN, "brokenword"),
    (PLAIN, "hooks.slack.com"),
    (PLAIN, "down.example"),
    (PLAIN, "nowhere.example"),
    (PLAIN, "nowhere"),
    ("nameserver 127.0.0.53\n", "lonely"),
    ("nameserver 127.0.0.53\n", "long.example"),
    ("nameserver 127.0.0.53\noptions use-vc\n", "public.dev"),
    ("nameserver 127.0.0.53\noptions edns0\n", "public.dev"),
    ("nameserver 127.0.0.53\noptions no-aaaa\n", "public.dev"),
    ("nameserver 127.0.0.53\noptions single-request\n", "public.dev"),
    ("nameserver 127.0.0.53\n", "six.example"),
    ("nameserver 127.0.0.53\noptions ndots:0\nsearch default.svc.cluster.local\n", "word"),
    ("nameserver 127.0.0.53\noptions ndots:4\nsearch default.svc.cluster.local\n", "a.b.c.d.e"),
    ("nameserver 127.0.0.53\noptions ndots:99\nsearch default.svc.cluster.local\n", "a.b.c.d.e"),
    ("nameserver 127.0.0.53\noptions ndots:5x\nsearch default.svc.cluster.local\n", "receiver.dev"),
    ("nameserver 127.0.0.53\nsearch svc.cluster.local\ndomain default.svc.cluster.local\n", "word"),
    ("nameserver 127.0.0.53\ndomain svc.cluster.local\nsearch default.svc.cluster.local\n", "word"),
    ("nameserver 127.0.0.53\nsearch\tdefault.svc.cluster.local # word\n", "word"),
    ("nameserver 127.0.0.53\n search default.svc.cluster.local\n", "word"),
    ("nameserver 127.0.0.53\nsearch .default.svc.cluster.local\n", "word"),
    ("nameserver 127.0.0.53\nsearch . default.svc.cluster.local\n", "word"),
    ("nameserver 127.0.0.53\noptions no-tld-query\nsearch svc.cluster.local\n", "lonely"),
    (
        "; nameserver 127.0.0.9\nnameserver nowhere\n  nameserver 127.0.0.9\nnameserver 127.0.0.53 # ours\n",
        "lonely",
    ),
    ("nameserver 127.53\n", "lonely"),
    ("", "lonely"),
    ("nameserver ::1\n", "lonely"),
    ("nameserver fe80::53%lost0\n", "lonely"),
    ("nameserver 127.0.0.54\nnameserver 127.0.0.53\noptions timeout:1 attempts:1\n", "lonely"),
    ("nameserver 127.0.0.54\nnameserver 127.0.0.53\noptions timeout:0 attempts:1\n", "lonely"),
    ("nameserver 127.0.0.99\nnameserver 127.0.0.53\n", "lonely"),
    ("nameserver 127.0.0.55\nnameserver 127.0.0.53\n", "lonely"),
    (
        "nameserver 127.0.0.55\nnameserver 127.0.0.55\nnameserver 127.0.0.55\nnameserver 127.0.0.53\n",
        "lonely",
    ),
    ("nameserver 127.0.0.54\noptions timeout:1 attempts:3\n", "lonely"),
    ("nameserver 127.0.0.99\n", "lonely"),
    (POD, "hosts.example"),
    (POD, "hosts.example."),
    (POD, "Mixed.Hosts"),
    (POD, "twice.hosts"),
];

const HOSTS: &str = "127.0.0.1 localhost\n10.7.7.7 hosts.example # ours\n10.7.7.8 mixed.hosts Twice.Hosts\nfd00::9 twice.hosts\n";

/// The addresses of the name servers, and their behaviour: normal records, no response, or an error.
async fn servers() -> NameServers {
    let mut servers = NameServers::new();
    for address in ["127.0.0.53:53", "127.0.0.1:53", "[::1]:53"] {
        servers.add(address.parse().expect("an address"), ZONE).await;
    }
    let index = std::fs::read_to_string(format!("/sys/class/net/{INTERFACE}/ifindex"));
    // /sys may belong to another network namespace.
    let index = match index {
        Ok(index) => index.trim().parse().expect("a number"),
        Err(_) => index_by_ip().await,
    };
    let link = SocketAddrV6::new("fe80::53".parse().expect("an address"), 53, 0, index);
    servers.add(SocketAddr::V6(link), ZONE).await;
    servers.add("127.0.0.54:53".parse().expect("an address"), "lonely silent").await;
    servers.add("127.0.0.55:53".parse().expect("an address"), "lonely servfail").await;
    servers
}

async fn index_by_ip() -> u32 {
    let output = Command::new("ip").args(["-o", "link", "show", INTERFACE]).output().await.expect("ip runs");
    let text = String::from_utf8(output.stdout).expect("text");
    text.split(':').next().and_then(|index| index.trim().parse().ok()).expect("an index")
}

/// The result of a lookup: the addresses, and each server with the names that it was asked for.
type Lookup = (BTreeSet<IpAddr>, Vec<(IpAddr, String)>);

/// Returns the queries for IPv4 only, because both families are queried in the same way and at the same time. A repeated query
/// counts once, because on a busy machine a response may come after the query was repeated.
fn asked(servers: &NameServers) -> Vec<(IpAddr, String)> {
    let mut asked = Vec::new();
    for (server, name, family) in servers.take_log() {
        let question = (server, name);
        if family == RecordType::A && !asked.contains(&question) {
            asked.push(question);
        }
    }
    asked
}

async fn by_glibc(servers: &NameServers, host: &str) -> Lookup {
    let output = timeout(TIME, Command::new("getent").args(["ahosts", host]).kill_on_drop(true).output());
    let output = output.await.expect("in time").expect("getent runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let address = |line: &str| line.split_whitespace().next().and_then(|word| word.parse().ok());
    (text.lines().filter_map(address).collect(), asked(servers))
}

async fn by_us(servers: &NameServers, host: &str) -> Lookup {
    // Hosts in URLs are in lower case.
    let resolver = DnsResolver::default();
    let host = host.to_ascii_lowercase();
    let found = timeout(TIME, resolver.resolve(&host, 80)).await.expect("in time");
    let mut addresses = BTreeSet::new();
    if let Ok(found) = found {
        addresses.extend(found.addresses.iter().map(SocketAddr::ip));
        if let Some(later) = found.later {
            addresses.extend(later.await.iter().flatten().map(SocketAddr::ip));
        }
    }
    (addresses, asked(servers))
}

#[test]
#[ignore = "takes root and a network namespace: ./test runs it"]
fn glibc_and_we_ask_the_same_questions_and_find_the_same_addresses() {
    inside(async {
        write_hosts(HOSTS);
        let servers = servers().await;
        let mut differences = Vec::new();
        for (conf, host) in CASES {
            write_resolv_conf(conf);
            let (glibc, ours) = (by_glibc(&servers, host).await, by_us(&servers, host).await);
            if glibc != ours {
                differences.push(format!("{host} with {conf:?}:\n  glibc {glibc:?}\n  ours  {ours:?}"));
            }
        }
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        // Two empty results would be equal, too, and prove nothing.
        write_resolv_conf(POD);
        let (addresses, asked) = by_us(&servers, "receiver.dev").await;
        assert_eq!(addresses, BTreeSet::from(["10.96.1.1".parse().expect("an address")]));
        assert_eq!(asked.len(), 1);
    });
}

/// In these cases our resolver differs from glibc on purpose.
#[test]
#[ignore = "takes root and a network namespace: ./test runs it"]
fn lost_answers_and_servers_without_edns_are_met_better_than_glibc_does() {
    inside(async {
        write_hosts("");
        let mut servers = NameServers::new();
        let zone = "lost.dev 93.184.216.34\nlost.dev.svc.cluster.local silent\nold.dev noedns 10.1.1.1\nhalf.dev silent6 10.1.1.2";
        servers.add("127.0.0.53:53".parse().expect("an address"), zone).await;
        write_resolv_conf(
            "nameserver 127.0.0.53\nsearch svc.cluster.local\noptions ndots:5 timeout:1 attempts:1\n",
        );
        let (addresses, asked) = by_us(&servers, "lost.dev").await;
        assert!(addresses.is_empty(), "the payload would go to {addresses:?}");
        assert_eq!(asked.len(), 1, "{asked:?}");
        write_resolv_conf("nameserver 127.0.0.53\noptions edns0\n");
        let (addresses, _) = by_us(&servers, "old.dev").await;
        assert_eq!(addresses, BTreeSet::from(["10.1.1.1".parse().expect("an address")]));
        write_resolv_conf("nameserver 127.0.0.53\noptions timeout:30\n");
        let resolver = DnsResolver::default();
        let found = timeout(TIME, resolver.resolve("half.dev", 80)).await.expect("without the lost answer");
        assert_eq!(found.expect("found").addresses, ["10.1.1.2:80".parse().expect("an address")]);
    });
}
