//! The commands as a person uses them: the real binary against a real server.

mod deliveries;
mod events;
mod instance;
mod listen;
mod people;
mod support;
mod webhooks;
