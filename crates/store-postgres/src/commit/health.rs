//! Updates of webhooks' health after recorded attempts.

use std::collections::{BTreeMap, HashSet};

use stackbell_model::delivery::State;
use stackbell_model::health::Health;
use stackbell_model::ids::{DeliveryId, WebhookId};
use stackbell_store::commit::AttemptRecord;
use stackbell_store::rows::Columns as _;
use stackbell_store::rows::webhook::read_health;

use super::lookups::BatchLookups;
use crate::error::Fault;
use crate::session::Transaction;
use crate::statement::statement;
use crate::webhooks::update_health;

statement!(HOLD_HEALTH = "/* commit.hold_health */ SELECT id, revision, failures, failing_since, suspended_since, \
    suspension_reason, probe_at, hold_ended_at, retry_asked_at, retry_until FROM webhooks WHERE number = ANY($1) AND deleted_at IS NULL \
    ORDER BY number FOR NO KEY UPDATE"; INT8_ARRAY);

/// A webhook's revision and health.
type Standing = (u64, Health);

/// A recorded attempt.
pub(super) struct Recorded<'batch> {
    /// The index of the batch's record.
    pub(super) index: usize,
    pub(super) delivery: DeliveryId,
    pub(super) record: &'batch AttemptRecord,
    /// The state in which it ended its delivery, if it did.
    pub(super) ended: Option<State>,
}

impl Recorded<'_> {
    /// Updates `standings` with this attempt. Returns the health after it, and true if it changed.
    fn follow(
        &self,
        lookups: &BatchLookups,
        standings: &mut BTreeMap<WebhookId, Standing>,
    ) -> (Health, bool) {
        let webhook = self.record.webhook;
        let (revision, health) =
            standings.get_mut(&webhook).expect("an outcome is recorded only for a webhook that was found");
        let is_deleted = lookups.webhooks[&webhook].is_deleted;
        let before = std::mem::replace(health, self.record.health_after(*health, *revision, is_deleted));
        (*health, *health != before)
    }
}

/// Updates the health of webhooks. Returns the health after each recorded attempt.
///
/// Most attempts change nothing, and then no row is locked. A webhook whose health changes is locked and read again, because
/// another node may have changed it since.
pub(super) async fn follow_health(
    tx: &Transaction,
    lookups: &BatchLookups,
    recorded: &[Recorded<'_>],
) -> Result<Vec<Health>, Fault> {
    let mut standings: BTreeMap<WebhookId, Standing> =
        lookups.webhooks.iter().map(|(id, webhook)| (*id, (webhook.revision, webhook.health))).collect();
    let mut expected = standings.clone();
    let changing = recorded.iter().filter(|one| one.follow(lookups, &mut expected).1);
    let changed: HashSet<WebhookId> = changing.map(|one| one.record.webhook).collect();
    standings.extend(hold_health(tx, lookups, &changed).await?);
    let after = recorded.iter().map(|one| one.follow(lookups, &mut standings).0).collect();
    for webhook in changed {
        update_health(tx, lookups.webhooks[&webhook].number, &standings[&webhook].1).await?;
    }
    Ok(after)
}

async fn hold_health(
    tx: &Transaction,
    lookups: &BatchLookups,
    webhooks: &HashSet<WebhookId>,
) -> Result<Vec<(WebhookId, Standing)>, Fault> {
    if webhooks.is_empty() {
        return Ok(Vec::new());
    }
    let numbers: Vec<i64> = webhooks.iter().map(|webhook| lookups.webhooks[webhook].number).collect();
    tx.list(&HOLD_HEALTH, &[&numbers], "webhooks", |cursor| {
        Ok((cursor.id("id")?, (cursor.count("revision")?, read_health(cursor)?)))
    })
    .await
}
