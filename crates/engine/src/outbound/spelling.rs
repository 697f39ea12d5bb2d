//! The spelling of header names on the wire.
//!
//! HTTP ignores case in header names, but some receivers compare them with case. hyper stores names in lower case and can write
//! them in Title-Case, which is right for `Pulumi-Webhook-Id` and all common names. [`EXACT`] lists the names with another
//! spelling. hyper writes such a name as it is in a map of spellings in the request's extensions. The map has no public
//! constructor: hyper builds it from headers that it reads with `preserve_header_case`, for the use of proxies. We let hyper
//! read one response with all these names once, and reuse its map.

use bytes::Bytes;
use http::{Extensions, Request};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// The names that are sent in this spelling. All other names are sent in Title-Case.
/// Source: wire-facts.md#standard-webhooks.
pub(super) const EXACT: &[&str] = &["webhook-id", "webhook-timestamp", "webhook-signature"];

/// The buffer for the request and the response that produce the map.
const PIPE_BYTES: usize = 4096;

/// hyper's map of the spellings in [`EXACT`].
#[derive(Clone)]
pub(super) struct Spellings(Extensions);

impl Spellings {
    /// Produces the map, without network access.
    pub(super) async fn read() -> Result<Self, hyper::Error> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let mut builder = http1::Builder::new();
        let (mut sender, connection) =
            builder.preserve_header_case(true).handshake(TokioIo::new(near)).await?;
        let exchange = async move { sender.send_request(Request::new(Empty::<Bytes>::new())).await };
        let (answer, _, _) = tokio::join!(exchange, connection, answer_with_all(far));
        Ok(Self(answer?.into_parts().0.extensions))
    }

    /// The extensions for a request with these headers.
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

/// Whether a header name is sent in exactly this spelling.
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
