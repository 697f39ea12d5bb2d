//! Reads the fields of a request's body.
//!
//! The rules of the wire (wire-facts.md#transport): null counts as absent, and unknown fields are ignored
//! unless the reader calls [`Body::only`]. A duplicate key in one object is an error.

use stackbell_model::event::PAYLOAD_BYTES_MAX;

use stackbell_model::field::{FieldError, list, quote};
use stackbell_payload::json::{CanonicalObject, JsonError, Value};

/// The maximum size of a body, without white space. A webhook with every filter has about 4 KiB.
pub const BODY_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;

/// A request's body: a JSON object whose fields are read one by one.
#[derive(Debug)]
pub struct Body(CanonicalObject);

/// The reason why a body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not JSON, not an object, too long, or with a duplicate key.
    #[error("body: {0}")]
    Json(JsonError),
    /// A field is missing or of the wrong type.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl BodyError {
    /// The field with the error; `None` for an error of the whole body.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Json(error) => Some(error.path()).filter(|path| !path.is_empty()),
            Self::Field(error) => Some(error.path()),
        }
    }
}

impl Body {
    /// Parses the object. The fields are read later.
    ///
    /// # Errors
    /// [`BodyError::Json`].
    pub fn read(text: &str) -> Result<Self, BodyError> {
        CanonicalObject::read(text, BODY_BYTES_MAX).map(Self).map_err(BodyError::Json)
    }

    /// Rejects fields other than `known`.
    ///
    /// # Errors
    /// The first unknown field.
    pub fn only(&self, known: &[&'static str]) -> Result<(), FieldError> {
        match self.0.members().find(|(name, _)| !known.contains(name)) {
            None => Ok(()),
            Some((name, _)) => {
                let allowed = list(known.iter().copied());
                Err(FieldError::invalid(&quote(name), format_args!("is no field here; there are {allowed}")))
            }
        }
    }

    /// Whether a field is present and null, for fields where null has a meaning.
    pub fn is_null(&self, name: &str) -> bool {
        self.0.members().any(|(found, value)| found == name && value.is_null())
    }

    /// Reads a string.
    ///
    /// # Errors
    /// If the value has another type.
    pub fn text(&self, name: &str) -> Result<Option<String>, FieldError> {
        self.read_field(name, "a string", |value| value.text().map(String::from))
    }

    /// Reads a boolean.
    ///
    /// # Errors
    /// If the value has another type.
    pub fn truth(&self, name: &str) -> Result<Option<bool>, FieldError> {
        self.read_field(name, "true or false", Value::truth)
    }

    /// Reads a whole number from 0, of at most 64 bits.
    ///
    /// # Errors
    /// If the value has another type.
    pub fn whole(&self, name: &str) -> Result<Option<u64>, FieldError> {
        self.read_field(name, "a whole number from 0", Value::whole)
    }

    /// Reads an array of strings.
    ///
    /// # Errors
    /// If the value or one of its items has another type.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<String>>, FieldError> {
        let Some(items) = self.read_field(name, "an array of strings", Value::items)? else {
            return Ok(None);
        };
        let texts = items.enumerate().map(|(index, item)| {
            let wrong = || wrong_shape("", item, "a string").inside_item(index).inside(name);
            item.text().map(String::from).ok_or_else(wrong)
        });
        texts.collect::<Result<_, _>>().map(Some)
    }

    fn read_field<'a, T>(
        &'a self,
        name: &str,
        expected: &str,
        read: impl Fn(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, FieldError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| wrong_shape(name, value, expected)),
        }
    }
}

/// The error names the type that was sent, not the value: the value may be a secret in the wrong field.
fn wrong_shape(name: &str, value: Value<'_>, expected: &str) -> FieldError {
    FieldError::invalid(name, format_args!("must be {expected}, is {}", value.shape().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: std::fmt::Debug + PartialEq>(
        text: &str,
        read: impl Fn(&Body) -> Result<T, FieldError>,
        expected: Result<T, &str>,
    ) {
        let actual = Body::read(text).and_then(|body| Ok(read(&body)?)).map_err(|error| error.to_string());
        assert_eq!(actual, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn fields() {
        let text = |body: &Body| body.text("a");
        check(r#"{"a":"x\n"}"#, text, Ok(Some("x\n".to_owned())));
        check(r#"{"a":null,"b":[]}"#, text, Ok(None));
        check("{}", text, Ok(None));
        check(r#"{"a":null}"#, |body| Ok(body.is_null("a")), Ok(true));
        check(r#"{"a":0}"#, |body| Ok(body.is_null("a") || body.is_null("b")), Ok(false));
        check(r#"{"a":3}"#, text, Err("a must be a string, is a number"));
        check("[]", text, Err("body: must be a JSON object (at byte 0)"));
        check(r#"{"a":"1","a":"2"}"#, text, Err("body: a: the same key twice (at byte 9)"));
        check(r#"{"a":true}"#, |body| body.truth("a"), Ok(Some(true)));
        check(r#"{"a":"true"}"#, |body| body.truth("a"), Err("a must be true or false, is a string"));
        check(r#"{"a":1e2}"#, |body| body.whole("a"), Ok(Some(100)));
        check(r#"{"a":-1}"#, |body| body.whole("a"), Err("a must be a whole number from 0, is a number"));
        let texts = |body: &Body| body.texts("a");
        check(r#"{"a":["x","y"]}"#, texts, Ok(Some(vec!["x".to_owned(), "y".to_owned()])));
        check(r#"{"a":[]}"#, texts, Ok(Some(Vec::new())));
        check(r#"{"a":["x",null]}"#, texts, Err("a[1] must be a string, is null"));
        check(r#"{"a":{}}"#, texts, Err("a must be an array of strings, is an object"));
        let only = |body: &Body| body.only(&["a", "b"]);
        check(r#"{"b":1}"#, only, Ok(()));
        check(r#"{"c":1}"#, only, Err("c is no field here; there are 'a', 'b'"));
    }
}
