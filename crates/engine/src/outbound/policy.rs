//! The addresses that each organization may reach.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use stackbell_model::names::OrganizationName;
use url::{Host, Url};

use super::address::{Refusal, classify, embedded, may_lead_to_metadata, translated};
use super::allowance::Allowance;
use super::resolve::{Unanswered, normal_host};

/// The outbound policy. Public addresses are allowed; all others need an [`Allowance`] that names their network.
///
/// - A cloud's metadata address needs an allowance of exactly that address. No wider allowance opens it.
/// - An IPv4-mapped address needs an allowance of its IPv4 address, even a public one. The only use of that spelling is to
///   bypass a check.
/// - A NAT64 address (`64:ff9b::/96`) is judged by the IPv4 address inside it, because IPv6-only networks reach all of IPv4
///   through NAT64.
/// - Any other IPv6 transition address needs an allowance of its network, and its IPv4 address must be allowed too: an
///   allowance of 6to4 does not open loopback. An allowance of exactly that address is enough by itself.
/// - `64:ff9b:1::/48` is for the NAT64 of one site, and only the site knows the position of the IPv4 address in it. An
///   allowance of the network is trusted, unless one of the usual positions holds a metadata address.
#[derive(Clone, Debug, Default)]
pub struct OutboundPolicy {
    shared: Arc<Rules>,
    own: HashMap<OrganizationName, Arc<Rules>>,
}

impl OutboundPolicy {
    /// Creates the policy with these exceptions. Without exceptions, only public addresses are allowed.
    pub fn new(allowances: impl IntoIterator<Item = Allowance>) -> Self {
        let (named, shared): (Vec<_>, Vec<_>) =
            allowances.into_iter().partition(|allowance| allowance.organization().is_some());
        let mut own: HashMap<OrganizationName, Rules> = HashMap::new();
        for allowance in named {
            if let Some(organization) = allowance.organization().cloned() {
                let rules = own.entry(organization).or_insert_with(|| Rules { allowances: shared.clone() });
                rules.allowances.push(allowance);
            }
        }
        let own = own.into_iter().map(|(organization, rules)| (organization, Arc::new(rules))).collect();
        Self { shared: Arc::new(Rules { allowances: shared }), own }
    }

    /// Whether `organization` may connect to `address`.
    ///
    /// # Errors
    /// [`Refusal`], with the kind of address and the setting that would allow it.
    pub fn judge(&self, address: SocketAddr, organization: &OrganizationName) -> Result<(), Refusal> {
        self.own.get(organization).unwrap_or(&self.shared).judge(address)
    }

    /// Whether a webhook of `organization` may be saved with this URL, as far as the URL alone shows. A literal address is
    /// judged, in any spelling, with the URL's port. A name passes here and is judged at each connect.
    ///
    /// # Errors
    /// [`Refusal`], as above.
    pub fn judge_literal(&self, url: &Url, organization: &OrganizationName) -> Result<(), Refusal> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            // To a URL parser, an address with two final dots is a name. To the dialer and its resolver it is the address.
            Some(Host::Domain(name)) => match Host::parse(&normal_host(name)) {
                Ok(Host::Ipv4(address)) => IpAddr::V4(address),
                Ok(Host::Ipv6(_) | Host::Domain(_)) | Err(_) => return Ok(()),
            },
            None => return Ok(()),
        };
        // Without a port no request can be sent. No allowance names port 0.
        self.judge(SocketAddr::new(address, url.port_or_known_default().unwrap_or(0)), organization)
    }

    /// The rules for organizations without allowances of their own.
    pub(super) fn shared(&self) -> &Arc<Rules> {
        &self.shared
    }

    /// The organizations with allowances of their own, each with all rules that apply to it.
    pub(super) fn own(&self) -> impl Iterator<Item = (&OrganizationName, &Arc<Rules>)> {
        self.own.iter()
    }
}

/// The allowances of one organization, or of all organizations that no allowance names.
#[derive(Debug, Default)]
pub(super) struct Rules {
    allowances: Vec<Allowance>,
}

impl Rules {
    /// Whether a connection may go to `address`.
    pub(super) fn judge(&self, address: SocketAddr) -> Result<(), Refusal> {
        let judged = SocketAddr::new(translated(address.ip()), address.port());
        // An allowance may also name the NAT64 address itself.
        let names_nat64 = || judged != address && self.name_exactly(address);
        match classify(judged.ip()) {
            Some(refusal) if !self.excepts(judged, refusal) && !names_nat64() => Err(refusal),
            Some(_) | None => Ok(()),
        }
    }

    fn excepts(&self, address: SocketAddr, refusal: Refusal) -> bool {
        match refusal {
            Refusal::Metadata => self.name_exactly(address),
            Refusal::Mapped => leads_to(address).is_some_and(|v4| match classify(v4.ip()) {
                Some(refusal) => self.excepts(v4, refusal),
                None => self.name(v4),
            }),
            Refusal::Transition => {
                let leads_well = leads_to(address).is_none_or(|v4| self.judge(v4).is_ok());
                self.name_exactly(address)
                    || (self.name(address) && leads_well && !may_lead_to_metadata(address.ip()))
            }
            Refusal::Loopback
            | Refusal::Private
            | Refusal::LinkLocal
            | Refusal::CarrierGradeNat
            | Refusal::Multicast
            | Refusal::Unspecified
            | Refusal::Broadcast
            | Refusal::Documentation
            | Refusal::Benchmarking
            | Refusal::Reserved
            | Refusal::UniqueLocal
            | Refusal::SiteLocal => self.name(address),
        }
    }

    fn name(&self, address: SocketAddr) -> bool {
        self.allowances.iter().any(|allowance| allowance.covers(address))
    }

    fn name_exactly(&self, address: SocketAddr) -> bool {
        self.allowances.iter().any(|allowance| allowance.covers_alone(address))
    }
}

/// The most refused addresses in one reason.
const NAMED_MAX: usize = 4;

/// The refused addresses of a host. `Display` lists them, with the settings that would allow them.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    refused: Vec<(IpAddr, Refusal)>,
    /// Why the addresses of one family are unknown, if they are.
    pub(super) unanswered: Option<Unanswered>,
}

impl Refusals {
    /// Starts empty. `unanswered` says why the addresses of one family are unknown.
    pub(super) fn of_half(unanswered: Option<Unanswered>) -> Self {
        Self { refused: Vec::new(), unanswered }
    }

    pub(super) fn add(&mut self, address: IpAddr, refusal: Refusal) {
        self.refused.push((address, refusal));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.refused.is_empty()
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { refused, unanswered } = self;
        for (index, (address, refusal)) in refused.iter().take(NAMED_MAX).enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            let kind = refusal.kind();
            match translated(*address) {
                inner if inner == *address => write!(f, "{separator}{address} ({kind})")?,
                inner => write!(f, "{separator}{address} (leads to {inner}, {kind})")?,
            }
        }
        if refused.len() > NAMED_MAX {
            write!(f, " and {} more", refused.len() - NAMED_MAX)?;
        }
        let (verb, pronoun) = if refused.len() == 1 { ("is", "it is") } else { ("are", "one is") };
        write!(f, " {verb} refused by the outbound policy; {pronoun} allowed with ")?;
        let mut remedies: Vec<_> = refused.iter().map(|(_, refusal)| refusal.remedy()).collect();
        remedies.sort_unstable();
        remedies.dedup();
        f.write_str(&remedies.join(", or "))?;
        unanswered.map_or(Ok(()), |unanswered| write!(f, "; {unanswered}"))
    }
}

impl std::error::Error for Refusals {}

fn leads_to(address: SocketAddr) -> Option<SocketAddr> {
    match address.ip() {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => embedded(v6).map(|v4| SocketAddr::new(IpAddr::V4(v4), address.port())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowances: &str) -> OutboundPolicy {
        let parse = |text: &str| text.parse().expect("the test gives an allowance");
        OutboundPolicy::new(allowances.split_whitespace().map(parse))
    }

    fn acme() -> OrganizationName {
        OrganizationName::parse("acme").expect("a name")
    }

    fn check(allowances: &str, address: &str, expected: Result<(), Refusal>) {
        let parsed = address.parse().expect("the test gives an address with a port");
        assert_eq!(policy(allowances).judge(parsed, &acme()), expected, "{address} with {allowances:?}");
    }

    #[test]
    fn public_addresses_alone_are_allowed() {
        check("", "1.1.1.1:443", Ok(()));
        check("", "[2606:4700::1111]:80", Ok(()));
        check("", "10.0.0.1:443", Err(Refusal::Private));
        check("", "[::1]:443", Err(Refusal::Loopback));
        check("", "168.63.129.16:80", Err(Refusal::Metadata));
    }

    #[test]
    fn allowances_name_networks_and_ports() {
        check("10.0.0.0/8", "10.1.2.3:443", Ok(()));
        check("10.0.0.0/8", "192.168.0.1:443", Err(Refusal::Private));
        check("10.0.0.0/8:443", "10.1.2.3:443", Ok(()));
        check("10.0.0.0/8:443", "10.1.2.3:80", Err(Refusal::Private));
        check("fd00::/8", "[fd12::1]:80", Ok(()));
        check("127.0.0.0/8", "[::1]:80", Err(Refusal::Loopback));
        check("127.0.0.0/8 ::1", "[::1]:80", Ok(()));
        check("0.0.0.0/0 ::/0", "[fe80::1]:80", Ok(()));
    }

    #[test]
    fn allowances_name_organizations() {
        check("10.0.0.0/8@acme", "10.1.2.3:443", Ok(()));
        check("10.0.0.0/8@other", "10.1.2.3:443", Err(Refusal::Private));
        check("127.0.0.0/8 10.0.0.0/8@acme", "127.0.0.1:1", Ok(()));
        check("10.0.0.0/8@acme 127.0.0.0/8", "127.0.0.1:1", Ok(()));
        check("10.0.0.0/8@acme 192.168.0.0/16@acme", "192.168.0.1:1", Ok(()));
    }

    #[test]
    fn metadata_needs_its_very_address() {
        check("169.254.0.0/16", "169.254.169.254:80", Err(Refusal::Metadata));
        check("0.0.0.0/0 ::/0", "169.254.169.254:80", Err(Refusal::Metadata));
        check("0.0.0.0/0 ::/0", "[fd00:ec2::254]:80", Err(Refusal::Metadata));
        check("0.0.0.0/0 ::/0", "100.100.100.200:80", Err(Refusal::Metadata));
        check("169.254.169.254", "169.254.169.254:80", Ok(()));
        check("fd00:ec2::254", "[fd00:ec2::254]:80", Ok(()));
        check("169.254.169.254:81", "169.254.169.254:80", Err(Refusal::Metadata));
    }

    #[test]
    fn mapped_addresses_are_judged_as_ipv4_for_allowances_alone() {
        check("", "[::ffff:1.1.1.1]:80", Err(Refusal::Mapped));
        check("", "[::ffff:127.0.0.1]:80", Err(Refusal::Mapped));
        check("::/0", "[::ffff:127.0.0.1]:80", Err(Refusal::Mapped));
        check("127.0.0.0/8", "[::ffff:127.0.0.1]:80", Ok(()));
        check("::ffff:127.0.0.0/104", "[::ffff:127.0.0.1]:80", Ok(()));
        check("::ffff:127.0.0.0/104", "127.0.0.1:80", Ok(()));
        check("1.1.1.0/24", "[::ffff:1.1.1.1]:80", Ok(()));
        check("0.0.0.0/0 ::/0", "[::ffff:169.254.169.254]:80", Err(Refusal::Mapped));
        check("169.254.169.254", "[::ffff:169.254.169.254]:80", Ok(()));
        check("::ffff:169.254.169.254", "[::ffff:169.254.169.254]:80", Ok(()));
        check("[::ffff:169.254.169.254]:81", "[::ffff:169.254.169.254]:80", Err(Refusal::Mapped));
        check("64:ff9b::169.254.169.254", "[::ffff:169.254.169.254]:80", Err(Refusal::Mapped));
        check("64:ff9b::169.254.169.254", "169.254.169.254:80", Err(Refusal::Metadata));
    }

    #[test]
    fn transition_addresses_must_also_lead_somewhere_allowed() {
        check("2002::/16", "[2002:0a00:1::]:80", Err(Refusal::Transition));
        check("2002::/16", "[2002:101:101::]:80", Ok(()));
    }

    #[test]
    fn nat64_addresses_are_judged_by_the_ipv4_address_inside() {
        check("", "[64:ff9b::1.1.1.1]:80", Ok(()));
        check("", "[64:ff9b::127.0.0.1]:80", Err(Refusal::Loopback));
        check("", "[64:ff9b::10.1.2.3]:80", Err(Refusal::Private));
        check("", "[64:ff9b::169.254.169.254]:80", Err(Refusal::Metadata));
        check("", "[64:ff9b::168.63.129.16]:80", Err(Refusal::Metadata));
        check("", "[64:ff9b::224.0.0.1]:80", Err(Refusal::Multicast));
        check("64:ff9b::/96", "[64:ff9b::127.0.0.1]:80", Err(Refusal::Loopback));
        check("127.0.0.0/8", "[64:ff9b::127.0.0.1]:80", Ok(()));
        check("127.0.0.0/8:443", "[64:ff9b::127.0.0.1]:80", Err(Refusal::Loopback));
        check("10.0.0.0/8@other", "[64:ff9b::10.1.2.3]:80", Err(Refusal::Private));
        check("64:ff9b::127.0.0.1", "[64:ff9b::127.0.0.1]:80", Ok(()));
        check("0.0.0.0/0 ::/0", "[64:ff9b::169.254.169.254]:80", Err(Refusal::Metadata));
        check("169.254.169.254", "[64:ff9b::169.254.169.254]:80", Ok(()));
        check("64:ff9b::169.254.169.254", "[64:ff9b::169.254.169.254]:80", Ok(()));
    }

    #[test]
    fn nat64_addresses_of_one_site_need_an_allowance_of_their_network() {
        check("", "[64:ff9b:1::1.1.1.1]:80", Err(Refusal::Transition));
        check("64:ff9b:1::/48", "[64:ff9b:1::1.1.1.1]:80", Ok(()));
        check("64:ff9b:1::/48", "[64:ff9b:1::10.1.2.3]:80", Ok(()));
        check("10.0.0.0/8", "[64:ff9b:1::10.1.2.3]:80", Err(Refusal::Transition));
        // The positions for prefixes of 96, 64, 56 and 48 bits.
        for metadata in [
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:0:a9:fea9:fe00:0",
            "64:ff9b:1:a9:fe:a9fe::",
            "64:ff9b:1:a9fe:a9:fe00::",
        ] {
            check("64:ff9b:1::/48", &format!("[{metadata}]:80"), Err(Refusal::Transition));
            check(metadata, &format!("[{metadata}]:80"), Ok(()));
        }
    }

    fn check_literal(allowances: &str, url: &str, expected: Result<(), Refusal>) {
        let parsed = Url::parse(url).expect("the test gives a URL");
        assert_eq!(policy(allowances).judge_literal(&parsed, &acme()), expected, "{url} with {allowances:?}");
    }

    #[test]
    fn literal_addresses_are_judged_in_any_spelling() {
        for host in [
            "127.0.0.1",
            "127.0.0.1.",
            "127.0.0.1..",
            "127.0.0.1....",
            "2130706433..",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "017700000001",
            "１２７.0.0.1",
        ] {
            check_literal("", &format!("http://{host}/"), Err(Refusal::Loopback));
        }
        check_literal("", "http://[::ffff:127.0.0.1]/", Err(Refusal::Mapped));
        check_literal("", "http://[::ffff:7f00:1]/", Err(Refusal::Mapped));
        check_literal("", "http://[64:ff9b::127.0.0.1]/", Err(Refusal::Loopback));
        check_literal("", "http://[64:ff9b::8.8.8.8]/", Ok(()));
        check_literal("", "https://8.8.8.8/", Ok(()));
        check_literal("127.0.0.0/8:443", "https://127.0.0.1/", Ok(()));
        check_literal("127.0.0.0/8:443", "http://127.0.0.1/", Err(Refusal::Loopback));
        check_literal("", "http://localhost/", Ok(()));
        check_literal("", "http://internal.example./", Ok(()));
    }

    #[test]
    fn refusals_name_the_addresses() {
        let check = |addresses: &[&str], expected: &str| {
            let mut refusals = Refusals::default();
            for address in addresses {
                let address: IpAddr = address.parse().expect("an address");
                let judged = OutboundPolicy::default().judge(SocketAddr::new(address, 80), &acme());
                refusals.add(address, judged.expect_err("it is refused"));
            }
            assert_eq!(refusals.to_string(), expected);
        };
        let remedy = "--outbound-allow and its network";
        check(
            &["10.0.0.1"],
            &format!(
                "10.0.0.1 (a private address) is refused by the outbound policy; it is allowed with {remedy}"
            ),
        );
        check(
            &["64:ff9b::10.0.0.1", "169.254.169.254"],
            &format!(
                "64:ff9b::a00:1 (leads to 10.0.0.1, a private address), 169.254.169.254 (a cloud metadata address) are \
                 refused by the outbound policy; one is allowed with --outbound-allow and exactly that address, or {remedy}"
            ),
        );
        let many = ["::1", "fd00::1", "fd00::2", "fd00::3", "fd00::4", "fd00::5"];
        check(
            &many,
            &format!(
                "::1 (a loopback address), fd00::1 (a unique-local address), fd00::2 (a unique-local address), fd00::3 (a \
                 unique-local address) and 2 more are refused by the outbound policy; one is allowed with {remedy}"
            ),
        );
    }

    #[test]
    fn refusals_name_the_class_and_the_remedy() {
        let check = |refusal: Refusal, class: &str| {
            let text = refusal.to_string();
            assert!(text.starts_with(class) && text.contains("--outbound-allow"), "{text}");
        };
        check(Refusal::Loopback, "a loopback address");
        check(Refusal::Metadata, "a cloud metadata address");
        check(Refusal::Mapped, "an IPv4-mapped address");
        check(Refusal::Transition, "an IPv6 transition address");
    }
}
