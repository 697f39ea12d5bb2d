//! The words and the rules of Stackbell.
//!
//! Everything here is pure: no IO, no async, no serialisation, no ambient time and no ambient chance.
//! Whoever needs the time takes a [`Clock`], whoever needs chance takes an [`Entropy`] (invariant 11).
//!
//! - what there is: [`ids`], [`names`], [`event`], [`webhook`], [`delivery`], [`identity`]
//! - what is asked for: [`filter`] (kinds, filters, groups), [`scope`] (which stacks and environments)
//! - what happens next: [`retry`] (after an attempt), [`health`] (when a webhook is suspended), [`recovery`] (all again)
//! - how a stack elsewhere is started: [`deployments`]
//! - who may: [`permission`]
//! - which characters names may not have, and how such are shown: [`hidden`]; which URLs can be called: [`http_url`]
//! - what is logged of an error: [`Chain`]

mod chain;
pub mod clock;
pub mod delivery;
pub mod deployments;
pub mod entropy;
pub mod event;
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
pub mod teams;
pub mod wait;
pub mod webhook;

pub use chain::Chain;
pub use clock::{Clock, Timestamp};
pub use entropy::{Entropy, Ordered};
