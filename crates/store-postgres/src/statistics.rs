//! Reads the counts that [`crate::ledger`] writes.

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::ids::{OrganizationId, WebhookId};
use stackbell_store::StoreError;
use stackbell_store::rows::{Columns as _, Id as _};
use stackbell_store::statistics::{HourTally, Statistics, Tally, Usage};

use crate::PostgresStore;
use crate::error::Fault;
use crate::identity::find_organization;
use crate::ledger::WHOLE_ORGANIZATION;
use crate::rows::Cursor;
use crate::session::Transaction;
use crate::statement::statement;

statement!(FIND_WEBHOOK =
    "/* tallies.webhook */ SELECT number FROM webhooks WHERE id = $1 AND organization_number = $2"; UUID, INT8);

// `hours` steps from one hour with any count to the next. There are no more steps than stored hours, and the tallies of other
// webhooks are not read.
statement!(TALLIES = "/* tallies */ WITH RECURSIVE hours (hour) AS ( \
        (SELECT t.hour FROM tallies t WHERE t.hour >= $3 AND t.hour < $4 ORDER BY t.hour LIMIT 1) \
        UNION ALL \
        SELECT next.hour FROM hours, LATERAL ( \
            SELECT t.hour FROM tallies t WHERE t.hour > hours.hour AND t.hour < $4 ORDER BY t.hour LIMIT 1 \
        ) next \
    ) \
    SELECT hours.hour, sums.* FROM hours, LATERAL ( \
        SELECT sum(t.events)::bigint, sum(t.made)::bigint, sum(t.succeeded)::bigint, sum(t.failed)::bigint, \
            sum(t.cancelled)::bigint, sum(t.attempts)::bigint, sum(t.attempts_failed)::bigint, \
            sum(t.attempts_took)::bigint \
        FROM tallies t WHERE t.hour = hours.hour AND t.organization_number = $1 AND t.webhook_number = $2 \
        HAVING count(*) > 0 \
    ) sums ORDER BY hours.hour"; INT8, INT8, INT8, INT8);

statement!(USAGE = "/* usage */ SELECT o.number, coalesce(sum(u.pending), 0)::bigint, \
        coalesce(sum(u.stored_bytes), 0)::bigint \
    FROM organizations o LEFT JOIN usage u ON u.organization_number = o.number \
    WHERE o.id = $1 GROUP BY o.number"; UUID);

#[async_trait]
impl Statistics for PostgresStore {
    async fn tallies(
        &self,
        organization: OrganizationId,
        webhook: Option<WebhookId>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<HourTally>, StoreError> {
        self.read("tallies", |tx| async move {
            let Some([organization, webhook]) = find_numbers(&tx, organization, webhook).await? else {
                return Ok(Vec::new());
            };
            let (from, to) = (from.as_millis(), to.as_millis());
            tx.list(&TALLIES, &[&organization, &webhook, &from, &to], "tallies", read_tally).await
        })
        .await
    }

    async fn usage(&self, organization: OrganizationId) -> Result<Usage, StoreError> {
        self.read("usage", |tx| async move {
            let usage = tx
                .first(&USAGE, &[&organization.uuid()], "usage", |cursor| {
                    cursor.skip("organization_number")?;
                    Ok(Usage {
                        pending: cursor.count("pending")?,
                        stored_bytes: cursor.count("stored_bytes")?,
                    })
                })
                .await?;
            Ok(usage.unwrap_or_default())
        })
        .await
    }
}

/// Finds the numbers of the organization and the webhook; `None` if one of them does not exist.
async fn find_numbers(
    tx: &Transaction,
    organization: OrganizationId,
    webhook: Option<WebhookId>,
) -> Result<Option<[i64; 2]>, Fault> {
    let Some(organization) = find_organization(tx, organization).await? else { return Ok(None) };
    let Some(webhook) = webhook else { return Ok(Some([organization, WHOLE_ORGANIZATION])) };
    let webhook = webhook.uuid();
    let found = tx
        .first(&FIND_WEBHOOK, &[&webhook, &organization], "webhooks", |cursor| cursor.integer("number"))
        .await?;
    Ok(found.map(|number| [organization, number]))
}

fn read_tally(cursor: &mut Cursor<'_>) -> Result<HourTally, Fault> {
    Ok(HourTally {
        hour: cursor.time("hour")?,
        tally: Tally {
            events: cursor.count("events")?,
            made: cursor.count("made")?,
            succeeded: cursor.count("succeeded")?,
            failed: cursor.count("failed")?,
            cancelled: cursor.count("cancelled")?,
            attempts: cursor.count("attempts")?,
            attempts_failed: cursor.count("attempts_failed")?,
            attempts_took: cursor.duration("attempts_took")?,
        },
    })
}
