//! Request bodies: limits, and gzip.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_compression::tokio::bufread::GzipDecoder;
use axum::body::{Body, HttpBody};
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::{Buf as _, Bytes};
use futures_util::{StreamExt as _, TryStreamExt};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::context::Context;
use crate::error::HttpError;
use crate::route_rules::RouteRules;

/// The most time that a body may take to arrive.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// The bytes that are decoded at once. Decoding them holds up no other task.
const DECODED_CHUNK_BYTES: usize = 64 * 1024;

/// The encodings that a body may have, beside none.
const ENCODINGS: &str = "gzip";

/// The body of a request.
pub struct RequestBody {
    /// The body as it was sent.
    body: Body,
    encoding: Encoding,
    limit: BodyLimit,
}

/// The encoding of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
}

/// The most bytes of a body that is read as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyLimit {
    /// The setting of the router.
    Setting(usize),
    /// The route's own limit.
    Route(usize),
}

impl<S> FromRequest<S> for RequestBody
where
    S: Send + Sync,
    Arc<Context>: FromRef<S>,
{
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        let (parts, body) = request.into_parts();
        let encoding = Encoding::of(&parts.headers)?;
        let limit = match RouteRules::of(&parts.extensions).body_bytes_max {
            Some(bytes_max) => BodyLimit::Route(bytes_max),
            None => BodyLimit::Setting(Arc::<Context>::from_ref(state).settings.request_bytes_max),
        };
        Ok(Self { body, encoding, limit })
    }
}

impl RequestBody {
    /// Reads the body as a whole and decodes it. It is UTF-8, not empty, and at most as long as the route allows: before and
    /// after decoding. A byte order mark at its beginning is left out.
    ///
    /// # Errors
    /// 413 for a body that is too long; 408 for one that does not arrive in [`BODY_TIME_MAX`]; 400 for one that is empty,
    /// ends early, is not UTF-8, or is not gzip although its header says so.
    pub async fn text(self) -> Result<String, HttpError> {
        let Self { body, encoding, limit } = self;
        // A body that announces too many bytes is refused unread.
        if body.size_hint().lower() > limit.bytes_max() as u64 {
            return Err(limit.refusal());
        }
        // A long input of empty gzip members decodes to nothing: the encoded bytes are limited too.
        let body = match encoding {
            Encoding::Identity => body,
            Encoding::Gzip => decode_gzip(Body::new(Limited::new(body, limit.bytes_max()))),
        };
        let reading = Limited::new(body, limit.bytes_max()).collect();
        let read = tokio::time::timeout(BODY_TIME_MAX, reading).await.map_err(|_| too_slow())?;
        let bytes = read.map_err(|error| match find::<LengthLimitError>(error.as_ref()) {
            Some(_) => limit.refusal(),
            None => broken(error.as_ref()),
        })?;
        let bytes = without_mark(bytes.to_bytes());
        if bytes.is_empty() {
            return Err(HttpError::bad_request("the request has no body, and JSON is needed"));
        }
        to_text(bytes)
    }

    /// The decoded body as a stream, without a limit of its length. Give its errors to [`broken`].
    pub fn stream(self) -> Body {
        match self.encoding {
            Encoding::Identity => self.body,
            Encoding::Gzip => decode_gzip(self.body),
        }
    }
}

impl BodyLimit {
    const fn bytes_max(self) -> usize {
        match self {
            Self::Setting(bytes_max) | Self::Route(bytes_max) => bytes_max,
        }
    }

    fn refusal(self) -> HttpError {
        let detail = match self {
            Self::Setting(bytes_max) => {
                format!("a body may have at most {bytes_max} bytes (the setting request_bytes_max)")
            }
            Self::Route(bytes_max) => format!("a body may have at most {bytes_max} bytes on this route"),
        };
        HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }
}

/// A body that was read as a whole, as [`RequestBody::text`] reads it.
pub struct Text(pub String);

impl<S> FromRequest<S> for Text
where
    S: Send + Sync,
    Arc<Context>: FromRef<S>,
{
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        RequestBody::from_request(request, state).await?.text().await.map(Self)
    }
}

impl Encoding {
    /// The encoding by the header `Content-Encoding`.
    ///
    /// # Errors
    /// 415 that names the accepted encodings, for any other one and for several at once.
    fn of(headers: &HeaderMap) -> Result<Self, HttpError> {
        let names = headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
        let encoded = |name: &&[u8]| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity");
        let mut names = names.filter(encoded);
        match (names.next(), names.next()) {
            (None, _) => Ok(Self::Identity),
            (Some(name), None) if name.eq_ignore_ascii_case(b"gzip") => Ok(Self::Gzip),
            (Some(_), _) => {
                let detail =
                    "this Content-Encoding is not accepted: send the body as it is, or encoded once as gzip";
                let refusal = HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
                Err(refusal.with_header(&ACCEPT_ENCODING, ENCODINGS))
            }
        }
    }
}

/// The bytes that a gzip body holds. Its stream ends with [`NotGzip`] if the body is not gzip, and with the error of `body` if
/// that ends early.
fn decode_gzip(body: Body) -> Body {
    let encoded = StreamReader::new(TryStreamExt::map_err(body.into_data_stream(), io::Error::other));
    let mut decoder = GzipDecoder::new(encoded);
    // Files that were compressed one by one may have been put one after the other.
    decoder.multiple_members(true);
    let decoded = ReaderStream::with_capacity(decoder, DECODED_CHUNK_BYTES);
    let decoded = decoded.map_err(|error| match error.downcast::<axum::Error>() {
        Ok(error) => Box::new(error) as Box<dyn StdError + Send + Sync>,
        Err(_) => NotGzip.into(),
    });
    // A few bytes may decode to very many. Other tasks get a turn after each chunk.
    Body::from_stream(decoded.then(|chunk| async {
        tokio::task::yield_now().await;
        chunk
    }))
}

/// The body is not gzip, or not all of it.
#[derive(Debug, thiserror::Error)]
#[error("the body is not gzip")]
struct NotGzip;

/// The bytes without the byte order mark that some programs put before their JSON.
/// Source: <https://www.rfc-editor.org/rfc/rfc8259#section-8.1>.
pub fn without_mark(mut bytes: Bytes) -> Bytes {
    const MARK: &[u8] = "\u{feff}".as_bytes();
    if bytes.starts_with(MARK) {
        bytes.advance(MARK.len());
    }
    bytes
}

/// The bytes as text.
///
/// # Errors
/// 400 for bytes that are not UTF-8, with the position of the first wrong byte.
pub fn to_text(bytes: Bytes) -> Result<String, HttpError> {
    let text = String::from_utf8(bytes.into()).map_err(|error| error.utf8_error().valid_up_to());
    text.map_err(|end| HttpError::bad_request(format!("the text is not UTF-8 from byte {end} on")))
}

/// The refusal of a body that did not arrive in time.
pub fn too_slow() -> HttpError {
    HttpError::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")
}

/// The refusal of a body whose stream ended with this error.
pub fn broken(error: &(dyn StdError + 'static)) -> HttpError {
    match find::<NotGzip>(error) {
        Some(NotGzip) => {
            HttpError::bad_request("the Content-Encoding is gzip, but the body is not a whole gzip stream")
        }
        None => HttpError::bad_request("the body ended early"),
    }
}

/// The first error of this type in a chain of causes.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use axum::response::IntoResponse as _;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures_util::stream;

    use super::*;

    const BYTES_MAX: usize = 1000;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).and_then(|()| encoder.finish()).expect("a vector takes everything")
    }

    fn encoding(values: &[&'static str]) -> Result<Encoding, HttpError> {
        let pairs = values.iter().map(|value| (CONTENT_ENCODING, HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        Encoding::of(&headers)
    }

    async fn read(body: Body, encoding: Encoding) -> Result<String, (u16, String)> {
        let body = RequestBody { body, encoding, limit: BodyLimit::Setting(BYTES_MAX) };
        body.text().await.map_err(|error| (error.code(), error.into_detail()))
    }

    /// Expects one result, however the body is cut.
    async fn check(body: &[u8], expected: Result<&str, (u16, &str)>) {
        for size in [1, 7, 65_536] {
            let chunks: Vec<_> = body.chunks(size).map(|chunk| Ok::<_, io::Error>(chunk.to_vec())).collect();
            let found = read(Body::from_stream(stream::iter(chunks)), Encoding::Gzip).await;
            let expected = expected.map(str::to_owned).map_err(|(code, detail)| (code, detail.to_owned()));
            assert_eq!(found, expected, "in chunks of {size}");
        }
    }

    const TOO_LARGE: (u16, &str) =
        (413, "a body may have at most 1000 bytes (the setting request_bytes_max)");
    const NOT_GZIP: (u16, &str) =
        (400, "the Content-Encoding is gzip, but the body is not a whole gzip stream");

    #[tokio::test]
    async fn gzip_is_decoded_up_to_the_limit() {
        check(&gzip(b"{}"), Ok("{}")).await;
        check(&[gzip(b"{"), gzip(b"}")].concat(), Ok("{}")).await;
        let longest = "x".repeat(BYTES_MAX);
        check(&gzip(longest.as_bytes()), Ok(&longest)).await;
        check(&gzip(&[b'x'; BYTES_MAX + 1]), Err(TOO_LARGE)).await;
        check(&gzip(&vec![0; 100_000_000]), Err(TOO_LARGE)).await;
        check(&gzip(b"").repeat(BYTES_MAX), Err(TOO_LARGE)).await;
        check(&gzip("\u{feff}{}".as_bytes()), Ok("{}")).await;
        check(&gzip(b""), Err((400, "the request has no body, and JSON is needed"))).await;
        check(&gzip(b"\xff"), Err((400, "the text is not UTF-8 from byte 0 on"))).await;
    }

    #[tokio::test]
    async fn other_bytes_are_no_gzip() {
        let whole = gzip(b"{\"name\":\"a name that takes some bytes\"}");
        check(b"{}", Err(NOT_GZIP)).await;
        check(&whole[..whole.len() - 1], Err(NOT_GZIP)).await;
        check(&[&whole[..], b"{}"].concat(), Err(NOT_GZIP)).await;
        let mut wrong_checksum = whole.clone();
        let last = wrong_checksum.len() - 5;
        wrong_checksum[last] ^= 1;
        check(&wrong_checksum, Err(NOT_GZIP)).await;
    }

    #[tokio::test]
    async fn a_gzip_body_that_breaks_off_is_not_blamed_on_gzip() {
        let whole = gzip(b"{}");
        let chunks = [Ok(whole[..5].to_vec()), Err(io::Error::other("gone"))];
        let found = read(Body::from_stream(stream::iter(chunks)), Encoding::Gzip).await;
        assert_eq!(found, Err((400, "the body ended early".to_owned())));
    }

    #[tokio::test]
    async fn a_stream_is_decoded_without_a_limit() {
        let text: String = (0..100_000_u32).map(|number| format!("{number}\n")).collect();
        let body = RequestBody {
            body: gzip(text.as_bytes()).into(),
            encoding: Encoding::Gzip,
            limit: BodyLimit::Setting(BYTES_MAX),
        };
        let bytes = body.stream().collect().await.expect("gzip").to_bytes();
        assert_eq!(bytes, text);
    }

    #[test]
    fn encodings_by_their_header() {
        let accepted = |values: &[&'static str]| encoding(values).ok();
        assert_eq!(accepted(&[]), Some(Encoding::Identity));
        assert_eq!(accepted(&["identity"]), Some(Encoding::Identity));
        assert_eq!(accepted(&["gzip"]), Some(Encoding::Gzip));
        assert_eq!(accepted(&["GZip"]), Some(Encoding::Gzip));
        for refused in [&["br"][..], &["gzip, gzip"], &["gzip", "gzip"], &["deflate"], &["gzip", "br"]] {
            let response = encoding(refused).expect_err("not accepted").into_response();
            assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{refused:?}");
            assert_eq!(response.headers()[ACCEPT_ENCODING], "gzip");
        }
    }

    #[tokio::test]
    async fn a_route_may_have_a_limit_of_its_own() {
        let check = |limit: BodyLimit, expected: Result<(), &str>| {
            let body = RequestBody { body: "abc".into(), encoding: Encoding::Identity, limit };
            let expected = expected.map_err(str::to_owned);
            async move {
                let read = body.text().await.map(|_| ()).map_err(HttpError::into_detail);
                assert_eq!(read, expected, "{limit:?}");
            }
        };
        check(BodyLimit::Setting(3), Ok(())).await;
        check(BodyLimit::Route(3), Ok(())).await;
        check(BodyLimit::Setting(2), Err("a body may have at most 2 bytes (the setting request_bytes_max)"))
            .await;
        check(BodyLimit::Route(2), Err("a body may have at most 2 bytes on this route")).await;
    }
}
