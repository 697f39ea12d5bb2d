//! Every byte that another program sees.
//!
//! - [`headers`] and [`signature`]: the headers of deliveries; `stackbell_payload` renders their bodies
//! - [`rest`]: the JSON bodies of both APIs
//!
//! Types of `model` are converted by hand, and only here, so renaming a type in `model` cannot change a byte
//! on the wire.

pub mod headers;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
pub mod rest;
pub mod signature;
