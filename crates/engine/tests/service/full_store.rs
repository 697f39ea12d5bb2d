//! A store whose disk is full for a while: commits fail, everything else works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use stackbell_model::Timestamp;
use stackbell_model::delivery::Attempt;
use stackbell_model::deployments::DeploymentsCredential;
use stackbell_model::identity::{Membership, Organization, Token, TokenHash, TokenOwner, User};
use stackbell_model::ids::{
    AuditId, DeliveryId, EventId, EventKey, OrganizationId, RecoveryId, SourceId, TokenId, UserId, WebhookId,
};
use stackbell_model::names::{Login, OrganizationName, WebhookName};
use stackbell_model::permission::Role;
use stackbell_model::recovery::Recovery;
use stackbell_model::scope::Scope;
use stackbell_model::secret::SealedDataKey;
use stackbell_model::source::SourceCursor;
use stackbell_model::webhook::Webhook;
use stackbell_store::audit::{AuditEntry, AuditRecord};
use stackbell_store::commit::{Batch, BatchOutcome, Lease};
use stackbell_store::history::{
    DeliveryFilter, DeliveryOverview, DeliveryPage, StoredAttempt, StoredDelivery, StoredEvent,
};
use stackbell_store::identity::{Bootstrap, HeldMembership, RemoveMembership, SetMembership, TokenHolder};
use stackbell_store::instance::SendingHold;
use stackbell_store::maintenance::{Depth, LaneDepth, SweepPolicy, SweepReport};
use stackbell_store::queue::{HeldDelivery, LaneDue, LaneRequest, Leased};
use stackbell_store::recoveries::{DeliveryChange, RecoveryCreated};
use stackbell_store::statistics::{HourTally, Usage};
use stackbell_store::webhooks::{CreateOutcome, EditOutcome, OrganizationWebhooks};
use stackbell_store::{
    Store, StoreError, audit, commit, deployments, history, identity, instance, keys, maintenance, nodes,
    queue, recoveries, sources, statistics, webhooks,
};

/// A disk that can be filled.
#[derive(Default)]
pub(crate) struct Disk {
    is_full: AtomicBool,
    refused: AtomicUsize,
}

impl Disk {
    pub(crate) fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::SeqCst);
    }

    /// The number of commits that found no space.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }
}

/// A store on such a disk.
pub(crate) struct FullStore {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) disk: Arc<Disk>,
}

#[async_trait]
impl commit::Commit for FullStore {
    async fn commit(&self, batch: Arc<Batch>) -> Result<BatchOutcome, StoreError> {
        if self.disk.is_full.load(Ordering::SeqCst) {
            self.disk.refused.fetch_add(1, Ordering::SeqCst);
            return Err(StoreError::Full { context: "commit", source: "no space left on device".into() });
        }
        self.inner.commit(batch).await
    }
}

macro_rules! pass_on {
    ($port:path { $(fn $name:ident($($argument:ident: $type:ty),*) -> $returned:ty;)* }) => {
        #[async_trait]
        impl $port for FullStore {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$returned, StoreError> {
                self.inner.$name($($argument),*).await
            })*
        }
    };
}

pass_on!(queue::Queue {
    fn lease_deliveries(lanes: &[LaneRequest], now: Timestamp, lease: Lease) -> Leased;
    fn release_deliveries(held: &[HeldDelivery]) -> ();
    fn due_lanes(after: Option<WebhookId>, limit: u32) -> Vec<LaneDue>;
});

pass_on!(history::History {
    fn find_event(organization: OrganizationId, id: EventId) -> Option<StoredEvent>;
    fn list_events(
        organization: OrganizationId,
        before: Option<EventKey>,
        limit: u32,
        bytes_max: u64
    ) -> Vec<StoredEvent>;
    fn find_delivery(webhook: WebhookId, event: EventId) -> Option<StoredDelivery>;
    fn list_deliveries(
        organization: OrganizationId,
        filter: &DeliveryFilter,
        before: Option<DeliveryId>,
        limit: u32,
        looked_at_max: u32
    ) -> DeliveryPage;
    fn delivery(organization: OrganizationId, id: DeliveryId) -> Option<(DeliveryOverview, Bytes)>;
    fn delivery_attempts(
        organization: OrganizationId,
        delivery: DeliveryId,
        limit: u32,
        bytes_max: u64
    ) -> Vec<Attempt>;
    fn list_attempts(webhook: WebhookId, limit: u32, bytes_max: u64) -> Vec<StoredAttempt>;
});

pass_on!(webhooks::Webhooks {
    fn organization_webhooks(organization: OrganizationId) -> Option<OrganizationWebhooks>;
    fn create_webhook(webhook: &Webhook, scope_max: u32, audit: AuditEntry) -> CreateOutcome;
    fn edit_webhook(webhook: &Webhook, audit: AuditEntry) -> EditOutcome;
    fn delete_webhook(
        organization: OrganizationId,
        scope: &Scope,
        name: &WebhookName,
        audit: AuditEntry
    ) -> Option<WebhookId>;
    fn find_webhook(organization: OrganizationId, scope: &Scope, name: &WebhookName) -> Option<Webhook>;
    fn webhook(organization: OrganizationId, id: WebhookId) -> Option<Webhook>;
    fn list_all_webhooks(organization: OrganizationId, after: Option<WebhookId>, limit: u32) -> Vec<Webhook>;
    fn list_webhooks(
        organization: OrganizationId,
        scope: &Scope,
        after: Option<WebhookId>,
        limit: u32
    ) -> Vec<Webhook>;
    fn resume_webhook(webhook: WebhookId, now: Timestamp, audit: AuditEntry) -> bool;
});

pass_on!(identity::Identity {
    fn is_empty() -> bool;
    fn bootstrap(bootstrap: Bootstrap) -> bool;
    fn create_organization(organization: &Organization, admin: Option<UserId>, audit: AuditEntry) -> bool;
    fn find_organization(name: &OrganizationName) -> Option<Organization>;
    fn organization(id: OrganizationId) -> Option<Organization>;
    fn list_organizations(after: Option<&OrganizationName>, limit: u32) -> Vec<Organization>;
    fn create_user(user: &User, token: &Token, hash: TokenHash, audit: AuditEntry) -> bool;
    fn find_user(login: &Login) -> Option<User>;
    fn list_users(after: Option<&Login>, limit: u32) -> Vec<User>;
    fn set_membership(membership: Membership, audit: AuditEntry) -> SetMembership;
    fn remove_membership(organization: OrganizationId, user: UserId, audit: AuditEntry) -> RemoveMembership;
    fn list_members(organization: OrganizationId, after: Option<&Login>, limit: u32) -> Vec<(User, Role)>;
    fn create_token(token: &Token, hash: TokenHash, owner_max: u32, audit: AuditEntry) -> bool;
    fn find_token(hash: TokenHash) -> Option<TokenHolder>;
    fn list_memberships(user: UserId) -> Vec<HeldMembership>;
    fn list_tokens(owner: TokenOwner, after: Option<TokenId>, limit: u32) -> Vec<Token>;
    fn revoke_token(owner: TokenOwner, token: TokenId, audit: AuditEntry) -> bool;
    fn touch_tokens(used: &[(TokenId, Timestamp)]) -> ();
});

pass_on!(keys::Keys {
    fn data_keys() -> Vec<SealedDataKey>;
    fn install_data_keys(keys: &[SealedDataKey]) -> bool;
    fn replace_data_keys(keys: &[SealedDataKey], audit: AuditEntry) -> bool;
});

pass_on!(audit::Audit {
    fn append_audit(audit: AuditEntry) -> ();
    fn list_audit(
        organization: Option<OrganizationId>,
        before: Option<AuditId>,
        limit: u32
    ) -> Vec<AuditRecord>;
});

pass_on!(maintenance::Maintenance {
    fn sweep(now: Timestamp, policy: &SweepPolicy) -> SweepReport;
    fn depth() -> Depth;
    fn lane_depths(now: Timestamp, after: Option<WebhookId>, limit: u32) -> Vec<LaneDepth>;
    fn check() -> ();
});

pass_on!(recoveries::Recoveries {
    fn cancel_delivery(
        organization: OrganizationId,
        delivery: DeliveryId,
        audit: AuditEntry
    ) -> DeliveryChange;
    fn retry_delivery(
        organization: OrganizationId,
        delivery: DeliveryId,
        audit: AuditEntry
    ) -> DeliveryChange;
    fn count_recoverable(webhook: WebhookId, since: Timestamp) -> u64;
    fn create_recovery(recovery: &Recovery, audit: AuditEntry) -> RecoveryCreated;
    fn recovery(organization: OrganizationId, id: RecoveryId) -> Option<Recovery>;
    fn list_recoveries(organization: OrganizationId, before: Option<RecoveryId>, limit: u32) -> Vec<Recovery>;
    fn running_recoveries(limit: u32) -> Vec<Recovery>;
    fn advance_recovery(id: RecoveryId, now: Timestamp, rows_max: u32) -> Option<Recovery>;
});

pass_on!(statistics::Statistics {
    fn tallies(
        organization: OrganizationId,
        webhook: Option<WebhookId>,
        from: Timestamp,
        to: Timestamp
    ) -> Vec<HourTally>;
    fn usage(organization: OrganizationId) -> Usage;
});

pass_on!(deployments::Deployments {
    fn deployments_credential(organization: OrganizationId) -> Option<DeploymentsCredential>;
    fn set_deployments_credential(credential: &DeploymentsCredential, audit: AuditEntry) -> bool;
    fn remove_deployments_credential(organization: OrganizationId, audit: AuditEntry) -> bool;
});

pass_on!(sources::Sources {
    fn source_cursor(organization: OrganizationId, source: SourceId) -> Option<SourceCursor>;
});

pass_on!(instance::Instance {
    fn sending_hold() -> Option<SendingHold>;
    fn hold_sending(hold: &SendingHold, audit: AuditEntry) -> bool;
    fn resume_sending(audit: AuditEntry) -> bool;
});

impl nodes::Nodes for FullStore {}
