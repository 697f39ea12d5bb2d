//! The body of a delivery that starts a deployment of another stack.

use bytes::Bytes;

/// An update with the stack's own deployment settings. A request without settings inherits them. Source: wire-facts.md#formats.
pub(super) const BODY: Bytes = Bytes::from_static(br#"{"operation":"update"}"#);
