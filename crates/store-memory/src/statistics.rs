//! Counts: tallies are updated with each change, and usage is computed on request.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, Delivery, State, StateKind, Verdict};
use stackbell_model::ids::{OrganizationId, WebhookId};
use stackbell_store::StoreError;
use stackbell_store::history::attempt_size;
use stackbell_store::statistics::{HourTally, Statistics, Tally, Usage, hour_of};

use crate::MemoryStore;
use crate::tables::Tables;

#[async_trait]
impl Statistics for MemoryStore {
    async fn tallies(
        &self,
        organization: OrganizationId,
        webhook: Option<WebhookId>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<HourTally>, StoreError> {
        let tables = self.lock();
        let mut hours: BTreeMap<Timestamp, Tally> = BTreeMap::new();
        for ((hour, of, of_webhook), tally) in &tables.tallies {
            let is_asked_for = *of == organization && (webhook.is_none() || *of_webhook == webhook);
            if is_asked_for && (from..to).contains(hour) {
                *hours.entry(*hour).or_default() += *tally;
            }
        }
        Ok(hours.into_iter().map(|(hour, tally)| HourTally { hour, tally }).collect())
    }

    async fn usage(&self, organization: OrganizationId) -> Result<Usage, StoreError> {
        Ok(self.lock().usage(organization))
    }
}

impl Tables {
    /// The tally of the hour of `at`.
    pub(crate) fn tally(
        &mut self,
        at: Timestamp,
        organization: OrganizationId,
        webhook: Option<WebhookId>,
    ) -> &mut Tally {
        self.tallies.entry((hour_of(at), organization, webhook)).or_default()
    }

    /// Counts the change of a delivery from the state `earlier`; `None` for a new delivery.
    pub(crate) fn count_delivery(&mut self, earlier: Option<StateKind>, now: &Delivery) {
        let (organization, webhook) = (now.organization, Some(now.webhook));
        if earlier.is_none() {
            self.tally(now.created_at, organization, webhook).made += 1;
        }
        if earlier == Some(now.state.kind()) {
            return;
        }
        match now.state {
            State::Pending { .. } => {}
            State::Succeeded { at } => self.tally(at, organization, webhook).succeeded += 1,
            State::Failed { at, .. } => self.tally(at, organization, webhook).failed += 1,
            State::Cancelled { at, .. } => self.tally(at, organization, webhook).cancelled += 1,
        }
    }

    pub(crate) fn count_attempt(&mut self, delivery: &Delivery, attempt: &Attempt) {
        let ended_at = attempt.started_at.after(attempt.duration);
        let tally = self.tally(ended_at, delivery.organization, Some(delivery.webhook));
        tally.attempts += 1;
        tally.attempts_failed += u64::from(attempt.outcome.verdict() != Verdict::Success);
        tally.attempts_took += attempt.duration;
    }

    pub(crate) fn usage(&self, organization: OrganizationId) -> Usage {
        let deliveries = || {
            self.deliveries.values().map(|row| &row.delivery).filter(|row| row.organization == organization)
        };
        let events = self.events.values().map(|stored| &stored.event);
        let payloads = events.filter(|event| event.organization == organization);
        let payload_bytes: usize = payloads.map(|event| event.payload.len()).sum();
        let body_bytes: usize = deliveries().filter_map(|row| row.body.as_ref()).map(Bytes::len).sum();
        let attempts = self
            .attempts
            .values()
            .filter(|row| self.deliveries[&row.delivery].delivery.organization == organization);
        let attempt_bytes: u64 = attempts.map(|row| attempt_size(&row.attempt)).sum();
        Usage {
            pending: deliveries().filter(|row| row.state.kind() == StateKind::Pending).count() as u64,
            stored_bytes: (payload_bytes + body_bytes) as u64 + attempt_bytes,
        }
    }
}
