//! Texts of others and values of people, made fit to be printed.
//!
//! A text of a server, an endpoint or an argument may hold characters that move a terminal's cursor, change its colours or
//! reverse what is shown: [`printable`] and [`Visible`] spell them out.
//! A value that cannot be used may hold a password or a token in the wrong place: [`shown`] leaves those out.

use std::borrow::Cow;
use std::io::{self, Write};

use stackbell_keys::MasterKey;
use stackbell_model::hidden;
use url::Url;

/// Stands for text that is left out.
const LEFT_OUT: &str = "…";

/// The most characters of a value that are repeated.
const SHOWN_CHARACTERS_MAX: usize = 120;

/// The beginnings of tokens and secrets: ours, those of Standard Webhooks, and Pulumi's.
const SECRET_PREFIXES: [&str; 3] = ["sbl_", "whsec_", "pul-"];

/// A text on one line, with its hidden characters spelt out.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    hidden::escape(text, &[])
}

/// A text of several lines, with all other hidden characters spelt out.
pub(crate) fn printable_lines(text: &str) -> Cow<'_, str> {
    hidden::escape(text, &['\n', '\t'])
}

/// Says something on standard error, beside the answer.
pub(crate) fn note(text: &str) {
    // There is nobody left to tell when standard error is gone.
    let _ = writeln!(io::stderr(), "{}", printable_lines(text));
}

/// Writes text with its hidden characters spelt out. Each write is expected to be whole characters, as of `write!`.
pub(crate) struct Visible<W>(pub(crate) W);

impl<W: Write> Write for Visible<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.0.write_all(printable_lines(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A server as errors name it: scheme, host and port. Path, query, user and password may be credentials.
pub(crate) fn origin(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}/", url.scheme(), url.host_str().unwrap_or_default())
}

/// A value that cannot be used, as errors repeat it. Of a URL only scheme and host are left; of what may be a user with a
/// password, or a token, less than that.
pub(crate) fn shown(value: &str) -> String {
    if let Some(prefix) = SECRET_PREFIXES.iter().find(|prefix| value.trim_start().starts_with(**prefix)) {
        return format!("{prefix}{LEFT_OUT}");
    }
    if MasterKey::from_base64(value).is_ok() {
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

/// A value for a URL or a host that cannot be used, as errors repeat it. It may lack its scheme.
pub(crate) fn shown_url(value: &str) -> String {
    if value.contains("://") || value.contains('@') { shown(value) } else { host_of(value) }
}

/// The host and port at the beginning of what comes after a scheme.
fn host_of(rest: &str) -> String {
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    // A password may have a slash in it, so nothing before a later @ is sure to be a host.
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

/// A name, if it can be one.
fn host(name: &str, also: impl Fn(char) -> bool) -> &str {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_') || also(c);
    if name.chars().all(is_plain) { name } else { LEFT_OUT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_text_is_visible() {
        let mut written = Vec::new();
        let mut visible = Visible(&mut written);
        let reversed = "\u{202e}\u{9b}é";
        writeln!(visible, "a\u{1b}[31m{reversed}\tb").expect("written");
        visible.write_all(&[b'x', 0xff]).expect("written");
        let expected = "a\\u{1b}[31m\\u{202e}\\u{9b}é\tb\nx\u{fffd}";
        assert_eq!(String::from_utf8(written).expect("text"), expected);
        assert_eq!(printable("a\nb\u{7f}"), "a\\u{a}b\\u{7f}");
    }

    #[test]
    fn errors_repeat_no_credentials() {
        let check = |value: &str, expected: &str| assert_eq!(shown(value), expected, "{value}");
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
        assert_eq!(shown_url("hooks.slack.com/services/T/B/X"), "hooks.slack.com/…");
        assert_eq!(shown_url("s.example"), "s.example");
        let url = Url::parse("https://u:p@s.example:1/x?y=z#f").expect("a URL");
        assert_eq!(origin(&url), "https://s.example:1/");
    }
}
