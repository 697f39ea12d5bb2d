//! Canonical JSON: the form in which a text is stored, signed and sent.
//!
//! Some receivers parse the body, write it again, and verify the signature over the result. A body must therefore survive such a
//! round trip unchanged (wire-facts.md#signature). No serialiser keeps a sender's numbers and key order, and refuses texts that
//! such a round trip would change. These are the rules:
//!
//! - no white space; keys in the sender's order; a key twice in one object is an error
//! - strings escaped only where JSON demands it: `"`, `\` and control characters; half a surrogate pair is an error
//! - numbers keep the sender's text, except that a whole number with an exponent becomes plain digits:
//!   `1e3` and `1.0e3` are `1000`, `1.5e3` is `1500`, `10e-1` is `1`; `1.50`, `1.0`, `1.5e0` and `1e-2` stay.
//!   More than [`INTEGER_DIGITS_MAX`] digits are refused
//!
//! One pass, one buffer, no tree. A canonical text is its own canonical form.

mod error;
mod number;
mod string;
mod value;

use std::fmt;
use std::ops::Range;

pub use error::{JsonError, JsonFault};
pub use number::INTEGER_DIGITS_MAX;
pub use string::write_string;
pub use value::{Items, Members, Shape, Value};

/// The maximum nesting depth of objects and arrays. Real payloads have three levels. The limit bounds our recursion.
pub const DEPTH_MAX: usize = 64;

/// Up to this number of keys, all pairs of an object's keys are compared. For more keys sorting is faster.
const PAIRWISE_KEYS_MAX: usize = 16;

/// A JSON object in canonical form, with the positions of its members.
#[derive(Clone, PartialEq, Eq)]
pub struct CanonicalObject {
    text: String,
    members: Vec<Member>,
}

/// The position of a member in its object's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The key, as written between its quotes.
    pub key: Range<usize>,
    /// The value.
    pub value: Range<usize>,
}

impl CanonicalObject {
    /// Reads a text that is one JSON object.
    ///
    /// # Errors
    /// [`JsonError`]: `text` is not such an object, breaks a rule of this module, or takes more than `bytes_max`
    /// bytes in canonical form.
    pub fn read(text: &str, bytes_max: usize) -> Result<Self, JsonError> {
        let mut rewriter = Rewriter {
            source: text,
            position: 0,
            out: String::with_capacity(text.len().min(bytes_max)),
            keys: Vec::with_capacity(PAIRWISE_KEYS_MAX),
            bytes_max,
        };
        rewriter.document()?;
        let members =
            rewriter.keys.into_iter().map(|key| Member { key: key.key, value: key.value }).collect();
        Ok(Self { text: rewriter.out, members })
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Takes the whole text.
    pub fn into_text(self) -> String {
        self.text
    }

    /// The positions of the members, in the sender's order.
    pub fn spans(&self) -> &[Member] {
        &self.members
    }

    /// Keys (as written between their quotes) and values, in the sender's order.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (&str, Value<'_>)> {
        self.members.iter().map(|member| {
            (&self.text[member.key.clone()], Value::of_canonical(&self.text[member.value.clone()]))
        })
    }

    /// The value of a member; `None` if it is absent or null. `key` has no character that JSON escapes.
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        self.members().find(|(name, _)| *name == key).map(|(_, value)| value).filter(|value| !value.is_null())
    }
}

/// Hides the text: request bodies hold secrets.
impl fmt::Debug for CanonicalObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CanonicalObject({} bytes)", self.text.len())
    }
}

/// The positions of a key and its value in the output, and of the key in the source.
struct Key {
    key: Range<usize>,
    value: Range<usize>,
    offset: usize,
}

/// Reads `source` from `position` on and writes the canonical form to `out`.
struct Rewriter<'a> {
    source: &'a str,
    position: usize,
    out: String,
    /// The keys of all objects that are open, outermost first.
    keys: Vec<Key>,
    bytes_max: usize,
}

impl Rewriter<'_> {
    /// Reads the whole text. Leaves the top level's keys in `keys`.
    fn document(&mut self) -> Result<(), JsonError> {
        self.skip_white();
        if self.peek().is_some_and(|byte| byte != b'{') {
            return Err(self.fault(JsonFault::NotAnObject));
        }
        self.object(1)?;
        self.skip_white();
        match self.peek() {
            None => self.check_size(),
            Some(_) => Err(self.unexpected("nothing after the object")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'{') => {
                let first = self.object(depth + 1)?;
                self.keys.truncate(first);
            }
            Some(b'[') => self.array(depth + 1)?,
            Some(b'"') => {
                self.string()?;
            }
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.literal("true")?,
            Some(b'f') => self.literal("false")?,
            Some(b'n') => self.literal("null")?,
            Some(_) | None => return Err(self.unexpected("a value")),
        }
        self.check_size()
    }

    /// Reads an object. Leaves its keys in `keys` and returns the index of the first.
    fn object(&mut self, depth: usize) -> Result<usize, JsonError> {
        self.open(depth, '{')?;
        let first = self.keys.len();
        if self.close('}') {
            return Ok(first);
        }
        loop {
            self.member(depth)?;
            if self.close('}') {
                break;
            }
            self.separator(b',', "',' or '}'")?;
        }
        self.check_doubles(first)?;
        Ok(first)
    }

    fn member(&mut self, depth: usize) -> Result<(), JsonError> {
        self.skip_white();
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a key in quotes"));
        }
        let offset = self.position;
        let key = self.string()?;
        self.separator(b':', "':'")?;
        self.skip_white();
        let start = self.out.len();
        let written = self.value(depth);
        written.map_err(|error| error.inside(&self.out[key.clone()]))?;
        self.keys.push(Key { key, value: start..self.out.len(), offset });
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), JsonError> {
        self.open(depth, '[')?;
        if self.close(']') {
            return Ok(());
        }
        for index in 0_usize.. {
            self.skip_white();
            self.value(depth).map_err(|error| error.inside(&format!("[{index}]")))?;
            if self.close(']') {
                break;
            }
            self.separator(b',', "',' or ']'")?;
        }
        Ok(())
    }

    fn open(&mut self, depth: usize, bracket: char) -> Result<(), JsonError> {
        if self.peek() != Some(bracket as u8) {
            return Err(self.unexpected("an object"));
        }
        if depth > DEPTH_MAX {
            return Err(self.fault(JsonFault::TooDeep));
        }
        self.position += 1;
        self.out.push(bracket);
        Ok(())
    }

    /// Takes the closing bracket if it is next.
    fn close(&mut self, bracket: char) -> bool {
        self.skip_white();
        let is_next = self.peek() == Some(bracket as u8);
        if is_next {
            self.position += 1;
            self.out.push(bracket);
        }
        is_next
    }

    fn separator(&mut self, byte: u8, expected: &'static str) -> Result<(), JsonError> {
        self.skip_white();
        if self.peek() != Some(byte) {
            return Err(self.unexpected(expected));
        }
        self.position += 1;
        self.out.push(char::from(byte));
        Ok(())
    }

    fn literal(&mut self, word: &'static str) -> Result<(), JsonError> {
        if !self.source[self.position..].starts_with(word) {
            return Err(self.unexpected("a value"));
        }
        self.position += word.len();
        self.out.push_str(word);
        Ok(())
    }

    fn check_doubles(&self, first: usize) -> Result<(), JsonError> {
        let keys = &self.keys[first..];
        let text = |key: &Key| &self.out[key.key.clone()];
        let double = if keys.len() <= PAIRWISE_KEYS_MAX {
            keys.iter()
                .enumerate()
                .find(|(index, key)| keys[..*index].iter().any(|k| text(k) == text(key)))
                .map(|(_, key)| key)
        } else {
            let mut sorted: Vec<&Key> = keys.iter().collect();
            sorted.sort_unstable_by_key(|key| (text(key), key.offset));
            let doubles = sorted.windows(2).filter(|pair| text(pair[0]) == text(pair[1]));
            doubles.map(|pair| pair[1]).min_by_key(|key| key.offset)
        };
        match double {
            None => Ok(()),
            Some(key) => Err(JsonError::new(key.offset, JsonFault::DuplicateKey).inside(text(key))),
        }
    }

    /// Called after each value, so that the output exceeds the limit by one scalar at most.
    fn check_size(&self) -> Result<(), JsonError> {
        if self.out.len() > self.bytes_max {
            return Err(self.fault(JsonFault::TooLarge { bytes_max: self.bytes_max }));
        }
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.source.as_bytes().get(self.position).copied()
    }

    fn skip_white(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.position += 1;
        }
    }

    fn fault(&self, fault: JsonFault) -> JsonError {
        JsonError::new(self.position, fault)
    }

    fn unexpected(&self, expected: &'static str) -> JsonError {
        let found = self.source[self.position..].chars().next();
        self.fault(match found {
            Some(found) => JsonFault::Unexpected { found, expected },
            None => JsonFault::Ended { expected },
        })
    }
}

#[cfg(test)]
mod tests;
