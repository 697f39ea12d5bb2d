//! Facts about a server that are observed during the TLS handshake, for error messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use tokio::io::AsyncRead;
use tokio_util::io::InspectReader;

/// Whether a server asked for a client certificate. The client has none.
#[derive(Clone, Debug, Default)]
pub(super) struct TlsRequests(Arc<Requested>);

#[derive(Debug, Default)]
struct Requested(AtomicBool);

impl TlsRequests {
    /// Returns the configuration for one connection, which records requests for certificates.
    pub(super) fn watching(&self, config: &ClientConfig) -> ClientConfig {
        let mut config = config.clone();
        config.client_auth_cert_resolver = Arc::<Requested>::clone(&self.0);
        config
    }

    pub(super) fn were_made(&self) -> bool {
        self.0.0.load(Ordering::SeqCst)
    }
}

impl ResolvesClientCert for Requested {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::SeqCst);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Whether a server responds to the handshake in plain HTTP.
#[derive(Debug, Default)]
pub(super) struct Greeting(Arc<AtomicBool>);

impl Greeting {
    const HTTP: &[u8] = b"HTTP/";

    /// Wraps the stream, and inspects its first bytes.
    pub(super) fn observe<S: AsyncRead>(&self, stream: S) -> InspectReader<S, impl FnMut(&[u8]) + use<S>> {
        let is_http = Arc::clone(&self.0);
        let mut expected = Some(Self::HTTP);
        InspectReader::new(stream, move |read: &[u8]| {
            let Some(rest) = expected else { return };
            let (now, later) = rest.split_at(rest.len().min(read.len()));
            expected = read.starts_with(now).then_some(later);
            if expected.is_some_and(<[u8]>::is_empty) {
                is_http.store(true, Ordering::SeqCst);
            }
        })
    }

    /// Whether the first bytes were plain HTTP.
    pub(super) fn is_http(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// Reads `first`, then `second`.
    async fn check(first: &'static str, second: &'static str, expected: bool) {
        let greeting = Greeting::default();
        let mut stream = greeting.observe(Cursor::new(first).chain(Cursor::new(second)));
        let mut read = String::new();
        stream.read_to_string(&mut read).await.expect("read");
        assert_eq!((read, greeting.is_http()), (format!("{first}{second}"), expected));
    }

    #[tokio::test]
    async fn plain_http_is_recognized_by_its_first_bytes() {
        check("HTTP/1.1 400 Bad Request\r\n", "", true).await;
        check("HT", "TP/1.1 400", true).await;
        check("HTTP", "/", true).await;
        check("HTTP", "S/", false).await;
        check("HTTP", "", false).await;
        check("", "", false).await;
        check(" HTTP/1.1", "HTTP/1.1", false).await;
        check("\u{16}\u{3}\u{1}", "HTTP/", false).await;
    }
}
