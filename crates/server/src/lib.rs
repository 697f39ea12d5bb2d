//! The server, assembled from settings.
//!
//! - [`Sockets`], [`Base`], [`Server`]: how a server is started and stopped
//! - [`storage`], [`data_folder`], [`disk`]: the data folder, the store in it or elsewhere, and the free space on the disk
//! - [`keyring`]: the master key and the keys under it
//! - [`bootstrap`]: the first contents of an empty store
//! - [`tls`]: the certificate of the listener, reloaded on change
//! - [`telemetry`]: the log
//! - [`lifecycle`], [`fd_limit`]: signals, limits and the service manager
//! - [`wiring`]: converts settings into the configuration of the crates below

pub mod bootstrap;
mod connection_slots;
pub mod data_folder;
pub mod disk;
pub mod fd_limit;
pub mod keyring;
pub mod lifecycle;
mod lingering_close;
mod listener;
mod process_metrics;
mod server;
mod server_metrics;
pub mod storage;
pub mod telemetry;
pub mod tls;
pub mod wiring;
mod write_timeout;

pub use server::{Base, Server, Sockets, bind};
