//! The data plane: events in, deliveries out, durably.
//!
//! - [`core`]: what to do, as a pure state machine
//! - [`shell`]: doing it, with tokio, a store and sockets
//! - [`outbound`]: the one HTTP client for addresses that others chose

pub mod core;
pub mod outbound;
pub mod shell;
