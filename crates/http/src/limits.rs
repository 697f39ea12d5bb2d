//! How much one request may bring.

use stackbell_model::event::{EVENTS_IN_ITEM_MAX, PAYLOAD_BYTES_MAX};

/// What an operator allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of a body that is read as a whole.
    pub request_bytes_max: usize,
    /// The most bytes of an event's payload, compact and filled in.
    pub payload_bytes_max: usize,
    /// The most events of one array.
    pub events_in_request_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 4 * 1024 * 1024,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            events_in_request_max: EVENTS_IN_ITEM_MAX,
        }
    }
}
