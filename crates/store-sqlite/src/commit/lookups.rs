//! The rows that a batch has looked up.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection};
use stackbell_model::health::Health;
use stackbell_model::ids::{OrganizationId, WebhookId};

use crate::error::Fault;
use crate::ledger::Account;
use crate::rows::first_of;
use crate::rows::webhook::{UPDATE_HEALTH, update_health};
use stackbell_store::rows::webhook::read_health;
use stackbell_store::rows::{Columns as _, Id};

pub(crate) const FIND_ORGANIZATION: &str = "/* commit.find_organization */ SELECT number, version, pending, stored_bytes \
    FROM organizations WHERE id = ?1";

pub(crate) const FIND_WEBHOOK: &str = "/* commit.find_webhook */ SELECT number, organization_number, \
    deleted_at IS NOT NULL, revision, failures, failing_since, suspended_since, suspension_reason, probe_at, hold_ended_at, retry_asked_at, retry_until \
    FROM webhooks WHERE id = ?1";

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
    pub(super) revision: u64,
    pub(super) health: Health,
    health_changed: bool,
}

/// Organizations and webhooks, each read at most once in a batch; `None` for one that does not exist.
pub(super) struct BatchLookups<'connection> {
    find_organization: CachedStatement<'connection>,
    find_webhook: CachedStatement<'connection>,
    organizations: HashMap<OrganizationId, Option<OrganizationRow>>,
    webhooks: HashMap<WebhookId, Option<WebhookRow>>,
}

impl WebhookRow {
    pub(super) fn account(&self) -> Account {
        Account { organization: self.organization_number, webhook: self.number }
    }
}

impl<'connection> BatchLookups<'connection> {
    pub(super) fn prepare(connection: &'connection Connection) -> Result<Self, Fault> {
        Ok(Self {
            find_organization: connection.prepare_cached(FIND_ORGANIZATION)?,
            find_webhook: connection.prepare_cached(FIND_WEBHOOK)?,
            organizations: HashMap::new(),
            webhooks: HashMap::new(),
        })
    }

    pub(super) fn organization(&mut self, id: OrganizationId) -> Result<Option<OrganizationRow>, Fault> {
        if let Some(row) = self.organizations.get(&id) {
            return Ok(*row);
        }
        let found = first_of(&mut self.find_organization, [id.bytes()], "organizations", |cursor| {
            Ok(OrganizationRow {
                number: cursor.get("number")?,
                version: cursor.count("version")?,
                pending: cursor.get("pending")?,
                stored_bytes: cursor.get("stored_bytes")?,
            })
        })?;
        self.organizations.insert(id, found);
        Ok(found)
    }

    /// Finds a webhook, even a deleted one.
    pub(super) fn webhook(&mut self, id: WebhookId) -> Result<Option<WebhookRow>, Fault> {
        if let Some(row) = self.webhooks.get(&id) {
            return Ok(*row);
        }
        let found = first_of(&mut self.find_webhook, [id.bytes()], "webhooks", |cursor| {
            Ok(WebhookRow {
                number: cursor.get("number")?,
                organization_number: cursor.get("organization_number")?,
                is_deleted: cursor.get("deleted_at")?,
                revision: cursor.count("revision")?,
                health: read_health(cursor)?,
                health_changed: false,
            })
        })?;
        self.webhooks.insert(id, found);
        Ok(found)
    }

    /// Sets the health of a webhook, which [`Self::write_health`] writes.
    pub(super) fn set_health(&mut self, id: WebhookId, health: Health) {
        if let Some(Some(row)) = self.webhooks.get_mut(&id)
            && row.health != health
        {
            row.health = health;
            row.health_changed = true;
        }
    }

    /// Writes each changed health once. Most attempts succeed and change nothing.
    pub(super) fn write_health(&self, connection: &Connection) -> Result<(), Fault> {
        let changed = self.webhooks.values().flatten().filter(|row| row.health_changed);
        for row in changed {
            update_health(&mut *connection.prepare_cached(UPDATE_HEALTH)?, row.number, &row.health)?;
        }
        Ok(())
    }
}
