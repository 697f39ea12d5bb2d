//! The built binary on PostgreSQL: one node, and several nodes together.

mod delivering;
mod disk;
mod doctor;
mod faults;
mod keys;
mod moving;
mod pooler;
mod secrets;
mod starting;
mod support;
mod tls;
mod truth;
