//! Kinds of IP addresses, and which of them are not public.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Why the policy refuses an address. `Display` names the kind of address and the setting that would allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{} is refused by the outbound policy; it is allowed with {}", self.kind(), self.remedy())]
pub enum Refusal {
    /// This machine.
    Loopback,
    /// A private network (10.0.0.0/8 and its like).
    Private,
    /// The local link.
    LinkLocal,
    /// Carrier-grade NAT (100.64.0.0/10). Clouds use it for services of their own.
    CarrierGradeNat,
    /// A multicast address.
    Multicast,
    /// The unspecified address, which connects to this machine anyway.
    Unspecified,
    /// The broadcast address.
    Broadcast,
    /// Reserved for examples in documentation.
    Documentation,
    /// Reserved for network benchmarks.
    Benchmarking,
    /// Reserved for protocols that no endpoint uses, or not assigned.
    Reserved,
    /// A unique local IPv6 address (a private network).
    UniqueLocal,
    /// A site-local IPv6 address (deprecated private network).
    SiteLocal,
    /// A cloud's metadata service, which hands out this machine's credentials.
    Metadata,
    /// An IPv4 address in IPv6 notation. It needs an allowance that covers the IPv4 address.
    Mapped,
    /// An IPv6 address that embeds an IPv4 address: compatible, NAT64 of one site, 6to4, Teredo, ISATAP.
    Transition,
}

impl Refusal {
    /// The kind of address, with its article.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::CarrierGradeNat => "a carrier-grade NAT address",
            Self::Multicast => "a multicast address",
            Self::Unspecified => "an unspecified address",
            Self::Broadcast => "a broadcast address",
            Self::Documentation => "a documentation address",
            Self::Benchmarking => "a benchmarking address",
            Self::Reserved => "a reserved address",
            Self::UniqueLocal => "a unique-local address",
            Self::SiteLocal => "a site-local address",
            Self::Metadata => "a cloud metadata address",
            Self::Mapped => "an IPv4-mapped address",
            Self::Transition => "an IPv6 transition address",
        }
    }

    /// The setting that would allow it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Metadata => "--outbound-allow and exactly that address",
            Self::Mapped => "--outbound-allow and the network of its IPv4 address",
            Self::Loopback
            | Self::Private
            | Self::LinkLocal
            | Self::CarrierGradeNat
            | Self::Multicast
            | Self::Unspecified
            | Self::Broadcast
            | Self::Documentation
            | Self::Benchmarking
            | Self::Reserved
            | Self::UniqueLocal
            | Self::SiteLocal
            | Self::Transition => "--outbound-allow and its network",
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// Addresses at which clouds hand out credentials or control a machine. Most are within other refused networks. They are listed
/// because a wide allowance must not open them.
const METADATA_V4: &[Ipv4Addr] = &[
    Ipv4Addr::new(169, 254, 169, 254), // AWS, Azure, Google, DigitalOcean, Oracle, OpenStack, …
    Ipv4Addr::new(169, 254, 170, 2),   // AWS: credentials of ECS tasks
    Ipv4Addr::new(169, 254, 170, 23),  // AWS: credentials of EKS pods
    Ipv4Addr::new(169, 254, 0, 23),    // Tencent
    Ipv4Addr::new(169, 254, 42, 42),   // Scaleway
    Ipv4Addr::new(168, 63, 129, 16),   // Azure: looks like a public address
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba
    Ipv4Addr::new(100, 96, 0, 96),     // Volcengine
    Ipv4Addr::new(192, 0, 0, 192),     // Oracle, older machines
];

const METADATA_V6: &[Ipv6Addr] = &[
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), // AWS
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),  // AWS: credentials of EKS pods
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),  // Google
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),   // Scaleway
];

/// The first match counts. Source: IANA's registry of special-purpose IPv4 addresses.
const NETWORKS_V4: &[(Ipv4Net, Refusal)] = &[
    (v4(0, 0, 0, 0, 8), Refusal::Unspecified),
    (v4(10, 0, 0, 0, 8), Refusal::Private),
    (v4(100, 64, 0, 0, 10), Refusal::CarrierGradeNat),
    (v4(127, 0, 0, 0, 8), Refusal::Loopback),
    (v4(169, 254, 0, 0, 16), Refusal::LinkLocal),
    (v4(172, 16, 0, 0, 12), Refusal::Private),
    (v4(192, 0, 0, 0, 24), Refusal::Reserved),
    (v4(192, 0, 2, 0, 24), Refusal::Documentation),
    (v4(192, 88, 99, 0, 24), Refusal::Reserved), // formerly the relays of 6to4
    (v4(192, 168, 0, 0, 16), Refusal::Private),
    (v4(198, 18, 0, 0, 15), Refusal::Benchmarking),
    (v4(198, 51, 100, 0, 24), Refusal::Documentation),
    (v4(203, 0, 113, 0, 24), Refusal::Documentation),
    (v4(224, 0, 0, 0, 4), Refusal::Multicast),
    (v4(255, 255, 255, 255, 32), Refusal::Broadcast),
    (v4(240, 0, 0, 0, 4), Refusal::Reserved),
];

const MAPPED: Ipv6Net = v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96);
const TRANSLATED: Ipv6Net = v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96);
const COMPATIBLE: Ipv6Net = v6([0; 8], 96);
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
const NAT64_LOCAL: Ipv6Net = v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48);
const TEREDO: Ipv6Net = v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32);
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// The first match counts. Source: IANA's registry of special-purpose IPv6 addresses.
const NETWORKS_V6: &[(Ipv6Net, Refusal)] = &[
    (v6([0; 8], 128), Refusal::Unspecified),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), Refusal::Loopback),
    (MAPPED, Refusal::Mapped),
    (TRANSLATED, Refusal::Transition),
    (COMPATIBLE, Refusal::Transition),
    (NAT64_LOCAL, Refusal::Transition),
    (TEREDO, Refusal::Transition),
    (SIX_TO_FOUR, Refusal::Transition),
    (v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48), Refusal::Benchmarking),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), Refusal::Reserved),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), Refusal::Documentation),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), Refusal::Documentation),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), Refusal::UniqueLocal),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), Refusal::LinkLocal),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), Refusal::SiteLocal),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), Refusal::Multicast),
];

/// The address to judge: for a NAT64 address the IPv4 address inside, else the address itself. A NAT64 address reaches exactly
/// that IPv4 address, through a translator that IPv6-only networks use for all of IPv4. Source: RFC 6052, section 2.1.
pub(super) fn translated(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if NAT64.contains(&v6) => {
            let [.., high, low] = v6.segments();
            ipv4(high, low).into()
        }
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    }
}

/// Whether a NAT64 address of one site may lead to a metadata address. Only the site knows the length of its prefix.
/// Source: RFC 8215, and RFC 6052, section 2.2.
pub(super) fn may_lead_to_metadata(address: IpAddr) -> bool {
    let IpAddr::V6(v6) = address else { return false };
    let octets = v6.octets();
    let places = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]];
    let leads = |place: [usize; 4]| Ipv4Addr::from(place.map(|index| octets[index]));
    NAT64_LOCAL.contains(&v6) && places.into_iter().any(|place| METADATA_V4.contains(&leads(place)))
}

/// Why an address is refused without an allowance; `None` if it is public.
pub(super) fn classify(address: IpAddr) -> Option<Refusal> {
    match translated(address) {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

fn classify_v4(address: Ipv4Addr) -> Option<Refusal> {
    if METADATA_V4.contains(&address) {
        return Some(Refusal::Metadata);
    }
    NETWORKS_V4.iter().find(|(network, _)| network.contains(&address)).map(|(_, refusal)| *refusal)
}

fn classify_v6(address: Ipv6Addr) -> Option<Refusal> {
    if METADATA_V6.contains(&address) {
        return Some(Refusal::Metadata);
    }
    if let Some((_, refusal)) = NETWORKS_V6.iter().find(|(network, _)| network.contains(&address)) {
        return Some(*refusal);
    }
    if is_isatap(address) {
        return Some(Refusal::Transition);
    }
    // All public addresses are in one block. Addresses outside of it are not assigned yet.
    (!GLOBAL_UNICAST.contains(&address)).then_some(Refusal::Reserved)
}

/// The IPv4 address to which a transition address leads, if the address alone shows it.
pub(super) fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [_, first, second, .., high, low] = address.segments();
    if [MAPPED, TRANSLATED, COMPATIBLE].iter().any(|network| network.contains(&address)) {
        Some(ipv4(high, low))
    } else if SIX_TO_FOUR.contains(&address) {
        Some(ipv4(first, second))
    } else if TEREDO.contains(&address) {
        // Teredo inverts all bits of the client's address.
        Some(ipv4(!high, !low))
    } else if is_isatap(address) {
        Some(ipv4(high, low))
    } else {
        None
    }
}

/// ISATAP has no network of its own, only a mark before the IPv4 address.
fn is_isatap(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    matches!((segments[4], segments[5]), (0 | 0x0200, 0x5efe))
}

fn ipv4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expected: Option<Refusal>) {
        let parsed: IpAddr = address.parse().expect("the test gives an address");
        assert_eq!(classify(parsed), expected, "{address}");
    }

    #[test]
    fn public_addresses() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "2001:200::1",
            "2003::1",
            "3ffe::1",
        ] {
            check(address, None);
        }
    }

    #[test]
    fn special_ipv4_addresses() {
        check("0.0.0.0", Some(Refusal::Unspecified));
        check("0.1.2.3", Some(Refusal::Unspecified));
        check("10.0.0.0", Some(Refusal::Private));
        check("10.255.255.255", Some(Refusal::Private));
        check("100.64.0.1", Some(Refusal::CarrierGradeNat));
        check("127.0.0.1", Some(Refusal::Loopback));
        check("127.255.255.254", Some(Refusal::Loopback));
        check("169.254.1.1", Some(Refusal::LinkLocal));
        check("172.16.0.1", Some(Refusal::Private));
        check("172.31.255.255", Some(Refusal::Private));
        check("192.0.0.8", Some(Refusal::Reserved));
        check("192.0.2.1", Some(Refusal::Documentation));
        check("192.88.99.1", Some(Refusal::Reserved));
        check("192.168.1.1", Some(Refusal::Private));
        check("198.18.0.1", Some(Refusal::Benchmarking));
        check("198.19.255.255", Some(Refusal::Benchmarking));
        check("198.51.100.7", Some(Refusal::Documentation));
        check("203.0.113.7", Some(Refusal::Documentation));
        check("224.0.0.1", Some(Refusal::Multicast));
        check("239.255.255.255", Some(Refusal::Multicast));
        check("240.0.0.1", Some(Refusal::Reserved));
        check("255.255.255.255", Some(Refusal::Broadcast));
    }

    #[test]
    fn special_ipv6_addresses() {
        check("::", Some(Refusal::Unspecified));
        check("::1", Some(Refusal::Loopback));
        check("::2", Some(Refusal::Transition));
        check("::127.0.0.1", Some(Refusal::Transition));
        check("::ffff:127.0.0.1", Some(Refusal::Mapped));
        check("::ffff:1.1.1.1", Some(Refusal::Mapped));
        check("::ffff:0:1.1.1.1", Some(Refusal::Transition));
        check("64:ff9b::7f00:1", Some(Refusal::Loopback));
        check("64:ff9b::1.1.1.1", None);
        check("64:ff9b::ffff:ffff", Some(Refusal::Broadcast));
        check("64:ff9b:0:0:0:1::1", Some(Refusal::Reserved));
        check("64:ff9b:1::7f00:1", Some(Refusal::Transition));
        check("64:ff9b:2::1", Some(Refusal::Reserved));
        check("100::1", Some(Refusal::Reserved));
        check("2001::1", Some(Refusal::Transition));
        check("2001:2::1", Some(Refusal::Benchmarking));
        check("2001:20::1", Some(Refusal::Reserved));
        check("2001:db8::1", Some(Refusal::Documentation));
        check("2002:7f00:1::", Some(Refusal::Transition));
        check("2606:4700::5efe:7f00:1", Some(Refusal::Transition));
        check("2606:4700::200:5efe:7f00:1", Some(Refusal::Transition));
        check("3fff::1", Some(Refusal::Documentation));
        check("4000::1", Some(Refusal::Reserved));
        check("5f00::1", Some(Refusal::Reserved));
        check("fc00::1", Some(Refusal::UniqueLocal));
        check("fdff::1", Some(Refusal::UniqueLocal));
        check("fe80::1", Some(Refusal::LinkLocal));
        check("fec0::1", Some(Refusal::SiteLocal));
        check("ff02::1", Some(Refusal::Multicast));
    }

    #[test]
    fn cloud_metadata() {
        for address in METADATA_V4 {
            check(&address.to_string(), Some(Refusal::Metadata));
        }
        for address in METADATA_V6 {
            check(&address.to_string(), Some(Refusal::Metadata));
        }
    }

    #[test]
    fn where_transition_addresses_lead() {
        let check = |address: &str, expected: Option<[u8; 4]>| {
            let parsed = address.parse().expect("the test gives an address");
            assert_eq!(embedded(parsed), expected.map(Ipv4Addr::from), "{address}");
        };
        check("::ffff:10.1.2.3", Some([10, 1, 2, 3]));
        check("::10.1.2.3", Some([10, 1, 2, 3]));
        check("64:ff9b::10.1.2.3", None);
        check("2002:a01:203::1", Some([10, 1, 2, 3]));
        check("2001:0:1:2:3:4:f5fe:fdfc", Some([10, 1, 2, 3]));
        check("2606:4700::5efe:10.1.2.3", Some([10, 1, 2, 3]));
        check("64:ff9b:1::10.1.2.3", None);
        check("2606:4700::1", None);
    }
}
