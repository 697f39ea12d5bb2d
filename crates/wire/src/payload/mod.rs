//! Bodies of deliveries.
//!
//! - [`json`]: any JSON text to the one form in which it is stored, signed and sent
//! - [`raw`]: a producer's payload, checked, filled in and classified
//! - [`ping`]: the body of a ping

pub mod json;
pub mod ping;
pub mod raw;
