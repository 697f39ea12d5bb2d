use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::wait::DEADLINE;

/// Sends requests with a token. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    token: String,
    http: legacy::Client<HttpConnector, Full<Bytes>>,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    ///
    /// # Panics
    /// If it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("an answer in UTF-8")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Returns the response, which must have this status.
    ///
    /// # Panics
    /// If it has another status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

impl Client {
    /// A client of the server at `base`, a URL without a path, such as `http://127.0.0.1:1`.
    pub fn new(base: &str, token: &str) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new()).build_http();
        Self { base: base.trim_end_matches('/').to_owned(), token: token.to_owned(), http }
    }

    /// Returns a client with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// Sends GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// Sends POST with JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &[], Bytes::from(body.to_string())).await
    }

    /// Sends POST without a body.
    pub async fn post_empty(&self, path: &str) -> Answer {
        self.send(Method::POST, path, &[], Bytes::new()).await
    }

    /// Sends PATCH with JSON.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, &[], Bytes::from(body.to_string())).await
    }

    /// Sends DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], Bytes::new()).await
    }

    /// Sends a request; `headers` are added to the client's own headers, or replace them.
    ///
    /// # Panics
    /// If there is no response.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        self.send_exactly(method, path, &typed(headers), body).await
    }

    /// Sends a request with only these headers and the token. Some clients send no content type without a
    /// body.
    ///
    /// # Panics
    /// If there is no response.
    pub async fn send_exactly(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Answer {
        let what = format!("{method} {path}");
        let answer = timeout(DEADLINE, self.try_send_exactly(method, path, headers, body)).await;
        answer
            .unwrap_or_else(|_| panic!("no answer to {what}"))
            .unwrap_or_else(|error| panic!("{what}: {error:?}"))
    }

    /// Sends a request to a server that may be down.
    ///
    /// # Errors
    /// If no complete response came.
    ///
    /// # Panics
    /// If the request is not valid.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        self.try_send_exactly(method, path, &typed(headers), body).await
    }

    async fn try_send_exactly(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            request = request.header("Authorization", format!("token {}", self.token));
        }
        let response = self.http.request(request.body(Full::new(body)).expect("a request")).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

/// Returns the headers, with a JSON content type unless they contain one.
fn typed<'a>(headers: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut headers = headers.to_vec();
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        headers.push(("Content-Type", "application/json"));
    }
    headers
}

/// Writes bytes to a socket and returns the output of the other side until its end or its first complete
/// response.
///
/// # Panics
/// If nothing listens at the address, or the exchange does not end within [`DEADLINE`].
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let mut answer = Vec::new();
    let exchange = async {
        // The other side may close the connection before all bytes are written.
        let _ = stream.write_all(bytes).await;
        while !is_whole(&answer) {
            if !matches!(stream.read_buf(&mut answer).await, Ok(read) if read > 0) {
                return;
            }
        }
    };
    timeout(DEADLINE, exchange).await.expect("an answer, or the end");
    String::from_utf8_lossy(&answer).into_owned()
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| body.len() >= length)
}
