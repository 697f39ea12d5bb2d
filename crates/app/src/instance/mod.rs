//! The installation as a whole, for operators: how it does, holding all sending, its master key, copies of its store.

pub mod backup;
pub mod master_key;
mod sending;

pub use stackbell_store::instance::SendingHold;
