//! The built binary on PostgreSQL: what one node does there, and what several do together.

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
