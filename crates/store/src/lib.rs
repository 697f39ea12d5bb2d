//! The storage port: all operations that the rest of Stackbell may use on a store.
//!
//! The port has a small trait for each noun. [`Store`] has all of them; [`EngineStore`] has those that the engine uses.
//!
//! A method is one transaction and one crash point: it happens completely or not at all. Once it returned
//! `Ok`, its changes are synced to disk and visible to every later call (invariants 1 and 10). Callers never
//! see a transaction; contention is retried inside. An `Err` means that reading or writing failed; a missing
//! row is `Ok(None)`.
//!
//! Every guarantee of the port is a case of the suite in `conformance` (a feature), which every store passes.
//!
//! - [`commit`]: the engine's group commit (events accepted, changes applied, outcomes recorded)
//! - [`decision`]: the decision about an intake item, for every store
//! - [`sources`]: the cursors of sources
//! - [`queue`]: leasing of due deliveries; the deliveries table is the queue
//! - [`history`]: reading events, deliveries and attempts
//! - [`webhooks`], [`identity`], [`keys`]: data that users edit, each change with its [`audit`] entry
//! - [`recoveries`]: retries of ended deliveries, and cancellation of pending ones
//! - [`deployments`]: credentials for starting other stacks' deployments
//! - [`statistics`]: counts over time, and the usage of an organization
//! - [`maintenance`]: retention, expiry, liveness
//! - [`nodes`]: the other nodes that use the store
//! - [`instance`]: holding and resuming all sending; [`backup`]: copies, for stores that make them
//! - [`transfer`]: copying one store into another

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

/// A complete store. Object-safe: pass it as `Arc<dyn Store>`, which coerces to `Arc<dyn EngineStore>`.
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
    /// Returns the name of an organization; `None` if there is no such organization.
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
