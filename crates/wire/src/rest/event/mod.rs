//! The events API: ours alone, so unknown fields are errors, which catches a misspelt `id` before it costs doubles.

mod request;
mod response;

pub use request::{
    EventBody, EventRequest, EventRequestError, EventRequestFault, read_array, read_body, read_one,
};
pub use response::{
    EventAccepted, EventResponse, EventsSummary, LineResult, PayloadNotJson, REFUSALS_MAX, Refusal,
};
