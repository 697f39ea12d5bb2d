//! Makes values that a person typed safe to repeat in errors.
//!
//! A value that cannot be used may hold a password or a token in the wrong place. [`redacted`] leaves credentials out.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use url::Url;

use crate::printable::printable;

/// Stands for text that is left out.
const LEFT_OUT: &str = "…";

/// The most characters of a value that are repeated.
const SHOWN_CHARACTERS_MAX: usize = 120;

/// The prefixes of tokens and secrets: ours, those of Standard Webhooks, and Pulumi's.
const SECRET_PREFIXES: [&str; 3] = ["sbl_", "whsec_", "pul-"];

/// The length of a master key in bytes.
const KEY_BYTES: usize = 32;

/// The name of a server in errors: scheme, host and port. Path, query, user and password are left out, because they may be
/// credentials.
pub fn origin(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}/", url.scheme(), url.host_str().unwrap_or_default())
}

/// The form in which an error repeats an invalid value. A URL is cut to scheme and host. A token, a key, or a user with a
/// password is cut further.
pub fn redacted(value: &str) -> String {
    if let Some(prefix) = SECRET_PREFIXES.iter().find(|prefix| value.trim_start().starts_with(**prefix)) {
        return format!("{prefix}{LEFT_OUT}");
    }
    if may_be_key(value) {
        return LEFT_OUT.to_owned();
    }
    let cut = match (value.find("://"), value.rfind('@')) {
        (Some(end), _) => {
            let (scheme, rest) = (&value[..end], &value[end + 3..]);
            // An option may stand before the scheme, as in `--store=postgres://…`.
            format!("{}://{}", host(scheme, |c| c == '+' || c == '=' || c == ':'), host_of(rest))
        }
        (None, Some(at)) => format!("{LEFT_OUT}@{}", host_of(&value[at + 1..])),
        (None, None) => value.to_owned(),
    };
    let visible = printable(&cut);
    match visible.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}{LEFT_OUT}", &visible[..end]),
        None => visible.into_owned(),
    }
}

/// The form in which an error repeats an invalid URL or host. The value may lack its scheme.
pub fn redacted_url(value: &str) -> String {
    if value.contains("://") || value.contains('@') { redacted(value) } else { host_of(value) }
}

/// Whether a value has the form of a master key: 32 bytes in base64 of either alphabet, padded or not.
fn may_be_key(value: &str) -> bool {
    let digits = value.trim().trim_end_matches('=');
    let engine = if digits.contains(['-', '_']) { &URL_SAFE_NO_PAD } else { &STANDARD_NO_PAD };
    engine.decode(digits).is_ok_and(|bytes| bytes.len() == KEY_BYTES)
}

/// The host and port at the beginning of a text that follows a scheme.
fn host_of(rest: &str) -> String {
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    // A password may contain a slash, so a text before a later @ may be a part of a password and not a host.
    if tail.contains('@') {
        return LEFT_OUT.to_owned();
    }
    let address = authority.rsplit('@').next().unwrap_or_default();
    let (name, port) = match address.rsplit_once(':') {
        Some((name, port)) if !address.ends_with(']') => (name, Some(port)),
        _ => (address, None),
    };
    let port = port.filter(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let tail = if tail.len() > 1 { format!("/{LEFT_OUT}") } else { tail.to_owned() };
    format!("{}{port}{tail}", host(name, |c| matches!(c, ':' | '[' | ']' | ',')))
}

/// `name` if it can be a host name; else the mark for left-out text.
fn host(name: &str, also: impl Fn(char) -> bool) -> &str {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_') || also(c);
    if name.chars().all(is_plain) { name } else { LEFT_OUT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_repeat_no_credentials() {
        let check = |value: &str, expected: &str| assert_eq!(redacted(value), expected, "{value}");
        check("20", "20");
        check("yesterday\u{1b}[2J", "yesterday\\u{1b}[2J");
        check("https://user:pass@host.example:8722/path?token=x", "https://host.example:8722/…");
        check("https://user:pa/ss@host.example/", "https://…");
        check("https://user:p@ss@host.example", "https://host.example");
        check("https://user:pass", "https://user");
        check("https://host.example?token=a@b", "https://…");
        check("postgres://u:p@h1:5432,h2:5433/db", "postgres://h1:5432,h2:5433/…");
        check("ht!tp://hooks.slack.com/services/T/B/X", "…://hooks.slack.com/…");
        check("https://[::1]:80/x", "https://[::1]:80/…");
        check("user:pass@host", "…@host");
        check("user:pass@ho st", "…@…");
        check("sbl_secret", "sbl_…");
        check("whsec_c2VjcmV0", "whsec_…");
        check("+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=", "…");
        check(&"x".repeat(200), &format!("{}…", "x".repeat(120)));
        assert_eq!(redacted_url("hooks.slack.com/services/T/B/X"), "hooks.slack.com/…");
        assert_eq!(redacted_url("s.example"), "s.example");
        let url = Url::parse("https://u:p@s.example:1/x?y=z#f").expect("a URL");
        assert_eq!(origin(&url), "https://s.example:1/");
    }
}
