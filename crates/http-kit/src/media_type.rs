//! Media types, as values of `Content-Type` and in the OpenAPI document.

/// JSON.
pub const JSON: &str = "application/json";
