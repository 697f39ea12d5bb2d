//! A URL made ready for sending.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use url::{Position, Url};

use super::resolve::{dialled_host, normal_host};

/// Where a request goes: worked out of a URL once, and cheap to use often.
///
/// User and password of the URL become an `Authorization` header. A credential as a whole: `Display` and
/// `Debug` show scheme and host alone (invariant 8).
#[derive(Clone)]
pub struct Target {
    uri: Uri,
    /// The `Host` header where it is not the URI's: servers do not expect the dot of an absolute name.
    host: Option<HeaderValue>,
    authorization: Option<HeaderValue>,
    shown: Box<str>,
}

/// Why nothing can ever be sent to a URL.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Neither http nor https.
    #[error("the URL must begin with http:// or https://, not {0}:")]
    Scheme(String),
    /// No host.
    #[error("the URL must name a host")]
    NoHost,
    /// It, or what authorizes us there, has characters that cannot be in a request.
    #[error("the URL cannot be written in a request")]
    Syntax(#[source] http::Error),
}

impl Target {
    /// Makes a URL ready.
    ///
    /// # Errors
    /// [`TargetError`], when it is not one that a request could go to.
    pub fn new(url: &Url) -> Result<Self, TargetError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(TargetError::Scheme(url.scheme().to_owned()));
        }
        let host = url.host_str().map(normal_host).filter(|host| !host.is_empty());
        let host = host.ok_or(TargetError::NoHost)?;
        let dialled = dialled_host(url.host_str().unwrap_or_default());
        let with_port = |host: &str| match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let authority = with_port(&dialled);
        let host_header = (dialled != host).then(|| HeaderValue::try_from(with_port(&host))).transpose();
        let host_header = host_header.map_err(|error| TargetError::Syntax(error.into()))?;
        let uri = Uri::builder()
            .scheme(url.scheme())
            .authority(authority)
            .path_and_query(&url[Position::BeforePath..Position::AfterQuery])
            .build()
            .map_err(TargetError::Syntax)?;
        let authorization = basic_authorization(url).map_err(TargetError::Syntax)?;
        Ok(Self { uri, host: host_header, authorization, shown: format!("{}://{host}", url.scheme()).into() })
    }

    /// The same with this `Authorization`, in the place of any that the URL brought along.
    ///
    /// # Errors
    /// [`TargetError::Syntax`], when it has characters that cannot be in a header.
    pub fn with_authorization(self, authorization: &str) -> Result<Self, TargetError> {
        let mut value = HeaderValue::try_from(authorization)
            .map_err(|error| TargetError::Syntax(http::Error::from(error)))?;
        value.set_sensitive(true);
        Ok(Self { authorization: Some(value), ..self })
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(super) fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
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

    fn check(url: &str, expected: Result<(&str, Option<&str>, &str), &str>) {
        let target = Target::new(&Url::parse(url).expect("the test gives a URL"));
        let actual = target.as_ref().map(|target| {
            let authorization = target.authorization.as_ref().map(|value| value.to_str().expect("text"));
            (target.uri.to_string(), authorization, target.to_string())
        });
        let expected = expected.map(|(uri, value, shown)| (uri.to_owned(), value, shown.to_owned()));
        assert_eq!(actual.map_err(ToString::to_string), expected.map_err(str::to_owned), "{url}");
    }

    #[test]
    fn urls() {
        check("https://Example.com/a?b=c#d", Ok(("https://example.com/a?b=c", None, "https://example.com")));
        check("http://example.com.:8080", Ok(("http://example.com.:8080/", None, "http://example.com")));
        check("http://Example.com..", Ok(("http://example.com./", None, "http://example.com")));
        check("http://127.0.0.1..", Ok(("http://127.0.0.1/", None, "http://127.0.0.1")));
        check("https://[::1]:8443/x", Ok(("https://[::1]:8443/x", None, "https://[::1]")));
        check("http://0x7f.1/", Ok(("http://127.0.0.1/", None, "http://127.0.0.1")));
        check(
            "https://me%40x:p%3Aw@example.com/",
            Ok(("https://example.com/", Some("Basic bWVAeDpwOnc="), "https://example.com")),
        );
        check(
            "https://me@example.com/",
            Ok(("https://example.com/", Some("Basic bWU6"), "https://example.com")),
        );
        check("ftp://example.com/", Err("the URL must begin with http:// or https://, not ftp:"));
    }

    #[test]
    fn nothing_but_scheme_and_host_is_shown() {
        let url = Url::parse("https://user:word@example.com/services/T0/B0/xyz?key=1").expect("a URL");
        let target = Target::new(&url).expect("a target");
        assert_eq!(format!("{target:?} {target}"), "Target(\"https://example.com\") https://example.com");
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
