//! The storage port: everything that the rest of Stackbell may ask of a store.
//!
//! The port has small traits by noun. [`Store`] has all of them; [`EngineStore`] has those that the engine uses.
//! A method is one sentence, one transaction and one crash point. It happens whole or not at all:
//! once it returned `Ok` it is synced to disk and holds for every later call (invariants 1 and 10).
//! Callers never see a transaction; contention is retried inside.
//! An `Err` means that we could not look or could not write; "not there" is `Ok(None)`.
//!
//! Whatever the port promises is a case of the suite in `conformance` (a feature), which every store passes.
//!
//! - [`commit`]: the engine's group commit (events in, changes applied, outcomes recorded)
//! - [`decision`]: the decision about an intake item, for every store
//! - [`sources`]: the cursors of sources
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
pub mod decision;
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
pub mod sources;
pub mod statistics;
pub mod transfer;
pub mod webhooks;

use async_trait::async_trait;
use stackbell_model::ids::OrganizationId;
use stackbell_model::names::OrganizationName;

pub use error::StoreError;

/// A whole store. Object-safe: pass it as `Arc<dyn Store>`, which coerces to `Arc<dyn EngineStore>`.
pub trait Store:
    EngineStore
    + history::History
    + identity::Identity
    + keys::Keys
    + audit::Audit
    + statistics::Statistics
    + sources::Sources
{
}

impl<S> Store for S where
    S: EngineStore
        + history::History
        + identity::Identity
        + keys::Keys
        + audit::Audit
        + statistics::Statistics
        + sources::Sources
{
}

/// The part of a store that the engine uses. Users, tokens, keys, history and the audit log are absent, so that the compiler
/// keeps the engine away from them.
#[async_trait]
pub trait EngineStore:
    commit::Commit
    + queue::Queue
    + webhooks::Webhooks
    + deployments::Deployments
    + recoveries::Recoveries
    + maintenance::Maintenance
    + instance::Instance
    + nodes::Nodes
{
    /// The name of an organization; `None` when there is no such organization.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn organization_name(&self, id: OrganizationId) -> Result<Option<OrganizationName>, StoreError>;
}

#[async_trait]
impl<S> EngineStore for S
where
    S: commit::Commit
        + queue::Queue
        + webhooks::Webhooks
        + deployments::Deployments
        + recoveries::Recoveries
        + maintenance::Maintenance
        + instance::Instance
        + nodes::Nodes
        + identity::Identity,
{
    async fn organization_name(&self, id: OrganizationId) -> Result<Option<OrganizationName>, StoreError> {
        Ok(self.organization(id).await?.map(|organization| organization.name))
    }
}
