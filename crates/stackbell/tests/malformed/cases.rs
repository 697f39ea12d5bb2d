use http::Method;
use serde_json::Value;

/// The id of an existing event.
pub(crate) const KNOWN_EVENT: &str = "11111111-1111-4111-8111-111111111111";

/// The caller.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    Admin,
    Viewer,
    Publisher,
    Member,
    /// The credentials in the headers.
    Given,
}

/// One request and its expected response.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) who: Who,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) status: u16,
    /// A part of the message.
    pub(crate) part: String,
}

impl Case {
    /// A request by the admin that must get 400 with `part` in its message.
    pub(crate) fn new(method: Method, path: &str, body: impl Into<Vec<u8>>, part: &str) -> Self {
        let body = body.into();
        let shown: String = String::from_utf8_lossy(&body).chars().take(100).collect();
        Self {
            name: format!("{method} {path} {shown}"),
            who: Who::Admin,
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body,
            status: 400,
            part: part.to_owned(),
        }
    }

    pub(crate) fn post(path: &str, body: &Value, part: &str) -> Self {
        Self::new(Method::POST, path, body.to_string(), part)
    }

    pub(crate) fn patch(path: &str, body: &Value, part: &str) -> Self {
        Self::new(Method::PATCH, path, body.to_string(), part)
    }

    pub(crate) fn get(path: &str, part: &str) -> Self {
        Self::new(Method::GET, path, "", part)
    }

    pub(crate) fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn by(self, who: Who) -> Self {
        Self { who, name: format!("{who:?}: {}", self.name), ..self }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.name = format!("{} with {name}: {}", self.name, value.chars().take(40).collect::<String>());
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// `base` with one field replaced.
pub(crate) fn with(base: &Value, field: &str, value: impl Into<Value>) -> Value {
    let mut changed = base.clone();
    changed[field] = value.into();
    changed
}

/// `base` without one field.
pub(crate) fn without(base: &Value, field: &str) -> Value {
    let mut changed = base.clone();
    changed.as_object_mut().expect("an object").remove(field);
    changed
}
