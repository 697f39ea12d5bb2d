//! The head of a response, parsed at least as leniently as in curl.
//!
//! hyper rejects a whole response for one malformed header line; a delivery that was accepted would then be sent again.
//! [`HeadReader`] therefore parses heads before hyper: it reads the status line, determines the framing of the body, keeps the
//! header lines that fit, and drops the others. hyper gets a plain head ([`Head::write_plain`]) that cannot be misread, and
//! does the framing and the reuse of connections.
//!
//! Only a malformed status line, a contradictory `Content-Length` and an endless head are errors.

use std::io::Write as _;

use super::framing::{Framing, FramingError};
use super::record::Lines;

/// The most bytes of heads before a body, including interim responses. Source: curl's own limit.
pub(super) const HEAD_BYTES_MAX: usize = 300 * 1024;

/// The most interim responses (1xx) before the final one. Servers send one for `Expect`, early hints, or one every few seconds
/// while they work.
pub(super) const INTERIM_MAX: usize = 100;

/// The longest line that is parsed. Longer header lines are dropped; a longer status line is cut.
pub(super) const LINE_BYTES_MAX: usize = 8 * 1024;

/// Why the endpoint's bytes are not a valid response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeadError {
    #[error("the response does not begin with an HTTP/1.1 status line")]
    NotHttp,
    #[error("the port speaks TLS, and the URL says http://")]
    Tls,
    #[error("the head of the response is longer than {} KiB", HEAD_BYTES_MAX / 1024)]
    TooLong,
    #[error("more than {INTERIM_MAX} interim responses (1xx) came, and no final one")]
    Interim,
    #[error("{0}")]
    Framing(#[from] FramingError),
}

/// The head of a final response.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The status code, from 100 to 999.
    pub(super) status: u16,
    /// The header lines to record.
    pub(super) lines: Lines,
    /// The values of the first `Retry-After` and the first `Content-Type`.
    pub(super) retry_after: Option<Box<str>>,
    pub(super) content_type: Option<Box<str>>,
    /// The encodings of the body, in the order in which they were applied: `Content-Encoding`, then `Transfer-Encoding` without
    /// `chunked`.
    pub(super) codings: Vec<Box<str>>,
    pub(super) framing: Framing,
}

impl Head {
    /// Writes the head for hyper: only the status and the framing.
    pub(super) fn write_plain(&self, to: &mut Vec<u8>) {
        write!(to, "HTTP/1.1 {} \r\n", self.status).expect("memory takes it");
        self.framing.write(self.status, to);
        to.extend_from_slice(b"\r\n");
    }
}

/// The progress of reading a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// All bytes are consumed, and the head is not complete.
    More,
    /// The head is complete. It ended after this many of the bytes.
    Done(Head, usize),
}

/// Reads one head from chunks of any size. Its memory is bounded: see [`LINE_BYTES_MAX`] and [`Lines`].
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    read_bytes: usize,
    interim_count: usize,
    /// The start of the current line.
    line: Vec<u8>,
    is_line_too_long: bool,
    /// The previous header line, which the next line may continue.
    field: Vec<u8>,
    head: Option<Head>,
}

impl HeadReader {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`HeadError`]. The bytes after it cannot be read.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Fed, HeadError> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = &rest[..end];
            rest = &rest[end + 1..];
            self.count(end + 1)?;
            let is_end = if self.line.is_empty() && !self.is_line_too_long {
                self.take_line(line)?
            } else {
                self.extend_line(line);
                let mut whole = std::mem::take(&mut self.line);
                if std::mem::take(&mut self.is_line_too_long) && self.head.is_some() {
                    self.end_field();
                    // The empty field stays empty: a continuation line must not extend it.
                    whole.clear();
                    self.line = whole;
                    continue;
                }
                let is_end = self.take_line(&whole)?;
                whole.clear();
                self.line = whole;
                is_end
            };
            if is_end {
                let head = self.head.take().expect("a head that ended has begun");
                return Ok(Fed::Done(head, bytes.len() - rest.len()));
            }
        }
        self.count(rest.len())?;
        self.extend_line(rest);
        if self.head.is_none() {
            check_beginning(&self.line)?;
        }
        Ok(Fed::More)
    }

    /// Prepares for the next head, and keeps the allocated memory.
    pub(super) fn restart(&mut self) {
        (self.read_bytes, self.interim_count, self.is_line_too_long) = (0, 0, false);
        self.line.clear();
        self.field.clear();
        self.head = None;
    }

    /// Handles the end of the connection. Returns the head without a truncated line, if its status line is complete, as in
    /// curl.
    pub(super) fn end(&mut self) -> Option<Head> {
        self.end_field();
        let mut head = self.head.take().filter(|head| !is_interim(head.status))?;
        head.framing.was_cut();
        Some(head)
    }

    /// The number of bytes in its buffers, without the kept lines.
    #[cfg(any(test, feature = "properties"))]
    pub(super) fn kept_bytes(&self) -> usize {
        self.line.len() + self.field.len()
    }

    fn count(&mut self, bytes: usize) -> Result<(), HeadError> {
        self.read_bytes += bytes;
        if self.read_bytes > HEAD_BYTES_MAX { Err(HeadError::TooLong) } else { Ok(()) }
    }

    fn extend_line(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX - self.line.len();
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.is_line_too_long |= bytes.len() > room;
    }

    /// Takes a line, and returns whether the head is complete.
    fn take_line(&mut self, line: &[u8]) -> Result<bool, HeadError> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(head) = &mut self.head else {
            // Some servers send an extra line end after a body.
            if !line.is_empty() {
                check_beginning(line)?;
                let (status, framing) = status_line(line).ok_or(HeadError::NotHttp)?;
                self.head = Some(Head { status, framing, ..Head::default() });
            }
            return Ok(false);
        };
        match line.first() {
            None => {
                let status = head.status;
                self.end_field();
                if !is_interim(status) {
                    self.head.as_mut().expect("looked at").framing.check(status)?;
                    return Ok(true);
                }
                self.head = None;
                self.interim_count += 1;
                if self.interim_count > INTERIM_MAX { Err(HeadError::Interim) } else { Ok(false) }
            }
            Some(b' ' | b'\t') => {
                // A folded line, which continues the previous one.
                if !self.field.is_empty() && self.field.len() + line.len() <= LINE_BYTES_MAX {
                    self.field.push(b' ');
                    self.field.extend_from_slice(trim(line));
                } else {
                    self.field.clear();
                }
                Ok(false)
            }
            Some(_) => {
                self.end_field();
                self.field.extend_from_slice(line);
                Ok(false)
            }
        }
    }

    fn end_field(&mut self) {
        if let Some(head) = &mut self.head
            && let Some(colon) = self.field.iter().position(|byte| *byte == b':')
        {
            head.take_field(trim(&self.field[..colon]), trim(&self.field[colon + 1..]));
        }
        self.field.clear();
    }
}

impl Head {
    fn take_field(&mut self, name: &[u8], value: &[u8]) {
        let text = || -> Box<str> { String::from_utf8_lossy(value).into() };
        if name.eq_ignore_ascii_case(b"content-length") {
            self.framing.content_length(value);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.codings.extend(self.framing.transfer_encoding(value));
        } else if name.eq_ignore_ascii_case(b"connection") {
            self.framing.connection(value);
        } else if name.eq_ignore_ascii_case(b"retry-after") {
            self.retry_after.get_or_insert_with(text);
        } else if name.eq_ignore_ascii_case(b"content-type") {
            self.content_type.get_or_insert_with(text);
        } else if name.eq_ignore_ascii_case(b"content-encoding") {
            // These encodings come before the transfer codings, which were applied last.
            let count = self.codings.len() - self.framing.transfer_codings();
            self.codings.splice(count..count, super::framing::list(value));
        }
        self.lines.push(name, value);
    }
}

/// Whether more heads follow. 101 is final here: no request asks for another protocol, and no HTTP/1.1 follows it.
const fn is_interim(status: u16) -> bool {
    matches!(status, 100 | 102..=199)
}

/// Checks that a status line can start with these bytes, so that an endpoint with another protocol fails at once.
fn check_beginning(line: &[u8]) -> Result<(), HeadError> {
    const NAME: &[u8] = b"HTTP/";
    /// The start of TLS records that a server sends first: alert, and handshake.
    const TLS_RECORDS: [&[u8]; 2] = [&[21, 3], &[22, 3]];
    let name = &NAME[..NAME.len().min(line.len())];
    let begins_with = |record: &&[u8]| line.starts_with(record);
    if TLS_RECORDS.iter().any(begins_with) {
        Err(HeadError::Tls)
    } else if line.len() >= 2 && !line[..name.len()].eq_ignore_ascii_case(name) {
        Err(HeadError::NotHttp)
    } else {
        Ok(())
    }
}

/// Parses `HTTP/1.1 200 OK`: the version, blanks, three digits, and then a character that is not a digit. The rest is ignored.
///
/// `HTTP/2` is accepted too: curl does so, and some servers write it over HTTP/1.1.
fn status_line(line: &[u8]) -> Option<(u16, Framing)> {
    let version_end = line.iter().position(|byte| matches!(byte, b' ' | b'\t'))?;
    let (version, rest) = line.split_at(version_end);
    let (name, number) = version.split_at_checked(5)?;
    let keeps_alive = match number {
        [b'1', b'.', b'0'] => false,
        [b'1', b'.', minor] if minor.is_ascii_digit() => true,
        b"2" | b"2.0" => true,
        _ => return None,
    };
    let (digits, after) = trim(rest).split_at_checked(3)?;
    let is_number = digits.iter().all(u8::is_ascii_digit) && !after.first().is_some_and(u8::is_ascii_digit);
    if !is_number || !name.eq_ignore_ascii_case(b"HTTP/") {
        return None;
    }
    let status = digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    (status >= 100).then(|| (status, Framing::new(keeps_alive)))
}

/// Removes blanks and tabs at both ends.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests;
