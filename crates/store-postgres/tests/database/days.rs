//! The history is partitioned by day, and whole days are dropped.

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

/// The partitions of a table, with their number of rows.
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

/// A week of days exists at any time, and new rows are stored in their day.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_stored_in_their_day() {
    let site = Site::new().await;
    let world = site.world_of_today().await;
    let webhook = world.webhook("hook").await;
    assert_eq!(days(&site), 8);
    // Without sweeps for a long time there is no partition for today. Rows are accepted all the same, and move into their day
    // once its partition is created.
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

/// A past day is dropped as a whole. Rows that must be kept longer outlive it, with all rows that they refer to.
#[tokio::test(flavor = "multi_thread")]
async fn a_past_day_is_dropped_without_rows_that_are_kept_longer() {
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
    // A delivery that ends days later, a pending one with an attempt, and an event without deliveries.
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
    let report = sweep(&world, world.now().after(DAY * 60)).await;
    assert_eq!((report.deliveries_removed, report.events_removed), (1, 1));
    assert_eq!(world.usage().await, Usage::default());
}

/// A node whose clock is ahead removes nothing that must be kept by the database's clock.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ahead_removes_nothing() {
    let site = Site::new().await;
    let world = site.world_of_today().await;
    let webhook = world.webhook("hook").await;
    let ended = world.failed(&webhook).await;
    let pending = world.pending(&webhook).await;
    // Far enough that all pending deliveries would expire, and all ended ones would be removed.
    world.pass(DAY * 400);

    let report = sweep(&world, world.now().before(DAY * 30)).await;

    assert_eq!(report, SweepReport::default());
    assert!(matches!(world.state(&ended).await, State::Failed { .. }));
    assert!(matches!(world.state(&pending).await, State::Pending { .. }));
    assert_eq!(places(&site, "events"), ["events_dN|2"]);
}

/// A sweep drops a day even if a transaction reads its table for longer than the lock timeout.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_waits_for_readers_of_a_day() {
    let site = Site::new().await;
    let world = site.world_of_today().await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    world.try_next(&delivery, 200, Next::Succeeded).await;
    let before = world.now().after(DAY * 3);

    let read = "BEGIN; SELECT count(*) FROM attempts; SELECT pg_sleep(2); COMMIT";
    let sleeping = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let reads = site.database.server().psql(site.database.name(), read);
    let (_, report) = tokio::join!(reads, async {
        while site.database.psql(sleeping) == "0" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        sweep(&world, before).await
    });

    assert_eq!((report.deliveries_removed, report.events_removed), (1, 1));
    assert_eq!(world.usage().await, Usage::default());
    site.check_counts();
}

/// A past hour has one row for each webhook; the current hour stays spread over slots.
#[tokio::test(flavor = "multi_thread")]
async fn past_hours_are_folded() {
    let site = Site::new().await;
    let world = site.world_of_today().await;
    site.database.psql(
        "INSERT INTO tallies SELECT (now_ms() / 3600000 - age) * 3600000, 1, webhook, slot, 1, 2, 3, 4, 5, 6, 7, 8 \
         FROM generate_series(0, 4) age, generate_series(101, 102) webhook, generate_series(0, 15, 3) slot",
    );

    sweep(&world, Timestamp::from_millis(0)).await;

    let of_age = |ages: &str| {
        site.database.psql(&format!(
            "SELECT count(*), count(DISTINCT slot), sum(events), sum(attempts_took) FROM tallies \
             WHERE webhook_number > 100 AND now_ms() / 3600000 - hour / 3600000 {ages}"
        ))
    };
    assert_eq!(of_age(">= 3"), "4|1|24|192");
    assert_eq!(of_age("< 2"), "24|6|24|192");
}

/// Deliveries are found, listed and retried in every partition.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_of_every_partition_can_be_used() {
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
