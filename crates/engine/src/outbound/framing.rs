//! The framing of a response body: where it ends, and whether its connection can be reused.

use std::io::Write as _;

use super::head::trim;

/// A contradiction that leaves the end of the body unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FramingError {
    #[error("the response's Content-Length is not a number")]
    NoNumber,
    #[error("the response has conflicting Content-Length headers")]
    Different,
}

/// Bodies with a larger length are read until the connection ends, as in curl.
const LENGTH_MAX: u64 = i64::MAX.unsigned_abs();

/// The framing that the header lines of a head declare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Framing {
    length: Option<Result<u64, FramingError>>,
    is_chunked: bool,
    /// The number of transfer codings, without `chunked`.
    codings: usize,
    /// Whether a coding came after `chunked`, so that only the end of the connection ends the body.
    is_coded_last: bool,
    keeps_alive: bool,
    closes: bool,
    is_doubtful: bool,
}

impl Framing {
    /// `keeps_alive`: whether connections of this HTTP version persist by default.
    pub(super) fn new(keeps_alive: bool) -> Self {
        Self { keeps_alive, ..Self::default() }
    }

    /// Takes a value of `Content-Length`: a number, or a list of one repeated number. Like curl, it accepts a `+` before the
    /// digits and any text after them.
    pub(super) fn content_length(&mut self, value: &[u8]) {
        let mut parts = value.split(|byte| *byte == b',').map(trim).peekable();
        while let Some(part) = parts.next() {
            if part.is_empty() && (self.length.is_some() || parts.peek().is_some()) {
                continue;
            }
            let digits = part.strip_prefix(b"+").unwrap_or(part);
            let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
            self.is_doubtful |= count < digits.len();
            let number = digits[..count].iter().fold(0_u64, |number, digit| {
                number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
            });
            let length = if count == 0 { Err(FramingError::NoNumber) } else { Ok(number) };
            self.length = match self.length {
                None => Some(length),
                Some(before) if before == length => Some(before),
                Some(Err(error)) => Some(Err(error)),
                Some(Ok(_)) => Some(length.and(Err(FramingError::Different))),
            };
        }
    }

    /// Takes a value of `Transfer-Encoding`. Returns the codings other than `chunked`.
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) -> Vec<Box<str>> {
        let mut others = Vec::new();
        for coding in list(value) {
            if coding.eq_ignore_ascii_case("chunked") {
                (self.is_chunked, self.is_coded_last) = (true, false);
            } else if !coding.eq_ignore_ascii_case("identity") {
                self.codings += 1;
                self.is_coded_last = true;
                others.push(coding);
            }
        }
        others
    }

    /// The number of codings that [`Self::transfer_encoding`] has returned.
    pub(super) fn transfer_codings(&self) -> usize {
        self.codings
    }

    /// Takes a value of `Connection`.
    pub(super) fn connection(&mut self, value: &[u8]) {
        for option in list(value) {
            self.closes |= option.eq_ignore_ascii_case("close");
            self.keeps_alive |= option.eq_ignore_ascii_case("keep-alive");
        }
    }

    /// Records that the connection ended within the head.
    pub(super) fn was_cut(&mut self) {
        *self = Self { closes: true, ..Self::default() };
    }

    /// # Errors
    /// [`FramingError`], if the end of the body cannot be known. `Transfer-Encoding` overrides any length, and some statuses
    /// have no body. Source: RFC 9112, section 6.3.
    pub(super) fn check(&self, status: u16) -> Result<(), FramingError> {
        match self.length {
            Some(Err(error)) if has_body(status) && !self.is_chunked && self.codings == 0 => Err(error),
            Some(_) | None => Ok(()),
        }
    }

    /// Writes unambiguous header lines with the same meaning.
    pub(super) fn write(&self, status: u16, to: &mut Vec<u8>) {
        let is_coded = self.is_chunked || self.codings > 0;
        let length = self.length.and_then(Result::ok);
        let keeps_alive = self.keeps_alive && !self.closes && !self.is_doubtful;
        let is_reusable = if !has_body(status) {
            // A body that is sent anyway would be read as the next response.
            status != 101 && !is_coded && matches!(self.length, None | Some(Ok(0)))
        } else if self.is_chunked && !self.is_coded_last {
            to.extend_from_slice(b"transfer-encoding: chunked\r\n");
            // An additional length is a sign of disagreement between the two ends. Source: RFC 9112, section 6.1.
            self.length.is_none()
        } else if let (false, Some(length @ 0..=LENGTH_MAX)) = (is_coded, length) {
            write!(to, "content-length: {length}\r\n").expect("memory takes it");
            true
        } else {
            false
        };
        if !(is_reusable && keeps_alive) {
            to.extend_from_slice(b"connection: close\r\n");
        }
    }
}

/// Whether responses of this status have a body. Source: RFC 9112, section 6.3.
const fn has_body(status: u16) -> bool {
    !matches!(status, 100..=199 | 204 | 304)
}

/// The non-empty parts of a comma-separated list.
pub(super) fn list(value: &[u8]) -> Vec<Box<str>> {
    let parts = value.split(|byte| *byte == b',').map(trim).filter(|part| !part.is_empty());
    parts.map(|part| String::from_utf8_lossy(part).into()).collect()
}
