//! Background maintenance.

use std::collections::BTreeSet;

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{CancelReason, Delivery, FailReason, State};
use stackbell_model::ids::{DeliveryId, EventKey, WebhookId};
use stackbell_model::recovery::RecoveryState;
use stackbell_model::retry::RetryPolicy;
use stackbell_store::StoreError;
use stackbell_store::maintenance::{Depth, LaneDepth, Maintenance, SweepPolicy, SweepReport};

use crate::MemoryStore;
use crate::tables::{DeliveryRow, Tables, page};

#[async_trait]
impl Maintenance for MemoryStore {
    async fn sweep(&self, now: Timestamp, policy: &SweepPolicy) -> Result<SweepReport, StoreError> {
        let mut tables = self.lock();
        let limit = policy.rows_max;
        let mut report = SweepReport {
            cancelled: tables.cancel(now, limit),
            expired: tables.expire(now, &policy.retry, limit),
            deliveries_removed: tables.remove_finished(policy.finished_before, limit),
            events_removed: tables.remove_events(policy.finished_before, limit),
            audit_removed: tables.remove_audit(policy.audit_before, limit),
            more: false,
        };
        let recoveries_removed = tables.remove_recoveries(policy.audit_before, limit);
        let tallies_removed = tables.remove_tallies(policy.audit_before, limit);
        let SweepReport { cancelled, expired, deliveries_removed, events_removed, audit_removed, .. } =
            report;
        report.more = [
            cancelled,
            expired,
            deliveries_removed,
            events_removed,
            audit_removed,
            recoveries_removed,
            tallies_removed,
        ]
        .into_iter()
        .any(|rows| rows >= u64::from(limit));
        Ok(report)
    }

    async fn depth(&self) -> Result<Depth, StoreError> {
        let tables = self.lock();
        Ok(Depth {
            pending: tables.pending().count() as u64,
            suspended: tables.webhooks.values().filter(|webhook| webhook.health.suspension.is_some()).count()
                as u64,
        })
    }

    async fn lane_depths(
        &self,
        now: Timestamp,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<LaneDepth>, StoreError> {
        let tables = self.lock();
        let webhooks =
            tables.webhooks.values().filter(|webhook| after.is_none_or(|after| webhook.id > after));
        let lanes = webhooks.filter_map(|webhook| {
            let (first_due, _) = tables.lane(webhook.id).next()?;
            let due = tables.lane(webhook.id).filter(|(due_at, _)| *due_at <= now).count() as u64;
            Some(LaneDepth {
                webhook: webhook.id,
                active: webhook.active,
                suspended: webhook.health.suspension.is_some(),
                due,
                later: tables.lane(webhook.id).count() as u64 - due,
                first_due,
            })
        });
        Ok(page(lanes, limit))
    }

    async fn check(&self) -> Result<(), StoreError> {
        drop(self.lock());
        Ok(())
    }
}

impl Tables {
    /// Cancels the pending deliveries of deleted webhooks, leased or not.
    fn cancel(&mut self, now: Timestamp, limit: u32) -> u64 {
        let orphans = self.pending().filter_map(|(webhook, _, id)| {
            let deleted = self.deleted_webhooks.get(&webhook)?;
            Some((id, deleted.by.clone()))
        });
        let orphans = page(orphans, limit);
        for (id, by) in &orphans {
            let reason = CancelReason::WebhookDeleted;
            self.end(*id, State::Cancelled { at: now, reason, by: by.clone() });
        }
        orphans.len() as u64
    }

    fn expire(&mut self, now: Timestamp, retry: &RetryPolicy, limit: u32) -> u64 {
        let lease_now = self.lease_now(now);
        let expired = self.pending().filter_map(|(webhook, _, id)| {
            let webhook = self.webhooks.get(&webhook)?;
            let row = &self.deliveries[&id];
            let held = webhook.is_held() || self.sending_hold.is_some();
            let too_old = retry.is_expired(now, held, row.delivery.armed_at(), webhook.health.hold_ended_at);
            (too_old && row.leased_until(lease_now).is_none()).then_some(id)
        });
        let expired = page(expired, limit);
        for id in &expired {
            self.end(*id, State::Failed { at: now, reason: FailReason::Expired });
        }
        expired.len() as u64
    }

    /// Ends a pending delivery and its lease.
    pub(crate) fn end(&mut self, id: DeliveryId, state: State) {
        let delivery = self.deliveries[&id].delivery.clone();
        self.put_delivery(DeliveryRow { delivery: Delivery { state, ..delivery }, lease: None });
    }

    fn remove_finished(&mut self, before: Timestamp, limit: u32) -> u64 {
        let finished = self.deliveries.values().filter(|row| match row.delivery.state {
            State::Pending { .. } => false,
            State::Succeeded { at } | State::Failed { at, .. } | State::Cancelled { at, .. } => at < before,
        });
        let finished = page(finished.map(|row| row.delivery.id), limit);
        for id in &finished {
            self.remove_delivery(*id);
        }
        let gone: BTreeSet<DeliveryId> = finished.iter().copied().collect();
        self.attempts.retain(|_, row| !gone.contains(&row.delivery));
        finished.len() as u64
    }

    fn remove_events(&mut self, before: Timestamp, limit: u32) -> u64 {
        let needed: BTreeSet<EventKey> = self
            .deliveries
            .values()
            .filter_map(|row| self.event_of(&row.delivery))
            .map(|event| event.key)
            .collect();
        let lonely = self
            .events
            .values()
            .filter(|stored| stored.event.accepted_at < before && !needed.contains(&stored.event.key));
        let lonely = page(lonely.map(|s| (s.event.key, s.event.organization, s.event.id)), limit);
        for (key, organization, id) in &lonely {
            self.events.remove(key);
            self.event_keys.remove(&(*organization, *id));
        }
        lonely.len() as u64
    }

    fn remove_audit(&mut self, before: Timestamp, limit: u32) -> u64 {
        let old = self.audit.values().filter(|record| record.at < before).map(|record| record.id);
        let old = page(old, limit);
        for id in &old {
            self.audit.remove(id);
        }
        old.len() as u64
    }

    fn remove_recoveries(&mut self, before: Timestamp, limit: u32) -> u64 {
        let ended = self.recoveries.values().filter(|row| match row.recovery.state {
            RecoveryState::Running => false,
            RecoveryState::Done { at } | RecoveryState::Abandoned { at } => at < before,
        });
        let ended = page(ended.map(|row| row.recovery.id), limit);
        for id in &ended {
            self.recoveries.remove(id);
        }
        ended.len() as u64
    }

    fn remove_tallies(&mut self, before: Timestamp, limit: u32) -> u64 {
        let old = self.tallies.keys().copied().take_while(|(hour, _, _)| *hour < before);
        let old = page(old, limit);
        for place in &old {
            self.tallies.remove(place);
        }
        old.len() as u64
    }
}
