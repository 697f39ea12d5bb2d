//! Reads a body line by line, whatever its length.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use stackbell_http_kit::body::{broken, too_slow, without_mark};
use stackbell_http_kit::error::HttpError;

/// The most bytes of a line beside the payload: kind, id and white space.
const BESIDE_PAYLOAD_BYTES_MAX: usize = 44 * 1024;

/// The most bytes of a line: an event with the largest payload, and white space.
pub(super) const fn line_bytes_max(payload_bytes_max: usize) -> usize {
    payload_bytes_max + BESIDE_PAYLOAD_BYTES_MAX
}

/// The longest time without any byte of the body.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A line that is not blank.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number, from 1; blank lines count.
    pub(super) number: u64,
    pub(super) text: LineText,
}

/// The text of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineText {
    /// The line, without its end.
    Whole(Bytes),
    /// The line was longer than [`line_bytes_max`] and is discarded.
    TooLong,
}

/// Reads lines. At most one line is in memory, and nothing of a line that is too long.
pub(super) struct Lines {
    body: BodyDataStream,
    line_bytes_max: usize,
    pending: BytesMut,
    /// Bytes of `pending` that have no end of line.
    searched: usize,
    number: u64,
    is_too_long: bool,
}

impl Lines {
    pub(super) fn new(body: Body, line_bytes_max: usize) -> Self {
        let body = body.into_data_stream();
        Self { body, line_bytes_max, pending: BytesMut::new(), searched: 0, number: 0, is_too_long: false }
    }

    /// The number of the line that was being read when the body ended, or of the line after the last one.
    pub(super) fn next_number(&self) -> u64 {
        self.number + 1
    }

    /// The next line that is not blank; `None` at the end.
    ///
    /// # Errors
    /// The body broke off, or nothing arrived for too long.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, HttpError> {
        loop {
            if let Some(text) = self.take_line() {
                match self.finish(text) {
                    Some(line) => return Ok(Some(line)),
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(SILENCE_MAX, self.body.next()).await.map_err(|_| too_slow())?;
            match chunk {
                Some(Ok(chunk)) => self.pending.extend_from_slice(&chunk),
                Some(Err(error)) => return Err(broken(&error)),
                None if self.pending.is_empty() && !self.is_too_long => return Ok(None),
                None => {
                    let text = self.pending.split().freeze();
                    self.searched = 0;
                    return Ok(self.finish(text));
                }
            }
        }
    }

    /// Takes the text before the next line feed, and removes the line feed.
    fn take_line(&mut self) -> Option<Bytes> {
        let found = self.pending[self.searched..].iter().position(|byte| *byte == b'\n');
        match found {
            Some(position) => {
                let line = self.pending.split_to(self.searched + position).freeze();
                self.pending.advance(1);
                self.searched = 0;
                Some(line)
            }
            None => {
                self.searched = self.pending.len();
                if self.searched > self.line_bytes_max + 1 {
                    self.is_too_long = true;
                    self.pending.clear();
                    self.searched = 0;
                }
                None
            }
        }
    }

    /// Counts a line; `None` if it is blank.
    fn finish(&mut self, text: Bytes) -> Option<Line> {
        self.number += 1;
        // A body may be several files in sequence, and each may begin with a byte order mark.
        let text = without_return(without_mark(text));
        let is_too_long = std::mem::take(&mut self.is_too_long) || text.len() > self.line_bytes_max;
        let is_blank = text.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
        let text = match (is_too_long, is_blank) {
            (true, _) => LineText::TooLong,
            (false, true) => return None,
            (false, false) => LineText::Whole(text),
        };
        Some(Line { number: self.number, text })
    }
}

fn without_return(mut text: Bytes) -> Bytes {
    if text.ends_with(b"\r") {
        text.truncate(text.len() - 1);
    }
    text
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use stackbell_model::event::PAYLOAD_BYTES_MAX;

    use super::*;

    const LINE_BYTES_MAX: usize = line_bytes_max(PAYLOAD_BYTES_MAX);

    /// Checks the lines, as `number:text`, for different chunks of the body.
    async fn check(body: &[u8], expected: &[&str]) {
        for size in [1, 2, 7, 65_536, body.len().max(1)] {
            let chunks: Vec<_> = body
                .chunks(size)
                .map(|chunk| Ok::<_, std::io::Error>(Bytes::copy_from_slice(chunk)))
                .collect();
            let mut lines = Lines::new(Body::from_stream(stream::iter(chunks)), LINE_BYTES_MAX);
            let mut found = Vec::new();
            while let Some(line) = lines.next().await.expect("a whole body") {
                let text = match line.text {
                    LineText::Whole(text) => String::from_utf8_lossy(&text).into_owned(),
                    LineText::TooLong => "too long".to_owned(),
                };
                found.push(format!("{}:{text}", line.number));
            }
            assert_eq!(found, expected, "in chunks of {size}");
        }
    }

    #[tokio::test]
    async fn lines_are_found_for_any_chunks() {
        check(b"", &[]).await;
        check(b"\n\n", &[]).await;
        check(b"a", &["1:a"]).await;
        check(b"a\nb\r\n\n \t\nc\n", &["1:a", "2:b", "5:c"]).await;
    }

    #[tokio::test]
    async fn a_byte_order_mark_does_not_belong_to_a_line() {
        check("\u{feff}a\nb".as_bytes(), &["1:a", "2:b"]).await;
        check("a\n\u{feff}b\n".as_bytes(), &["1:a", "2:b"]).await;
        check("\u{feff}".as_bytes(), &[]).await;
        check("\u{feff}\r\na".as_bytes(), &["2:a"]).await;
        check("\u{feff}\u{feff}a\nb\u{feff}".as_bytes(), &["1:\u{feff}a", "2:b\u{feff}"]).await;
    }

    #[tokio::test]
    async fn a_long_line_is_discarded_and_the_next_is_read() {
        let max = LINE_BYTES_MAX;
        let mut body = b"a\n".to_vec();
        body.extend(vec![b'x'; max]);
        body.push(b'\n');
        body.extend(vec![b'x'; 3 * max]);
        body.extend_from_slice(b"\nb\n");
        body.extend(vec![b'x'; max + 1]);
        let longest = format!("2:{}", "x".repeat(max));
        check(&body, &["1:a", &longest, "3:too long", "4:b", "5:too long"]).await;
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_an_error_after_its_whole_lines() {
        let chunks = [Ok(Bytes::from_static(b"a\nb")), Err(std::io::Error::other("gone"))];
        let mut lines = Lines::new(Body::from_stream(stream::iter(chunks)), LINE_BYTES_MAX);
        assert!(matches!(lines.next().await, Ok(Some(Line { number: 1, .. }))));
        assert_eq!(lines.next().await.map_err(|error| error.code()), Err(400));
        assert_eq!(lines.next_number(), 2);
    }
}
