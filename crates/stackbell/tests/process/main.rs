//! The built binary as a process: what only it can show.

mod authorities;
mod certificates;
mod dev;
mod disk;
mod durability;
mod folder;
mod formats;
mod keys;
mod limits;
mod load;
mod outbound;
mod receivers;
mod samples;
mod secrets;
mod support;
mod tls;
mod unit;
