//! An answer as it is kept.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use stackbell_model::Timestamp;
use stackbell_model::delivery::Answer;
use stackbell_model::retry::parse_retry_after;
use tokio::time::{Instant, timeout_at};

/// The most bytes of header lines that are kept; whole lines only.
pub(super) const KEPT_HEADER_BYTES_MAX: usize = 8 * 1024;

/// The longest body that is read to its end, kept or not, so that its connection can be used again. For a longer one, or one
/// that does not say how long it is, a new connection is cheaper than what is not kept of it.
const WHOLE_BODY_BYTES_MAX: usize = 256 * 1024;

/// How the body of an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// All of it was read, though perhaps not all was kept.
    Whole,
    /// There was more than we cared to read.
    TooLong,
    /// The time was up.
    TimedOut,
    /// The connection broke off.
    Broken,
}

/// Reads an answer until `deadline` at the latest. Its status line decides, so that whatever happens to the
/// body, this is an answer: 2xx is the endpoint's word that it took the event, and sending it again would
/// deliver it twice.
pub(super) async fn read(
    response: Response<Incoming>,
    keep_body: usize,
    deadline: Instant,
    now: Timestamp,
) -> (Answer, BodyEnd) {
    let (head, mut incoming) = response.into_parts();
    let (body, end) = read_body(&mut incoming, keep_body, deadline).await;
    let answer = Answer {
        status: head.status.as_u16(),
        headers: header_lines(&head.headers).into(),
        body: as_text(body, keep_body),
        retry_after: retry_after(&head.headers, now),
    };
    (answer, end)
}

/// Bytes as text. What is no UTF-8 grows when it is replaced, so it is cut once more.
fn as_text(body: Vec<u8>, keep: usize) -> Box<str> {
    // Nearly all is, and looking is much quicker than replacing.
    String::from_utf8(body)
        .unwrap_or_else(|error| {
            let mut text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            text.truncate(text.floor_char_boundary(keep));
            text
        })
        .into()
}

async fn read_body(incoming: &mut Incoming, keep: usize, deadline: Instant) -> (Vec<u8>, BodyEnd) {
    let said = incoming.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    let enough = match said {
        // It ends by itself.
        Some(bytes) if bytes <= WHOLE_BODY_BYTES_MAX => usize::MAX,
        Some(_) => keep,
        // One more says that there is more.
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
    if end == BodyEnd::TooLong || read_bytes > kept.len() {
        trim_cut_character(&mut kept);
    }
    (kept, end)
}

/// Removes the beginning of a character whose rest was cut off.
fn trim_cut_character(text: &mut Vec<u8>) {
    /// The most bytes of a character of which one is missing.
    const BEGINNING_BYTES_MAX: usize = 3;
    let end = &text[text.len().saturating_sub(BEGINNING_BYTES_MAX)..];
    if let Some(chunk) = end.utf8_chunks().last() {
        let cut = chunk.invalid().len();
        // Only the beginning of a character can be completed by what follows; other bytes are the endpoint's
        // own.
        let is_beginning = std::str::from_utf8(chunk.invalid()).is_err_and(|e| e.error_len().is_none());
        if is_beginning {
            text.truncate(text.len() - cut);
        }
    }
}

fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    parse_retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

/// `Name: value` lines sorted by name, each ended by CRLF. Source: wire-facts.md#webhook-delivery.
fn header_lines(headers: &HeaderMap) -> String {
    let mut sorted: Vec<_> = headers.iter().collect();
    // Stable: values of one name stay in the order in which they came.
    sorted.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
    let mut lines = String::new();
    for (name, value) in sorted {
        let value = String::from_utf8_lossy(value.as_bytes());
        let line = format!("{}: {value}\r\n", canonical_name(name.as_str()));
        if lines.len() + line.len() > KEPT_HEADER_BYTES_MAX {
            break;
        }
        lines.push_str(&line);
    }
    lines
}

/// A header's name in Title-Case: `content-type` becomes `Content-Type`.
pub fn canonical_name(name: &str) -> String {
    let mut starts_word = true;
    let letter = |c: char| {
        let c = if starts_word { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        starts_word = c == '-';
        c
    };
    name.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(&str, &[u8])]) -> HeaderMap {
        let pair = |(name, value): &(&str, &[u8])| {
            (
                HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                HeaderValue::from_bytes(value).expect("a value"),
            )
        };
        let mut map = HeaderMap::new();
        for (name, value) in lines.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    #[test]
    fn lines_are_sorted_by_name() {
        let check = |lines: &[(&str, &[u8])], expected: &str| {
            assert_eq!(header_lines(&headers(lines)), expected);
        };
        check(&[], "");
        check(
            &[("x-b", b"2"), ("content-type", b"text/plain"), ("X-A", b"1"), ("x-b", b"1")],
            "Content-Type: text/plain\r\nX-A: 1\r\nX-B: 2\r\nX-B: 1\r\n",
        );
        check(&[("x", b"a\xffb")], "X: a\u{fffd}b\r\n");
    }

    #[test]
    fn lines_are_kept_whole_and_up_to_a_limit() {
        let long = vec![b'a'; 5000];
        let lines = header_lines(&headers(&[("a", &long), ("b", &long)]));
        assert_eq!(lines.len(), "A: \r\n".len() + 5000);
    }

    #[test]
    fn cut_characters_are_trimmed() {
        let check = |text: &[u8], expected: &[u8]| {
            let mut actual = text.to_vec();
            trim_cut_character(&mut actual);
            assert_eq!(actual, expected, "{text:?}");
        };
        check(b"", b"");
        check(b"abc", b"abc");
        check("aé".as_bytes(), "aé".as_bytes());
        check(b"a\xc3", b"a");
        check(b"a\xf0\x9f\x8d", b"a");
        check(b"a\xff", b"a\xff");
        check(b"\xffa\xc3", b"\xffa");
        check("a🍌".as_bytes(), "a🍌".as_bytes());
        check("aé🍌".as_bytes().split_last().expect("bytes").1, "aé".as_bytes());
    }
}
