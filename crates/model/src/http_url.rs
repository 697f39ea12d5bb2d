//! URLs that requests are sent to, as users write them.

use url::{Host, Url};

use crate::hidden;

/// The maximum length of a host name. Source: RFC 1035 section 2.3.4, without the root's length byte and its
/// dot.
const HOST_LENGTH_MAX: usize = 253;

/// The maximum length of one label of a host name. Source: RFC 1035 section 2.3.4.
const LABEL_LENGTH_MAX: usize = 63;

/// The reason why a text is not a URL that requests can be sent to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpUrlError {
    /// White space or an invisible character. A URL parser would silently drop some of them.
    #[error("must not contain white space, control characters or invisible characters, and has '{}'", .0.escape_unicode())]
    Hidden(char),
    /// Not a URL.
    #[error("is not a URL: {0}")]
    Syntax(#[from] url::ParseError),
    /// Neither http nor https.
    #[error("must begin with http:// or https://, not {0}:")]
    Scheme(String),
    /// No host directly after `://`. URL parsers disagree about the host of such a text.
    #[error("must have :// and a host after the scheme")]
    NoHost,
    /// A backslash or a percent sign in the host. URL parsers disagree about the host of such a text.
    #[error("must not contain '{0}' in its host")]
    HostCharacter(char),
    /// A host name that DNS does not allow.
    #[error(
        "must name a host that can exist: parts of 1 to {LABEL_LENGTH_MAX} characters with one dot between them, at most \
         {HOST_LENGTH_MAX} characters"
    )]
    HostName,
}

/// Parses an http or https URL that a request can be sent to.
///
/// # Errors
/// [`HttpUrlError`], with the rule that the text breaks.
pub fn parse(text: &str) -> Result<Url, HttpUrlError> {
    if let Some(found) = text.chars().find(|c| c.is_whitespace() || hidden::is_invisible(*c)) {
        return Err(HttpUrlError::Hidden(found));
    }
    let url = Url::parse(text)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(HttpUrlError::Scheme(url.scheme().to_owned()));
    }
    check_typed_host(&text[url.scheme().len()..])?;
    match url.host() {
        Some(Host::Domain(name)) if !can_exist(name) => Err(HttpUrlError::HostName),
        Some(_) => Ok(url),
        None => Err(HttpUrlError::NoHost),
    }
}

/// Checks the host as the user typed it. `rest` is the text after the scheme.
fn check_typed_host(rest: &str) -> Result<(), HttpUrlError> {
    let authority = rest.strip_prefix("://").ok_or(HttpUrlError::NoHost)?;
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.is_empty() {
        return Err(HttpUrlError::NoHost);
    }
    // Some parsers end the authority at a backslash, so it is not allowed in user or password either.
    let found = authority.chars().find(|c| *c == '\\').or_else(|| host.chars().find(|c| *c == '%'));
    found.map_or(Ok(()), |found| Err(HttpUrlError::HostCharacter(found)))
}

/// Whether a name is within the length limits of DNS and has no empty label. It may end with the root's dot.
fn can_exist(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= HOST_LENGTH_MAX
        && name.split('.').all(|label| (1..=LABEL_LENGTH_MAX).contains(&label.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let actual = parse(text).map(|url| url.host_str().unwrap_or_default().to_owned());
        let actual = actual.as_ref().map(String::as_str).map_err(ToString::to_string);
        assert_eq!(actual, expected.map_err(str::to_owned), "{text:?}");
    }

    #[test]
    fn hosts_that_can_exist() {
        check("http://bla.com", Ok("bla.com"));
        check("HTTPS://Bla.COM:443/A?b#c", Ok("bla.com"));
        check("https://bla.com./", Ok("bla.com."));
        check("https://user:p%40ss@bla.com/", Ok("bla.com"));
        check("https://[2001:db8::1]:8443/", Ok("[2001:db8::1]"));
        check("https://a_b.example/%2e%2E/%E2%80%8B", Ok("a_b.example"));
        check("https://bücher.example/ü", Ok("xn--bcher-kva.example"));
        check(&format!("https://{}.example/", "x".repeat(63)), Ok(&format!("{}.example", "x".repeat(63))));
    }

    #[test]
    fn hosts_that_cannot_exist() {
        let refused = "must name a host that can exist: parts of 1 to 63 characters with one dot between them, at most 253 \
                       characters";
        for host in [".", "..", "...", ".a.example", "a..example", "a.example..", "a。。example", "。"] {
            check(&format!("https://{host}/x"), Err(refused));
            check(&format!("https://user@{host}:8443"), Err(refused));
        }
        check(&format!("https://{}.example/", "x".repeat(64)), Err(refused));
        check(&format!("https://{}example/", "x.".repeat(124)), Err(refused));
    }

    #[test]
    fn texts_that_parsers_read_as_different_hosts() {
        let no_host = "must have :// and a host after the scheme";
        for text in
            ["https:bla.com", "https:/bla.com", "https:///bla.com", "https:\\\\bla.com", "http://@bla.com@/"]
        {
            check(text, Err(if text.contains('@') { "is not a URL: empty host" } else { no_host }));
        }
        check("https://bla.com\\@evil.example/", Err("must not contain '\\' in its host"));
        check("https://bla.com\\x/", Err("must not contain '\\' in its host"));
        for host in ["%2e", "%2e%2E", "bla%2ecom", "bla%E2%80%8B.com", "bla%2f.com"] {
            let refused = parse(&format!("https://{host}/")).map_err(|error| error.to_string());
            let expected =
                ["must not contain '%' in its host", "is not a URL: invalid international domain name"];
            assert!(
                refused.as_ref().is_err_and(|error| expected.contains(&error.as_str())),
                "{host}: {refused:?}"
            );
        }
    }

    #[test]
    fn characters_that_nobody_sees() {
        let hidden = [
            ' ',
            '\t',
            '\n',
            '\r',
            '\0',
            '\u{1b}',
            '\u{7f}',
            '\u{85}',
            '\u{a0}',
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{3000}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{e0041}',
        ];
        for c in hidden {
            for text in [
                format!("{c}https://bla.com/"),
                format!("ht{c}tps://bla.com/"),
                format!("https://bl{c}a.com/"),
                format!("https://u{c}ser@bla.com/"),
                format!("https://bla.com:8{c}443/"),
                format!("https://bla.com/a{c}b"),
                format!("https://bla.com/?a{c}"),
                format!("https://bla.com/#{c}"),
                format!("https://bla.com/{c}"),
            ] {
                assert_eq!(parse(&text), Err(HttpUrlError::Hidden(c)), "{text:?}");
            }
        }
        check(
            "https://bla.com/\u{200b}",
            Err(
                "must not contain white space, control characters or invisible characters, and has '\\u{200b}'",
            ),
        );
    }
}
