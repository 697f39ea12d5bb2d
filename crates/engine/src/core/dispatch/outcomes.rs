//! Outcomes: into a batch, and what follows when they are recorded or came too late.

use std::collections::HashSet;

use stackbell_model::Timestamp;
use stackbell_model::ids::{DeliveryId, OrganizationId};
use stackbell_store::commit::{AttemptOutcome, AttemptRecord, AttemptSubject};

use super::Dispatch;
use crate::core::commits::Gathering;
use crate::core::in_progress::KeptLease;
use crate::core::lane::{Lane, Prefetched};
use crate::core::messages::{Command, Notice};
use crate::core::outcomes::{RecordNote, record_bytes};

impl Dispatch {
    /// True if there is an outcome to commit, or will be as soon as an endpoint has responded.
    pub(in crate::core) fn has_outcomes(&self) -> bool {
        self.outcomes.waiting() > 0 || self.attempts.in_flight() > 0
    }

    /// Moves up to `records_max` outcomes into a batch, until their bytes are many: producers wait until the store has them.
    pub(in crate::core) fn gather_outcomes(&mut self, records_max: usize, gathering: &mut Gathering) {
        let mut bytes = 0;
        while gathering.records() < records_max
            && (bytes == 0 || bytes < self.config.batch_record_bytes_max)
            && let Some((mut record, note)) = self.outcomes.take_for_commit()
        {
            bytes += record_bytes(&record);
            self.in_progress.renew_lease_of(&mut record);
            gathering.add_record(record, note);
        }
    }

    /// An outcome is recorded, or came too late. Returns the organization of a webhook whose health has changed with that.
    pub(in crate::core) fn recorded(
        &mut self,
        record: &AttemptRecord,
        outcome: AttemptOutcome,
        note: RecordNote,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) -> Option<OrganizationId> {
        // The lease of the record may have ended on its way, and this node may have taken the next one, or be about to.
        let may_be_our_own = self.in_progress.shows_old_lease(record) || self.leasing.is_of(record.webhook);
        if outcome == AttemptOutcome::Superseded && may_be_our_own {
            self.outcomes.keep_superseded(record.clone(), note);
            if !self.leasing.is_under_way() {
                self.sort_superseded(now, commands);
            }
            return None;
        }
        self.conclude(record, outcome, note, now, commands)
    }

    fn conclude(
        &mut self,
        record: &AttemptRecord,
        outcome: AttemptOutcome,
        note: RecordNote,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) -> Option<OrganizationId> {
        let has_ended = matches!(outcome, AttemptOutcome::Recorded { ended: Some(_), .. });
        if let (AttemptSubject::Leased { delivery, .. }, true) = (&record.subject, has_ended)
            && self.leasing.is_of(record.webhook)
        {
            // The lease had run out, this node requested the next one, and a cancellation ended that one: the response to the
            // request may be older than the end of the delivery.
            self.in_progress.end_after_lease_request(*delivery);
        }
        let kept = self.forget_record(record, now);
        let (webhook, organization) = (note.webhook(), note.organization());
        let mut changed = None;
        match outcome {
            AttemptOutcome::Recorded { health, ended } => {
                if let Some(lane) = self.lanes.get_mut(webhook) {
                    let change = lane.learn_health(&health, &self.config, now);
                    note.due_again().into_iter().for_each(|at| lane.note_due(at));
                    if let Some(notice) = change.notice(webhook) {
                        commands.push(Command::Note(notice));
                        changed = Some(organization);
                    }
                }
                note.tell_recorded(record, ended, commands);
            }
            AttemptOutcome::Superseded => note.tell_superseded(commands),
        }
        self.prefetch.trim(webhook, &mut self.lanes);
        if let Some(kept) = kept {
            self.send_under(kept, now);
        }
        self.lanes.reschedule(webhook, now);
        changed
    }

    /// No lease request is under way. It is therefore known which outcomes came too late because of this node itself: they wait
    /// for a commit again.
    pub(super) fn sort_superseded(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        for delivery in self.in_progress.take_redelivered() {
            self.end_redelivery(delivery, now);
        }
        for pending in self.outcomes.take_superseded() {
            if self.in_progress.shows_old_lease(pending.record()) {
                self.outcomes.add_again(pending);
            } else {
                let (record, note) = pending.into_parts();
                self.conclude(&record, AttemptOutcome::Superseded, note, now, commands);
            }
        }
    }

    /// Returns the lease that was taken of the record's delivery since, if any.
    fn forget_record(&mut self, record: &AttemptRecord, now: Timestamp) -> Option<KeptLease> {
        self.outcomes.forget(record);
        self.lanes.get_mut(record.webhook).into_iter().for_each(Lane::outcome_recorded);
        match record.subject {
            AttemptSubject::Leased { delivery, token, .. } => return self.in_progress.end(delivery, token),
            AttemptSubject::Redelivery { delivery } => {
                self.redelivered.push(delivery);
                if self.leasing.is_under_way() {
                    self.in_progress.end_redelivery_later(delivery);
                } else {
                    self.end_redelivery(delivery, now);
                }
            }
            AttemptSubject::Ping(_) => {}
        }
        None
    }

    /// A redelivery may have ended its delivery: a lease that was kept is of no use, and the delivery is read again after it.
    fn end_redelivery(&mut self, delivery: DeliveryId, now: Timestamp) {
        if let Some(kept) = self.in_progress.end_redelivery(delivery) {
            self.lanes.note_due(kept.organization(), kept.webhook().id, kept.lease().until, now);
        }
    }

    /// Sends a delivery under the lease that was kept, as soon as its lane may.
    fn send_under(&mut self, kept: KeptLease, now: Timestamp) {
        let (id, webhook, lease) = (kept.delivery(), kept.webhook().id, kept.lease());
        self.prefetch.forget(webhook, &HashSet::from([id]), &mut self.lanes);
        if self.in_progress.contains(id) {
            // A redelivery may end it meanwhile. It is read again.
            self.lanes.note_due(kept.organization(), webhook, lease.until, now);
            return;
        }
        self.lanes.note_due(kept.organization(), webhook, now, now);
        let prefetched = Prefetched::left_over(kept, self.config.leased_at(lease));
        self.prefetch.keep(prefetched, &mut self.lanes);
    }

    /// Gives up an outcome that the store can never take. Its delivery is sent again after its lease.
    pub(in crate::core) fn give_up_record(
        &mut self,
        record: &AttemptRecord,
        mut note: RecordNote,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        self.forget_record(record, now);
        note.refuse_waiting(commands);
        // The lane may not know when the lease of a delivery ends that was leased at its commit.
        self.lanes.note_due(note.organization(), record.webhook, now, now);
        commands.push(Command::Note(Notice::Unrecordable { webhook: record.webhook }));
    }

    /// The redeliveries that ended since the last call, for the commits under way that may have their deliveries.
    pub(in crate::core) fn take_redelivered(&mut self) -> impl Iterator<Item = DeliveryId> {
        self.redelivered.drain(..)
    }
}
