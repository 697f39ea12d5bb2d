//! The client of the public API.

mod settings;
mod tls;

use std::io::Read;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use stackbell_system::{TrustError, client_tls, origin, tls_failure_in};
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector as _, TcpConnector};
use ureq::{Agent, Body, Proxy, SendBody};
use url::Url;

use self::tls::TlsConnector;

pub(crate) use settings::parse_url;
pub use settings::{ClientSettings, DEFAULT_SERVER, SettingsError, parse_server};

/// The setting that adds trusted certificates, for error texts.
const CA_SETTING: &str = "--ca-file (or STACKBELL_CA_FILE)";

/// The longest time to connect. A server that takes longer counts as unreachable.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// The longest time from the end of a request to the head of its response. A ping may wait 30 s for its turn, and its
/// exchange may take 25 s.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// The longest time until the response to a request for which the server first prepares something large, such as a copy of a
/// store.
const MAKE_TIME: Duration = Duration::from_secs(60 * 60);

/// The most bytes of a response. A page of a list is far smaller.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The header with the value for `continuationToken`, if a list continues.
const CONTINUATION: &str = "Pulumi-Continuation-Token";

/// A client of one server.
pub struct Client {
    agent: Agent,
    settings: ClientSettings,
}

/// A list, or the beginning of one.
#[derive(Debug)]
pub struct Listed {
    /// Its items.
    pub items: Vec<Value>,
    /// Whether the server has more items than the limit allowed.
    pub is_cut: bool,
}

/// A body to send.
pub enum Payload<'a> {
    /// No body.
    Empty,
    /// A value, as JSON.
    Json(&'a Value),
    /// A stream of a media type.
    Stream(&'static str, &'a mut dyn Read),
}

/// A request without a usable response.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server cannot be reached, or the connection broke.
    #[error(
        "cannot reach {}: is the server running, and is this its address (--server, STACKBELL_URL)?",
        origin(url)
    )]
    Unreachable {
        /// The server.
        url: Url,
        /// The reason.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The request cannot be sent.
    #[error("the request cannot be sent")]
    Request(#[source] Box<ureq::Error>),
    /// The token or the path cannot be part of a request.
    #[error("the request cannot be made")]
    Form(#[from] ureq::http::Error),
    /// The server refused.
    #[error("{message} ({status})")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its message.
        message: String,
    },
    /// The response is not JSON, so the server is probably not Stackbell.
    #[error("{} answered {status} with something that is not JSON: is it a Stackbell server?", origin(url))]
    NotJson {
        /// The server.
        url: Url,
        /// Its status.
        status: StatusCode,
    },
    /// The authorities cannot be read.
    #[error("--ca-file (or STACKBELL_CA_FILE) cannot be used")]
    Authorities(#[source] TrustError),
    /// TLS with the server failed.
    #[error("cannot reach {}: {reason}", url.origin().ascii_serialization())]
    Tls {
        /// The server.
        url: Url,
        /// The reason in words.
        reason: String,
    },
    /// There is no token.
    #[error("there is no token: set STACKBELL_TOKEN, STACKBELL_TOKEN_FILE or PULUMI_ACCESS_TOKEN")]
    NoToken,
}

/// The body of a refusal.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Client {
    /// Makes a client. It does not connect yet.
    ///
    /// # Errors
    /// [`ClientError::Authorities`].
    pub fn new(settings: ClientSettings) -> Result<Self, ClientError> {
        let tls = client_tls(settings.ca_file.as_deref()).map_err(ClientError::Authorities)?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(stackbell_wire::headers::USER_AGENT)
            .proxy(proxy(&settings.url))
            .timeout_connect(Some(CONNECT_TIME))
            .timeout_recv_response(Some(ANSWER_TIME))
            .build();
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(TlsConnector(tls));
        Ok(Self { agent: Agent::with_parts(config, connector, DefaultResolver::default()), settings })
    }

    /// Sends a request and returns the JSON of the response; `Value::Null` for an empty one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn call(&self, method: Method, path: &[&str], payload: Payload<'_>) -> Result<Value, ClientError> {
        let mut response = self.send(method, &self.at(path, &[]), payload)?;
        self.read(&mut response)
    }

    /// Sends a request whose response is not JSON. Returns a successful response without reading its body.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn download(&self, method: Method, path: &[&str]) -> Result<Response<Body>, ClientError> {
        let request = self.request(method, &self.at(path, &[]))?.body(SendBody::none())?;
        let patient = self.agent.configure_request(request);
        let mut response = self.run(patient.timeout_recv_response(Some(MAKE_TIME)).build())?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        // An error response is JSON; reading it returns the error.
        self.read(&mut response)?;
        Err(ClientError::NotJson { url: self.settings.url.clone(), status })
    }

    /// Reads a whole list, page by page.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn list(&self, path: &[&str]) -> Result<Vec<Value>, ClientError> {
        Ok(self.list_some(path, &[], None)?.items)
    }

    /// Reads a list with query parameters, page by page, up to `limit` items.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn list_some(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        limit: Option<usize>,
    ) -> Result<Listed, ClientError> {
        let mut items = Vec::new();
        let mut continuation: Option<String> = None;
        loop {
            let next = continuation.as_deref().map(|token| ("continuationToken", token));
            let query: Vec<_> = query.iter().copied().chain(next).collect();
            let mut response = self.send(Method::GET, &self.at(path, &query), Payload::Empty)?;
            let next = response.headers().get(CONTINUATION).and_then(|value| value.to_str().ok());
            let next = next.map(str::to_owned);
            let status = response.status();
            let Value::Array(page) = self.read(&mut response)? else {
                return Err(ClientError::NotJson { url: self.settings.url.clone(), status });
            };
            items.extend(page);
            if let Some(limit) = limit
                && (items.len() > limit || (items.len() == limit && next.is_some()))
            {
                items.truncate(limit);
                return Ok(Listed { items, is_cut: true });
            }
            match next {
                // A continuation token that repeats would cause an endless loop.
                Some(next) if continuation.as_ref() != Some(&next) => continuation = Some(next),
                Some(_) | None => return Ok(Listed { items, is_cut: false }),
            }
        }
    }

    /// Checks whether the server is ready. The inner error is the status of a server that is not ready.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn is_ready(&self) -> Result<Result<(), StatusCode>, ClientError> {
        let request = Request::get(self.at(&["readyz"], &[]).as_str());
        let response = self.run(request.body(SendBody::none())?)?;
        Ok(if response.status().is_success() { Ok(()) } else { Err(response.status()) })
    }

    fn at(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.settings.url.clone();
        url.path_segments_mut().expect("http URLs have paths").pop_if_empty().extend(path);
        url.set_query(None);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    fn send(&self, method: Method, url: &Url, payload: Payload<'_>) -> Result<Response<Body>, ClientError> {
        let request = self.request(method, url)?;
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

    fn request(&self, method: Method, url: &Url) -> Result<ureq::http::request::Builder, ClientError> {
        let token = self.settings.token.as_ref().ok_or(ClientError::NoToken)?;
        let request = Request::builder().method(method).uri(url.as_str());
        let authorization = format!("token {}", token.expose());
        Ok(request.header("Authorization", authorization).header("Accept", "application/json"))
    }

    fn run(&self, request: Request<SendBody<'_>>) -> Result<Response<Body>, ClientError> {
        self.agent.run(request).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: ureq::Error) -> ClientError {
        use ureq::Error;
        if let Error::Io(error) = &source
            && let Some(reason) = tls_failure_in(error, CA_SETTING)
        {
            return ClientError::Tls { url: self.settings.url.clone(), reason };
        }
        let source = Box::new(source);
        match *source {
            Error::Io(_)
            | Error::Timeout(_)
            | Error::HostNotFound
            | Error::ConnectionFailed
            | Error::Tls(_)
            | Error::Protocol(_) => ClientError::Unreachable { url: self.settings.url.clone(), source },
            _ => ClientError::Request(source),
        }
    }

    fn read(&self, response: &mut Response<Body>) -> Result<Value, ClientError> {
        let status = response.status();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(|source| self.failed(source))?;
        // Source: https://www.rfc-editor.org/rfc/rfc8259#section-8.1.
        let json = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&body);
        if !status.is_success() {
            let message = serde_json::from_slice(json).map(|refusal: Refusal| refusal.message);
            let message = message.unwrap_or_else(|_| "the server refused".to_owned());
            return Err(ClientError::Refused { status, message });
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(json)
            .map_err(|_| ClientError::NotJson { url: self.settings.url.clone(), status })
    }
}

/// The proxy of the environment, except for loopback addresses.
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

    #[test]
    fn errors_name_the_server_and_no_credential() {
        let url = parse_url("https://user:hunter2@s.example:1/hunter2?hunter2").expect("a URL");
        let source = Box::new(ureq::Error::HostNotFound);
        let unreachable = ClientError::Unreachable { url: url.clone(), source }.to_string();
        assert!(unreachable.starts_with("cannot reach https://s.example:1/: "), "{unreachable}");
        let strange = ClientError::NotJson { url, status: StatusCode::OK }.to_string();
        assert!(strange.starts_with("https://s.example:1/ answered 200 OK "), "{strange}");
    }

    #[test]
    fn authorities_that_cannot_be_used_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        let check = |said: &str| {
            let url = parse_url("https://s.example").expect("a URL");
            let settings = ClientSettings { url, token: None, ca_file: Some(path.clone()) };
            let error = Client::new(settings).err().expect("refused");
            assert!(format!("{:#}", anyhow::Error::new(error)).contains(said), "{said}");
        };
        check("--ca-file (or STACKBELL_CA_FILE) cannot be used: cannot read the certificates in");
        std::fs::write(&path, "nothing").expect("written");
        check("there is no certificate in");
    }

    #[test]
    fn paths_are_escaped() {
        let url = parse_url("http://s.example/base/").expect("a URL");
        let client = Client::new(ClientSettings { url, token: None, ca_file: None }).expect("made");
        assert_eq!(client.at(&["v1", "orgs", "a/b"], &[]).as_str(), "http://s.example/base/v1/orgs/a%2Fb");
        let page = client.at(&["v1"], &[("continuationToken", "x&y")]);
        assert_eq!(page.as_str(), "http://s.example/base/v1?continuationToken=x%26y");
    }
}
