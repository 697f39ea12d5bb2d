//! Intake of events: acceptance, rejection, and the independence of the items of a batch.

use stackbell_model::delivery::{AttemptTrigger, Delivery, State, Trigger};
use stackbell_model::event::Event;
use stackbell_model::filter::{EventKind, Filter, FilterSet};
use stackbell_model::ids::EventId;
use stackbell_model::names::{EnvironmentName, ProjectName};
use stackbell_model::retry::Next;
use stackbell_model::scope::Subject;
use stackbell_model::webhook::{Format, Webhook};

use super::Harness;
use super::fixtures::{World, answered, attempt, leased};
use crate::commit::{AttemptOutcome, IntakeItem, IntakeOutcome, NewDelivery, NewEvent, Quota, Receipt};
use crate::history::StoredEvent;

/// An event with an id that its producer chose.
fn chosen(world: &World, id: EventId, digest: u8) -> Event {
    Event { id, digest: Some([digest; 32]), ..world.new_event() }
}

fn without_deliveries(event: &Event) -> NewEvent {
    NewEvent { event: event.clone(), deliveries: Vec::new() }
}

fn accepted(event: &Event, deliveries: u32) -> IntakeOutcome {
    IntakeOutcome::Accepted(vec![Receipt { id: event.id, deliveries, duplicate: false }])
}

fn duplicate(event: &Event, deliveries: u32) -> IntakeOutcome {
    IntakeOutcome::Accepted(vec![Receipt { id: event.id, deliveries, duplicate: true }])
}

async fn is_in(world: &World, event: &Event) -> bool {
    world.store.find_event(event.organization, event.id).await.expect("find_event").is_some()
}

fn born(event: &Event, new: &NewDelivery) -> Delivery {
    Delivery {
        id: new.id,
        organization: event.organization,
        webhook: new.webhook,
        trigger: Trigger::Event { key: event.key, kind: event.kind },
        event_id: event.id,
        format: new.format,
        body: new.body.clone(),
        created_at: event.accepted_at,
        rearmed_at: None,
        attempts_spent: 0,
        state: State::Pending { due_at: event.accepted_at },
    }
}

/// An event is stored with all its deliveries, which are pending and due at once.
pub async fn an_event_is_stored_with_its_deliveries(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (raw, slack) = (world.webhook("raw").await, world.webhook("slack").await);
    let event = world.new_event();
    let rendered = NewDelivery {
        format: Format::Slack,
        body: Some(r#"{"text":"done"}"#.into()),
        ..world.new_delivery(&slack)
    };
    let deliveries = vec![world.new_delivery(&raw), rendered];
    let item = world.intake(vec![NewEvent { event: event.clone(), deliveries: deliveries.clone() }]).await;

    let outcome = world.commit(vec![item], Vec::new()).await;

    assert_eq!(outcome.intakes, [accepted(&event, 2)]);
    let found = world.store.find_event(world.organization, event.id).await.expect("find_event");
    assert_eq!(found, Some(StoredEvent { event: event.clone(), deliveries: 2 }));
    for new in &deliveries {
        let expected = born(&event, new);
        assert_eq!(world.find(&expected).await, Some(expected));
    }
}

/// An event without deliveries is stored too.
pub async fn an_event_without_deliveries_is_stored(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let event = world.new_event();
    assert_eq!(world.accept(&event, &[]).await, accepted(&event, 0));
    assert!(is_in(&world, &event).await);
}

/// Every field of an event is read back unchanged.
pub async fn an_event_is_read_back_unchanged(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let event = Event {
        kind: EventKind::ChangeRequest,
        filters: [Filter::StackCreated, Filter::ChangeRequestClosed].into_iter().collect(),
        subject: Subject::Environment {
            project: ProjectName::parse("default").expect("a name"),
            environment: EnvironmentName::parse("Staging").expect("a name"),
        },
        payload: "{\"text\":\"\u{1f514} \\u0000\"}".into(),
        digest: Some([0xfe; 32]),
        ..world.new_event()
    };
    let bare = Event { filters: FilterSet::EMPTY, token: None, ..world.new_event() };
    for event in [event, bare] {
        world.accept(&event, &[]).await;
        let found = world.store.find_event(world.organization, event.id).await.expect("find_event");
        assert_eq!(found.map(|stored| stored.event), Some(event));
    }
}

/// A delivery can be created with a lease. Its holder can record, and no other caller gets it.
pub async fn a_delivery_can_be_inserted_with_a_lease(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let event = world.new_event();
    let lease = world.new_lease(event.accepted_at);
    let new = NewDelivery { lease: Some(lease), ..world.new_delivery(&webhook) };
    let delivery = born(&event, &new);
    let item = world.intake(vec![NewEvent { event, deliveries: vec![new] }]).await;
    world.commit(vec![item], Vec::new()).await;

    assert!(world.lease_due(&webhook, 10, world.now()).await.is_empty());
    let attempt = attempt(AttemptTrigger::Schedule, world.now(), answered(200));
    world.recorded(leased(&delivery, lease.token, attempt, Next::Succeeded)).await;
    assert!(matches!(world.state(&delivery).await, State::Succeeded { .. }));
}

/// A batch's events are stored before its attempts are recorded.
pub async fn the_events_of_a_batch_come_before_its_attempts(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let event = world.new_event();
    let lease = world.new_lease(event.accepted_at);
    let new = NewDelivery { lease: Some(lease), ..world.new_delivery(&webhook) };
    let delivery = born(&event, &new);
    let item = world.intake(vec![NewEvent { event, deliveries: vec![new] }]).await;
    let attempt = attempt(AttemptTrigger::Schedule, world.now(), answered(200));

    let record = leased(&delivery, lease.token, attempt, Next::Succeeded);
    let outcome = world.commit(vec![item], vec![record]).await;

    assert!(matches!(outcome.attempts[0], AttemptOutcome::Recorded { .. }), "{outcome:?}");
}

/// An empty batch has an empty result.
pub async fn an_empty_batch_has_an_empty_outcome(harness: &dyn Harness) {
    let world = World::open(harness).await;
    world.commit(Vec::new(), Vec::new()).await;
}

/// The receipts of an item are in the order of its events.
pub async fn receipts_are_in_the_order_of_the_events(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let (one, two) = (world.new_event(), world.new_event());
    let deliveries = vec![world.new_delivery(&webhook)];
    let events = vec![without_deliveries(&two), NewEvent { event: one.clone(), deliveries }];
    let item = world.intake(events).await;
    let receipts = vec![
        Receipt { id: two.id, deliveries: 0, duplicate: false },
        Receipt { id: one.id, deliveries: 1, duplicate: false },
    ];
    let outcome = world.commit(vec![item], Vec::new()).await;
    assert_eq!(outcome.intakes, [IntakeOutcome::Accepted(receipts)]);
}

/// Commits three items, one of which is rejected at its second event.
async fn refuse_one_of_three(harness: &dyn Harness, refused: usize) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let taken = world.new_event();
    world.accept(&taken, &[]).await;
    let mut items = Vec::new();
    let mut firsts = Vec::new();
    for index in 0..3 {
        let first = world.new_event();
        let second = if index == refused { chosen(&world, taken.id, 1) } else { world.new_event() };
        let deliveries = vec![world.new_delivery(&webhook)];
        let events = vec![NewEvent { event: first.clone(), deliveries }, without_deliveries(&second)];
        items.push(world.intake(events).await);
        firsts.push(first);
    }

    let outcome = world.commit(items, Vec::new()).await;

    for (index, first) in firsts.iter().enumerate() {
        let conflict = outcome.intakes[index] == IntakeOutcome::Conflict { index: 1 };
        assert_eq!(conflict, index == refused, "{outcome:?}");
        assert_eq!(is_in(&world, first).await, index != refused);
        let delivery = world.store.find_delivery(webhook.id, first.id).await.expect("find_delivery");
        assert_eq!(delivery.is_some(), index != refused, "what was refused leaves nothing behind");
    }
    assert_eq!(world.lease_due(&webhook, 10, world.now()).await.len(), 2);
}

/// The first item of a batch is rejected completely, and alone.
pub async fn the_first_item_of_a_batch_is_refused_alone(harness: &dyn Harness) {
    refuse_one_of_three(harness, 0).await;
}

/// The middle item of a batch is rejected completely, and alone.
pub async fn the_middle_item_of_a_batch_is_refused_alone(harness: &dyn Harness) {
    refuse_one_of_three(harness, 1).await;
}

/// The last item of a batch is rejected completely, and alone.
pub async fn the_last_item_of_a_batch_is_refused_alone(harness: &dyn Harness) {
    refuse_one_of_three(harness, 2).await;
}

/// A repeated id with an equal digest gets the first result again, and delivers nothing.
pub async fn the_same_id_and_digest_again_delivers_nothing(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (one, two) = (world.webhook("one").await, world.webhook("two").await);
    let event = chosen(&world, world.random(EventId::generate), 7);
    let again = chosen(&world, event.id, 7);

    assert_eq!(world.accept(&event, &[&one]).await, accepted(&event, 1));
    assert_eq!(world.accept(&again, &[&one, &two]).await, duplicate(&event, 1));

    let found = world.store.find_event(world.organization, event.id).await.expect("find_event");
    assert_eq!(found, Some(StoredEvent { event, deliveries: 1 }));
    assert_eq!(world.lease_due(&one, 10, world.now()).await.len(), 1, "one delivery an event and webhook");
    assert!(world.lease_due(&two, 10, world.now()).await.is_empty());
}

/// A duplicate within one item delivers nothing.
pub async fn a_duplicate_within_an_item_delivers_nothing(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let event = chosen(&world, world.random(EventId::generate), 7);
    let again = chosen(&world, event.id, 7);
    let new =
        |event: &Event| NewEvent { event: event.clone(), deliveries: vec![world.new_delivery(&webhook)] };
    let item = world.intake(vec![new(&event), new(&again)]).await;

    let outcome = world.commit(vec![item], Vec::new()).await;

    let receipt = Receipt { id: event.id, deliveries: 1, duplicate: false };
    let receipts = vec![receipt, Receipt { duplicate: true, ..receipt }];
    assert_eq!(outcome.intakes, [IntakeOutcome::Accepted(receipts)]);
    assert_eq!(world.lease_due(&webhook, 10, world.now()).await.len(), 1);
}

/// A duplicate in another item of the batch delivers nothing.
pub async fn a_duplicate_within_a_batch_delivers_nothing(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let event = chosen(&world, world.random(EventId::generate), 7);
    let again = chosen(&world, event.id, 7);
    let mut items = Vec::new();
    for event in [&event, &again] {
        let deliveries = vec![world.new_delivery(&webhook)];
        items.push(world.intake(vec![NewEvent { event: event.clone(), deliveries }]).await);
    }

    let outcome = world.commit(items, Vec::new()).await;

    assert_eq!(outcome.intakes, [accepted(&event, 1), duplicate(&event, 1)]);
    assert_eq!(world.lease_due(&webhook, 10, world.now()).await.len(), 1);
}

/// A repeated id with another digest, or without a digest on either side, is a conflict. The first event
/// stays unchanged.
pub async fn the_same_id_with_another_digest_is_a_conflict(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let cases = [(Some([1; 32]), Some([2; 32])), (Some([1; 32]), None), (None, Some([1; 32])), (None, None)];
    for (first_digest, second_digest) in cases {
        let first = Event { digest: first_digest, ..world.new_event() };
        let second = Event { id: first.id, digest: second_digest, ..world.new_event() };
        world.accept(&first, &[]).await;
        assert_eq!(world.accept(&second, &[]).await, IntakeOutcome::Conflict { index: 0 });
        let found = world.store.find_event(world.organization, first.id).await.expect("find_event");
        assert_eq!(found.map(|stored| stored.event), Some(first));
    }
}

/// An item with a conflict between its own events is rejected completely.
pub async fn an_item_may_be_in_conflict_with_itself(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let first = world.new_event();
    let second = chosen(&world, world.random(EventId::generate), 1);
    let third = chosen(&world, second.id, 2);
    let item = world.intake([&first, &second, &third].map(without_deliveries).to_vec()).await;

    let outcome = world.commit(vec![item], Vec::new()).await;

    assert_eq!(outcome.intakes, [IntakeOutcome::Conflict { index: 2 }]);
    assert!(!is_in(&world, &first).await);
    assert!(!is_in(&world, &second).await);
}

/// Two organizations may use an equal id.
pub async fn each_organization_has_its_own_event_ids(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let other = world.new_organization("other");
    let audit = world.audit("organization.create");
    world.store.create_organization(&other, None, audit).await.expect("create_organization");
    let snapshot = world.store.organization_webhooks(other.id).await.expect("organization_webhooks");
    let organization_version = snapshot.expect("it is there").version;
    let event = world.new_event();
    let theirs = Event { id: event.id, organization: other.id, ..world.new_event() };
    world.accept(&event, &[]).await;

    let events = vec![without_deliveries(&theirs)];
    let quota = Quota::UNLIMITED;
    let item = IntakeItem { organization: other.id, organization_version, change: None, events, quota };
    let outcome = world.commit(vec![item], Vec::new()).await;

    assert_eq!(outcome.intakes, [accepted(&theirs, 0)]);
    for event in [event, theirs] {
        let found = world.store.find_event(event.organization, event.id).await.expect("find_event");
        assert_eq!(found.map(|stored| stored.event), Some(event));
    }
}

/// An intake that was matched before an edit of a webhook is stale, and none of its events is stored.
pub async fn an_intake_matched_before_an_edit_is_stale(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let event = world.new_event();
    let item = world.intake(vec![without_deliveries(&event)]).await;
    let _edit: Webhook = world.webhook("late").await;

    let outcome = world.commit(vec![item], Vec::new()).await;

    assert_eq!(outcome.intakes, [IntakeOutcome::Stale]);
    assert!(!is_in(&world, &event).await);
}

/// Staleness is checked before conflicts.
pub async fn stale_comes_before_conflict(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let taken = world.new_event();
    world.accept(&taken, &[]).await;
    let event = chosen(&world, taken.id, 1);
    let item = world.intake(vec![without_deliveries(&event)]).await;
    let _edit: Webhook = world.webhook("late").await;

    let outcome = world.commit(vec![item], Vec::new()).await;

    assert_eq!(outcome.intakes, [IntakeOutcome::Stale]);
}

/// An intake of an unknown organization is stale.
pub async fn an_intake_of_an_unknown_organization_is_stale(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let organization = world.new_organization("nobody").id;
    let event = Event { organization, ..world.new_event() };
    let (events, quota) = (vec![without_deliveries(&event)], Quota::UNLIMITED);
    let item = IntakeItem { organization, organization_version: 1, change: None, events, quota };
    let outcome = world.commit(vec![item], Vec::new()).await;
    assert_eq!(outcome.intakes, [IntakeOutcome::Stale]);
}
