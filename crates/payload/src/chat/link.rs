//! Links: the URLs of a payload that a message may contain as links.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use stackbell_model::http_url;
use url::Url;

/// The longest URL that is linked, in bytes. A longer one is dropped, because a shortened URL leads elsewhere. Real URLs are ten
/// times shorter, and the messages of every service have room for two URLs of this length.
pub(crate) const URL_BYTES_MAX: usize = 2000;

/// Characters that end a link in `<url|text>` or `[text](url)`. A URL parser does not escape all of them.
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

/// A URL that a message may link to, and its label. The URL has no character that ends a link in the markup of any service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    url: String,
    /// The label of its button.
    pub(crate) label: &'static str,
}

impl Link {
    /// Checks a payload's URL. Returns `None` unless [`http_url::parse`] accepts it, it is https or below `public_url`, it has
    /// neither user nor password (which make one host look like another), and it has at most [`URL_BYTES_MAX`] bytes.
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

    /// The URL, without the escapes of its destination.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// True if `url` has the origin of `base` and is at or below its path. Both are http or https: other origins never match.
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
