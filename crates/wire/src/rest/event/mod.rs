//! The events API. It is ours alone, so unknown fields are errors: a misspelled `id` is caught before it
//! causes duplicates.

mod request;
mod response;

pub use request::{
    EventBody, EventRequest, EventRequestError, EventRequestFault, read_array, read_body, read_one,
};
pub use response::{
    EventAccepted, EventResponse, EventsSummary, LineResult, PayloadNotJson, REFUSALS_MAX, Refusal,
};
