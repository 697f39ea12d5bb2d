//! Sources: a source's events and its cursor are committed together, or not at all. Each organization has one source.

use std::collections::{BTreeMap, HashSet};

use stackbell_engine::core::{Authority, Input, Publish, PublishTicket};
use stackbell_model::ids::{EventId, OrganizationId, SourceId};
use stackbell_model::source::{Change, SourceCursor};
use stackbell_store::commit::{IntakeItem, IntakeOutcome, ItemChange};
use stackbell_store::history::History;
use stackbell_store::sources::Sources as _;
use stackbell_store::webhooks::Webhooks;
use uuid::Uuid;

use crate::node::Producer;
use crate::tally::Met;
use crate::world::{World, now};

const SOURCE: SourceId = SourceId::from_uuid(Uuid::nil());

/// Events that a source has published, and the cursor after them. No two items have the same `to`.
#[derive(Clone)]
struct Item {
    organization: OrganizationId,
    subject: usize,
    from: Option<SourceCursor>,
    to: SourceCursor,
    events: Vec<EventId>,
}

/// The state of all sources in a history.
#[derive(Default)]
pub(crate) struct Sources {
    items: Vec<Item>,
    /// All cursors that each organization's source has had, in order.
    had: BTreeMap<OrganizationId, Vec<SourceCursor>>,
    /// The cursors whose events a full quota dropped.
    dropped: HashSet<String>,
}

impl Sources {
    fn had(&self, organization: OrganizationId) -> &[SourceCursor] {
        self.had.get(&organization).map_or(&[], Vec::as_slice)
    }
}

impl World {
    /// A source publishes new events, or those of an earlier item again. It expects the current cursor, or the one before it.
    pub(super) fn bring(
        &mut self,
        n: usize,
        (organization, subject): (usize, usize),
        events: usize,
        again: Option<usize>,
        is_behind: bool,
    ) {
        if self.nodes[n].is_paused {
            return;
        }
        let known = again.and_then(|which| self.sources.items.get(which).cloned());
        let item = known.unwrap_or_else(|| {
            let organization = self.organizations[organization];
            let had = self.sources.had(organization);
            let from = had.iter().rev().nth(usize::from(is_behind)).cloned();
            let to = SourceCursor::parse(&self.ticket().to_string()).expect("a cursor");
            let events = (0..events).map(|_| EventId::generate(&mut self.entropy)).collect();
            let item = Item { organization, subject, from, to, events };
            self.sources.items.push(item.clone());
            item
        });
        let Item { organization, subject, from, to, events: ids } = item;
        let events = ids.iter().map(|id| self.event(n, *id, organization, subject)).collect();
        let dropped = self.audit(n, organization);
        let change = Change::AdvanceCursor { source: SOURCE, from, to: to.clone() };
        let change = Some(Box::new(ItemChange { change, dropped }));
        let version = now(self.store.organization_webhooks(organization)).expect("the store works");
        let version = version.expect("the organization is there").version;
        let ticket = PublishTicket(self.ticket());
        self.nodes[n].publishing.insert(ticket, Producer { events: ids, version, cursor: Some(to) });
        let authority = Authority::AsOf { version };
        let publish = Publish { ticket, organization, authority, change, events };
        self.turn(n, vec![Input::Publish(publish).into()]);
    }

    /// Checks after a commit that each change was decided by the cursor at that moment.
    pub(super) fn check_change(&mut self, item: &IntakeItem, outcome: &IntakeOutcome) {
        let Some(change) = item.change.as_deref() else { return };
        let Change::AdvanceCursor { source: _, from, to } = &change.change;
        let had = self.sources.had.entry(item.organization).or_default();
        let holds = had.last() == from.as_ref();
        match outcome {
            IntakeOutcome::Accepted(receipts) => {
                let is_duplicate = !receipts.is_empty() && receipts.iter().all(|receipt| receipt.duplicate);
                assert!(
                    holds || is_duplicate && had.contains(to),
                    "a cursor moved from another one: {item:?}"
                );
                if holds {
                    had.push(to.clone());
                    self.tally.note(Met::CursorAdvanced);
                }
            }
            IntakeOutcome::EventsDropped(_) => {
                assert!(holds, "a cursor moved from another one: {item:?}");
                had.push(to.clone());
                self.sources.dropped.insert(to.as_str().to_owned());
                self.tally.note(Met::EventsDropped);
            }
            IntakeOutcome::ChangeRefused => {
                assert!(!holds, "a change was refused that could be made: {item:?}");
                self.tally.note(Met::ChangeRefused);
            }
            IntakeOutcome::Conflict { .. } | IntakeOutcome::OverQuota(_) | IntakeOutcome::Stale => {}
        }
    }

    /// Invariant 1: after a positive response to a source, its cursor is stored.
    pub(super) fn check_told(&self, cursor: &SourceCursor, is_dropped: bool) {
        let is_in = self.sources.had.values().any(|had| had.contains(cursor));
        assert!(is_in, "invariant 1: a cursor was answered, and is not in");
        assert_eq!(self.sources.dropped.contains(cursor.as_str()), is_dropped, "the events of a cursor");
    }

    /// Checks at the end that cursor and events of each item are both stored or both missing, unless a full quota dropped the
    /// events.
    pub(crate) fn check_sources(&self) {
        for organization in &self.organizations {
            let stored = now(self.store.source_cursor(*organization, SOURCE)).expect("the store works");
            assert_eq!(stored.as_ref(), self.sources.had(*organization).last(), "the last cursor is kept");
        }
        for Item { organization, to, events, .. } in &self.sources.items {
            let is_in = |event: &&EventId| {
                now(self.store.find_event(*organization, **event)).expect("the store works").is_some()
            };
            let count = events.iter().filter(is_in).count();
            let had = self.sources.had(*organization).contains(to);
            let is_dropped = self.sources.dropped.contains(to.as_str());
            let expected = if had && !is_dropped { events.len() } else { 0 };
            assert_eq!(count, expected, "a cursor and its events, together or not at all: {to:?}");
        }
    }
}
