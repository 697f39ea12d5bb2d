//! The built binary as a process: what only it can show.

mod dev;
mod durability;
mod folder;
mod outbound;
mod receivers;
mod samples;
mod secrets;
mod support;
