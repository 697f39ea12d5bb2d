//! The address of a client behind proxies.
//!
//! A header about addresses is as trustworthy as its writer. Each proxy appends the address that called it, so the list is
//! read from the right. An address is believed while the hop that reported it is a trusted proxy; the first address that is
//! not a trusted proxy's is the client's. The client may have written everything to the left of it.
//!
//! Proxies write either `X-Forwarded-For` or `Forwarded`, and pass the other header on as the client sent it. If both headers
//! are present and disagree, neither is believed.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::FORWARDED;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks of the trusted proxies.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// The proxies in these networks. An IPv4 network includes its addresses when they are mapped into IPv6.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// The client of a request that `peer` sent with these headers.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let mut clients = [
            hops(headers, &X_FORWARDED_FOR, |text| text.split(',').map(plain_address).collect()),
            hops(headers, &FORWARDED, forwarded_addresses),
        ]
        .into_iter()
        .flatten()
        .map(|hops| self.nearest_untrusted(peer, &hops));
        match (clients.next(), clients.next()) {
            (None, _) => peer,
            (Some(client), None) => client,
            (Some(client), Some(other)) => {
                if client == other {
                    client
                } else {
                    peer
                }
            }
        }
    }

    /// The first of `hops`, from the right, that is no trusted proxy; or the last readable one.
    fn nearest_untrusted(&self, peer: IpAddr, hops: &[Option<IpAddr>]) -> IpAddr {
        let mut nearest = peer;
        for hop in hops.iter().rev() {
            match hop {
                Some(address) if self.trusts(nearest) => nearest = *address,
                Some(_) | None => break,
            }
        }
        nearest
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The addresses in all headers of a name, in order; `None` if there is no such header. An address that is unreadable or
/// hidden by a proxy is `None`, and so is a header that is not text.
fn hops(
    headers: &HeaderMap,
    name: &HeaderName,
    list: impl Fn(&str) -> Vec<Option<IpAddr>>,
) -> Option<Vec<Option<IpAddr>>> {
    headers.contains_key(name).then(|| {
        let texts = headers.get_all(name).iter().map(HeaderValue::to_str);
        texts.flat_map(|text| text.map_or_else(|_| vec![None], &list)).collect()
    })
}

/// Reads an address with or without a port; IPv6 with or without brackets.
fn plain_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address: Option<IpAddr> = text.parse().ok().or_else(with_port).or_else(bare);
    address.map(|address| address.to_canonical())
}

/// The addresses in a `Forwarded` header. Source: wire-facts.md#forwarded.
fn forwarded_addresses(text: &str) -> Vec<Option<IpAddr>> {
    elements(text)
        .map_or_else(|| vec![None], |elements| elements.iter().map(|pairs| address_in(pairs)).collect())
}

/// The elements of a `Forwarded` header, each split into its pairs. `None` if a quote is not closed: the client may have
/// opened it to hide the text that the proxy appended.
fn elements(text: &str) -> Option<Vec<Vec<String>>> {
    let (mut elements, mut pairs, mut pair) = (Vec::new(), Vec::new(), String::new());
    let (mut is_quoted, mut is_escaped) = (false, false);
    for character in text.chars() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => {
                is_escaped = true;
                continue;
            }
            '"' => {
                is_quoted = !is_quoted;
                continue;
            }
            ';' if !is_quoted => {
                pairs.push(std::mem::take(&mut pair));
                continue;
            }
            ',' if !is_quoted => {
                pairs.push(std::mem::take(&mut pair));
                elements.push(std::mem::take(&mut pairs));
                continue;
            }
            _ => {}
        }
        pair.push(character);
    }
    pairs.push(pair);
    elements.push(pairs);
    (!is_quoted).then_some(elements)
}

/// The address in an element that has exactly one `for`.
fn address_in(pairs: &[String]) -> Option<IpAddr> {
    let mut found = pairs.iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| plain_address(value))
    });
    match (found.next(), found.next()) {
        (Some(address), None) => address,
        (None, _) | (Some(_), Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &'static str)]) -> String {
        let networks = ["10.0.0.0/8", "192.0.2.1/32", "fd00::/8"].map(|text| text.parse().expect(text));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        TrustedProxies::new(networks).client(peer.parse().expect(peer), &map).to_string()
    }

    #[track_caller]
    fn check(peer: &str, headers: &[(&'static str, &'static str)], expected: &str) {
        assert_eq!(client(peer, headers), expected, "{peer} {headers:?}");
    }

    const XFF: &str = "x-forwarded-for";
    const FWD: &str = "forwarded";

    #[test]
    fn only_a_proxy_is_believed() {
        check("203.0.113.9", &[], "203.0.113.9");
        check("203.0.113.9", &[(XFF, "198.51.100.1")], "203.0.113.9");
        check("203.0.113.9", &[(FWD, "for=198.51.100.1")], "203.0.113.9");
        check("192.0.2.2", &[(XFF, "198.51.100.1")], "192.0.2.2");
        check("::1", &[(XFF, "198.51.100.1")], "::1");
        let all = TrustedProxies::default();
        let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, HeaderValue::from_static("198.51.100.1"))]);
        let peer = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(all.client(peer, &headers), peer, "no proxy is trusted by default");
    }

    #[test]
    fn a_trusted_proxy_is_believed() {
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &[(XFF, "198.51.100.1")], "198.51.100.1");
        check("10.0.0.1", &[(XFF, " 198.51.100.1 ")], "198.51.100.1");
        check("10.0.0.1", &[(XFF, "198.51.100.1:4711")], "198.51.100.1");
        check("10.0.0.1", &[(XFF, "2001:db8::1")], "2001:db8::1");
        check("10.0.0.1", &[(XFF, "[2001:db8::1]")], "2001:db8::1");
        check("10.0.0.1", &[(XFF, "[2001:db8::1]:4711")], "2001:db8::1");
        check("::ffff:10.0.0.1", &[(XFF, "::ffff:198.51.100.1")], "198.51.100.1");
        check("fd00::1", &[(XFF, "198.51.100.1")], "198.51.100.1");
    }

    #[test]
    fn text_of_the_client_is_not_believed() {
        check("10.0.0.1", &[(XFF, "1.1.1.1, 198.51.100.1")], "198.51.100.1");
        check("10.0.0.1", &[(XFF, "10.9.9.9, 198.51.100.1")], "198.51.100.1");
        check("10.0.0.1", &[(XFF, "1.1.1.1"), (XFF, "198.51.100.1")], "198.51.100.1");
        check("10.0.0.1", &[(XFF, "198.51.100.1, 10.0.0.2")], "198.51.100.1");
        check("10.0.0.1", &[(XFF, "1.1.1.1, 198.51.100.1, 192.0.2.1, 10.0.0.2")], "198.51.100.1");
        check("10.0.0.1", &[(XFF, "1.1.1.1, 198.51.100.1, 192.0.2.2, 10.0.0.2")], "192.0.2.2");
    }

    #[test]
    fn nothing_beyond_an_unreadable_hop_is_believed() {
        for hidden in ["unknown", "", "_secret", "300.1.1.1", "1.1.1.1.1", "localhost", "[::1", "\"1.1.1.1\""]
        {
            let text: &'static str = format!("198.51.100.1, {hidden}").leak();
            check("10.0.0.1", &[(XFF, text)], "10.0.0.1");
            let text: &'static str = format!("198.51.100.1, {hidden}, 10.0.0.2").leak();
            check("10.0.0.1", &[(XFF, text)], "10.0.0.2");
        }
        let value = HeaderValue::from_bytes(b"198.51.100.1, \xff").expect("a header");
        let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, value)]);
        let peer = IpAddr::from([10, 0, 0, 1]);
        let trusted = TrustedProxies::new([IpNet::from(peer)]);
        assert_eq!(trusted.client(peer, &headers), peer);
    }

    #[test]
    fn a_client_in_the_proxies_own_network() {
        check("10.0.0.1", &[(XFF, "10.0.0.7")], "10.0.0.7");
        check("10.0.0.1", &[(XFF, "10.0.0.7, 10.0.0.2")], "10.0.0.7");
    }

    #[test]
    fn the_standard_header() {
        check("10.0.0.1", &[(FWD, "for=198.51.100.1")], "198.51.100.1");
        check("10.0.0.1", &[(FWD, "For=198.51.100.1;proto=https;by=10.0.0.1")], "198.51.100.1");
        check("10.0.0.1", &[(FWD, "proto=https; FOR=\"198.51.100.1:4711\"")], "198.51.100.1");
        check("10.0.0.1", &[(FWD, "for=\"[2001:db8::1]:4711\"")], "2001:db8::1");
        check("10.0.0.1", &[(FWD, "for=1.1.1.1, for=198.51.100.1")], "198.51.100.1");
        check("10.0.0.1", &[(FWD, "for=1.1.1.1"), (FWD, "for=198.51.100.1;by=10.0.0.2")], "198.51.100.1");
        check("10.0.0.1", &[(FWD, "for=198.51.100.1, for=10.0.0.2")], "198.51.100.1");
        check("10.0.0.1", &[(FWD, "for=198.51.100.1, for=_hidden")], "10.0.0.1");
        check("10.0.0.1", &[(FWD, "for=198.51.100.1, proto=https")], "10.0.0.1");
        check("10.0.0.1", &[(FWD, "for=1.1.1.1;for=198.51.100.1")], "10.0.0.1");
        check("10.0.0.1", &[(FWD, "host=\"a,for=1.1.1.1;\\\",\";for=198.51.100.1")], "198.51.100.1");
        check("10.0.0.1", &[(FWD, "for=1.1.1.1;host=\"open, for=198.51.100.1")], "10.0.0.1");
        check("10.0.0.1", &[(FWD, "for=1.1.1.1;host=\"open, for=\"[2001:db8::1]\"")], "10.0.0.1");
        check("10.0.0.1", &[(FWD, "for=1.1.1.1;host=\"open\\, for=198.51.100.1")], "10.0.0.1");
        check("10.0.0.1", &[(FWD, "")], "10.0.0.1");
    }

    #[test]
    fn two_headers_that_disagree_are_not_believed() {
        check("10.0.0.1", &[(XFF, "198.51.100.1"), (FWD, "for=198.51.100.1")], "198.51.100.1");
        check("10.0.0.1", &[(XFF, "198.51.100.1"), (FWD, "for=1.1.1.1")], "10.0.0.1");
        check("10.0.0.1", &[(XFF, "1.1.1.1"), (FWD, "for=198.51.100.1")], "10.0.0.1");
        check("10.0.0.1", &[(XFF, "198.51.100.1"), (FWD, "")], "10.0.0.1");
    }
}
