//! An advisory lock for each organization: intakes share it, an edit takes it exclusively.
//!
//! The lock of the organization's row alone would be correct. However, a new shared row lock is granted while an edit waits,
//! so edits of a busy organization would wait for seconds. Requests for an advisory lock queue in order.
//!
//! A transaction takes this lock before it locks the row, and takes several in the order of the organizations' numbers.

use stackbell_model::ids::{OrganizationId, WebhookId};
use stackbell_store::rows::Id as _;
use uuid::Uuid;

use crate::error::Fault;
use crate::session::Transaction;
use crate::statement::statement;

statement!(LOCK_SHARED = "/* organization_lock.shared */ SELECT pg_advisory_xact_lock_shared(1113943148, o.number::int) \
    FROM (SELECT number FROM organizations WHERE id = ANY($1) ORDER BY number) o"; UUID_ARRAY);

statement!(LOCK = "/* organization_lock */ SELECT pg_advisory_xact_lock(1113943148, number::int) \
    FROM organizations WHERE id = $1"; UUID);

statement!(LOCK_OF_WEBHOOK = "/* organization_lock.of_webhook */ SELECT pg_advisory_xact_lock(1113943148, organization_number::int) \
    FROM webhooks WHERE id = $1"; UUID);

statement!(LOCK_OF_USER = "/* organization_lock.of_user */ SELECT pg_advisory_xact_lock(1113943148, o.number::int) \
    FROM (SELECT organization_number AS number FROM memberships WHERE user_number = $1 ORDER BY 1) o"; INT8);

/// Takes the shared locks of these organizations, for an intake.
pub(crate) async fn lock_shared(tx: &Transaction, organizations: &[Uuid]) -> Result<(), Fault> {
    tx.rows(&LOCK_SHARED, &[&organizations]).await.map(|_| ())
}

/// Takes the exclusive lock of an organization, to edit it, its members, its tokens or its webhooks.
pub(crate) async fn lock_exclusive(tx: &Transaction, organization: OrganizationId) -> Result<(), Fault> {
    tx.rows(&LOCK, &[&organization.uuid()]).await.map(|_| ())
}

/// Takes the exclusive lock of a webhook's organization, to edit the webhook.
pub(crate) async fn lock_exclusive_of_webhook(tx: &Transaction, webhook: WebhookId) -> Result<(), Fault> {
    tx.rows(&LOCK_OF_WEBHOOK, &[&webhook.uuid()]).await.map(|_| ())
}

/// Takes the exclusive locks of all organizations of a user. The caller has locked the user's row, so no organization is added
/// meanwhile.
pub(crate) async fn lock_exclusive_of_user(tx: &Transaction, user_number: i64) -> Result<(), Fault> {
    tx.rows(&LOCK_OF_USER, &[&user_number]).await.map(|_| ())
}
