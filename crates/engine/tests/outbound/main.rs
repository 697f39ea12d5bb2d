//! The outbound client against servers that are listed in no textbook. All of them listen on loopback.

mod connections;
mod policy;
mod proxies;
mod responses;
mod support;
mod tarpits;
mod tls;
mod wire;
