//! Webhooks' health, as it follows the attempts that are recorded.

use std::collections::{BTreeMap, HashSet};

use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, State};
use stackbell_model::health::Health;
use stackbell_model::ids::{DeliveryId, WebhookId};
use stackbell_store::rows::Columns as _;
use stackbell_store::rows::webhook::read_health;

use super::known::Known;
use crate::error::Fault;
use crate::session::Transaction;
use crate::statement::statement;
use crate::webhooks::update_health;

statement!(HOLD_HEALTH = "/* commit.hold_health */ SELECT id, failures, failing_since, suspended_since, \
    suspension_reason, probe_at, hold_ended_at, retry_asked_at, retry_until FROM webhooks WHERE number = ANY($1) AND deleted_at IS NULL \
    ORDER BY number FOR NO KEY UPDATE"; INT8_ARRAY);

/// An attempt that is recorded, and what it says of its webhook's health.
pub(super) struct Recorded<'batch> {
    /// Which of the batch's records.
    pub(super) index: usize,
    pub(super) delivery: DeliveryId,
    pub(super) webhook: WebhookId,
    pub(super) attempt: &'batch Attempt,
    pub(super) retry_until: Option<Timestamp>,
    /// How it ended its delivery, if it did.
    pub(super) ended: Option<State>,
}

impl Recorded<'_> {
    /// The health of a deleted webhook stays as it is.
    fn health_after(&self, known: &Known, health: Health) -> Health {
        if known.webhooks[&self.webhook].is_deleted {
            health
        } else {
            health.after(self.attempt, self.retry_until)
        }
    }
}

/// The health after each recorded attempt.
///
/// Most attempts change nothing, and then nothing is held. Where one would, the webhook's row is held and read again:
/// another node may have changed it since.
pub(super) async fn follow_health(
    tx: &Transaction,
    known: &Known,
    recorded: &[Recorded<'_>],
) -> Result<Vec<Health>, Fault> {
    let mut now: BTreeMap<WebhookId, Health> = BTreeMap::new();
    let mut changed: HashSet<WebhookId> = HashSet::new();
    for one in recorded {
        let health = now.entry(one.webhook).or_insert(known.webhooks[&one.webhook].health);
        let next = one.health_after(known, *health);
        if next != *health {
            changed.insert(one.webhook);
        }
        *health = next;
    }
    let mut health: BTreeMap<WebhookId, Health> =
        known.webhooks.iter().map(|(id, webhook)| (*id, webhook.health)).collect();
    health.extend(hold_health(tx, known, &changed).await?);
    let after = recorded.iter().map(|one| {
        let health = health.get_mut(&one.webhook).expect("known, or it would not be recorded");
        *health = one.health_after(known, *health);
        *health
    });
    let after: Vec<Health> = after.collect();
    for webhook in changed {
        update_health(tx, known.webhooks[&webhook].number, &health[&webhook]).await?;
    }
    Ok(after)
}

async fn hold_health(
    tx: &Transaction,
    known: &Known,
    webhooks: &HashSet<WebhookId>,
) -> Result<Vec<(WebhookId, Health)>, Fault> {
    if webhooks.is_empty() {
        return Ok(Vec::new());
    }
    let numbers: Vec<i64> = webhooks.iter().map(|webhook| known.webhooks[webhook].number).collect();
    tx.list(&HOLD_HEALTH, &[&numbers], "webhooks", |cursor| Ok((cursor.id("id")?, read_health(cursor)?)))
        .await
}
