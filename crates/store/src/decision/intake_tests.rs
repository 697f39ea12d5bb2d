use std::convert::Infallible;

use bytes::Bytes;
use stackbell_model::Timestamp;
use stackbell_model::event::Source;
use stackbell_model::filter::{EventKind, FilterSet};
use stackbell_model::ids::{AuditId, DeliveryId, EventKey, OrganizationId, WebhookId};
use stackbell_model::names::{ProjectName, StackName};
use stackbell_model::scope::Subject;
use stackbell_model::webhook::Format;
use uuid::Uuid;

use super::*;
use crate::audit::AuditEntry;
use crate::commit::ItemChange;

const VERSION: u64 = 7;
const NOW: Timestamp = Timestamp::from_millis(0);
const FULL: Quota = Quota { pending_max: 0, stored_bytes_max: 0 };

fn id(n: u128) -> EventId {
    EventId::from_uuid(Uuid::from_u128(n))
}

fn source() -> SourceId {
    SourceId::from_uuid(Uuid::from_u128(1))
}

fn cursor(text: &str) -> SourceCursor {
    SourceCursor::parse(text).expect("a cursor")
}

/// An event with one delivery.
fn new(n: u128, digest: u8) -> NewEvent {
    let organization = OrganizationId::from_uuid(Uuid::from_u128(1));
    let subject = Subject::Stack {
        project: ProjectName::parse("web").expect("a name"),
        stack: StackName::parse("prod").expect("a name"),
    };
    let event = Event {
        key: EventKey::from_uuid(Uuid::from_u128(n)),
        id: id(n),
        organization,
        kind: EventKind::StackUpdate,
        filters: FilterSet::EMPTY,
        subject,
        payload: Bytes::from_static(b"{}"),
        digest: Some([digest; 32]),
        accepted_at: NOW,
        source: Source::Api,
        token: None,
    };
    let delivery = NewDelivery {
        id: DeliveryId::from_uuid(Uuid::from_u128(n)),
        webhook: WebhookId::from_uuid(Uuid::from_u128(1)),
        format: Format::Raw,
        body: None,
        lease: None,
    };
    NewEvent { event, deliveries: vec![delivery] }
}

/// Moves the cursor from `from` to `b`.
fn change(from: Option<&str>) -> Option<Box<ItemChange>> {
    let change = Change::AdvanceCursor { source: source(), from: from.map(cursor), to: cursor("b") };
    let dropped = AuditEntry {
        id: AuditId::from_uuid(Uuid::nil()),
        at: NOW,
        organization: None,
        actor: "stackbell".into(),
        token: None,
        remote: None,
        action: "event.drop",
        target: "events".into(),
        fields: Vec::new(),
    };
    Some(Box::new(ItemChange { change, dropped }))
}

/// A store with the events 1 and 2, with digest 1, and the cursor `a`.
struct Store;

impl Lookups for Store {
    type Fault = Infallible;

    fn version(&mut self) -> Result<Option<u64>, Infallible> {
        Ok(Some(VERSION))
    }

    fn event(&mut self, event: EventId) -> Result<Option<Earlier>, Infallible> {
        let is_in = event == id(1) || event == id(2);
        Ok(is_in.then_some(Earlier { digest: Some([1; 32]), deliveries: 5 }))
    }

    fn cursor(&mut self, of: SourceId) -> Result<Option<SourceCursor>, Infallible> {
        Ok((of == source()).then(|| cursor("a")))
    }

    fn usage(&mut self) -> Result<Usage, Infallible> {
        Ok(Usage { pending: 10, stored_bytes: 100 })
    }
}

fn item(events: &[(u128, u8)], change: Option<Box<ItemChange>>, quota: Quota) -> IntakeItem {
    let organization = OrganizationId::from_uuid(Uuid::from_u128(1));
    let events = events.iter().map(|(n, digest)| new(*n, *digest)).collect();
    IntakeItem { organization, organization_version: VERSION, change, events, quota }
}

fn decided(item: &IntakeItem) -> Decision {
    match decide(item, &mut Store) {
        Ok(decision) => decision,
        Err(never) => match never {},
    }
}

fn check(events: &[(u128, u8)], change: Option<Box<ItemChange>>, quota: Quota, expected: &Decision) {
    let item = item(events, change, quota);
    assert_eq!(decided(&item), *expected, "{events:?} {:?} {quota:?}", item.change);
    let stale = IntakeItem { organization_version: VERSION - 1, ..item };
    assert_eq!(decided(&stale), Decision::Refuse(IntakeOutcome::Stale), "stale comes first");
}

/// Acceptance with receipts given as (event, deliveries, duplicate).
fn accept(applies_change: bool, receipts: &[(u128, u32, bool)]) -> Decision {
    let receipt = |(n, deliveries, duplicate): &(u128, u32, bool)| Receipt {
        id: id(*n),
        deliveries: *deliveries,
        duplicate: *duplicate,
    };
    Decision::Accept { applies_change, receipts: receipts.iter().map(receipt).collect() }
}

const NO_QUOTA: Quota = Quota::UNLIMITED;
const REFUSED: Decision = Decision::Refuse(IntakeOutcome::ChangeRefused);

const fn conflict(index: usize) -> Decision {
    Decision::Refuse(IntakeOutcome::Conflict { index })
}

#[test]
fn events_alone() {
    check(&[(3, 1)], None, NO_QUOTA, &accept(false, &[(3, 1, false)]));
    check(&[(1, 1)], None, NO_QUOTA, &accept(false, &[(1, 5, true)]));
    check(&[(1, 2)], None, NO_QUOTA, &conflict(0));
    check(&[(3, 1), (1, 1)], None, NO_QUOTA, &accept(false, &[(3, 1, false), (1, 5, true)]));
    check(&[(3, 1), (3, 1)], None, NO_QUOTA, &accept(false, &[(3, 1, false), (3, 1, true)]));
    check(&[(3, 1), (3, 2)], None, NO_QUOTA, &conflict(1));
}

#[test]
fn quota_comes_after_duplicate_and_conflict() {
    check(&[(1, 1)], None, FULL, &accept(false, &[(1, 5, true)]));
    check(&[(1, 2)], None, FULL, &conflict(0));
    let over = |part| Decision::Refuse(IntakeOutcome::OverQuota(part));
    check(&[(3, 1), (1, 1)], None, FULL, &over(QuotaPart::Pending));
    let quota = |pending_max, stored_bytes_max| Quota { pending_max, stored_bytes_max };
    check(&[(3, 1)], None, quota(10, u64::MAX), &over(QuotaPart::Pending));
    check(&[(3, 1)], None, quota(11, u64::MAX), &accept(false, &[(3, 1, false)]));
    check(&[(3, 1)], None, quota(11, 100), &over(QuotaPart::StoredBytes));
    check(&[(3, 1)], None, quota(11, 101), &accept(false, &[(3, 1, false)]));
}

#[test]
fn changes() {
    check(&[], change(Some("a")), NO_QUOTA, &accept(true, &[]));
    check(&[], change(Some("z")), NO_QUOTA, &REFUSED);
    check(&[], change(None), NO_QUOTA, &REFUSED);
    check(&[(3, 1)], change(Some("a")), NO_QUOTA, &accept(true, &[(3, 1, false)]));
    check(&[(3, 1)], change(Some("z")), NO_QUOTA, &REFUSED);
    // A conflict comes before the change.
    check(&[(1, 2)], change(Some("z")), NO_QUOTA, &conflict(0));
    // All events are stored, so the change was applied, unless its precondition still holds.
    check(&[(1, 1), (2, 1)], change(Some("z")), NO_QUOTA, &accept(false, &[(1, 5, true), (2, 5, true)]));
    check(&[(1, 1)], change(Some("a")), NO_QUOTA, &accept(true, &[(1, 5, true)]));
    // One new event: the item is no duplicate.
    check(&[(1, 1), (3, 1)], change(Some("z")), NO_QUOTA, &REFUSED);
}

#[test]
fn a_full_quota_does_not_stop_a_change() {
    check(&[(3, 1)], change(Some("a")), FULL, &Decision::DropEvents(QuotaPart::Pending));
    check(&[(1, 1), (3, 1)], change(Some("a")), FULL, &Decision::DropEvents(QuotaPart::Pending));
    check(&[(3, 1)], change(Some("z")), FULL, &REFUSED);
    check(&[(1, 1)], change(Some("a")), FULL, &accept(true, &[(1, 5, true)]));
    check(&[], change(Some("a")), FULL, &accept(true, &[]));
}
