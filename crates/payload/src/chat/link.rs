//! Which of a payload's URLs become links.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use stackbell_model::http_url;
use url::Url;

/// The longest URL that is linked, in bytes; one that is longer is dropped, as a cut URL leads elsewhere.
/// Ten times what real ones need, and two of them fit into a message of every service.
pub(crate) const URL_BYTES_MAX: usize = 2000;

/// What would end a link in `<url|text>` or `[text](url)`. A URL parser leaves some of these as they are.
const BREAKING: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'\'')
    .add(b'(')
    .add(b')')
    .add(b'*')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'~');

/// A URL that a message may link, free of characters that end a link in any of the services' markups, and its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    url: String,
    /// What a button says that opens it.
    pub(crate) label: &'static str,
}

impl Link {
    /// Takes a payload's URL. `None` unless it is one that [`http_url::parse`] takes, is https or below `public_url`, has
    /// neither user nor password (which make one host look like another), and is at most [`URL_BYTES_MAX`] long.
    pub(super) fn new(text: &str, label: &'static str, public_url: Option<&Url>) -> Option<Self> {
        let url = http_url::parse(text).ok()?;
        let is_trusted = url.scheme() == "https" || public_url.is_some_and(|base| is_below(&url, base));
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        if !is_trusted || has_credentials {
            return None;
        }
        let url = utf8_percent_encode(url.as_str(), BREAKING).to_string();
        (url.len() <= URL_BYTES_MAX).then_some(Self { url, label })
    }

    /// The URL, not yet escaped for where it goes.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// Whether `url` is on `base`'s origin and at or below its path. Only of http and https: other origins are never equal.
fn is_below(url: &Url, base: &Url) -> bool {
    let folder = base.path().trim_end_matches('/');
    let rest = url.path().strip_prefix(folder);
    url.origin() == base.origin() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let public_url = Url::parse("http://bell.internal:8080/base/").expect("a URL");
        let link = Link::new(text, "Open", Some(&public_url));
        assert_eq!(link.as_ref().map(Link::url), expected, "{text}");
    }

    #[test]
    fn only_https_and_what_is_below_the_public_url() {
        check("https://app.example.com/a/b?c=d&e#f", Some("https://app.example.com/a/b?c=d&e#f"));
        check("http://bell.internal:8080/base/x", Some("http://bell.internal:8080/base/x"));
        check("http://bell.internal:8080/base", Some("http://bell.internal:8080/base"));
        check("http://bell.internal:8080/based", None);
        check("http://bell.internal:8080/base/../x", None);
        check("http://bell.internal/base/x", None);
        check("http://app.example.com/", None);
        check("javascript:alert(1)", None);
        check("data:text/html,x", None);
        check("/updates/4", None);
        check("\0https://app.example.com/", None);
        check("https://app.example.com/\nx", None);
        check("https://app.exa\u{200b}mple.com/", None);
        check("https://app.example.com/\u{202e}x", None);
        check("https:app.example.com/", None);
        check("https://../x", None);
        check("", None);
    }

    #[test]
    fn nothing_ends_the_link_or_hides_its_host() {
        check(
            "https://a.example/x|y>z<!channel>?q=`*|#)](b",
            Some("https://a.example/x%7Cy%3Ez%3C!channel%3E?q=%60%2A%7C#%29%5D%28b"),
        );
        check("https://app.example.com@evil.example/", None);
        check("https://app.example.com:443@evil.example/", None);
        check(&format!("https://a.example/{}", "x".repeat(URL_BYTES_MAX)), None);
        check("https://a.example/ü%20é", Some("https://a.example/%C3%BC%20%C3%A9"));
    }
}
