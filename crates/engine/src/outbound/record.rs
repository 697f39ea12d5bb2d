//! The recorded form of a response.

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use stackbell_model::Timestamp;
use stackbell_model::delivery::Response;
use stackbell_model::retry::parse_retry_after;
use tokio::time::{Instant, timeout_at};

use super::head::Head;
use super::text::{self, Beginning};

/// The most bytes of header lines that are kept. Only whole lines are kept.
pub(super) const KEPT_HEADER_BYTES_MAX: usize = 8 * 1024;

/// The longest body that is read to its end, kept or not, so that its connection can be reused. For a longer body, or one of
/// unknown length, a new connection is cheaper than reading the rest.
const WHOLE_BODY_BYTES_MAX: usize = 256 * 1024;

/// How the body of a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// The whole body was read, though perhaps not all was kept.
    Whole,
    /// The body was longer than the client reads.
    TooLong,
    /// The time limit passed.
    TimedOut,
    /// The connection broke.
    Broken,
}

/// Reads a response until `deadline` at the latest. The status line decides, so a failure of the body does not matter: 2xx
/// means that the endpoint accepted the event, and another attempt would deliver it twice.
pub(super) async fn read(
    head: Head,
    mut incoming: Incoming,
    keep_body: usize,
    deadline: Instant,
    now: Timestamp,
) -> (Response, BodyEnd) {
    let (body, end) = read_body(&mut incoming, keep_body, deadline).await;
    let answer = Response {
        status: head.status,
        headers: head.lines.into_sorted().into(),
        body: text::of(body, &head.codings, head.content_type.as_deref(), keep_body),
        retry_after: head.retry_after.and_then(|value| parse_retry_after(&value, now)),
    };
    (answer, end)
}

async fn read_body(incoming: &mut Incoming, keep: usize, deadline: Instant) -> (Beginning, BodyEnd) {
    let said = incoming.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    let enough = match said {
        // The body ends by itself.
        Some(bytes) if bytes <= WHOLE_BODY_BYTES_MAX => usize::MAX,
        Some(_) => keep,
        // One extra byte shows that the body is longer.
        None => keep + 1,
    };
    let mut kept = Vec::new();
    let mut read_bytes = 0;
    let end = loop {
        match timeout_at(deadline, incoming.frame()).await {
            Ok(Some(Ok(frame))) => {
                let Some(data) = frame.data_ref() else { continue };
                let room = keep - kept.len();
                kept.extend_from_slice(&data[..data.len().min(room)]);
                read_bytes += data.len();
                if read_bytes >= enough {
                    break BodyEnd::TooLong;
                }
            }
            Ok(None) => break BodyEnd::Whole,
            Ok(Some(Err(_))) => break BodyEnd::Broken,
            Err(_) => break BodyEnd::TimedOut,
        }
    };
    let is_cut = end != BodyEnd::Whole || read_bytes > kept.len();
    (Beginning { bytes: kept, is_cut }, end)
}

/// The header lines to record. Source: wire-facts.md#webhook-delivery.
///
/// Whole lines are kept as long as they fit. Invalid header lines and lines with control characters are dropped.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    text: String,
    /// The start and the end of each line.
    bounds: Vec<(usize, usize)>,
}

impl Lines {
    /// Adds a line, if it can be kept.
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
        let Some(name) = std::str::from_utf8(name).ok().filter(|name| is_token(name)) else { return };
        if value.iter().any(is_control) {
            return;
        }
        let start = self.text.len();
        self.text.extend(canonical(name));
        self.text.push_str(": ");
        self.text.push_str(&String::from_utf8_lossy(value));
        self.text.push_str("\r\n");
        if self.text.len() > KEPT_HEADER_BYTES_MAX {
            self.text.truncate(start);
        } else {
            self.bounds.push((start, self.text.len()));
        }
    }

    /// Returns `Name: value` lines sorted by name, each ended by CRLF.
    pub(super) fn into_sorted(mut self) -> String {
        let name = |bounds: &(usize, usize)| {
            let line = &self.text[bounds.0..bounds.1];
            line.split_once(':').map_or(line, |(name, _)| name)
        };
        // The sort is stable, so values of one name keep their order.
        self.bounds.sort_by(|a, b| name(a).cmp(name(b)));
        let mut sorted = String::with_capacity(self.text.len());
        for (start, end) in self.bounds {
            sorted.push_str(&self.text[start..end]);
        }
        sorted
    }
}

/// Whether the text is a valid header name. Source: RFC 9110, section 5.6.2.
fn is_token(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_part)
}

/// Converts a header name to Title-Case: `content-type` becomes `Content-Type`.
pub fn canonical_name(name: &str) -> String {
    canonical(name).collect()
}

fn canonical(name: &str) -> impl Iterator<Item = char> {
    let mut starts_word = true;
    name.chars().map(move |c| {
        let c = if starts_word { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        starts_word = c == '-';
        c
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(lines: &[(&str, &[u8])]) -> String {
        let mut kept = Lines::default();
        for (name, value) in lines {
            kept.push(name.as_bytes(), value);
        }
        kept.into_sorted()
    }

    #[test]
    fn lines_are_sorted_by_name() {
        let check = |lines: &[(&str, &[u8])], expected: &str| assert_eq!(kept(lines), expected);
        check(&[], "");
        check(
            &[("x-b", b"2"), ("content-type", b"text/plain"), ("X-A", b"1"), ("x-b", b"1")],
            "Content-Type: text/plain\r\nX-A: 1\r\nX-B: 2\r\nX-B: 1\r\n",
        );
        check(&[("x", b"a\xffb"), ("y", b"a\tb")], "X: a\u{fffd}b\r\nY: a\tb\r\n");
        check(
            &[("x", b"a\0b"), ("x", b"a\rb"), ("x", b"a\x7fb"), ("", b"a"), ("x y", b"a"), ("\u{e9}", b"a")],
            "",
        );
    }

    #[test]
    fn lines_are_kept_whole_and_up_to_a_limit() {
        let long = vec![b'a'; 5000];
        let lines = kept(&[("a", &long), ("b", &long), ("c", b"d")]);
        assert_eq!(lines.len(), "A: \r\n".len() + 5000 + "C: d\r\n".len());
    }
}
