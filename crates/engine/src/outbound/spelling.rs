//! How header names are spelled on the wire.
//!
//! HTTP does not care, but some receivers compare names as they are written. hyper keeps names in lower case
//! and can write them in Title-Case, which spells `Pulumi-Webhook-Id` and all common names right. Names that
//! are spelled otherwise are in [`EXACT`]: hyper writes them as it finds them in a map of spellings which
//! rides in a request's extensions. Such a map cannot be built from outside: it is what hyper makes of
//! headers that it reads with `preserve_header_case`, so that proxies can pass them on unchanged. We let it
//! read one answer that holds them all, once, and pass that map on.

use bytes::Bytes;
use http::{Extensions, Request};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Names that are sent as they are spelled here; all others are sent in Title-Case.
/// Source: wire-facts.md#standard-webhooks.
pub(super) const EXACT: &[&str] = &["webhook-id", "webhook-timestamp", "webhook-signature"];

/// Room for the request and the answer that make the map.
const PIPE_BYTES: usize = 4096;

/// Hyper's map of the spellings in [`EXACT`].
#[derive(Clone)]
pub(super) struct Spellings(Extensions);

impl Spellings {
    /// Makes the map. Touches no network.
    pub(super) async fn read() -> Result<Self, hyper::Error> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let mut builder = http1::Builder::new();
        let (mut sender, connection) =
            builder.preserve_header_case(true).handshake(TokioIo::new(near)).await?;
        let exchange = async move { sender.send_request(Request::new(Empty::<Bytes>::new())).await };
        let (answer, _, _) = tokio::join!(exchange, connection, answer_with_all(far));
        Ok(Self(answer?.into_parts().0.extensions))
    }

    /// The extensions of a request that has headers of these names.
    pub(super) fn extensions(&self) -> Extensions {
        self.0.clone()
    }
}

async fn answer_with_all(mut pipe: DuplexStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && pipe.read_buf(&mut request).await? > 0 {}
    let lines: String = EXACT.iter().map(|name| format!("{name}: x\r\n")).collect();
    pipe.write_all(format!("HTTP/1.1 204 No Content\r\n{lines}\r\n").as_bytes()).await
}

/// Whether a name goes out exactly as it is spelled here.
pub(super) fn is_kept(name: &str) -> bool {
    EXACT
        .iter()
        .find(|exact| exact.eq_ignore_ascii_case(name))
        .map_or_else(|| is_title_case(name), |exact| *exact == name)
}

fn is_title_case(name: &str) -> bool {
    let mut starts_word = true;
    name.bytes().all(|byte| {
        let right = if starts_word { !byte.is_ascii_lowercase() } else { !byte.is_ascii_uppercase() };
        starts_word = byte == b'-';
        right
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_that_are_kept() {
        let check = |name: &str, expected: bool| assert_eq!(is_kept(name), expected, "{name}");
        check("Accept", true);
        check("Pulumi-Webhook-Signature", true);
        check("X-2-B", true);
        check("webhook-id", true);
        check("Webhook-Id", false);
        check("ETag", false);
        check("x-custom", false);
    }
}
