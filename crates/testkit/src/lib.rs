//! For tests alone: what they stand on when they ask more than one crate.
//!
//! - [`Receiver`]: an endpoint that records what it gets and answers as it is told
//! - [`Tarpit`]: endpoints of every sort that cost their callers time
//! - [`Server`]: the built binary as a process, which can be killed and started again
//! - [`Postgres`]: a throw-away server with a [`Database`] for each test, and [`PgBouncer`] before it
//! - [`Load`]: producers that keep servers busy
//! - [`SecondSends`]: a bound for second sends, by the faults of a test
//! - [`Proxy`]: what stands between a server and its database, and has faults
//! - [`Client`]: requests with a token, and [`raw`] bytes on a socket
//! - [`small_disk`]: a disk that a [`Ballast`] fills
//! - [`ManualClock`], [`SeededEntropy`]: time and chance in the test's hand
//! - [`wait`]: waiting for a state, with one deadline for all
//!
//! What fails here panics: these are tests.

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
