//! The body of a delivery that runs a deployment of another stack.

use bytes::Bytes;

/// An update with the stack's own deployment settings, which a request without settings inherits.
/// Source: wire-facts.md#formats.
pub(super) const BODY: Bytes = Bytes::from_static(br#"{"operation":"update"}"#);
