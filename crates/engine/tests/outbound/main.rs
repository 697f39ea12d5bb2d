//! The outbound client against unusual servers. All of them listen on loopback.

mod connections;
mod policy;
mod proxies;
mod responses;
mod support;
mod tarpits;
mod tls;
mod wire;
