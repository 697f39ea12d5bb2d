//! Media types, as values of `Content-Type` and in the OpenAPI document.

/// JSON.
pub const JSON: &str = "application/json";

/// NDJSON in responses, and the preferred one of [`NDJSON_NAMES`].
pub const NDJSON: &str = "application/x-ndjson";

/// All media types for NDJSON that clients use. None of them is registered.
pub const NDJSON_NAMES: [&str; 4] =
    [NDJSON, "application/ndjson", "application/jsonl", "application/x-jsonlines"];
