//! The whole data plane with a manual clock: the embedded store on disk, the shell, the outbound client, a real endpoint.
//!
//! The manual clock drives all decisions. An exchange takes real time, and no test depends on it. No test waits to prove that
//! something does not happen. Instead, it waits for a later event, and checks that the earlier one did not come.

mod breakers;
mod connections;
mod deleting;
mod deployments;
mod formats;
mod full_disk;
mod full_store;
mod holding;
mod killed;
mod paces;
mod people;
mod recovering;
mod schedule;
mod stopping;
mod suspension;
mod tarpits;
mod waits;
mod wire;
mod world;
