//! Reads canonical text without building a tree.

use std::borrow::Cow;

/// A JSON value in canonical form, as a slice of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a>(&'a str);

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `null`
    Null,
    /// `true` or `false`
    Truth,
    /// A number.
    Number,
    /// A string.
    Text,
    /// An array.
    List,
    /// An object.
    Object,
}

impl Shape {
    /// The type in words, with its article.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Truth => "a boolean",
            Self::Number => "a number",
            Self::Text => "a string",
            Self::List => "an array",
            Self::Object => "an object",
        }
    }
}

impl<'a> Value<'a> {
    /// Takes a whole value out of a canonical text.
    pub(super) fn of_canonical(text: &'a str) -> Self {
        debug_assert!(!text.is_empty(), "a value has at least one byte");
        Self(text)
    }

    /// The value's text.
    pub fn raw(self) -> &'a str {
        self.0
    }

    /// Its type.
    pub fn shape(self) -> Shape {
        match self.0.as_bytes().first() {
            Some(b'{') => Shape::Object,
            Some(b'[') => Shape::List,
            Some(b'"') => Shape::Text,
            Some(b't' | b'f') => Shape::Truth,
            Some(b'n') => Shape::Null,
            Some(_) | None => Shape::Number,
        }
    }

    /// True for `null`.
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// Its boolean; `None` for other types.
    pub fn truth(self) -> Option<bool> {
        match self.0 {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// True for a number without sign, fraction and exponent.
    pub fn is_whole(self) -> bool {
        self.0.bytes().all(|byte| byte.is_ascii_digit())
    }

    /// Its whole number; `None` for other types and for numbers of more than 64 bits.
    pub fn whole(self) -> Option<u64> {
        if self.is_whole() { self.0.parse().ok() } else { None }
    }

    /// Its string as written between the quotes, with escapes; `None` for other types.
    pub fn escaped_text(self) -> Option<&'a str> {
        self.0.strip_prefix('"')?.strip_suffix('"')
    }

    /// Its string; `None` for other types.
    pub fn text(self) -> Option<Cow<'a, str>> {
        let escaped = self.escaped_text()?;
        if escaped.contains('\\') {
            Some(Cow::Owned(serde_json::from_str(self.0).expect("canonical text is JSON")))
        } else {
            Some(Cow::Borrowed(escaped))
        }
    }

    /// Its members, if it is an object.
    pub fn members(self) -> Option<Members<'a>> {
        self.0.strip_prefix('{')?.strip_suffix('}').map(Members)
    }

    /// Its items, if it is an array.
    pub fn items(self) -> Option<Items<'a>> {
        self.0.strip_prefix('[')?.strip_suffix(']').map(Items)
    }

    /// The value of a member of an object; `None` also for a null member. `key` has no character that JSON escapes.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        let (_, value) = self.members()?.find(|(name, _)| *name == key)?;
        (!value.is_null()).then_some(value)
    }
}

/// The members of an object: keys as written between their quotes, and values.
#[derive(Clone, Debug)]
pub struct Members<'a>(&'a str);

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = take(&mut self.0)?.strip_prefix('"')?.strip_suffix('"')?;
        self.0 = self.0.strip_prefix(':')?;
        let value = take(&mut self.0)?;
        self.0 = self.0.strip_prefix(',').unwrap_or(self.0);
        Some((key, Value(value)))
    }
}

/// The items of an array.
#[derive(Clone, Debug)]
pub struct Items<'a>(&'a str);

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let value = take(&mut self.0)?;
        self.0 = self.0.strip_prefix(',').unwrap_or(self.0);
        Some(Value(value))
    }
}

/// Takes the first value of a canonical text; `None` at its end.
fn take<'a>(text: &mut &'a str) -> Option<&'a str> {
    let bytes = text.as_bytes();
    let length = match bytes.first()? {
        b'"' => string_length(bytes),
        b'{' | b'[' => nested_length(bytes),
        _ => bytes.iter().position(|byte| *byte == b',').unwrap_or(bytes.len()),
    };
    let (value, rest) = text.split_at(length);
    *text = rest;
    Some(value)
}

fn string_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => return at + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    bytes.len()
}

fn nested_length(bytes: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at += string_length(&bytes[at..]);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}
