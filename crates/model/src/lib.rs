//! The vocabulary and the rules of Stackbell.
//!
//! Everything here is pure: no IO, no async, no serialization, no ambient time and no ambient randomness.
//! Code that needs the time takes a [`Clock`]; code that needs randomness takes an [`Entropy`] (invariant
//! 11).
//!
//! - entities: [`ids`], [`names`], [`event`], [`webhook`], [`delivery`], [`identity`]
//! - subscriptions: [`filter`] (kinds, filters, groups), [`scope`] (which stacks and environments)
//! - next steps: [`retry`] (after an attempt), [`health`] (when a webhook is suspended), [`recovery`] (retry
//!   everything)
//! - starting deployments of other stacks: [`deployments`]
//! - limits of rates: [`token_bucket`]
//! - sources of events, and changes that commit together with events: [`source`]
//! - access rights: [`permission`]
//! - hidden characters in names and output: [`hidden`]; URLs for requests: [`http_url`]
//! - errors in the log: [`Chain`]

mod chain;
pub mod clock;
pub mod delivery;
pub mod deployments;
pub mod entropy;
pub mod event;
pub mod field;
pub mod filter;
pub mod health;
pub mod hidden;
pub mod http_url;
pub mod identity;
pub mod ids;
pub mod names;
pub mod permission;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
pub mod recovery;
pub mod retry;
pub mod scope;
pub mod secret;
pub mod source;
#[cfg(feature = "strategies")]
pub mod strategies;
pub mod teams;
pub mod token_bucket;
pub mod wait;
pub mod webhook;

pub use chain::Chain;
pub use clock::{Clock, Timestamp};
pub use entropy::{Entropy, Ordered};
