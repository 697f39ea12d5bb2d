//! The data plane: takes events in and sends deliveries out, durably.
//!
//! - [`core`]: decides what to do, as a pure state machine
//! - [`shell`]: does it, with tokio, a store and sockets
//! - [`outbound`]: the one HTTP client for untrusted addresses

pub mod core;
pub mod outbound;
pub mod shell;
