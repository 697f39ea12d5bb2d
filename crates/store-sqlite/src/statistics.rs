//! Reads the counts that [`crate::ledger`] writes.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use stackbell_model::Timestamp;
use stackbell_model::ids::{OrganizationId, WebhookId};
use stackbell_store::StoreError;
use stackbell_store::statistics::{HourTally, Statistics, Tally, Usage};

use crate::SqliteStore;
use crate::error::Fault;
use crate::ledger::WHOLE_ORGANIZATION;
use crate::rows::{Cursor, first};
use stackbell_store::rows::{Columns as _, Id};

pub(crate) const FIND_ORGANIZATION: &str =
    "/* tallies.organization */ SELECT number FROM organizations WHERE id = ?1";

pub(crate) const FIND_WEBHOOK: &str =
    "/* tallies.webhook */ SELECT number FROM webhooks WHERE id = ?1 AND organization_number = ?2";

/// The next hour with any count, in any organization. There are no more steps than stored hours.
pub(crate) const NEXT_HOUR: &str =
    "/* tallies.next_hour */ SELECT hour FROM tallies WHERE hour >= ?1 AND hour < ?2 ORDER BY hour LIMIT 1";

pub(crate) const TALLY: &str = "/* tallies */ SELECT hour, events, made, succeeded, failed, cancelled, \
    attempts, attempts_failed, attempts_took FROM tallies \
    WHERE hour = ?1 AND organization_number = ?2 AND webhook_number = ?3";

pub(crate) const USAGE: &str =
    "/* usage */ SELECT number, pending, stored_bytes FROM organizations WHERE id = ?1";

#[async_trait]
impl Statistics for SqliteStore {
    async fn tallies(
        &self,
        organization: OrganizationId,
        webhook: Option<WebhookId>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<HourTally>, StoreError> {
        self.read("tallies", move |connection| {
            let Some(numbers) = find_numbers(connection, organization, webhook)? else {
                return Ok(Vec::new());
            };
            tallies(connection, numbers, from, to)
        })
        .await
    }

    async fn usage(&self, organization: OrganizationId) -> Result<Usage, StoreError> {
        self.read("usage", move |connection| {
            let usage = first(connection, USAGE, [organization.bytes()], "organizations", |cursor| {
                cursor.skip("number")?;
                Ok(Usage { pending: cursor.count("pending")?, stored_bytes: cursor.count("stored_bytes")? })
            })?;
            Ok(usage.unwrap_or_default())
        })
        .await
    }
}

/// Finds the rowids of the organization and the webhook; `None` if one of them does not exist.
fn find_numbers(
    connection: &Connection,
    organization: OrganizationId,
    webhook: Option<WebhookId>,
) -> Result<Option<[i64; 2]>, Fault> {
    let number = |cursor: &mut Cursor<'_>| cursor.get::<i64>("number");
    let found = first(connection, FIND_ORGANIZATION, [organization.bytes()], "organizations", number)?;
    let Some(organization_number) = found else { return Ok(None) };
    let Some(webhook) = webhook else { return Ok(Some([organization_number, WHOLE_ORGANIZATION])) };
    let parameters = params![webhook.bytes(), organization_number];
    let found = first(connection, FIND_WEBHOOK, parameters, "webhooks", number)?;
    Ok(found.map(|webhook_number| [organization_number, webhook_number]))
}

fn tallies(
    connection: &Connection,
    [organization, webhook]: [i64; 2],
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<HourTally>, Fault> {
    let mut found = Vec::new();
    let mut next = from.as_millis();
    while let Some(hour) =
        first(connection, NEXT_HOUR, [next, to.as_millis()], "tallies", |cursor| cursor.get::<i64>("hour"))?
    {
        found.extend(first(connection, TALLY, [hour, organization, webhook], "tallies", read_tally)?);
        next = hour + 1;
    }
    Ok(found)
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
