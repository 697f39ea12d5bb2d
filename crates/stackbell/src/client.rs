//! The client of the public API, for the verbs of the command line.

use std::io::Read;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy, SendBody};
use url::Url;

use crate::config::{ConfigError, Environment, LISTEN_DEFAULT, SecretText, read_secret};

/// For a connection. A server that does not take one within it is not there.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// From the request's end to the answer's head: a ping alone may take the 15 s of an exchange.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// The most bytes of an answer: a page of lists is far below it.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Carries what `continuationToken` takes, when a list was cut.
const CONTINUATION: &str = "Pulumi-Continuation-Token";

/// Whom to ask, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct ClientSettings {
    /// The server.
    pub(crate) url: Url,
    /// The token; `None` when there is none to be found.
    pub(crate) token: Option<SecretText>,
}

/// A client of one server.
pub(crate) struct Client {
    agent: Agent,
    settings: ClientSettings,
}

/// A body to send.
pub(crate) enum Payload<'a> {
    /// None.
    Empty,
    /// This value, as JSON.
    Json(&'a Value),
    /// What there is to read, of this media type.
    Stream(&'static str, &'a mut dyn Read),
}

/// Why there is no answer that could be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody is there, or not for long enough.
    #[error("cannot reach {url}: is the server running, and is this its address (--url, STACKBELL_URL)?")]
    Unreachable {
        /// The server.
        url: Url,
        /// Why.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The request could not be made.
    #[error("the request cannot be sent")]
    Request(#[source] Box<ureq::Error>),
    /// The token, the path or the like cannot be part of a request.
    #[error("the request cannot be made")]
    Form(#[from] ureq::http::Error),
    /// The server said no.
    #[error("{message} ({status})")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its words.
        message: String,
    },
    /// The answer is no JSON: something else than a Stackbell server is there.
    #[error("{url} answered {status} with something that is not JSON: is it a Stackbell server?")]
    NotJson {
        /// The server.
        url: Url,
        /// Its status.
        status: StatusCode,
    },
    /// No token.
    #[error("there is no token: set STACKBELL_TOKEN, STACKBELL_TOKEN_FILE or PULUMI_ACCESS_TOKEN")]
    NoToken,
}

/// What the server says when it says no.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl ClientSettings {
    /// The server from the flag, `STACKBELL_URL` or `PULUMI_BACKEND_URL`; the token from `STACKBELL_TOKEN`,
    /// `STACKBELL_TOKEN_FILE` or `PULUMI_ACCESS_TOKEN`.
    ///
    /// # Errors
    /// [`ConfigError`], when one of them cannot be used.
    pub(crate) fn find(flag: Option<&Url>, environment: &Environment) -> Result<Self, ConfigError> {
        let token = match (environment.get("STACKBELL_TOKEN"), environment.get("STACKBELL_TOKEN_FILE")) {
            (Some(_), Some(_)) => {
                return Err(ConfigError::Both {
                    origin: "environment".to_owned(),
                    name: "STACKBELL_TOKEN".to_owned(),
                    file_name: "STACKBELL_TOKEN_FILE".to_owned(),
                });
            }
            (Some(token), None) => Some(token.to_owned()),
            (None, Some(path)) => Some(read_secret(path.as_ref(), "STACKBELL_TOKEN_FILE")?),
            (None, None) => environment.get("PULUMI_ACCESS_TOKEN").map(str::to_owned),
        };
        let url = match flag {
            Some(url) => url.clone(),
            None => Self::url(environment)?,
        };
        Ok(Self { url, token: token.map(SecretText::new) })
    }

    fn url(environment: &Environment) -> Result<Url, ConfigError> {
        for variable in ["STACKBELL_URL", "PULUMI_BACKEND_URL"] {
            if let Some(text) = environment.get(variable) {
                return parse_url(text).map_err(|source| ConfigError::Invalid {
                    key: "url",
                    origin: variable.to_owned(),
                    source: source.into(),
                });
            }
        }
        Ok(parse_url(&format!("http://{LISTEN_DEFAULT}")).expect("the default is a URL"))
    }
}

/// Reads a server's URL: `http` or `https`, with a host.
///
/// # Errors
/// In words, when it is none.
pub(crate) fn parse_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) | Err(_) => Err("must be an http or https URL with a host".to_owned()),
    }
}

impl Client {
    /// A client. Connects to nothing yet.
    pub(crate) fn new(settings: ClientSettings) -> Self {
        let tls = TlsConfig::builder().root_certs(roots()).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(stackbell_wire::headers::USER_AGENT)
            .tls_config(tls)
            .proxy(proxy(&settings.url))
            .timeout_connect(Some(CONNECT_TIME))
            .timeout_recv_response(Some(ANSWER_TIME))
            .build();
        Self { agent: config.new_agent(), settings }
    }

    /// Asks, and gives the answer's JSON; `Value::Null` for an empty one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) fn call(
        &self,
        method: Method,
        path: &[&str],
        payload: Payload<'_>,
    ) -> Result<Value, ClientError> {
        let mut response = self.send(method, &self.at(path, None), payload)?;
        self.read(&mut response)
    }

    /// All of a list, page by page.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) fn list(&self, path: &[&str]) -> Result<Vec<Value>, ClientError> {
        let mut items = Vec::new();
        let mut continuation: Option<String> = None;
        loop {
            let url = self.at(path, continuation.as_deref());
            let mut response = self.send(Method::GET, &url, Payload::Empty)?;
            let next = response.headers().get(CONTINUATION).and_then(|value| value.to_str().ok());
            let next = next.map(str::to_owned);
            let status = response.status();
            let Value::Array(page) = self.read(&mut response)? else {
                return Err(ClientError::NotJson { url: self.settings.url.clone(), status });
            };
            items.extend(page);
            match next {
                // The same page again would be asked for without end.
                Some(next) if continuation.as_ref() != Some(&next) => continuation = Some(next),
                Some(_) | None => return Ok(items),
            }
        }
    }

    /// Whether the server says that it is ready, with its status otherwise.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) fn is_ready(&self) -> Result<Result<(), StatusCode>, ClientError> {
        let request = Request::get(self.at(&["readyz"], None).as_str());
        let response = self.run(request.body(SendBody::none())?)?;
        Ok(if response.status().is_success() { Ok(()) } else { Err(response.status()) })
    }

    fn at(&self, path: &[&str], continuation: Option<&str>) -> Url {
        let mut url = self.settings.url.clone();
        url.path_segments_mut().expect("http URLs have paths").pop_if_empty().extend(path);
        url.set_query(None);
        if let Some(continuation) = continuation {
            url.query_pairs_mut().append_pair("continuationToken", continuation);
        }
        url
    }

    fn send(&self, method: Method, url: &Url, payload: Payload<'_>) -> Result<Response<Body>, ClientError> {
        let token = self.settings.token.as_ref().ok_or(ClientError::NoToken)?;
        let request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header("Authorization", format!("token {}", token.expose()))
            .header("Accept", "application/json");
        match payload {
            Payload::Empty => self.run(request.body(SendBody::none())?),
            Payload::Json(value) => {
                let text = value.to_string();
                let request =
                    request.header("Content-Type", "application/json").header("Content-Length", text.len());
                self.run(request.body(SendBody::from_reader(&mut text.as_bytes()))?)
            }
            Payload::Stream(media_type, reader) => {
                self.run(request.header("Content-Type", media_type).body(SendBody::from_reader(reader))?)
            }
        }
    }

    fn run(&self, request: Request<SendBody<'_>>) -> Result<Response<Body>, ClientError> {
        self.agent.run(request).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: ureq::Error) -> ClientError {
        use ureq::Error;
        let source = Box::new(source);
        match *source {
            Error::Io(_)
            | Error::Timeout(_)
            | Error::HostNotFound
            | Error::ConnectionFailed
            | Error::Tls(_)
            | Error::Rustls(_)
            | Error::Protocol(_) => ClientError::Unreachable { url: self.settings.url.clone(), source },
            _ => ClientError::Request(source),
        }
    }

    fn read(&self, response: &mut Response<Body>) -> Result<Value, ClientError> {
        let status = response.status();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(|source| self.failed(source))?;
        if !status.is_success() {
            let message = serde_json::from_slice(&body).map(|refusal: Refusal| refusal.message);
            let message = message.unwrap_or_else(|_| "the server refused".to_owned());
            return Err(ClientError::Refused { status, message });
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body)
            .map_err(|_| ClientError::NotJson { url: self.settings.url.clone(), status })
    }
}

/// The operating system's authorities, among them those of the company; Mozilla's where it has none.
fn roots() -> RootCerts {
    let native = rustls_native_certs::load_native_certs().certs;
    if native.is_empty() {
        return RootCerts::WebPki;
    }
    RootCerts::from(native.iter().map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned()))
}

/// The environment's proxy, except for this machine itself.
fn proxy(url: &Url) -> Option<Proxy> {
    let is_here = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if is_here { None } else { Proxy::try_from_env() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], url: &str, token: Option<&str>) {
        let settings = ClientSettings::find(None, &variables.iter().copied().collect()).expect("valid");
        assert_eq!(settings.url.as_str(), url, "{variables:?}");
        assert_eq!(settings.token.as_ref().map(SecretText::expose), token, "{variables:?}");
    }

    #[test]
    fn our_variables_come_before_pulumis() {
        check(&[], "http://127.0.0.1:8722/", None);
        let theirs = [("PULUMI_BACKEND_URL", "https://p.example"), ("PULUMI_ACCESS_TOKEN", "theirs")];
        check(&theirs, "https://p.example/", Some("theirs"));
        let ours = [("STACKBELL_URL", "http://s.example/x"), ("STACKBELL_TOKEN", "ours")];
        check(&[theirs, ours].concat(), "http://s.example/x", Some("ours"));
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let check = |variables: &[(&str, &str)]| {
            assert!(
                ClientSettings::find(None, &variables.iter().copied().collect()).is_err(),
                "{variables:?}"
            );
        };
        check(&[("STACKBELL_URL", "s.example")]);
        check(&[("PULUMI_BACKEND_URL", "file://~")]);
        check(&[("STACKBELL_TOKEN", "a"), ("STACKBELL_TOKEN_FILE", "b")]);
        check(&[("STACKBELL_TOKEN_FILE", "/nowhere/at/all")]);
    }

    #[test]
    fn paths_are_escaped() {
        let url = parse_url("http://s.example/base/").expect("a URL");
        let client = Client::new(ClientSettings { url, token: None });
        assert_eq!(client.at(&["v1", "orgs", "a/b"], None).as_str(), "http://s.example/base/v1/orgs/a%2Fb");
        let page = client.at(&["v1"], Some("x&y"));
        assert_eq!(page.as_str(), "http://s.example/base/v1?continuationToken=x%26y");
    }
}
