//! The lookups of a batch, in one round trip. They come before its writes.

use std::collections::{HashMap, HashSet};

use futures_util::future::{try_join, try_join5};
use stackbell_model::health::Health;
use stackbell_model::ids::{EventId, OrganizationId, WebhookId};
use stackbell_store::commit::Batch;
use stackbell_store::decision::intake::Earlier;
use stackbell_store::rows::webhook::read_health;
use stackbell_store::rows::{Columns as _, Id as _};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::changes::{Cursors, find_cursors};
use crate::error::Fault;
use crate::instance::lock_sending;
use crate::ledger::Account;
use crate::organization_lock;
use crate::session::Transaction;
use crate::statement::statement;

statement!(FIND_ORGANIZATIONS = "/* commit.organizations */ SELECT id, number, version FROM organizations \
    WHERE id = ANY($1) ORDER BY number FOR SHARE"; UUID_ARRAY);

statement!(FIND_USAGE = "/* commit.usage */ SELECT o.id, coalesce(sum(u.pending), 0)::bigint, \
    coalesce(sum(u.stored_bytes), 0)::bigint \
    FROM organizations o LEFT JOIN usage u ON u.organization_number = o.number WHERE o.id = ANY($1) GROUP BY o.id";
    UUID_ARRAY);

statement!(FIND_WEBHOOKS = "/* commit.webhooks */ SELECT id, number, organization_number, \
    deleted_at IS NOT NULL, revision, failures, failing_since, \
    suspended_since, suspension_reason, probe_at, hold_ended_at, retry_asked_at, retry_until \
    FROM webhooks WHERE id = ANY($1)"; UUID_ARRAY);

// One lookup for each event: as a plain join, the planner reads whole days of `event_ids` to find a few.
statement!(FIND_EVENTS = "/* commit.events */ SELECT o.id, earlier.id, earlier.digest, earlier.deliveries \
    FROM unnest($1::uuid[], $2::uuid[]) AS new (organization, id) JOIN organizations o ON o.id = new.organization \
    CROSS JOIN LATERAL (SELECT e.id, e.digest, e.deliveries FROM event_ids e \
        WHERE e.organization_number = o.number AND e.id = new.id LIMIT 1) AS earlier"; UUID_ARRAY, UUID_ARRAY);

#[derive(Clone, Copy)]
pub(super) struct OrganizationRow {
    pub(super) number: i64,
    pub(super) version: u64,
    /// Without the changes of the batch.
    pub(super) pending: i64,
    /// Without the changes of the batch.
    pub(super) stored_bytes: i64,
}

#[derive(Clone, Copy)]
pub(super) struct WebhookRow {
    pub(super) number: i64,
    pub(super) organization_number: i64,
    pub(super) is_deleted: bool,
    /// Without the changes of the batch, like [`Self::health`].
    pub(super) revision: u64,
    /// Without the changes of the batch. The row is not locked: see [`super::health::follow_health`].
    pub(super) health: Health,
}

impl WebhookRow {
    pub(super) fn account(&self) -> Account {
        Account { organization: self.organization_number, webhook: self.number }
    }
}

/// The rows that a batch refers to: organizations, webhooks (including deleted ones), existing events, and cursors.
pub(super) struct BatchLookups {
    pub(super) organizations: HashMap<OrganizationId, OrganizationRow>,
    pub(super) webhooks: HashMap<WebhookId, WebhookRow>,
    pub(super) events: HashMap<(OrganizationId, EventId), Earlier>,
    pub(super) cursors: Cursors,
}

impl BatchLookups {
    /// Locks the organizations, then reads the webhooks, so that every edit which returned before is seen.
    pub(super) async fn read(tx: &Transaction, batch: &Batch) -> Result<Self, Fault> {
        let organizations: Vec<Uuid> = distinct(batch.intakes.iter().map(|item| item.organization.uuid()));
        let deliveries = batch.intakes.iter().flat_map(|item| &item.events).flat_map(|new| &new.deliveries);
        let named = deliveries.map(|delivery| delivery.webhook);
        let attempted = batch.attempts.iter().map(|record| record.webhook);
        let webhooks: Vec<Uuid> = distinct(named.chain(attempted).map(|id| id.uuid()));
        let ((), versions, usage, webhooks, (cursors, events)) = try_join5(
            lock_sending(tx),
            find_organizations(tx, &organizations),
            find_usage(tx, &organizations),
            find_webhooks(tx, &webhooks),
            // The cursors first: once they are locked, the events that were committed with them are visible. Otherwise a
            // duplicate item could look like one whose precondition does not hold.
            try_join(find_cursors(tx, batch), find_events(tx, batch)),
        )
        .await?;
        let row = |(id, (number, version))| {
            let (pending, stored_bytes) = usage.get(&id).copied().unwrap_or_default();
            (id, OrganizationRow { number, version, pending, stored_bytes })
        };
        Ok(Self { organizations: versions.into_iter().map(row).collect(), webhooks, events, cursors })
    }
}

fn distinct(ids: impl Iterator<Item = Uuid>) -> Vec<Uuid> {
    ids.collect::<HashSet<_>>().into_iter().collect()
}

async fn find_organizations(
    tx: &Transaction,
    ids: &[Uuid],
) -> Result<HashMap<OrganizationId, (i64, u64)>, Fault> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let parameters: &[&(dyn ToSql + Sync)] = &[&ids];
    let found = tx.list(&FIND_ORGANIZATIONS, parameters, "organizations", |cursor| {
        Ok((cursor.id("id")?, (cursor.integer("number")?, cursor.count("version")?)))
    });
    let ((), found) = try_join(organization_lock::lock_shared(tx, ids), found).await?;
    Ok(found.into_iter().collect())
}

async fn find_usage(tx: &Transaction, ids: &[Uuid]) -> Result<HashMap<OrganizationId, (i64, i64)>, Fault> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found = tx
        .list(&FIND_USAGE, &[&ids], "organizations", |cursor| {
            Ok((cursor.id("id")?, (cursor.integer("pending")?, cursor.integer("stored_bytes")?)))
        })
        .await?;
    Ok(found.into_iter().collect())
}

async fn find_webhooks(tx: &Transaction, ids: &[Uuid]) -> Result<HashMap<WebhookId, WebhookRow>, Fault> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found = tx
        .list(&FIND_WEBHOOKS, &[&ids], "webhooks", |cursor| {
            let id = cursor.id("id")?;
            let (number, organization_number) =
                (cursor.integer("number")?, cursor.integer("organization_number")?);
            let (is_deleted, revision) = (cursor.flag("deleted_at")?, cursor.count("revision")?);
            let health = read_health(cursor)?;
            Ok((id, WebhookRow { number, organization_number, is_deleted, revision, health }))
        })
        .await?;
    Ok(found.into_iter().collect())
}

async fn find_events(
    tx: &Transaction,
    batch: &Batch,
) -> Result<HashMap<(OrganizationId, EventId), Earlier>, Fault> {
    let events = batch.intakes.iter().flat_map(|item| &item.events).map(|new| &new.event);
    let (organizations, ids): (Vec<Uuid>, Vec<Uuid>) =
        events.map(|event| (event.organization.uuid(), event.id.uuid())).unzip();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found = tx
        .list(&FIND_EVENTS, &[&organizations, &ids], "event_ids", |cursor| {
            let key = (cursor.id("organization_number")?, cursor.id("id")?);
            let digest = cursor.digest_or_null("digest")?;
            Ok((key, Earlier { digest, deliveries: cursor.number("deliveries")? }))
        })
        .await?;
    Ok(found.into_iter().collect())
}
