//! The URL of a listener on this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::Url;

/// The URL under which this machine reaches a server that listens at `address`. An unspecified address becomes loopback.
pub fn local_url(address: SocketAddr, has_tls: bool) -> Url {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let address = SocketAddr::new(ip, address.port());
    let scheme = if has_tls { "https" } else { "http" };
    Url::parse(&format!("{scheme}://{address}")).expect("an address makes a URL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unspecified_addresses_become_loopback() {
        let check = |address: &str, expected: &str| {
            assert_eq!(local_url(address.parse().expect(address), false).as_str(), expected);
        };
        check("0.0.0.0:1", "http://127.0.0.1:1/");
        check("[::]:1", "http://[::1]:1/");
        check("192.168.0.1:80", "http://192.168.0.1/");
        assert_eq!(local_url(([127, 0, 0, 1], 443).into(), true).as_str(), "https://127.0.0.1/");
    }
}
