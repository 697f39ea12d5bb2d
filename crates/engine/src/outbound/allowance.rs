//! One exception to the outbound policy, as operators write it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use stackbell_model::names::{NameError, OrganizationName};

/// A network that may be reached although it is not public: `CIDR[:PORT][@ORG]`.
///
/// A bare address is a network of one address. IPv6 networks are written `fd00::/8`, `[fd00::1]`, `[fd00::1]:443`,
/// `[fd00::]/8:443` or `fd00::/8:443`. IPv4-mapped networks are read as IPv4 networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    network: IpNet,
    port: Option<NonZeroU16>,
    organization: Option<OrganizationName>,
}

/// Why a text is not an [`Allowance`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowanceError {
    /// The text does not begin with an address.
    #[error(
        "{0:?} is not an IP address; an allowance is written CIDR[:PORT][@ORG], such as 10.0.0.0/8:443@acme"
    )]
    Address(String),
    /// The text after the slash is not a prefix length.
    #[error("{found:?} is not a prefix length: it must be a number from 0 to {max}")]
    Prefix {
        /// The text after the slash.
        found: String,
        /// The longest prefix for this kind of address.
        max: u8,
    },
    /// The address has bits set after its prefix, so it is unclear which network is meant.
    #[error(
        "the address is not the first of its network: write {0}, or the whole address with its longest prefix"
    )]
    HostBits(IpNet),
    /// The text after the colon is not a port.
    #[error("{0:?} is not a port: it must be a number from 1 to 65535")]
    Port(String),
    /// The text after the `@` is not an organization name.
    #[error("the organization behind '@' is not a name")]
    Organization(#[source] NameError),
}

impl Allowance {
    /// The allowances for this machine itself, for every organization: `127.0.0.0/8` and `::1`.
    pub fn loopback() -> [Self; 2] {
        let v4 = Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0), 8);
        let all = |network| Self { network, port: None, organization: None };
        [all(IpNet::V4(v4)), all(IpNet::from(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)))]
    }

    /// The organization that may use the allowance; `None` if all may.
    pub fn organization(&self) -> Option<&OrganizationName> {
        self.organization.as_ref()
    }

    pub(super) fn covers(&self, address: SocketAddr) -> bool {
        self.network.contains(&address.ip()) && self.port.is_none_or(|port| port.get() == address.port())
    }

    /// Whether the allowance covers this address and no other.
    pub(super) fn covers_alone(&self, address: SocketAddr) -> bool {
        self.network.prefix_len() == self.network.max_prefix_len() && self.covers(address)
    }
}

impl FromStr for Allowance {
    type Err = AllowanceError;

    fn from_str(text: &str) -> Result<Self, AllowanceError> {
        let (place, organization) = match text.rsplit_once('@') {
            Some((place, name)) => {
                (place, Some(OrganizationName::parse(name).map_err(AllowanceError::Organization)?))
            }
            None => (text, None),
        };
        let parts = Parts::of(place);
        let address = parts.address.parse().map_err(|_| AllowanceError::Address(parts.address.to_owned()))?;
        let network = network(address, parts.prefix)?;
        let port = parts.port.map(|port| port.parse().map_err(|_| AllowanceError::Port(port.to_owned())));
        Ok(Self { network: unmapped(network), port: port.transpose()?, organization })
    }
}

/// The parts of the text, not validated yet.
struct Parts<'a> {
    address: &'a str,
    prefix: Option<&'a str>,
    port: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(place: &'a str) -> Self {
        if let Some((address, rest)) = place.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            let (prefix, port) = match rest.strip_prefix('/') {
                Some(rest) => Self::prefix_and_port(rest),
                None if rest.is_empty() => (None, None),
                None => match rest.strip_prefix(':') {
                    Some(port) => (None, Some(port)),
                    // Neither a prefix nor a port follows. The whole text is passed on, and fails to parse.
                    None => return Self { address: place, prefix: None, port: None },
                },
            };
            return Self { address, prefix, port };
        }
        if let Some((address, rest)) = place.split_once('/') {
            let (prefix, port) = Self::prefix_and_port(rest);
            return Self { address, prefix, port };
        }
        match place.split_once(':') {
            Some((address, port)) if !port.contains(':') => Self { address, prefix: None, port: Some(port) },
            _ => Self { address: place, prefix: None, port: None },
        }
    }

    fn prefix_and_port(rest: &'a str) -> (Option<&'a str>, Option<&'a str>) {
        match rest.split_once(':') {
            Some((prefix, port)) => (Some(prefix), Some(port)),
            None => (Some(rest), None),
        }
    }
}

fn network(address: IpAddr, prefix: Option<&str>) -> Result<IpNet, AllowanceError> {
    let whole = IpNet::from(address);
    let Some(prefix) = prefix else { return Ok(whole) };
    let network = prefix.parse().ok().and_then(|length| IpNet::new(address, length).ok());
    let error = || AllowanceError::Prefix { found: prefix.to_owned(), max: whole.max_prefix_len() };
    let network = network.ok_or_else(error)?;
    if network.trunc() == network { Ok(network) } else { Err(AllowanceError::HostBits(network.trunc())) }
}

/// Converts a network within `::ffff:0:0/96` into its IPv4 network.
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    v4.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}

impl fmt::Display for Allowance {
    /// Writes the form that `FromStr` reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.network)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match &self.organization {
            Some(organization) => write!(f, "@{organization}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let actual = text.parse::<Allowance>().map(|a| a.to_string()).map_err(|e| e.to_string());
        assert_eq!(actual.as_deref(), expected.map_err(str::to_owned).as_deref(), "{text:?}");
        if let Ok(canonical) = actual {
            let again = canonical.parse::<Allowance>().map(|a| a.to_string());
            assert_eq!(again, Ok(canonical), "what is shown can be read");
        }
    }

    #[test]
    fn good_ones() {
        check("10.0.0.0/8", Ok("10.0.0.0/8"));
        check("10.1.2.3", Ok("10.1.2.3/32"));
        check("10.1.2.3:8080", Ok("10.1.2.3/32:8080"));
        check("127.0.0.0/8:8080", Ok("127.0.0.0/8:8080"));
        check("10.0.0.0/8@acme", Ok("10.0.0.0/8@acme"));
        check("10.0.0.0/8:443@a.b_c-d", Ok("10.0.0.0/8:443@a.b_c-d"));
        check("0.0.0.0/0", Ok("0.0.0.0/0"));
        check("::1", Ok("::1/128"));
        check("::1/128", Ok("::1/128"));
        check("[::1]", Ok("::1/128"));
        check("[::1]/128", Ok("::1/128"));
        check("[::1]:80", Ok("::1/128:80"));
        check("[fd00::]/8:443@acme", Ok("fd00::/8:443@acme"));
        check("fd00::/8:443", Ok("fd00::/8:443"));
        check("::ffff:10.0.0.0/104", Ok("10.0.0.0/8"));
        check("::ffff:10.1.2.3", Ok("10.1.2.3/32"));
    }

    #[test]
    fn bad_ones() {
        let form =
            "is not an IP address; an allowance is written CIDR[:PORT][@ORG], such as 10.0.0.0/8:443@acme";
        check("", Err(&format!("\"\" {form}")));
        check("localhost", Err(&format!("\"localhost\" {form}")));
        check("localhost:80", Err(&format!("\"localhost\" {form}")));
        check("10.0.0", Err(&format!("\"10.0.0\" {form}")));
        check("010.0.0.1", Err(&format!("\"010.0.0.1\" {form}")));
        check("[::1", Err(&format!("\"[::1\" {form}")));
        check("1:2:3", Err(&format!("\"1:2:3\" {form}")));
        check("10.0.0.0/33", Err("\"33\" is not a prefix length: it must be a number from 0 to 32"));
        check("10.0.0.0/", Err("\"\" is not a prefix length: it must be a number from 0 to 32"));
        check("::/129", Err("\"129\" is not a prefix length: it must be a number from 0 to 128"));
        check(
            "10.1.2.3/8",
            Err(
                "the address is not the first of its network: write 10.0.0.0/8, or the whole address with its longest prefix",
            ),
        );
        check("10.0.0.0/8:0", Err("\"0\" is not a port: it must be a number from 1 to 65535"));
        check("10.0.0.0/8:65536", Err("\"65536\" is not a port: it must be a number from 1 to 65535"));
        check("10.0.0.0/8:http", Err("\"http\" is not a port: it must be a number from 1 to 65535"));
        check("[::1]80", Err(&format!("\"[::1]80\" {form}")));
        check("10.0.0.0/8@", Err("the organization behind '@' is not a name"));
        check("10.0.0.0/8@a b", Err("the organization behind '@' is not a name"));
    }
}
