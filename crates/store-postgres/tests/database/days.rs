//! What happened is kept by day, and days go whole.

use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::delivery::{AttemptTrigger, Delivery, State};
use stackbell_model::retry::{Next, RetryPolicy};
use stackbell_store::conformance::fixtures::{World, answered, attempt, leased};
use stackbell_store::maintenance::{SweepPolicy, SweepReport};
use stackbell_store::queue::LaneMode;
use stackbell_store::statistics::Usage;

use crate::support::Site;

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn sweep(world: &World, finished_before: Timestamp) -> SweepReport {
    let never = Timestamp::from_millis(0);
    let retry = RetryPolicy { age_max: DAY * 365, held_age_max: DAY * 365, ..RetryPolicy::default() };
    let policy = SweepPolicy { retry, finished_before, audit_before: never, rows_max: 1000 };
    world.store.sweep(world.now(), &policy).await.expect("sweep")
}

/// Where rows of a table lie, and how many.
fn places(site: &Site, table: &str) -> Vec<String> {
    let found = site.database.psql(&format!(
        "SELECT regexp_replace(tableoid::regclass::text, '[0-9]+$', 'N'), count(*) FROM {table} GROUP BY 1 ORDER BY 1"
    ));
    found.lines().map(str::to_owned).collect()
}

fn days(site: &Site) -> usize {
    let days = site.database.psql(
        "SELECT count(DISTINCT substring(relname FROM '_d([0-9]+)$')) FROM pg_class WHERE relkind = 'r' AND relname ~ '_d[0-9]+$'",
    );
    days.parse().expect("a number")
}

async fn fail_at(world: &World, delivery: &Delivery, at: Timestamp) {
    let token = world.take(delivery, world.now()).await;
    let attempt = attempt(AttemptTrigger::Schedule, at, answered(500));
    let reason = stackbell_model::delivery::FailReason::AttemptsExhausted;
    world.recorded(leased(delivery, token, attempt, Next::Failed(reason))).await;
}

/// A week is ready at any time, and what comes in lies in its day.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_lies_in_its_day() {
    let site = Site::new().await;
    let world = site.world_of_today().await;
    let webhook = world.webhook("hook").await;
    assert_eq!(days(&site), 8);
    // Where nobody swept for long there is no day: nothing is refused, and what came moves into its day once that is made.
    site.forget_days();
    let early = world.pending(&webhook).await;
    world.try_next(&early, 200, Next::Succeeded).await;
    assert_eq!(places(&site, "events"), ["events_rest|1"]);

    sweep(&world, Timestamp::from_millis(0)).await;

    assert_eq!(days(&site), 8);
    let late = world.pending(&webhook).await;
    world.try_next(&late, 200, Next::Succeeded).await;
    assert_eq!(places(&site, "events"), ["events_dN|2"]);
    assert_eq!(places(&site, "deliveries_ended"), ["deliveries_ended_dN|2"]);
    assert_eq!(places(&site, "attempts"), ["attempts_dN|2"]);
    for delivery in [early, late] {
        assert!(matches!(world.state(&delivery).await, State::Succeeded { .. }));
    }
    assert_eq!(sweep(&world, Timestamp::from_millis(0)).await, SweepReport::default());
    assert_eq!(days(&site), 8);
}

/// A day that is past goes whole; what is not past yet outlives it with all that belongs to it, and goes when it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_past_day_goes_and_what_is_not_past_outlives_it() {
    let site = Site::new().await;
    let world = site.world_of_today().await;
    sweep(&world, Timestamp::from_millis(0)).await;
    let (webhook, slow) = (world.webhook("hook").await, world.webhook("slow").await);
    let mut gone = Vec::new();
    for _ in 0..5 {
        let delivery = world.pending(&webhook).await;
        world.try_next(&delivery, 200, Next::Succeeded).await;
        gone.push(delivery);
    }
    // One that ends days later, one that was tried and is pending, and an event that nobody hears of.
    let late = world.pending(&webhook).await;
    let ends_at = world.now().after(DAY * 4);
    fail_at(&world, &late, ends_at).await;
    let pending = world.pending(&slow).await;
    let retried_at = world.now().after(DAY * 30);
    world.try_next(&pending, 500, Next::Retry { at: retried_at, spent: true }).await;
    world.accept(&world.new_event(), &[]).await;
    let before = world.now().after(DAY * 3);

    let report = sweep(&world, before).await;

    assert_eq!((report.deliveries_removed, report.events_removed), (5, 6));
    assert_eq!(places(&site, "deliveries_ended"), ["deliveries_rest|1"]);
    assert_eq!(places(&site, "attempts"), ["attempts_rest|2"]);
    assert_eq!(places(&site, "events"), ["events_rest|2"]);
    assert_eq!(site.database.psql("SELECT count(*) FROM event_ids"), "2");
    for delivery in gone {
        assert_eq!(world.find(&delivery).await, None);
    }
    assert!(matches!(world.state(&late).await, State::Failed { .. }));
    let (_, lane) = world.lease(&slow, LaneMode::Due, 1, retried_at).await;
    assert_eq!(lane.deliveries[0].delivery.id, pending.id);
    assert!(!lane.deliveries[0].payload.is_empty());
    assert_eq!(world.attempt_count(&slow).await, 1);

    let report = sweep(&world, ends_at.after(DAY)).await;
    assert_eq!((report.deliveries_removed, report.events_removed), (1, 1));
    assert_eq!(world.usage().await.pending, 1);
    world.delete(&slow).await;
    sweep(&world, world.now()).await;
    world.pass(DAY * 60);
    let report = sweep(&world, world.now()).await;
    assert_eq!((report.deliveries_removed, report.events_removed), (1, 1));
    assert_eq!(world.usage().await, Usage::default());
}

/// Deliveries are found, listed and tried anew wherever they lie.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_the_days() {
    let site = Site::new().await;
    let world = site.world_of_today().await;
    let webhook = world.webhook("hook").await;
    let in_rest = world.failed(&webhook).await;
    sweep(&world, Timestamp::from_millis(0)).await;
    let in_day = world.failed(&webhook).await;
    let queued = world.pending(&webhook).await;
    let page = world
        .store
        .list_deliveries(world.organization, &Default::default(), None, 10, 100)
        .await
        .expect("list_deliveries");
    let ids: Vec<_> = page.deliveries.iter().map(|delivery| delivery.id).collect();
    assert_eq!(ids, [queued.id, in_day.id, in_rest.id]);
    for delivery in [in_rest, in_day] {
        world.retry(&delivery, world.audit("delivery.retry")).await;
        assert!(matches!(world.state(&delivery).await, State::Pending { .. }));
    }
    assert_eq!(world.usage().await.pending, 3);
}
