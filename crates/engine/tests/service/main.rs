//! The whole data plane with a driven clock: the embedded store on disk, the shell, the outbound client, a real endpoint.
//!
//! What is driven is the clock of decisions; an exchange itself takes the machine's time, of which nothing here depends.
//! Nothing is proved by waiting for nothing: where something must not happen, something else that comes later does.

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
