//! `/etc/hosts`, read as glibc reads it.

use std::collections::HashMap;
use std::net::IpAddr;

/// The addresses of each name, from all lines with the name, in the file's order.
#[derive(Debug, Default)]
pub(super) struct Hosts(HashMap<String, Vec<IpAddr>>);

impl Hosts {
    /// Parses the text of the file. Lines without an address are ignored.
    pub(super) fn parse(text: &str) -> Self {
        let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
            for name in words {
                let addresses = hosts.entry(name.to_ascii_lowercase()).or_default();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        Self(hosts)
    }

    /// The addresses of a host (in lower case) in both families; empty if the file does not have it.
    pub(super) fn addresses(&self, host: &str) -> &[IpAddr] {
        self.0.get(host).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_words() {
        let text = "# 10.9.9.9 hook\n10.1.2.3 Hook.Internal hook # Caf\u{e9} six\n\nfd00::7\thook six\nnowhere odd\n\
                    fe80::1%eth0 link\n10.1.2.3 hook\n010.1.2.3 octal\n10.1.2.4 last.";
        let hosts = Hosts::parse(text);
        let check = |host: &str, expected: &[&str]| {
            let expected: Vec<IpAddr> = expected.iter().map(|one| one.parse().expect("an address")).collect();
            assert_eq!(hosts.addresses(host), expected, "{host}");
        };
        check("hook.internal", &["10.1.2.3"]);
        check("hook", &["10.1.2.3", "fd00::7"]);
        check("six", &["fd00::7"]);
        for absent in ["odd", "link", "octal", "nowhere", "last", "#"] {
            check(absent, &[]);
        }
        check("last.", &["10.1.2.4"]);
    }
}
