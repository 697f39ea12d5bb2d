//! Errors of JSON texts that cannot be forwarded.

use std::fmt;

use super::{DEPTH_MAX, INTEGER_DIGITS_MAX};
use stackbell_model::field::prepend;

/// A fault of a JSON text, and its position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct JsonError {
    offset: usize,
    path: String,
    fault: JsonFault,
}

/// A fault of a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// The value is not an object.
    #[error("must be a JSON object")]
    NotAnObject,
    /// The text ends too early.
    #[error("the text ends where {expected} should be")]
    Ended {
        /// The expected token.
        expected: &'static str,
    },
    /// An unexpected character.
    #[error("found {found:?} where {expected} should be")]
    Unexpected {
        /// The character.
        found: char,
        /// The expected token.
        expected: &'static str,
    },
    /// A control character that is not escaped.
    #[error("{0:?} in a string must be escaped")]
    Control(char),
    /// A backslash with a character that may not follow it.
    #[error("no such escape in JSON")]
    Escape,
    /// Half of a surrogate pair.
    #[error("half of a surrogate pair")]
    LoneSurrogate,
    /// A malformed number.
    #[error("not a number of JSON")]
    Number,
    /// A whole number that needs too many digits without its exponent.
    #[error("a whole number of more than {INTEGER_DIGITS_MAX} digits must be written without an exponent")]
    IntegerTooLong,
    /// A duplicate key in one object; the path ends with it.
    #[error("the same key twice")]
    DuplicateKey,
    /// Nested too deep.
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// The text is too long. White space does not count.
    #[error("longer than {bytes_max} bytes without white space")]
    TooLarge {
        /// The most bytes.
        bytes_max: usize,
    },
}

impl JsonError {
    pub(super) fn new(offset: usize, fault: JsonFault) -> Self {
        Self { offset, path: String::new(), fault }
    }

    /// Prepends `part`, a key or an index in brackets, to the path, because the faulty value is that part of an outer value.
    pub(super) fn inside(mut self, part: &str) -> Self {
        prepend(&mut self.path, part);
        self
    }

    /// The position in the source text, in bytes from 0.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The path of the faulty value, as in `organization.githubLogin`; empty for the whole text.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The fault.
    pub fn fault(&self) -> JsonFault {
        self.fault
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, path, fault } = self;
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        write!(f, "{fault} (at byte {offset})")
    }
}
