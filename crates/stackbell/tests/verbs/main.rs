//! The verbs of the command line, as somebody at a shell: the real binary against a real server.

mod deliveries;
mod events;
mod instance;
mod listen;
mod people;
mod support;
mod webhooks;
