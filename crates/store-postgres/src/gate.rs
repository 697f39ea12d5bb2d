//! The gate of an organization: intakes pass it together, an edit passes it alone.
//!
//! What is right is decided by the locks of the organization's row; but whoever shares such a lock passes by those who wait
//! to change the row, and a busy organization could not be edited for seconds. An advisory lock has a queue. Who goes
//! through the gate does so before it locks the row, organizations by number.

use stackbell_model::ids::{OrganizationId, WebhookId};
use stackbell_store::rows::Id as _;
use uuid::Uuid;

use crate::error::Fault;
use crate::session::Transaction;
use crate::statement::statement;

statement!(PASS_TOGETHER = "/* gate.together */ SELECT pg_advisory_xact_lock_shared(1113943148, o.number::int) \
    FROM (SELECT number FROM organizations WHERE id = ANY($1) ORDER BY number) o"; UUID_ARRAY);

statement!(PASS_ALONE = "/* gate.alone */ SELECT pg_advisory_xact_lock(1113943148, number::int) \
    FROM organizations WHERE id = $1"; UUID);

statement!(PASS_ALONE_WITH = "/* gate.alone_with */ SELECT pg_advisory_xact_lock(1113943148, organization_number::int) \
    FROM webhooks WHERE id = $1"; UUID);

statement!(PASS_ALONE_OF_USER = "/* gate.alone_of_user */ SELECT pg_advisory_xact_lock(1113943148, o.number::int) \
    FROM (SELECT organization_number AS number FROM memberships WHERE user_number = $1 ORDER BY 1) o"; INT8);

/// For intakes of these organizations.
pub(crate) async fn pass_together(tx: &Transaction, organizations: &[Uuid]) -> Result<(), Fault> {
    tx.rows(&PASS_TOGETHER, &[&organizations]).await.map(|_| ())
}

/// For an edit of an organization, its members, its tokens or its webhooks.
pub(crate) async fn pass_alone(tx: &Transaction, organization: OrganizationId) -> Result<(), Fault> {
    tx.rows(&PASS_ALONE, &[&organization.uuid()]).await.map(|_| ())
}

/// The same for an edit of a webhook.
pub(crate) async fn pass_alone_with(tx: &Transaction, webhook: WebhookId) -> Result<(), Fault> {
    tx.rows(&PASS_ALONE_WITH, &[&webhook.uuid()]).await.map(|_| ())
}

/// The same for all organizations of a user, who is locked.
pub(crate) async fn pass_alone_of_user(tx: &Transaction, user_number: i64) -> Result<(), Fault> {
    tx.rows(&PASS_ALONE_OF_USER, &[&user_number]).await.map(|_| ())
}
