//! Counts over time, and usage.

use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::delivery::{AttemptTrigger, Delivery};
use stackbell_model::event::Event;
use stackbell_model::ids::{LeaseToken, WebhookId};
use stackbell_model::retry::{Next, RetryPolicy};
use stackbell_model::webhook::Webhook;

use super::Harness;
use super::fixtures::{World, answered, attempt, leased, redelivered};
use crate::commit::{AttemptOutcome, IntakeItem, NewDelivery, NewEvent, Quota};
use crate::maintenance::SweepPolicy;
use crate::statistics::{HourTally, Tally, Usage};

const AN_HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A range that includes everything in a case.
const EVER: (Timestamp, Timestamp) = (Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX));

/// The duration of attempts.
const TOOK: Duration = Duration::from_millis(40);

async fn hours(world: &World, webhook: Option<WebhookId>) -> Vec<HourTally> {
    let (from, to) = EVER;
    world.store.tallies(world.organization, webhook, from, to).await.expect("tallies")
}

/// Returns the sum of all hours of a webhook, or of the organization.
async fn total(world: &World, webhook: Option<&Webhook>) -> Tally {
    let hours = hours(world, webhook.map(|webhook| webhook.id)).await;
    hours.into_iter().fold(Tally::default(), |sum, hour| plus(sum, hour.tally))
}

fn plus(one: Tally, other: Tally) -> Tally {
    Tally {
        events: one.events + other.events,
        made: one.made + other.made,
        succeeded: one.succeeded + other.succeeded,
        failed: one.failed + other.failed,
        cancelled: one.cancelled + other.cancelled,
        attempts: one.attempts + other.attempts,
        attempts_failed: one.attempts_failed + other.attempts_failed,
        attempts_took: one.attempts_took + other.attempts_took,
    }
}

/// The counts of `attempts` attempts, of which `attempts_failed` failed.
fn attempts(attempts: u32, attempts_failed: u64) -> Tally {
    Tally {
        attempts: u64::from(attempts),
        attempts_failed,
        attempts_took: TOOK * attempts,
        ..Tally::default()
    }
}

async fn sweep(world: &World, now: Timestamp, finished_before: Timestamp, audit_before: Timestamp) {
    let policy = SweepPolicy { retry: RetryPolicy::default(), finished_before, audit_before, rows_max: 1000 };
    let report = world.store.sweep(now, &policy).await.expect("sweep");
    assert!(!report.more);
}

/// The start of the hour of a time.
fn hour_of(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis() / 3_600_000 * 3_600_000)
}

/// There are no counts before any activity, and none for unknown ids.
pub async fn unknown_ids_have_no_tallies(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    assert_eq!(hours(&world, None).await, []);
    assert_eq!(hours(&world, Some(webhook.id)).await, []);
    assert_eq!(world.usage().await, Usage::default());
    let nobody = world.new_organization("nobody").id;
    assert_eq!(world.store.tallies(nobody, None, EVER.0, EVER.1).await.expect("tallies"), []);
    assert_eq!(world.store.usage(nobody).await.expect("usage"), Usage::default());
}

/// An event counts once, with each of its deliveries. Duplicates and rejected events do not count.
pub async fn an_event_counts_once(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (one, two) = (world.webhook("one").await, world.webhook("two").await);
    let event = Event { digest: Some([1; 32]), ..world.new_event() };
    world.accept(&event, &[&one, &two]).await;
    let duplicate = Event { key: world.new_event().key, ..event.clone() };
    world.accept(&duplicate, &[&one]).await;
    let conflict = Event { digest: Some([2; 32]), ..duplicate };
    world.accept(&conflict, &[&one]).await;
    let new = NewEvent { event: world.new_event(), deliveries: vec![world.new_delivery(&one)] };
    let quota = Quota { pending_max: 0, stored_bytes_max: 0 };
    let over_quota = IntakeItem { quota, ..world.intake(vec![new]).await };
    let stale = IntakeItem { organization_version: 0, quota: Quota::UNLIMITED, ..over_quota.clone() };
    world.commit(vec![over_quota, stale], Vec::new()).await;

    let made = Tally { made: 1, ..Tally::default() };
    assert_eq!(total(&world, Some(&one)).await, made);
    assert_eq!(total(&world, Some(&two)).await, made);
    assert_eq!(total(&world, None).await, Tally { events: 1, made: 2, ..Tally::default() });
}

/// Each attempt counts, and so does each end of a delivery, whatever its cause.
pub async fn attempts_and_ends_are_counted(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    world.failed(&webhook).await;
    let delivery = world.pending(&webhook).await;
    world.try_next(&delivery, 500, Next::Retry { at: world.now(), spent: true }).await;
    world.try_next(&delivery, 200, Next::Succeeded).await;
    world.cancelled(&webhook).await;

    let expected = Tally { made: 3, succeeded: 1, failed: 1, cancelled: 1, ..attempts(3, 2) };
    assert_eq!(total(&world, Some(&webhook)).await, expected);
    assert_eq!(total(&world, None).await, Tally { events: 3, ..expected });
}

/// A ping counts as created, as ended and as an attempt, but not as an event.
pub async fn pings_are_counted(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    world.pinged(&webhook).await;
    assert_eq!(total(&world, None).await, Tally { made: 1, failed: 1, ..attempts(1, 1) });
}

/// Superseded records are not counted.
pub async fn superseded_records_are_not_counted(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let wrong = world.random(LeaseToken::generate);
    let attempt = attempt(AttemptTrigger::Schedule, world.now(), answered(200));
    let outcome = world.record(leased(&delivery, wrong, attempt, Next::Succeeded)).await;
    assert_eq!(outcome, AttemptOutcome::Superseded);
    assert_eq!(total(&world, None).await, Tally { events: 1, made: 1, ..Tally::default() });
}

/// Deliveries that a sweep ends are counted then; the counts stay when a sweep removes them.
pub async fn deliveries_that_a_sweep_ends_are_counted(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (webhook, deleted) = (world.webhook("hook").await, world.webhook("deleted").await);
    world.pending(&webhook).await;
    world.pending(&deleted).await;
    world.delete(&deleted).await;
    let now = world.now().after(DAY * 8);
    sweep(&world, now, EVER.0, EVER.0).await;

    let failed = Tally { failed: 1, ..Tally::default() };
    let last = hours(&world, Some(webhook.id)).await.pop().expect("an hour");
    assert_eq!(last, HourTally { hour: hour_of(now), tally: failed });
    let last = hours(&world, None).await.pop().expect("an hour");
    assert_eq!(last, HourTally { hour: hour_of(now), tally: Tally { cancelled: 1, ..failed } });
    let expected = Tally { events: 2, made: 2, failed: 1, cancelled: 1, ..Tally::default() };
    assert_eq!(total(&world, None).await, expected);
    sweep(&world, now, now.after(DAY), EVER.0).await;
    assert_eq!(world.usage().await, Usage::default(), "all of it is gone");
    assert_eq!(total(&world, None).await, expected);
}

/// A retried delivery does not count as created again. It counts as ended each time that it ends.
pub async fn ends_are_counted_each_time(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.failed(&webhook).await;
    world.retry(&delivery, world.audit("delivery.retry")).await;
    world.cancel(&delivery, world.audit("delivery.cancel")).await;
    world.pass(AN_HOUR);
    let recovery = world.recovery(&webhook).await;
    world.advance(&recovery, world.now(), 10).await;
    let expected = Tally { events: 1, made: 1, failed: 1, cancelled: 1, ..attempts(1, 1) };
    assert_eq!(total(&world, None).await, expected);
    world.try_next(&delivery, 200, Next::Succeeded).await;
    let expected = Tally { succeeded: 1, ..plus(expected, attempts(1, 0)) };
    assert_eq!(total(&world, None).await, expected);
}

/// A redelivery counts as an attempt, and its delivery as ended only once.
pub async fn redeliveries_are_counted(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.failed(&webhook).await;
    for status in [500, 200, 200, 500] {
        world.recorded(redelivered(&delivery, world.now(), answered(status))).await;
    }
    let expected = Tally { made: 1, failed: 1, succeeded: 1, ..attempts(5, 3) };
    assert_eq!(total(&world, Some(&webhook)).await, expected);
}

/// Changes count in their UTC hour: an attempt and the end that it causes in the hour of the attempt's end.
pub async fn changes_count_in_their_hour(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let next_hour = hour_of(world.now()).after(AN_HOUR);
    let last_moment = next_hour.before(Duration::from_millis(1));
    let delivery = world.pending_at(&webhook, last_moment).await;
    let token = world.take(&delivery, last_moment).await;
    let attempt = attempt(AttemptTrigger::Schedule, last_moment, answered(200));
    world.recorded(leased(&delivery, token, attempt, Next::Succeeded)).await;
    world.pending_at(&webhook, next_hour).await;

    let made = Tally { made: 1, ..Tally::default() };
    let (first, second) = (hour_of(last_moment), next_hour);
    let second_tally = Tally { made: 1, succeeded: 1, ..attempts(1, 0) };
    let expected = [HourTally { hour: first, tally: made }, HourTally { hour: second, tally: second_tally }];
    assert_eq!(hours(&world, Some(webhook.id)).await, expected);
    let with_event = expected.map(|hour| HourTally { tally: Tally { events: 1, ..hour.tally }, ..hour });
    assert_eq!(hours(&world, None).await, with_event);
}

/// Non-empty hours are listed oldest first. The range includes its start and excludes its end.
pub async fn hours_are_listed_in_order(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let start = hour_of(world.now());
    for hour in [0, 1, 3] {
        world.pending_at(&webhook, start.after(AN_HOUR * hour)).await;
    }
    let a_moment = Duration::from_millis(1);
    let listed = async |from: Timestamp, to: Timestamp| {
        let mut lists = Vec::new();
        for webhook in [None, Some(webhook.id)] {
            let found = world.store.tallies(world.organization, webhook, from, to).await.expect("tallies");
            lists.push(found.into_iter().map(|hour| hour.hour).collect::<Vec<_>>());
        }
        assert_eq!(lists[0], lists[1]);
        lists.remove(0)
    };
    let [first, second, fourth] = [0, 1, 3].map(|hour| start.after(AN_HOUR * hour));
    assert_eq!(listed(EVER.0, EVER.1).await, [first, second, fourth]);
    assert_eq!(listed(first, fourth).await, [first, second]);
    assert_eq!(listed(first.after(a_moment), fourth.after(a_moment)).await, [second, fourth]);
    assert_eq!(listed(second.after(a_moment), fourth).await, []);
    assert_eq!(listed(fourth, first).await, []);
}

/// An organization's hours are the sums of its webhooks' hours, including deleted ones, and its events.
pub async fn an_organizations_hours_are_sums(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (one, two) = (world.webhook("one").await, world.webhook("two").await);
    for webhook in [&one, &two, &one] {
        world.failed(webhook).await;
        world.pinged(webhook).await;
        world.pass(AN_HOUR);
    }
    world.succeeded(&two).await;
    world.pending(&two).await;
    world.delete(&two).await;
    sweep(&world, world.now(), EVER.0, EVER.0).await;

    let mut of_webhooks = hours(&world, Some(one.id)).await;
    of_webhooks.extend(hours(&world, Some(two.id)).await);
    let whole = hours(&world, None).await;
    assert_eq!(whole.len(), 4);
    for HourTally { hour, tally } in whole {
        let in_hour = of_webhooks.iter().filter(|other| other.hour == hour);
        let sum = in_hour.fold(Tally::default(), |sum, other| plus(sum, other.tally));
        assert!(sum.made > 0, "deleted webhooks' hours are kept");
        assert_eq!(Tally { events: 0, ..tally }, sum);
    }
    assert_eq!(total(&world, None).await.events, 5);
}

/// Tallies and usage of organizations do not mix.
pub async fn organizations_tallies_do_not_mix(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    world.failed(&webhook).await;
    let other = world.other_organization("other").await.id;
    for webhook in [None, Some(webhook.id)] {
        assert_eq!(world.store.tallies(other, webhook, EVER.0, EVER.1).await.expect("tallies"), []);
    }
    assert_eq!(world.store.usage(other).await.expect("usage"), Usage::default());
}

/// Old hours are removed at the age of audit entries.
pub async fn old_hours_are_removed(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let first = hour_of(world.now());
    world.pending_at(&webhook, first).await;
    world.pending_at(&webhook, first.after(AN_HOUR)).await;
    sweep(&world, world.now(), EVER.0, first).await;
    assert_eq!(hours(&world, None).await.len(), 2);
    sweep(&world, world.now(), EVER.0, first.after(Duration::from_millis(1))).await;
    for webhook in [None, Some(webhook.id)] {
        let left: Vec<_> = hours(&world, webhook).await.into_iter().map(|hour| hour.hour).collect();
        assert_eq!(left, [first.after(AN_HOUR)]);
    }
}

/// The number of pending deliveries follows every change of a delivery's state.
pub async fn pending_is_exact(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (webhook, deleted) = (world.webhook("hook").await, world.webhook("deleted").await);
    let pending = async || world.usage().await.pending;
    let lost = world.failed(&webhook).await;
    assert_eq!(pending().await, 0);
    world.retry(&lost, world.audit("delivery.retry")).await;
    world.retry(&lost, world.audit("delivery.retry")).await;
    assert_eq!(pending().await, 1, "hastening makes it no second one");
    world.recorded(redelivered(&lost, world.now(), answered(200))).await;
    world.recorded(redelivered(&lost, world.now(), answered(200))).await;
    assert_eq!(pending().await, 0);
    let mut several: Vec<Delivery> = vec![world.failed(&webhook).await];
    for _ in 0..2 {
        several.push(world.pending(&webhook).await);
    }
    world.cancel(&several[1], world.audit("delivery.cancel")).await;
    assert_eq!(pending().await, 1);
    world.pass(AN_HOUR);
    let recovery = world.recovery(&webhook).await;
    world.advance(&recovery, world.now(), 10).await;
    assert_eq!(pending().await, 3);
    world.pending(&deleted).await;
    world.delete(&deleted).await;
    assert_eq!(pending().await, 4, "a deleted webhook's are pending until they are swept");
    sweep(&world, world.now(), EVER.0, EVER.0).await;
    assert_eq!(pending().await, 3);
    sweep(&world, world.now().after(DAY * 8), EVER.0, EVER.0).await;
    assert_eq!(pending().await, 0);
}

/// Stored bytes grow with events, rendered bodies, pings and attempts, and are zero after everything is
/// removed.
pub async fn stored_bytes_grow_and_shrink(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let mut bytes = 0;
    let mut grown = async |what: &str| {
        let now = world.usage().await.stored_bytes;
        assert!(now > bytes, "{what}: {now} bytes after {bytes}");
        bytes = now;
    };
    let delivery = world.pending(&webhook).await;
    grown("an event").await;
    let event = world.new_event();
    let body = Some("{}".into());
    let rendered = NewDelivery { body, ..world.new_delivery(&webhook) };
    let item = world.intake(vec![NewEvent { event: event.clone(), deliveries: vec![rendered] }]).await;
    world.commit(vec![item], Vec::new()).await;
    grown("an event with a body").await;
    world.try_next(&delivery, 200, Next::Succeeded).await;
    grown("an attempt").await;
    world.pinged(&webhook).await;
    grown("a ping").await;
    world.delete(&webhook).await;
    let (now, full) = (world.now(), world.usage().await.stored_bytes);
    sweep(&world, now, EVER.0, EVER.0).await;
    assert_eq!(world.usage().await.stored_bytes, full, "what has ended is kept");
    sweep(&world, now, now.after(AN_HOUR), EVER.0).await;
    assert_eq!(world.usage().await, Usage::default());
}
