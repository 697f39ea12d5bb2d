//! Nodes that change the same rows at the same time: the changes are serializable.

use std::sync::Arc;

use futures_util::future::join_all;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Delivery, StateKind};
use stackbell_model::recovery::{Recovery, RecoveryState};
use stackbell_model::webhook::Webhook;
use stackbell_store::Store;
use stackbell_store::conformance::Harness as _;
use stackbell_store::conformance::fixtures::World;
use stackbell_store::recoveries::{DeliveryChange, RecoveryCreated};
use stackbell_store_postgres::Pooling;

use crate::harness::DatabaseHarness;

const NODES: usize = 4;

/// A world and several more nodes on its database.
async fn nodes(harness: &DatabaseHarness) -> (World, Vec<Arc<dyn Store>>) {
    let world = World::open(harness).await;
    let nodes = join_all((0..NODES).map(|_| harness.open())).await;
    (world, nodes)
}

async fn cancelled(world: &World, webhook: &Webhook, count: usize) -> Vec<Delivery> {
    let mut cancelled = Vec::new();
    for _ in 0..count {
        let delivery = world.pending(webhook).await;
        let audit = world.audit("delivery.cancel");
        let changed = world.store.cancel_delivery(world.organization, delivery.id, audit).await;
        assert_eq!(changed.expect("cancel_delivery"), DeliveryChange::Done { webhook: webhook.id });
        cancelled.push(delivery);
    }
    cancelled
}

fn new_recovery(world: &World, webhook: &Webhook, total: usize) -> Recovery {
    let now = world.now();
    Recovery {
        id: world.ordered(stackbell_model::ids::RecoveryId::generate),
        organization: world.organization,
        webhook: webhook.id,
        since: Timestamp::from_millis(0),
        created_at: now,
        created_by: "analyst".into(),
        total: total as u64,
        rearmed: 0,
        state: RecoveryState::Running,
    }
}

#[tokio::test]
async fn one_of_several_concurrent_recoveries_of_a_webhook_is_created() {
    let harness = DatabaseHarness::new(Pooling::Session);
    let (world, nodes) = nodes(&harness).await;
    let webhook = world.webhook("hook").await;
    let created = join_all(nodes.iter().map(|node| async {
        let recovery = new_recovery(&world, &webhook, 0);
        let created = node.create_recovery(&recovery, world.audit("recovery.create")).await;
        (recovery.id, created.expect("create_recovery"))
    }))
    .await;
    let mut done = created.iter().filter(|(_, created)| *created == RecoveryCreated::Done);
    let (id, _) = done.next().expect("one is created");
    for (other, created) in created.iter().filter(|(other, _)| other != id) {
        assert_eq!(*created, RecoveryCreated::Running { id: *id }, "{other}");
    }
}

#[tokio::test]
async fn nodes_that_advance_a_recovery_take_turns() {
    let harness = DatabaseHarness::new(Pooling::Session);
    let (world, nodes) = nodes(&harness).await;
    let webhook = world.webhook("hook").await;
    let lost = cancelled(&world, &webhook, 4 * NODES).await;
    let recovery = new_recovery(&world, &webhook, lost.len());
    let created = world.store.create_recovery(&recovery, world.audit("recovery.create")).await;
    assert_eq!(created.expect("create_recovery"), RecoveryCreated::Done);

    let now = world.now();
    // Two steps each, of two rows. Users retry half of the deliveries meanwhile.
    let steps = nodes.iter().flat_map(|node| [node, node]);
    let advanced = join_all(steps.map(|node| node.advance_recovery(recovery.id, now, 2)));
    let retried = join_all(lost.iter().step_by(2).map(|delivery| {
        let audit = world.audit("delivery.retry");
        nodes[0].retry_delivery(world.organization, delivery.id, audit)
    }));
    let (advanced, retried) = tokio::join!(advanced, retried);
    for changed in retried {
        assert_eq!(changed.expect("retry_delivery"), DeliveryChange::Done { webhook: webhook.id });
    }
    for step in advanced {
        step.expect("advance_recovery").expect("it is there");
    }

    let last = world.store.advance_recovery(recovery.id, now, 100).await.expect("advance_recovery");
    let last = last.expect("it is there");
    assert!(matches!(last.state, RecoveryState::Done { .. }), "{last:?}");
    let retried_first = lost.len() as u64 - last.rearmed;
    assert!(retried_first <= lost.len() as u64 / 2, "{last:?}");
    for delivery in &lost {
        let found = world.store.find_delivery(webhook.id, delivery.event_id).await.expect("find_delivery");
        let found = found.expect("it is there").delivery;
        assert_eq!(found.state.kind(), StateKind::Pending);
        assert!(found.rearmed_at.is_some());
    }
}
