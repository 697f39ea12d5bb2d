//! A URL, prepared for requests.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use url::{Position, Url};

use super::resolve::{dialled_host, normal_host};

/// The scheme, host and port of a connection. Requests to one origin can share connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) is_tls: bool,
    /// A name or an address in its normal spelling. IPv6 addresses are in brackets. A name with a final dot is absolute.
    pub(super) host: Arc<str>,
    pub(super) port: u16,
}

/// The destination of requests: parsed once from a URL, and cheap to reuse.
///
/// The user and password of the URL become an `Authorization` header. The whole target counts as a credential: `Display` and
/// `Debug` show only scheme, host and port (invariant 8).
#[derive(Clone)]
pub struct Target {
    origin: Origin,
    /// The path and the query.
    path: Uri,
    /// The value of the `Host` header.
    host: HeaderValue,
    authorization: Option<HeaderValue>,
    shown: Box<str>,
}

/// Why no request can be sent to a URL.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The scheme is neither http nor https.
    #[error("the URL must begin with http:// or https://, not {0}:")]
    Scheme(String),
    /// The URL has no host.
    #[error("the URL must name a host")]
    NoHost,
    /// The URL or the credential has characters that a request cannot contain.
    #[error("the URL cannot be written in a request")]
    Syntax(#[source] http::Error),
}

impl Target {
    /// Prepares a URL.
    ///
    /// # Errors
    /// [`TargetError`], if no request can be sent to the URL.
    pub fn new(url: &Url) -> Result<Self, TargetError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(TargetError::Scheme(url.scheme().to_owned()));
        }
        let host = url.host_str().map(normal_host).filter(|host| !host.is_empty());
        let host = host.ok_or(TargetError::NoHost)?;
        let port = url.port_or_known_default().expect("both schemes have one");
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.clone(),
        };
        let path = Uri::builder().path_and_query(&url[Position::BeforePath..Position::AfterQuery]).build();
        let path = path.map_err(TargetError::Syntax)?;
        let syntax = |error| TargetError::Syntax(http::Error::from(error));
        let authorization = basic_authorization(url).map_err(TargetError::Syntax)?;
        let shown = format!("{}://{host}:{port}", url.scheme()).into();
        let origin = Origin {
            is_tls: url.scheme() == "https",
            host: dialled_host(url.host_str().unwrap_or_default()).into(),
            port,
        };
        // Servers do not expect the final dot of an absolute name.
        let host = HeaderValue::try_from(authority).map_err(syntax)?;
        Ok(Self { origin, path, host, authorization, shown })
    }

    /// Replaces the target's `Authorization`, including one from the URL.
    ///
    /// # Errors
    /// [`TargetError::Syntax`], if the value has characters that a header cannot contain.
    pub fn with_authorization(self, authorization: &str) -> Result<Self, TargetError> {
        let mut value = HeaderValue::try_from(authorization)
            .map_err(|error| TargetError::Syntax(http::Error::from(error)))?;
        value.set_sensitive(true);
        Ok(Self { authorization: Some(value), ..self })
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn path(&self) -> &Uri {
        &self.path
    }

    pub(super) fn host(&self) -> &HeaderValue {
        &self.host
    }

    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

fn basic_authorization(url: &Url) -> Result<Option<HeaderValue>, http::Error> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let mut credential: Vec<u8> = percent_decode_str(url.username()).collect();
    credential.push(b':');
    credential.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credential)))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({:?})", self.shown)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

    use super::*;

    fn check(url: &str, expected: Result<(&str, &str, Option<&str>, &str), &str>) {
        let target = Target::new(&Url::parse(url).expect("the test gives a URL"));
        let actual = target.as_ref().map(|target| {
            let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
            let authorization = target.authorization.as_ref().map(text);
            (text(&target.host), target.path.to_string(), authorization, target.to_string())
        });
        let expected = expected.map(|(host, path, authorization, shown)| {
            (host.to_owned(), path.to_owned(), authorization.map(str::to_owned), shown.to_owned())
        });
        assert_eq!(actual.map_err(ToString::to_string), expected.map_err(str::to_owned), "{url}");
    }

    #[test]
    fn urls() {
        check("https://Example.com/a?b=c#d", Ok(("example.com", "/a?b=c", None, "https://example.com:443")));
        check("http://example.com.:8080", Ok(("example.com:8080", "/", None, "http://example.com:8080")));
        check("http://Example.com..", Ok(("example.com", "/", None, "http://example.com:80")));
        check("http://127.0.0.1..", Ok(("127.0.0.1", "/", None, "http://127.0.0.1:80")));
        check("http://example.com:80", Ok(("example.com", "/", None, "http://example.com:80")));
        check("https://[::1]:8443/x", Ok(("[::1]:8443", "/x", None, "https://[::1]:8443")));
        check("http://0x7f.1/", Ok(("127.0.0.1", "/", None, "http://127.0.0.1:80")));
        check(
            "https://me%40x:p%3Aw@example.com/",
            Ok(("example.com", "/", Some("Basic bWVAeDpwOnc="), "https://example.com:443")),
        );
        check(
            "https://me@example.com/",
            Ok(("example.com", "/", Some("Basic bWU6"), "https://example.com:443")),
        );
        check("ftp://example.com/", Err("the URL must begin with http:// or https://, not ftp:"));
    }

    #[test]
    fn origins() {
        let origin = |url: &str| Target::new(&Url::parse(url).expect("a URL")).expect("a target").origin;
        let expected = Origin { is_tls: true, host: "a.example".into(), port: 443 };
        assert_eq!(origin("https://A.example/x"), expected);
        assert_eq!(origin("https://a.example:443/y?z"), expected);
        assert_ne!(origin("http://a.example/"), expected);
        assert_eq!(&*origin("http://a.example../").host, "a.example.");
        assert_eq!(&*origin("http://[::1]/").host, "[::1]");
    }

    #[test]
    fn nothing_but_scheme_host_and_port_is_shown() {
        let url = Url::parse("https://user:word@example.com/services/T0/B0/xyz?key=1").expect("a URL");
        let target = Target::new(&url).expect("a target");
        let shown = "https://example.com:443";
        assert_eq!(format!("{target:?} {target}"), format!("Target({shown:?}) {shown}"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_path_and_query_can_be_sent(path in any::<String>(), query in any::<String>()) {
            let mut url = Url::parse("https://example.com").expect("a URL");
            url.set_path(&path);
            url.set_query(Some(&query));
            prop_assert!(Target::new(&url).is_ok(), "{url}");
        }
    }
}
