//! Changes that commit together with events: a source's cursor and the source's events.

use stackbell_model::event::Event;
use stackbell_model::ids::{OrganizationId, SourceId};
use stackbell_model::source::{CURSOR_BYTES_MAX, Change, SourceCursor};
use stackbell_model::webhook::Webhook;

use super::Harness;
use super::fixtures::World;
use crate::commit::{IntakeItem, IntakeOutcome, ItemChange, NewEvent, Quota, QuotaPart, Receipt};

const FULL: Quota = Quota { pending_max: 0, stored_bytes_max: 0 };

fn cursor(text: &str) -> SourceCursor {
    SourceCursor::parse(text).expect("a cursor")
}

fn source(world: &World) -> SourceId {
    world.ordered(SourceId::generate)
}

/// An item that moves a cursor, with these events.
async fn advance(
    world: &World,
    source: SourceId,
    (from, to): (Option<&str>, &str),
    events: Vec<NewEvent>,
) -> IntakeItem {
    let change = Change::AdvanceCursor { source, from: from.map(cursor), to: cursor(to) };
    let change = Some(Box::new(ItemChange { change, dropped: world.audit("event.drop") }));
    IntakeItem { change, ..world.intake(events).await }
}

async fn offer(world: &World, item: IntakeItem) -> IntakeOutcome {
    world.commit(vec![item], Vec::new()).await.intakes.remove(0)
}

/// An event with a digest, for these webhooks.
fn event_for(world: &World, webhooks: &[&Webhook]) -> NewEvent {
    let event = Event { digest: Some([1; 32]), ..world.new_event() };
    let deliveries = webhooks.iter().map(|webhook| world.new_delivery(webhook)).collect();
    NewEvent { event, deliveries }
}

fn receipts(events: &[NewEvent], duplicate: bool) -> Vec<Receipt> {
    let receipt = |new: &NewEvent| Receipt {
        id: new.event.id,
        deliveries: u32::try_from(new.deliveries.len()).expect("few"),
        duplicate,
    };
    events.iter().map(receipt).collect()
}

async fn cursor_of(world: &World, organization: OrganizationId, source: SourceId) -> Option<String> {
    let found = world.store.source_cursor(organization, source).await.expect("source_cursor");
    found.map(|cursor| cursor.as_str().to_owned())
}

async fn check_cursor(world: &World, source: SourceId, expected: Option<&str>) {
    assert_eq!(cursor_of(world, world.organization, source).await.as_deref(), expected);
}

async fn count_events(world: &World) -> usize {
    world.store.list_events(world.organization, None, 100, u64::MAX).await.expect("list_events").len()
}

/// One commit stores a cursor, its events and their deliveries.
pub async fn a_cursor_advances_with_its_events(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (webhook, source) = (world.webhook("hook").await, source(&world));
    check_cursor(&world, source, None).await;
    let events = vec![event_for(&world, &[&webhook]), event_for(&world, &[])];
    let item = advance(&world, source, (None, "a"), events.clone()).await;
    assert_eq!(offer(&world, item).await, IntakeOutcome::Accepted(receipts(&events, false)));
    check_cursor(&world, source, Some("a")).await;
    assert_eq!((count_events(&world).await, world.usage().await.pending), (2, 1));

    let one = vec![event_for(&world, &[])];
    let item = advance(&world, source, (Some("a"), "b"), one).await;
    assert!(matches!(offer(&world, item).await, IntakeOutcome::Accepted(_)));
    check_cursor(&world, source, Some("b")).await;
}

/// An item may bring a change and no events.
pub async fn a_cursor_advances_without_events(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let source = source(&world);
    let item = advance(&world, source, (None, "a"), Vec::new()).await;
    assert_eq!(offer(&world, item).await, IntakeOutcome::Accepted(Vec::new()));
    check_cursor(&world, source, Some("a")).await;
    // Any text within the limit, and the same one again.
    let long = format!("\u{1f514}'\"\\{}", "x".repeat(CURSOR_BYTES_MAX - 7));
    for (from, to) in [("a", long.as_str()), (&long, &long), (&long, "b")] {
        let item = advance(&world, source, (Some(from), to), Vec::new()).await;
        assert_eq!(offer(&world, item).await, IntakeOutcome::Accepted(Vec::new()));
        check_cursor(&world, source, Some(to)).await;
    }
}

/// An item whose `from` is not the cursor is refused as a whole.
pub async fn a_change_from_another_cursor_is_refused(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (webhook, source) = (world.webhook("hook").await, source(&world));
    let events = || vec![event_for(&world, &[&webhook])];
    let item = advance(&world, source, (Some("a"), "b"), events()).await;
    assert_eq!(offer(&world, item).await, IntakeOutcome::ChangeRefused);
    check_cursor(&world, source, None).await;

    let item = advance(&world, source, (None, "a"), Vec::new()).await;
    offer(&world, item).await;
    for from in [None, Some("b"), Some("A")] {
        let item = advance(&world, source, (from, "c"), events()).await;
        assert_eq!(offer(&world, item).await, IntakeOutcome::ChangeRefused, "{from:?}");
        let item = advance(&world, source, (from, "c"), Vec::new()).await;
        assert_eq!(offer(&world, item).await, IntakeOutcome::ChangeRefused, "{from:?}");
    }
    check_cursor(&world, source, Some("a")).await;
    assert_eq!((count_events(&world).await, world.usage().await.pending), (0, 0));
}

/// A refused change does not affect the other items of its batch, and an accepted one holds for the items after it.
pub async fn the_items_of_a_batch_advance_in_turn(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (source, other) = (source(&world), source(&world));
    let event = || vec![event_for(&world, &[])];
    let items = vec![
        advance(&world, source, (None, "a"), event()).await,
        advance(&world, source, (Some("a"), "b"), event()).await,
        advance(&world, source, (Some("a"), "c"), event()).await,
        advance(&world, other, (None, "z"), event()).await,
        advance(&world, source, (Some("b"), "d"), Vec::new()).await,
    ];
    let outcome = world.commit(items, Vec::new()).await;
    let is_accepted: Vec<bool> =
        outcome.intakes.iter().map(|one| matches!(one, IntakeOutcome::Accepted(_))).collect();
    assert_eq!(is_accepted, [true, true, false, true, true], "{:?}", outcome.intakes);
    assert_eq!(outcome.intakes[2], IntakeOutcome::ChangeRefused);
    check_cursor(&world, source, Some("d")).await;
    check_cursor(&world, other, Some("z")).await;
    assert_eq!(count_events(&world).await, 3);
}

/// An item whose events are all stored is accepted as a duplicate, because its change was applied too.
pub async fn a_duplicate_item_is_accepted_again(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let source = source(&world);
    let events = vec![event_for(&world, &[]), event_for(&world, &[])];
    let item = advance(&world, source, (None, "a"), events.clone()).await;
    offer(&world, item.clone()).await;
    let later = advance(&world, source, (Some("a"), "b"), vec![event_for(&world, &[])]).await;
    offer(&world, later).await;

    assert_eq!(offer(&world, item).await, IntakeOutcome::Accepted(receipts(&events, true)));
    check_cursor(&world, source, Some("b")).await;
    // An item with one new event is no duplicate.
    let mixed = vec![events[0].clone(), event_for(&world, &[])];
    let item = advance(&world, source, (None, "a"), mixed).await;
    assert_eq!(offer(&world, item).await, IntakeOutcome::ChangeRefused);
    assert_eq!(count_events(&world).await, 3);
}

/// A cursor can advance although its events are stored already.
pub async fn a_cursor_advances_past_known_events(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let source = source(&world);
    let events = vec![event_for(&world, &[])];
    let known = world.intake(events.clone()).await;
    offer(&world, known).await;
    let item = advance(&world, source, (None, "a"), events.clone()).await;
    assert_eq!(offer(&world, item).await, IntakeOutcome::Accepted(receipts(&events, true)));
    check_cursor(&world, source, Some("a")).await;
}

/// Staleness and conflicts are checked before the change, and leave the cursor unchanged.
pub async fn stale_and_conflict_come_before_the_change(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let source = source(&world);
    let known = event_for(&world, &[]);
    let item = world.intake(vec![known.clone()]).await;
    offer(&world, item).await;
    for from in [None, Some("a")] {
        let item = advance(&world, source, (from, "b"), vec![event_for(&world, &[])]).await;
        let stale = IntakeItem { organization_version: item.organization_version + 1, ..item };
        assert_eq!(offer(&world, stale).await, IntakeOutcome::Stale);
        let other = Event { digest: Some([2; 32]), ..known.event.clone() };
        let other = NewEvent { event: other, deliveries: Vec::new() };
        let item = advance(&world, source, (from, "b"), vec![event_for(&world, &[]), other]).await;
        assert_eq!(offer(&world, item).await, IntakeOutcome::Conflict { index: 1 });
    }
    check_cursor(&world, source, None).await;
    assert_eq!(count_events(&world).await, 1);
}

/// With an exhausted quota the change is applied, the events are dropped, and the audit log has an entry. A change whose
/// precondition does not hold is refused.
pub async fn a_full_quota_drops_the_events_of_a_change(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (webhook, source) = (world.webhook("hook").await, source(&world));
    let known = event_for(&world, &[&webhook]);
    let item = advance(&world, source, (None, "a"), vec![known.clone()]).await;
    offer(&world, item).await;
    let before = (count_events(&world).await, world.usage().await);
    let mut actions = world.actions().await;
    let (one, bytes) =
        (Quota { pending_max: 1, ..Quota::UNLIMITED }, Quota { stored_bytes_max: 1, ..Quota::UNLIMITED });

    for (from, to, quota, part) in
        [("a", "b", one, QuotaPart::Pending), ("b", "c", bytes, QuotaPart::StoredBytes)]
    {
        let events = vec![known.clone(), event_for(&world, &[&webhook])];
        let item = IntakeItem { quota, ..advance(&world, source, (Some(from), to), events).await };
        assert_eq!(offer(&world, item).await, IntakeOutcome::EventsDropped(part));
        check_cursor(&world, source, Some(to)).await;
        actions.push("event.drop".to_owned());
    }
    let item = IntakeItem {
        quota: FULL,
        ..advance(&world, source, (Some("z"), "y"), vec![event_for(&world, &[])]).await
    };
    assert_eq!(offer(&world, item).await, IntakeOutcome::ChangeRefused);

    assert_eq!((count_events(&world).await, world.usage().await), before, "no event is in");
    assert_eq!(world.actions().await, actions);
}

/// A change without new events needs no quota.
pub async fn a_change_without_new_events_needs_no_quota(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let source = source(&world);
    let events = vec![event_for(&world, &[])];
    let known = world.intake(events.clone()).await;
    offer(&world, known).await;
    let actions = world.actions().await;
    for (from, to, events) in [(None, "a", events), (Some("a"), "b", Vec::new())] {
        let item = IntakeItem { quota: FULL, ..advance(&world, source, (from, to), events).await };
        assert!(matches!(offer(&world, item).await, IntakeOutcome::Accepted(_)));
        check_cursor(&world, source, Some(to)).await;
    }
    assert_eq!(world.actions().await, actions, "nothing was dropped");
}

/// The cursors of organizations do not mix.
pub async fn each_organization_has_its_own_cursors(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let source = source(&world);
    let other = world.other_organization("umbrella").await.id;
    let item = advance(&world, source, (None, "a"), Vec::new()).await;
    offer(&world, item).await;
    assert_eq!(cursor_of(&world, other, source).await, None);
    let organization_version = world
        .store
        .organization_webhooks(other)
        .await
        .expect("organization_webhooks")
        .expect("it is there")
        .version;
    let item = advance(&world, source, (None, "b"), Vec::new()).await;
    let item = IntakeItem { organization: other, organization_version, ..item };
    assert_eq!(offer(&world, item).await, IntakeOutcome::Accepted(Vec::new()));
    assert_eq!(cursor_of(&world, other, source).await.as_deref(), Some("b"));
    check_cursor(&world, source, Some("a")).await;
}

/// A cursor survives a restart.
pub async fn a_cursor_survives_a_restart(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let source = source(&world);
    let item = advance(&world, source, (None, "a"), vec![event_for(&world, &[])]).await;
    offer(&world, item).await;
    let world = world.restarted(harness).await;
    check_cursor(&world, source, Some("a")).await;
    assert_eq!(count_events(&world).await, 1);
}
