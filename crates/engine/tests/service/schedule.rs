//! Retries: their times, their content, and their end.

use std::time::Duration;

use stackbell_engine::core::CoreConfig;
use stackbell_model::delivery::{AttemptTrigger, FailReason, State};
use stackbell_model::retry::RetryPolicy;
use stackbell_model::{Clock as _, Timestamp};
use stackbell_testkit::{Receiver, Reply};

use crate::world::{BEGIN, PAYLOAD, World};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// The first nine waits, as documented.
const WAITS: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(1800),
    Duration::from_secs(3600),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(4 * 3600),
    Duration::from_secs(8 * 3600),
];

/// Invariants 3 and 4: each attempt has an equal id and equal bytes.
#[tokio::test]
async fn an_endpoint_that_fails_for_a_while_is_tried_again_on_schedule() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    world.receiver.then(WAITS.map(|_| Reply::status(503)));
    let (event, _) = world.publish().await;
    for (spent, wait) in (1..).zip(WAITS) {
        world.receiver.wait_for(spent as usize).await;
        let due = world.due_after(&webhook, event, spent).await;
        let actual = due.since(world.clock.now());
        assert!(actual >= wait && actual <= wait.mul_f64(1.1), "attempt {spent}: {actual:?} for {wait:?}");
        // A millisecond too early: nothing is due yet.
        world.clock.advance_to(due.before(Duration::from_millis(1)));
        assert_eq!(world.receiver.count(), spent as usize);
        world.clock.advance_to(due);
    }
    let requests = world.receiver.wait_for(10).await;
    world.succeeded(&webhook, event).await;
    for request in &requests {
        assert_eq!((request.id(), request.text()), (event.to_string().as_str(), PAYLOAD));
    }
    let attempts = world.attempts(&webhook).await;
    assert_eq!(attempts.len(), 10);
    assert!(attempts.iter().all(|attempt| attempt.trigger == AttemptTrigger::Schedule));
}

#[tokio::test]
async fn responses_other_than_2xx_are_retried() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    let redirect = Reply::status(307).header("Location", "/elsewhere");
    let replies = [Reply::status(404), redirect, Reply::close(), Reply::status(204)];
    let expected = [204, 0, 307, 404];
    world.receiver.then(replies);
    let (event, _) = world.publish().await;
    for spent in 1..4 {
        let due = world.due_after(&webhook, event, spent).await;
        world.clock.advance_to(due);
    }
    world.succeeded(&webhook, event).await;
    let statuses: Vec<_> = world.attempts(&webhook).await.iter().map(|a| a.outcome.status()).collect();
    assert_eq!(statuses, expected);
    assert!(world.receiver.requests().iter().all(|request| request.path == "/hook"), "it follows redirects");
}

#[tokio::test]
async fn an_endpoint_may_ask_for_a_longer_wait() {
    check_retry_after("120", 2 * MINUTE).await;
    check_retry_after("1", Duration::from_secs(5)).await;
    check_retry_after(&date_of(BEGIN.after(10 * MINUTE)), 10 * MINUTE).await;
    check_retry_after(&date_of(BEGIN.before(HOUR)), Duration::from_secs(5)).await;
    check_retry_after("604800", 24 * HOUR).await;
    check_retry_after(&date_of(BEGIN.after(30 * 24 * HOUR)), 24 * HOUR).await;
    check_retry_after("soon", Duration::from_secs(5)).await;
}

/// Checks that the wait is `expected`, apart from jitter if the schedule's own wait is longer.
async fn check_retry_after(value: &str, expected: Duration) {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    world.receiver.then([Reply::status(429).header("Retry-After", value)]);
    let (event, _) = world.publish().await;
    let due = world.due_after(&webhook, event, 1).await;
    let wait = due.since(BEGIN);
    let jitter = if expected == WAITS[0] { WAITS[0].mul_f64(0.1) } else { Duration::ZERO };
    assert!(wait >= expected && wait <= expected + jitter, "{value}: {wait:?} for {expected:?}");
    world.clock.advance_to(due);
    world.succeeded(&webhook, event).await;
}

/// The endpoint is left alone for the requested time, even after a restart.
#[tokio::test]
async fn a_wait_that_an_endpoint_requested_survives_a_restart() {
    let mut world = World::start().await;
    let webhook = world.webhook("hook", |_| ()).await;
    world.receiver.then([Reply::status(503).header("Retry-After", "3600")]);
    let (first, _) = world.publish().await;
    let due = world.due_after(&webhook, first, 1).await;
    let mut world = world.restart(Duration::from_secs(5)).await;
    let witness = world.webhook("witness", |_| ()).await;
    world.clock.advance_to(due.before(Duration::from_millis(1)));
    let (second, _) = world.publish().await;
    world.succeeded(&witness, second).await;
    let to_hook =
        |world: &World| world.receiver.requests().iter().filter(|request| request.path == "/hook").count();
    assert_eq!(to_hook(&world), 1);
    world.clock.advance_to(due);
    world.succeeded(&webhook, first).await;
    let delivery = world.succeeded(&webhook, second).await;
    assert_eq!((delivery.attempts_spent, to_hook(&world)), (0, 3));
}

/// Formats a date like `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date_of(at: Timestamp) -> String {
    let seconds = u64::try_from(at.as_secs()).expect("after 1970");
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
}

#[tokio::test]
async fn the_last_attempt_ends_it() {
    let retry = RetryPolicy { waits: vec![MINUTE], ..RetryPolicy::default() };
    let mut world = World::start_with(BEGIN, CoreConfig { retry, ..CoreConfig::default() }).await;
    let webhook = world.webhook("hook", |_| ()).await;
    world.receiver.answer(Reply::status(500));
    let (event, _) = world.publish().await;
    let due = world.due_after(&webhook, event, 1).await;
    world.clock.advance_to(due);
    let is_failed =
        |state: &State| matches!(state, State::Failed { reason: FailReason::AttemptsExhausted, .. });
    world.delivery_when("failure", &webhook, event, |delivery| is_failed(&delivery.state)).await;
    assert_eq!(world.receiver.count(), 2);
}

/// Invariant 5; it also shows that no state is global.
#[tokio::test]
async fn two_engines_run_in_one_process() {
    let (mut one, mut other) = tokio::join!(World::start(), World::start());
    one.receiver.then([Reply::status(500)]);
    let (hook, other_hook) = (one.webhook("hook", |_| ()).await, other.webhook("hook", |_| ()).await);
    let (event, _) = one.publish().await;
    let (other_event, _) = other.publish().await;
    other.succeeded(&other_hook, other_event).await;
    let due = one.due_after(&hook, event, 1).await;
    one.clock.advance_to(due);
    one.succeeded(&hook, event).await;
    let count = |receiver: &Receiver| receiver.count();
    assert_eq!((count(&one.receiver), count(&other.receiver)), (2, 1));
}
