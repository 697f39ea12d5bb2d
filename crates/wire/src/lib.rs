//! Every byte that another program sees.
//!
//! - [`payload`]: the bodies of deliveries, rendered from producers' payloads
//! - [`headers`] and [`signature`]: the headers of deliveries
//! - [`rest`]: the JSON bodies of both APIs
//! - [`field`]: errors that name the field
//!
//! Types of `model` are converted by hand, and only here, so renaming a type in `model` cannot change a byte
//! on the wire.

pub mod field;
pub mod headers;
pub mod payload;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
pub mod rest;
pub mod signature;
