//! `/etc/resolv.conf`, read as glibc reads it, and the candidate names that follow from it.
//!
//! Source: resolv.conf(5), and `resolv/res_init.c` and `resolv/res_query.c` of glibc 2.36.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use hickory_proto::rr::Name;
use url::Host;

/// Further name servers are ignored. Source: `MAXNS` in glibc's resolv.h.
const SERVERS_MAX: usize = 3;

/// Larger values of `ndots` are capped at this one. Source: `RES_MAXNDOTS`.
const NDOTS_MAX: u64 = 15;

/// Larger values of `timeout` are capped at this one. Source: `RES_MAXRETRANS`.
const TIMEOUT_SECONDS_MAX: u64 = 30;

/// Larger values of `attempts` are capped at this one. Source: `RES_MAXRETRY`.
const ATTEMPTS_MAX: u64 = 5;

const PORT: u16 = 53;

/// The name servers, how to query them, and the search domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResolvConf {
    /// One to three servers, in the order in which they are asked.
    pub(super) servers: Vec<SocketAddr>,
    /// The search domains (absolute). The root stands for the name as it is.
    pub(super) search: Vec<Name>,
    /// A name with at least this many dots is tried as it is first.
    pub(super) ndots: usize,
    /// How long to wait for a server: 1 to 30 s.
    pub(super) timeout: Duration,
    /// How often each server is asked: 1 to 5 times.
    pub(super) attempts: u32,
    /// Each lookup starts at the next server.
    pub(super) rotate: bool,
    /// Questions go over TCP.
    pub(super) tcp: bool,
    pub(super) edns: bool,
    /// IPv6 addresses are not looked up.
    pub(super) no_aaaa: bool,
    /// A name without a dot is never tried as it is.
    pub(super) no_tld_query: bool,
}

impl Default for ResolvConf {
    fn default() -> Self {
        Self {
            servers: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))],
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            tcp: false,
            edns: false,
            no_aaaa: false,
            no_tld_query: false,
        }
    }
}

/// A name to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The absolute name.
    pub(super) name: Name,
    /// The name is the host itself, without a search domain.
    pub(super) as_is: bool,
}

impl ResolvConf {
    /// Parses the text of the file. `host_name` is the name of this machine; its domain is searched if the file has no search
    /// domains. `interface` finds the index of an interface by its name.
    ///
    /// Keywords stand at the start of a line. Unreadable lines and words are ignored.
    pub(super) fn parse(text: &str, host_name: &str, interface: impl Fn(&str) -> Option<u32>) -> Self {
        let mut parsed = Self::default();
        let mut servers = Vec::new();
        let mut search = None;
        for line in text.lines() {
            let Some((keyword, rest)) = line.split_once([' ', '\t']) else { continue };
            let mut words = rest.split_ascii_whitespace();
            match keyword {
                "nameserver" => servers.extend(words.next().and_then(|word| server(word, &interface))),
                "domain" => search = words.next().map(|word| vec![word.to_owned()]).or(search),
                "search" => {
                    let words: Vec<_> = words.map(str::to_owned).collect();
                    search = Some(words).filter(|words| !words.is_empty()).or(search);
                }
                "options" => words.for_each(|word| parsed.option(word)),
                _ => {}
            }
        }
        servers.truncate(SERVERS_MAX);
        if !servers.is_empty() {
            parsed.servers = servers;
        }
        let own_domain = || host_name.split_once('.').map(|(_, domain)| domain.to_owned());
        let search = search.unwrap_or_else(|| own_domain().into_iter().collect());
        parsed.search = search.iter().filter_map(|word| domain(word)).collect();
        parsed
    }

    fn option(&mut self, word: &str) {
        match word.split_once(':') {
            Some(("ndots", value)) => self.ndots = number(value).min(NDOTS_MAX) as usize,
            // Zero counts as one second, as in glibc.
            Some(("timeout", value)) => {
                self.timeout = Duration::from_secs(number(value).clamp(1, TIMEOUT_SECONDS_MAX));
            }
            // glibc asks no server at all with zero; here zero counts as one.
            Some(("attempts", value)) => self.attempts = number(value).clamp(1, ATTEMPTS_MAX) as u32,
            Some(_) => {}
            None => match word {
                "rotate" => self.rotate = true,
                "use-vc" => self.tcp = true,
                "edns0" => self.edns = true,
                "no-aaaa" => self.no_aaaa = true,
                "no-tld-query" => self.no_tld_query = true,
                _ => {}
            },
        }
    }

    /// The names to try in turn for `host`; `None` if no such name can exist.
    pub(super) fn candidates(&self, host: &str) -> Option<Vec<Candidate>> {
        let (word, absolute) = match host.strip_suffix('.') {
            Some(word) => (word, true),
            None => (host, false),
        };
        let name = absolute_name(word)?;
        let dots = word.bytes().filter(|byte| *byte == b'.').count();
        let as_is = Candidate { name: name.clone(), as_is: true };
        if absolute {
            return Some(vec![as_is]);
        }
        let mut candidates = Vec::with_capacity(self.search.len() + 1);
        if dots >= self.ndots {
            candidates.push(as_is.clone());
        }
        for domain in &self.search {
            // A name that is too long cannot exist.
            let Ok(longer) = name.clone().append_domain(domain) else { continue };
            let is_whole = domain.is_root();
            if !is_whole || !candidates.iter().any(|candidate| candidate.as_is) {
                candidates.push(Candidate { name: longer, as_is: is_whole });
            }
        }
        let withheld = self.no_tld_query && dots == 0 && !self.search.is_empty();
        if !withheld && !candidates.iter().any(|candidate| candidate.as_is) {
            candidates.push(as_is);
        }
        Some(candidates)
    }
}

/// Parses a host name. Hosts in URLs are ASCII; underscores, which container hosts have, are accepted.
fn absolute_name(word: &str) -> Option<Name> {
    let mut name = Name::from_ascii(word).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn domain(word: &str) -> Option<Name> {
    if word == "." { Some(Name::root()) } else { absolute_name(word.strip_prefix('.').unwrap_or(word)) }
}

/// The number at the start of a text, as C's `atoi` reads it; negative numbers count as 0.
fn number(text: &str) -> u64 {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let digits = &text[..end];
    if digits.is_empty() { 0 } else { digits.parse().unwrap_or(u64::MAX) }
}

fn server(word: &str, interface: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let (address, zone) = match word.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (word, None),
    };
    if let Ok(v6) = address.parse::<Ipv6Addr>() {
        let scope = zone.and_then(|zone| scope(v6, zone, interface)).unwrap_or(0);
        return Some(SocketAddr::V6(SocketAddrV6::new(v6, PORT, 0, scope)));
    }
    // glibc parses IPv4 addresses with `inet_aton`, which also accepts 127.1. The URL parser does the same.
    match Host::parse(word) {
        Ok(Host::Ipv4(v4)) => Some(SocketAddr::new(IpAddr::V4(v4), PORT)),
        Ok(Host::Ipv6(_) | Host::Domain(_)) | Err(_) => None,
    }
}

/// Resolves a zone. Link-local addresses have zones by name; any address accepts a number.
fn scope(address: Ipv6Addr, zone: &str, interface: impl Fn(&str) -> Option<u32>) -> Option<u32> {
    let of_one_link = address.is_unicast_link_local() || address.octets()[..2] == [0xff, 0x02];
    let by_name = if of_one_link { interface(zone) } else { None };
    by_name.or_else(|| zone.parse().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> ResolvConf {
        ResolvConf::parse(text, "box", |name| (name == "eth0").then_some(7))
    }

    fn check_servers(text: &str, expected: &[&str]) {
        let servers: Vec<_> = parse(text).servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, expected, "{text:?}");
    }

    #[test]
    fn name_servers() {
        check_servers("", &["127.0.0.1:53"]);
        check_servers("nameserver nowhere\n", &["127.0.0.1:53"]);
        check_servers(
            "nameserver 10.0.0.1 # the first\nnameserver\t 10.0.0.2\n",
            &["10.0.0.1:53", "10.0.0.2:53"],
        );
        check_servers("nameserver 10.0.0.1\n;nameserver 10.0.0.2\n#nameserver 10.0.0.3\n", &["10.0.0.1:53"]);
        check_servers("  nameserver 10.0.0.1\nnameserver10.0.0.2\nnameserver 10.1\n", &["10.0.0.1:53"]);
        check_servers("nameserver 10.0.0.1\r\n", &["10.0.0.1:53"]);
        check_servers("nameserver ::1\nnameserver fd00::53\n", &["[::1]:53", "[fd00::53]:53"]);
        check_servers(
            "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n",
            &["10.0.0.1:53", "10.0.0.2:53", "10.0.0.3:53"],
        );
    }

    #[test]
    fn name_servers_of_one_link() {
        check_servers("nameserver fe80::1%eth0\n", &["[fe80::1%7]:53"]);
        check_servers("nameserver fe80::1%3\n", &["[fe80::1%3]:53"]);
        check_servers("nameserver fe80::1%wlan9\n", &["[fe80::1]:53"]);
        check_servers("nameserver fe80::1\n", &["[fe80::1]:53"]);
        check_servers("nameserver fd00::1%eth0\n", &["[fd00::1]:53"]);
    }

    fn check_options(text: &str, expected: (usize, u64, u32)) {
        let parsed = parse(text);
        assert_eq!((parsed.ndots, parsed.timeout.as_secs(), parsed.attempts), expected, "{text:?}");
    }

    #[test]
    fn numbers_among_options() {
        check_options("", (1, 5, 2));
        check_options("options ndots:5 timeout:2 attempts:3\n", (5, 2, 3));
        check_options("options ndots:5\noptions\ttimeout:2\n", (5, 2, 2));
        check_options("options timeout:0 attempts:0 ndots:0\n", (0, 1, 1));
        check_options("options timeout:99 attempts:99 ndots:99\n", (15, 30, 5));
        check_options("options timeout:3s attempts:one ndots:\n", (0, 3, 1));
        check_options("options timeout attempts=3 ndots:-2\n", (0, 5, 2));
        check_options("options timeout:99999999999999999999\n", (1, 30, 2));
    }

    #[test]
    fn other_options() {
        let text =
            "options rotate use-vc edns0 no-aaaa no-tld-query single-request inet6 debug trust-ad odd\n";
        let parsed = parse(text);
        assert!(parsed.rotate && parsed.tcp && parsed.edns && parsed.no_aaaa && parsed.no_tld_query);
        assert_eq!(parse("options\nsortlist 10.0.0.0/8\nfamily inet4\n"), ResolvConf::default());
    }

    fn check_search(text: &str, host_name: &str, expected: &[&str]) {
        let parsed = ResolvConf::parse(text, host_name, |_| None);
        let search: Vec<_> = parsed.search.iter().map(ToString::to_string).collect();
        assert_eq!(search, expected, "{text:?} on {host_name}");
    }

    #[test]
    fn domains_that_are_searched() {
        check_search("search a.example b.example\n", "box", &["a.example.", "b.example."]);
        check_search("search a.example\ndomain b.example\n", "box", &["b.example."]);
        check_search("domain b.example\nsearch a.example c.example\n", "box", &["a.example.", "c.example."]);
        check_search("domain b.example c.example\n", "box", &["b.example."]);
        check_search("search a.example\nsearch\nsearch \n", "box", &["a.example."]);
        check_search("search .a.example . -- a..b b.example.\n", "box", &["a.example.", ".", "b.example."]);
        check_search("", "web.corp.example", &["corp.example."]);
        check_search("search a.example\n", "web.corp.example", &["a.example."]);
        check_search("", "box", &[]);
    }

    fn check_candidates(text: &str, host: &str, expected: &[&str]) {
        let candidates = parse(text).candidates(host).expect("a name");
        let names: Vec<_> = candidates.iter().map(|candidate| candidate.name.to_string()).collect();
        assert_eq!(names, expected, "{host} with {text:?}");
        let mut as_is = candidates.iter().filter(|candidate| candidate.as_is);
        let whole = format!("{}.", host.trim_end_matches('.'));
        assert!(as_is.all(|candidate| candidate.name.to_string() == whole), "{candidates:?}");
    }

    const POD: &str = "search default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\nnameserver 10.96.0.10\n";

    #[test]
    fn names_are_searched_before_or_after_they_are_tried_as_they_are() {
        let searched = ["receiver.dev.default.svc.cluster.local.", "receiver.dev.svc.cluster.local."];
        let pod = [&searched[..], &["receiver.dev.cluster.local.", "receiver.dev."]].concat();
        check_candidates(POD, "receiver.dev", &pod);
        check_candidates(POD, "receiver.dev.", &["receiver.dev."]);
        let search = "search corp.example\n";
        check_candidates(search, "receiver.dev", &["receiver.dev.", "receiver.dev.corp.example."]);
        check_candidates(search, "receiver", &["receiver.corp.example.", "receiver."]);
        check_candidates(search, "receiver.", &["receiver."]);
        check_candidates("search corp.example\noptions ndots:0\n", "hook", &["hook.", "hook.corp.example."]);
        check_candidates(
            "search corp.example\noptions ndots:2\n",
            "a.b.c",
            &["a.b.c.", "a.b.c.corp.example."],
        );
        check_candidates("", "receiver", &["receiver."]);
    }

    #[test]
    fn the_root_among_the_domains_is_the_name_as_it_is() {
        check_candidates("search . corp.example\n", "hook", &["hook.", "hook.corp.example."]);
        check_candidates("search corp.example .\n", "hook", &["hook.corp.example.", "hook."]);
        check_candidates("search corp.example .\n", "a.b", &["a.b.", "a.b.corp.example."]);
    }

    #[test]
    fn single_words_are_withheld_from_the_public() {
        let text = "search corp.example\noptions no-tld-query\n";
        check_candidates(text, "hook", &["hook.corp.example."]);
        check_candidates(text, "a.b", &["a.b.", "a.b.corp.example."]);
        check_candidates("options no-tld-query\n", "hook", &["hook."]);
    }

    #[test]
    fn invalid_names_have_no_candidates() {
        let label = "a".repeat(64);
        assert_eq!(parse("").candidates(&format!("{label}.example")), None);
        let long = ["a".repeat(60).as_str(); 4].join(".");
        check_candidates("search corp.example\n", &long, &[&format!("{long}.")]);
    }

    proptest! {
        #[test]
        fn any_file_can_be_read(text in "((nameserver|search|domain|options)[ \t][ -~]{0,40}\n|[ -~é]{0,20}\n){0,8}") {
            let parsed = parse(&text);
            prop_assert!((1..=SERVERS_MAX).contains(&parsed.servers.len()));
            prop_assert!(parsed.ndots <= 15 && (1..=5).contains(&parsed.attempts));
            prop_assert!((1..=30).contains(&parsed.timeout.as_secs()));
            let candidates = parsed.candidates("hook.example").expect("a name");
            prop_assert_eq!(candidates.iter().filter(|candidate| candidate.as_is).count(), 1);
        }
    }
}
