//! Several cores ([`stackbell_engine::core`]) on one store and a manual clock. Each core receives every input at once.
//!
//! The simulation tests each core under faults. These tests cover what the cores do together, where only endpoints fail.

mod going_on;
mod limits;
mod news;
mod order;
mod prefetch;
mod rights;
mod slow_start;
mod waiting;
mod world;
