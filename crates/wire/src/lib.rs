//! Every byte that another program sees.
//!
//! - [`payload`]: what a delivery's body is, and how a producer's payload becomes one
//! - [`headers`] and [`signature`]: what goes with it
//! - [`rest`]: the JSON bodies of both APIs
//! - [`field`]: how an error names the field that it is about
//!
//! Types of `model` are converted by hand, here and nowhere else: a change of a word in `model` cannot change a byte.

pub mod field;
pub mod headers;
pub mod payload;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
pub mod rest;
pub mod signature;
