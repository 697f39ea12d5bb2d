//! Where a request comes from, when there are proxies in between.
//!
//! What a header says of that is worth as much as whoever wrote it. Each proxy adds the address that it was called from at
//! the right end, so the list is read from there: an address is believed as long as the one that reported it is a
//! trusted proxy's, and the first that is none is the client's. Whatever stands to the left of it, the client may have
//! written.
//!
//! Proxies write `X-Forwarded-For` or `Forwarded`, and hand on the other as the client sent it. Where both are there and
//! disagree, neither is believed.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::FORWARDED;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies that are believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Those in these networks; an IPv4 network means its addresses written in IPv6 too.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// Where a request comes from that `peer` sent us with these headers.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let mut told = [
            hops(headers, &X_FORWARDED_FOR, |text| text.split(',').map(plain_address).collect()),
            hops(headers, &FORWARDED, forwarded_addresses),
        ]
        .into_iter()
        .flatten()
        .map(|hops| self.nearest_stranger(peer, &hops));
        match (told.next(), told.next()) {
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

    /// The first of `hops`, from the right, that is no trusted proxy; or the last that could be read.
    fn nearest_stranger(&self, peer: IpAddr, hops: &[Option<IpAddr>]) -> IpAddr {
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

/// What all headers of a name list, in their order; `None` when there is none. An address that cannot be read, or that
/// a proxy hides, is `None`, and so is a header that is no text.
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

/// An address with or without a port, IPv6 with or without brackets.
fn plain_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address: Option<IpAddr> = text.parse().ok().or_else(with_port).or_else(bare);
    address.map(|address| address.to_canonical())
}

/// The address of each element of a `Forwarded` header. Source: wire-facts.md#forwarded.
fn forwarded_addresses(text: &str) -> Vec<Option<IpAddr>> {
    elements(text)
        .map_or_else(|| vec![None], |elements| elements.iter().map(|pairs| address_in(pairs)).collect())
}

/// The elements of a `Forwarded` header, each cut into its pairs. `None` when a quote is not closed: the client may have
/// opened it, to swallow what the proxy wrote behind.
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

/// The address in an element's one `for`.
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
    fn who_is_no_proxy_is_not_believed() {
        check("203.0.113.9", &[], "203.0.113.9");
        check("203.0.113.9", &[(XFF, "198.51.100.1")], "203.0.113.9");
        check("203.0.113.9", &[(FWD, "for=198.51.100.1")], "203.0.113.9");
        check("192.0.2.2", &[(XFF, "198.51.100.1")], "192.0.2.2");
        check("::1", &[(XFF, "198.51.100.1")], "::1");
        let all = TrustedProxies::default();
        let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, HeaderValue::from_static("198.51.100.1"))]);
        let peer = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(all.client(peer, &headers), peer, "nobody is trusted unless somebody says so");
    }

    #[test]
    fn what_a_trusted_proxy_adds_is_believed() {
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
    fn what_the_client_wrote_is_not() {
        check("10.0.0.1", &[(XFF, "1.1.1.1, 198.51.100.1")], "198.51.100.1");
        check("10.0.0.1", &[(XFF, "10.9.9.9, 198.51.100.1")], "198.51.100.1");
        check("10.0.0.1", &[(XFF, "1.1.1.1"), (XFF, "198.51.100.1")], "198.51.100.1");
        check("10.0.0.1", &[(XFF, "198.51.100.1, 10.0.0.2")], "198.51.100.1");
        check("10.0.0.1", &[(XFF, "1.1.1.1, 198.51.100.1, 192.0.2.1, 10.0.0.2")], "198.51.100.1");
        check("10.0.0.1", &[(XFF, "1.1.1.1, 198.51.100.1, 192.0.2.2, 10.0.0.2")], "192.0.2.2");
    }

    #[test]
    fn behind_what_cannot_be_read_nothing_is_believed() {
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
    fn a_header_that_the_proxy_does_not_write_is_the_clients() {
        check("10.0.0.1", &[(XFF, "198.51.100.1"), (FWD, "for=198.51.100.1")], "198.51.100.1");
        check("10.0.0.1", &[(XFF, "198.51.100.1"), (FWD, "for=1.1.1.1")], "10.0.0.1");
        check("10.0.0.1", &[(XFF, "1.1.1.1"), (FWD, "for=198.51.100.1")], "10.0.0.1");
        check("10.0.0.1", &[(XFF, "198.51.100.1"), (FWD, "")], "10.0.0.1");
    }
}
