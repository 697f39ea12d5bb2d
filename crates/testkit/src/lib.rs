//! For tests alone: what they stand on when they ask more than one crate.
//!
//! - [`Receiver`]: an endpoint that records what it gets and answers as it is told
//! - [`Server`]: the built binary as a process, which can be killed and started again
//! - [`Client`]: requests with a token, and [`raw`] bytes on a socket
//! - [`ManualClock`], [`SeededEntropy`]: time and chance in the test's hand
//! - [`wait`]: waiting for a state, with one deadline for all
//!
//! What fails here panics: these are tests.

mod client;
mod clock;
mod entropy;
mod receiver;
mod server;
pub mod wait;

pub use client::{Answer, Client, raw};
pub use clock::ManualClock;
pub use entropy::SeededEntropy;
pub use receiver::{Gate, Keep, Receiver, Reply, Request};
pub use server::{Server, ServerSetup, terminate};
