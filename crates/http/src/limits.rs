//! Limits of one request.

use stackbell_model::event::EVENTS_IN_ITEM_MAX;

/// The operator's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of a body that is read as a whole.
    pub request_bytes_max: usize,
    /// The most events of one array.
    pub events_in_request_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { request_bytes_max: 4 * 1024 * 1024, events_in_request_max: EVENTS_IN_ITEM_MAX }
    }
}
