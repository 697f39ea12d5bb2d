//! The storage port: everything that the rest of Stackbell may ask of a store.
//!
//! Small traits by noun, one [`Store`] that has them all.
//! A method is one sentence, one transaction and one crash point: it happens whole or not at all,
//! and once it returned `Ok` it is synced to disk and holds for every later call (invariants 1 and 10).
//! Callers never see a transaction; contention is retried inside.
//! An `Err` means that we could not look or could not write; "not there" is `Ok(None)`.
//!
//! Whatever the port promises is a case of the suite in `conformance` (a feature), which every store passes.
//!
//! - [`commit`]: the engine's group commit (events in, outcomes recorded)
//! - [`queue`]: leasing what is due; the deliveries table is the queue
//! - [`history`]: reading events, deliveries and attempts
//! - [`webhooks`], [`identity`], [`keys`]: what people edit, each change with its [`audit`] entry
//! - [`recoveries`]: ended deliveries tried anew, pending ones given up
//! - [`deployments`]: credentials for starting other stacks' deployments
//! - [`statistics`]: counts over time, and what an organization keeps
//! - [`maintenance`]: retention, expiry, liveness
//! - [`nodes`]: who else uses the store
//! - [`instance`]: holding and resuming all sending; [`backup`]: copies, where a store makes them
//! - [`transfer`]: one store copied into another

pub mod audit;
pub mod backup;
pub mod commit;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod deployments;
mod error;
pub mod history;
pub mod identity;
pub mod instance;
pub mod keys;
pub mod maintenance;
pub mod nodes;
pub mod queue;
pub mod recoveries;
pub mod rows;
pub mod statistics;
pub mod transfer;
pub mod webhooks;

pub use error::StoreError;

/// A store, whole. Object-safe: pass it as `Arc<dyn Store>`.
pub trait Store:
    commit::Commit
    + queue::Queue
    + history::History
    + webhooks::Webhooks
    + identity::Identity
    + keys::Keys
    + audit::Audit
    + maintenance::Maintenance
    + recoveries::Recoveries
    + statistics::Statistics
    + deployments::Deployments
    + instance::Instance
    + nodes::Nodes
{
}

impl<S> Store for S where
    S: commit::Commit
        + queue::Queue
        + history::History
        + webhooks::Webhooks
        + identity::Identity
        + keys::Keys
        + audit::Audit
        + maintenance::Maintenance
        + recoveries::Recoveries
        + statistics::Statistics
        + deployments::Deployments
        + instance::Instance
        + nodes::Nodes
{
}
