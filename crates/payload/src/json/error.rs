//! Why a text is not JSON that we can send on.

use std::fmt;

use super::{DEPTH_MAX, INTEGER_DIGITS_MAX};
use stackbell_model::field::prepend;

/// What is wrong with a JSON text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct JsonError {
    offset: usize,
    path: String,
    fault: JsonFault,
}

/// What is wrong with a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Another value than an object.
    #[error("must be a JSON object")]
    NotAnObject,
    /// The text stopped.
    #[error("the text ends where {expected} should be")]
    Ended {
        /// What should be there.
        expected: &'static str,
    },
    /// A character that cannot be there.
    #[error("found {found:?} where {expected} should be")]
    Unexpected {
        /// The character.
        found: char,
        /// What should be there.
        expected: &'static str,
    },
    /// A control character that is not escaped.
    #[error("{0:?} in a string must be escaped")]
    Control(char),
    /// A backslash with what may not follow it.
    #[error("no such escape in JSON")]
    Escape,
    /// Half of a surrogate pair, which is no character.
    #[error("half of a surrogate pair")]
    LoneSurrogate,
    /// Not a number.
    #[error("not a number of JSON")]
    Number,
    /// A whole number with an exponent that takes too many digits without it.
    #[error("a whole number of more than {INTEGER_DIGITS_MAX} digits must be written without an exponent")]
    IntegerTooLong,
    /// A key for the second time in one object; the path ends with it.
    #[error("the same key twice")]
    DuplicateKey,
    /// Nested too deep.
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// Too long, white space not counted.
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

    /// The same error, seen from the value that holds this one as `part`: a key, or an index in brackets.
    pub(super) fn inside(mut self, part: &str) -> Self {
        prepend(&mut self.path, part);
        self
    }

    /// The byte of the text as it was given, from 0.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The value that it is about, as in `organization.githubLogin`; empty for the whole text.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong.
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
