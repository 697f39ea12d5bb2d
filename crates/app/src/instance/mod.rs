//! The instance as a whole, for operators: hold on sending, master key, backups.

pub mod backup;
pub mod master_key;
mod sending;

pub use stackbell_store::instance::SendingHold;
