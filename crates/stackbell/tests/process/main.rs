//! The built binary as a process: tests that need a real process.

mod authorities;
mod backup;
mod certificates;
mod dev;
mod disk;
mod durability;
mod folder;
mod formats;
mod keys;
mod limits;
mod log;
mod outbound;
mod receivers;
mod recovery;
mod samples;
mod secrets;
mod stored;
mod support;
mod tls;
mod unit;
