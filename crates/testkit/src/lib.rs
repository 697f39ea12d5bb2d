//! Shared tools for the tests of more than one crate.
//!
//! - [`Receiver`]: an endpoint that records requests and sends programmed responses
//! - [`Tarpit`]: endpoints that waste their callers' time, each in a different way
//! - [`Server`]: the built binary as a process that can be killed and restarted
//! - [`Postgres`]: a throw-away server with a [`Database`] for each test, and [`PgBouncer`] in front of it
//! - [`Load`]: producers that keep servers busy
//! - [`SecondSends`]: a limit for repeated deliveries, derived from the faults of a test
//! - [`Proxy`]: a proxy between a server and its database, with faults
//! - [`Client`]: requests with a token, and [`raw`] bytes on a socket
//! - [`small_disk`]: a disk that a [`Ballast`] fills
//! - [`ManualClock`], [`SeededEntropy`]: time and randomness under the test's control
//! - [`wait`]: waiting for a state, with one deadline for all tests
//!
//! Failures panic, because this code runs only in tests.

mod client;
mod clock;
mod disk;
mod entropy;
mod load;
mod postgres;
mod proxy;
mod receiver;
mod second_sends;
mod server;
pub mod wait;

pub use client::{Answer, Client, raw};
pub use clock::ManualClock;
pub use disk::{Ballast, small_disk};
pub use entropy::SeededEntropy;
pub use load::{Load, event_id};
pub use postgres::{
    Database, PgBouncer, Postgres, PostgresSettings, Replication, Stop, free_port, ordinary_user,
    postgres_programs,
};
pub use proxy::{Fault, Proxy};
pub use receiver::{Gate, Keep, OpenTarpit, Receiver, Reply, Request, Tarpit};
pub use second_sends::{SecondSends, SecondSendsCount};
pub use server::{Server, ServerSetup, terminate};
