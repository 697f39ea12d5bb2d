//! Several nodes on one database.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use stackbell_model::delivery::AttemptTrigger;
use stackbell_model::event::Event;
use stackbell_model::ids::{DeliveryId, LeaseToken, NodeId, SourceId};
use stackbell_model::retry::Next;
use stackbell_model::source::{Change, SourceCursor};
use stackbell_model::webhook::Webhook;
use stackbell_store::commit::{
    AttemptOutcome, Batch, Commit as _, IntakeItem, IntakeOutcome, ItemChange, Lease, NewEvent,
};
use stackbell_store::conformance::fixtures::{World, answered, attempt, leased};
use stackbell_store::nodes::Nodes as _;
use stackbell_store::queue::{LaneMode, LaneRequest, LeasedLane, Queue as _};
use stackbell_store_postgres::PostgresStore;
use stackbell_testkit::wait;
use tokio::task::JoinSet;

use crate::support::Site;

async fn lease(
    world: &World,
    store: &PostgresStore,
    webhook: &Webhook,
    mode: LaneMode,
    lasts: Duration,
) -> (LeaseToken, LeasedLane) {
    let now = world.now();
    let lease = Lease { token: world.random(LeaseToken::generate), until: now.after(lasts) };
    let request = LaneRequest { webhook: webhook.id, limit: NonZeroU32::MIN, mode };
    let mut leased = store.lease_deliveries(&[request], now, lease).await.expect("lease_deliveries");
    (lease.token, leased.lanes.remove(0))
}

const A_MINUTE: Duration = Duration::from_secs(60);

/// Nodes that lease from one lane at the same time get different deliveries, and no delivery is left out.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_nodes_lease_different_deliveries() {
    let site = Site::new().await;
    let world = Arc::new(World::open(&site).await);
    let webhook = world.webhook("hook").await;
    for _ in 0..100 {
        world.pending(&webhook).await;
    }
    let mut nodes = JoinSet::new();
    for _ in 0..4 {
        let (store, world, webhook) = (site.store().await, Arc::clone(&world), webhook.clone());
        nodes.spawn(async move {
            let mut taken: Vec<DeliveryId> = Vec::new();
            loop {
                let (_, lane) = lease(&world, &store, &webhook, LaneMode::Due, A_MINUTE).await;
                if lane.deliveries.is_empty() {
                    return taken;
                }
                taken.extend(lane.deliveries.iter().map(|leased| leased.delivery.id));
            }
        });
    }
    let taken: Vec<DeliveryId> = nodes.join_all().await.into_iter().flatten().collect();
    assert_eq!((taken.len(), taken.iter().collect::<HashSet<_>>().len()), (100, 100));
}

/// A lease expires by the database's clock, whatever the nodes' clocks are. A record of the old holder is superseded once another
/// node has the lease.
#[tokio::test(flavor = "multi_thread")]
async fn leases_expire_by_the_databases_clock() {
    let site = Site::new().await;
    let world = World::open(&site).await;
    let (webhook, other) = (world.webhook("hook").await, site.store().await);
    let delivery = world.pending(&webhook).await;
    let first = site.store().await;
    // The deadline was months ago by this node's clock.
    let (token, lane) = lease(&world, &first, &webhook, LaneMode::Due, Duration::from_millis(500)).await;
    assert_eq!(lane.deliveries.len(), 1);
    world.pass(Duration::from_secs(3600));
    let (_, lane) = lease(&world, &other, &webhook, LaneMode::Due, A_MINUTE).await;
    assert_eq!(lane.deliveries.len(), 0, "an hour by our clock is no time by the database's");
    let left = lane.next_due.expect("it says when").since(world.now());
    assert!(left <= Duration::from_millis(500), "{left:?}");

    let (next_token, _) = wait::until("the lease's end", || async {
        let (token, lane) = lease(&world, &other, &webhook, LaneMode::Due, A_MINUTE).await;
        (!lane.deliveries.is_empty()).then_some((token, lane))
    })
    .await;

    let ended = |token| {
        let attempt = attempt(AttemptTrigger::Schedule, world.now(), answered(200));
        leased(&delivery, token, attempt, Next::Succeeded)
    };
    let batch = |record| Arc::new(world.batch(Vec::new(), vec![record]));
    let late = first.commit(batch(ended(token))).await.expect("commit");
    assert_eq!(late.attempts, [AttemptOutcome::Superseded]);
    let right = other.commit(batch(ended(next_token))).await.expect("commit");
    assert!(matches!(right.attempts[..], [AttemptOutcome::Recorded { .. }]));
}

/// One of several nodes gets the probe of a suspended webhook. The others get the time of the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_webhook_is_probed_by_one_node() {
    let site = Site::new().await;
    let world = Arc::new(World::open(&site).await);
    let webhook = world.suspended_webhook("hook").await;
    for _ in 0..10 {
        world.pending(&webhook).await;
    }
    let mut nodes = JoinSet::new();
    for _ in 0..6 {
        let (store, world, webhook) = (site.store().await, Arc::clone(&world), webhook.clone());
        nodes.spawn(async move { lease(&world, &store, &webhook, LaneMode::Probe, A_MINUTE).await.1 });
    }
    let lanes = nodes.join_all().await;
    assert_eq!(lanes.iter().map(|lane| lane.deliveries.len()).sum::<usize>(), 1);
    for lane in lanes.iter().filter(|lane| lane.deliveries.is_empty()) {
        let left = lane.next_due.expect("it says when").since(world.now());
        // A node that waited for the first one may have read the clock earlier.
        assert!(left > A_MINUTE / 2 && left < A_MINUTE * 2, "{left:?}");
    }
}

/// An id that two nodes accept at the same time belongs to one event.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_accept_an_id_once() {
    let site = Site::new().await;
    let world = Arc::new(World::open(&site).await);
    let webhook = world.webhook("hook").await;
    let stores = [site.store().await, site.store().await, site.store().await];
    for _ in 0..30 {
        let id = world.new_event().id;
        let mut commits = JoinSet::new();
        for store in &stores {
            let event = Event { id, digest: Some([1; 32]), ..world.new_event() };
            let deliveries = vec![world.new_delivery(&webhook)];
            let batch =
                world.batch(vec![world.intake(vec![NewEvent { event, deliveries }]).await], Vec::new());
            let store = Arc::clone(store);
            commits.spawn(async move { store.commit(Arc::new(batch)).await.expect("commit") });
        }
        let outcomes = commits.join_all().await;
        let mut duplicates: Vec<bool> =
            outcomes.iter().map(|outcome| is_duplicate(&outcome.intakes[0])).collect();
        duplicates.sort_unstable();
        assert_eq!(duplicates, [false, true, true]);
    }
    assert_eq!(world.usage().await.pending, 30);
}

/// A cursor that two nodes advance at the same time advances once, whether it is new or not.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_advance_a_cursor_once() {
    let site = Site::new().await;
    let world = Arc::new(World::open(&site).await);
    let source = world.ordered(SourceId::generate);
    let stores = [site.store().await, site.store().await, site.store().await];
    let mut from = None;
    for number in 0..30 {
        let mut commits = JoinSet::new();
        for (node, store) in stores.iter().enumerate() {
            let to = SourceCursor::parse(&format!("{number} by {node}")).expect("a cursor");
            let change = Change::AdvanceCursor { source, from: from.clone(), to };
            let dropped = world.audit("event.drop");
            let item =
                world.intake(vec![NewEvent { event: world.new_event(), deliveries: Vec::new() }]).await;
            let item = IntakeItem { change: Some(Box::new(ItemChange { change, dropped })), ..item };
            let (batch, store) = (world.batch(vec![item], Vec::new()), Arc::clone(store));
            commits.spawn(async move { store.commit(Arc::new(batch)).await.expect("commit") });
        }
        let outcomes = commits.join_all().await;
        let refused = outcomes.iter().filter(|one| one.intakes[0] == IntakeOutcome::ChangeRefused).count();
        assert_eq!(refused, stores.len() - 1, "{outcomes:?}");
        from = world.store.source_cursor(world.organization, source).await.expect("source_cursor");
        assert!(from.as_ref().is_some_and(|cursor| cursor.as_str().starts_with(&format!("{number} by "))));
    }
    let events = world.store.list_events(world.organization, None, 100, u64::MAX).await.expect("list_events");
    assert_eq!(events.len(), 30, "one node's events for each step");
}

/// An item that two nodes commit at the same time is accepted once, and is a duplicate for the other node.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_accept_an_item_with_a_change_once() {
    let site = Site::new().await;
    let world = Arc::new(World::open(&site).await);
    let source = world.ordered(SourceId::generate);
    let stores = [site.store().await, site.store().await, site.store().await];
    let mut from = None;
    for number in 0..30 {
        let to = SourceCursor::parse(&number.to_string()).expect("a cursor");
        let id = world.new_event().id;
        let mut commits = JoinSet::new();
        for store in &stores {
            let event = Event { id, digest: Some([1; 32]), ..world.new_event() };
            let change = Change::AdvanceCursor { source, from: from.clone(), to: to.clone() };
            let dropped = world.audit("event.drop");
            let item = world.intake(vec![NewEvent { event, deliveries: Vec::new() }]).await;
            let item = IntakeItem { change: Some(Box::new(ItemChange { change, dropped })), ..item };
            let (batch, store) = (world.batch(vec![item], Vec::new()), Arc::clone(store));
            commits.spawn(async move { store.commit(Arc::new(batch)).await.expect("commit") });
        }
        let outcomes = commits.join_all().await;
        let mut duplicates: Vec<bool> =
            outcomes.iter().map(|outcome| is_duplicate(&outcome.intakes[0])).collect();
        duplicates.sort_unstable();
        assert_eq!(duplicates, [false, true, true]);
        from = Some(to);
    }
}

fn is_duplicate(outcome: &IntakeOutcome) -> bool {
    match outcome {
        IntakeOutcome::Accepted(receipts) => receipts[0].duplicate,
        other => panic!("{other:?}"),
    }
}

/// An edit that returned holds for every later intake on every node: a deactivated webhook gets no delivery of an event that
/// another node accepts afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_holds_for_every_intake_after_it() {
    let site = Site::new().await;
    let world = Arc::new(World::open(&site).await);
    let webhook = world.webhook("hook").await;
    let mut intakes = JoinSet::new();
    let stop = tokio_util::sync::CancellationToken::new();
    for _ in 0..3 {
        let (store, world, stop) = (site.store().await, Arc::clone(&world), stop.clone());
        intakes.spawn(async move {
            while !stop.is_cancelled() {
                let batch: Batch = matched(&world).await;
                store.commit(Arc::new(batch)).await.expect("commit");
            }
        });
    }
    for _ in 0..50 {
        let stale = matched(&world).await;
        let current = world.current(&webhook).await;
        let edited = Webhook { active: !current.active, ..current };
        world.store.edit_webhook(&edited, world.audit("webhook.edit")).await.expect("edit_webhook");
        let outcome = world.store.commit(Arc::new(stale)).await.expect("commit");
        assert_eq!(outcome.intakes, [IntakeOutcome::Stale]);
    }
    stop.cancel();
    intakes.join_all().await;
}

/// An intake of one event for all currently active webhooks.
async fn matched(world: &World) -> Batch {
    let snapshot = world.snapshot().await;
    let listeners = snapshot.webhooks.iter().filter(|webhook| webhook.active);
    let deliveries = listeners.map(|webhook| world.new_delivery(webhook)).collect();
    let item = world.intake(vec![NewEvent { event: world.new_event(), deliveries }]).await;
    world.batch(vec![IntakeItem { organization_version: snapshot.version, ..item }], Vec::new())
}

/// A node that stores unleased deliveries notifies the others.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_notify_each_other() {
    let site = Site::new().await;
    let world = World::open(&site).await;
    let (webhook, other) = (world.webhook("hook").await, site.store().await);
    let sender = site.store().await;
    // Each node starts to listen, which ends the first call.
    other.woken_up().await;
    sender.woken_up().await;
    // A node sends notifications only while it waits for them itself, as a running node always does.
    let sends = sender.woken_up();
    let woken = async {
        tokio::select! {
            () = other.woken_up() => {}
            () = async { loop { put_in(&world, &sender, &webhook).await } } => {}
        }
    };
    tokio::time::timeout(wait::DEADLINE, async {
        tokio::select! { () = woken => {}, () = sends => {} }
    })
    .await
    .expect("a wake-up");
}

async fn put_in(world: &World, store: &PostgresStore, webhook: &Webhook) {
    let deliveries = vec![world.new_delivery(webhook)];
    let item = world.intake(vec![NewEvent { event: world.new_event(), deliveries }]).await;
    store.commit(Arc::new(world.batch(vec![item], Vec::new()))).await.expect("commit");
}

/// Nodes with a recent heartbeat are running; others are not.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_a_heartbeat_are_running() {
    let site = Site::new().await;
    let world = World::open(&site).await;
    let mut nodes = [(); 2].map(|()| world.random(NodeId::generate));
    nodes.sort();
    let store = site.store().await;
    assert_eq!(store.report_node(nodes[0], A_MINUTE).await.expect("report_node"), [nodes[0]]);
    assert_eq!(store.report_node(nodes[1], A_MINUTE).await.expect("report_node"), nodes);
    wait::until("the other to be missed", || async {
        let seen = store.report_node(nodes[1], Duration::from_millis(200)).await.expect("report_node");
        (seen == [nodes[1]]).then_some(())
    })
    .await;
    store.report_node(nodes[0], A_MINUTE).await.expect("report_node");
    store.forget_node(nodes[1]).await.expect("forget_node");
    assert_eq!(store.report_node(nodes[0], A_MINUTE).await.expect("report_node"), [nodes[0]]);
}
