//! Recording of outcomes: their effects, and the rejection of late records.

use std::time::Duration;

use stackbell_model::delivery::{
    Attempt, AttemptTrigger, CancelReason, Delivery, FailReason, Outcome, Response, Silence, State,
};
use stackbell_model::health::Health;
use stackbell_model::ids::LeaseToken;
use stackbell_model::retry::Next;

use super::Harness;
use super::fixtures::{World, answered, attempt, ended_at, leased, pinged, redelivered};
use crate::commit::{AttemptOutcome, AttemptSubject};
use crate::history::{StoredAttempt, StoredDelivery};
use crate::queue::LaneMode;

fn scheduled(world: &World, status: u16) -> Attempt {
    attempt(AttemptTrigger::Schedule, world.now(), answered(status))
}

/// A success ends the delivery at the end of the attempt.
pub async fn a_success_ends_the_delivery(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let token = world.take(&delivery, world.now()).await;
    let attempt = scheduled(&world, 204);

    world.recorded(leased(&delivery, token, attempt.clone(), Next::Succeeded)).await;

    let expected = Delivery { state: State::Succeeded { at: ended_at(&attempt) }, ..delivery };
    assert_eq!(world.find(&expected).await, Some(expected.clone()));
    let attempts = world.store.list_attempts(webhook.id, 10, u64::MAX).await.expect("list_attempts");
    let payload = attempts[0].delivery.payload.clone();
    let delivery = StoredDelivery { delivery: expected, payload };
    assert_eq!(attempts, [StoredAttempt { delivery, attempt }]);
}

/// A retry makes the delivery due again at its time, and counts only if the attempt was spent.
pub async fn a_retry_makes_it_due_again(harness: &dyn Harness) {
    let world = World::open(harness).await;
    for (name, spent) in [("spent", true), ("not-spent", false)] {
        let webhook = world.webhook(name).await;
        let delivery = world.pending(&webhook).await;
        let at = world.now().after(Duration::from_secs(5));
        world.try_next(&delivery, 500, Next::Retry { at, spent }).await;

        let attempts_spent = u32::from(spent);
        let expected = Delivery { attempts_spent, state: State::Pending { due_at: at }, ..delivery };
        assert_eq!(world.find(&expected).await, Some(expected.clone()));
        assert!(world.lease_due(&webhook, 1, at.before(Duration::from_millis(1))).await.is_empty());
        assert_eq!(world.lease_due(&webhook, 1, at).await, [expected.id]);
    }
}

/// Retries add up.
pub async fn spent_attempts_add_up(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    for spent in [true, false, true] {
        let at = world.now();
        world.try_next(&delivery, 500, Next::Retry { at, spent }).await;
    }
    assert_eq!(world.find(&delivery).await.map(|delivery| delivery.attempts_spent), Some(2));
    assert_eq!(world.attempt_count(&webhook).await, 3);
}

/// A failed delivery has a time and a reason.
pub async fn a_failed_delivery_says_why(harness: &dyn Harness) {
    let world = World::open(harness).await;
    for reason in FailReason::ALL.iter().copied() {
        let webhook = world.webhook(&reason.as_str().replace('_', "-")).await;
        let delivery = world.pending(&webhook).await;
        let token = world.take(&delivery, world.now()).await;
        let attempt = scheduled(&world, 500);
        let at = ended_at(&attempt);
        world.recorded(leased(&delivery, token, attempt, Next::Failed(reason))).await;
        assert_eq!(world.state(&delivery).await, State::Failed { at, reason });
        assert!(world.lease_due(&webhook, 1, world.now()).await.is_empty());
    }
}

/// Every outcome is read back as it was recorded.
pub async fn outcomes_are_read_back_unchanged(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let silences =
        [Silence::Forbidden, Silence::Unresolved, Silence::Unreachable, Silence::TimedOut, Silence::Broken];
    let mut outcomes: Vec<Outcome> = silences
        .into_iter()
        .map(|silence| Outcome::Unanswered { silence, text: format!("{silence:?}").into() })
        .collect();
    outcomes.push(Outcome::OurFault { text: "cut by our stop".into() });
    outcomes.push(Outcome::Undeliverable { text: "no credential".into() });
    outcomes.push(Outcome::HiddenError(Response {
        status: 200,
        headers: "Content-Type: text/plain\r\n".into(),
        body: "Microsoft Teams endpoint returned HTTP error 429".into(),
        retry_after: None,
    }));
    outcomes.push(Outcome::Answered(Response {
        status: 503,
        headers: "Retry-After: 7\r\nX-\u{e9}: \u{fffd}\r\n".into(),
        body: "later\0, \"perhaps\"".into(),
        retry_after: Some(Duration::from_secs(7)),
    }));
    for outcome in outcomes {
        let record = redelivered(&delivery, world.now(), outcome);
        let expected = record.attempt.clone();
        world.recorded(record).await;
        let newest = world.store.list_attempts(webhook.id, 1, u64::MAX).await.expect("list_attempts");
        assert_eq!(newest[0].attempt, expected);
    }
}

/// Every trigger is read back as it was recorded.
pub async fn triggers_are_read_back_unchanged(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    for trigger in AttemptTrigger::ALL.iter().copied() {
        let mut record = redelivered(&delivery, world.now(), answered(500));
        record.attempt.trigger = trigger;
        world.recorded(record).await;
        let newest = world.store.list_attempts(webhook.id, 1, u64::MAX).await.expect("list_attempts");
        assert_eq!(newest[0].attempt.trigger, trigger);
    }
}

/// A record with a wrong token is superseded.
pub async fn a_wrong_token_records_nothing(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let token = world.take(&delivery, world.now()).await;
    let wrong = world.random(LeaseToken::generate);

    let record = leased(&delivery, wrong, scheduled(&world, 200), Next::Succeeded);
    assert_eq!(world.record(record).await, AttemptOutcome::Superseded);

    assert_eq!(world.find(&delivery).await, Some(delivery.clone()));
    assert_eq!(world.attempt_count(&webhook).await, 0);
    world.recorded(leased(&delivery, token, scheduled(&world, 200), Next::Succeeded)).await;
}

/// If another lease replaced the holder's, the old holder's record is superseded and the new holder's is not.
pub async fn a_replaced_lease_records_nothing(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let now = world.now();
    let lost = world.take(&delivery, now).await;
    let token = world.take(&delivery, now.after(Duration::from_secs(3600))).await;

    let late = leased(&delivery, lost, scheduled(&world, 200), Next::Succeeded);
    assert_eq!(world.record(late).await, AttemptOutcome::Superseded);
    assert_eq!(world.find(&delivery).await, Some(delivery.clone()));
    world.recorded(leased(&delivery, token, scheduled(&world, 200), Next::Succeeded)).await;
    assert_eq!(world.attempt_count(&webhook).await, 1);
}

/// An expired lease that nobody took over can still record.
pub async fn an_expired_lease_records_until_it_is_replaced(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let now = world.now();
    let token = world.take(&delivery, now).await;
    let late = attempt(AttemptTrigger::Schedule, now.after(Duration::from_secs(3600)), answered(200));
    world.recorded(leased(&delivery, token, late, Next::Succeeded)).await;
}

/// A lease records once.
pub async fn a_lease_records_once(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let token = world.take(&delivery, world.now()).await;
    let next = Next::Retry { at: world.now(), spent: true };
    let record = leased(&delivery, token, scheduled(&world, 500), next);

    let outcome = world.commit(Vec::new(), vec![record.clone(), record.clone()]).await;

    assert!(matches!(outcome.attempts[0], AttemptOutcome::Recorded { .. }));
    assert_eq!(outcome.attempts[1], AttemptOutcome::Superseded);
    assert_eq!(world.record(record).await, AttemptOutcome::Superseded);
    assert_eq!(world.attempt_count(&webhook).await, 1);
}

/// A superseded record does not affect the others of its batch.
pub async fn a_superseded_attempt_does_not_affect_others(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let mut records = Vec::new();
    for _ in 0..3 {
        let delivery = world.pending(&webhook).await;
        let token = world.take(&delivery, world.now()).await;
        records.push(leased(&delivery, token, scheduled(&world, 200), Next::Succeeded));
    }
    if let AttemptSubject::Leased { token, .. } = &mut records[1].subject {
        *token = world.random(LeaseToken::generate);
    }
    let outcome = world.commit(Vec::new(), records).await;
    let superseded: Vec<bool> =
        outcome.attempts.iter().map(|outcome| *outcome == AttemptOutcome::Superseded).collect();
    assert_eq!(superseded, [false, true, false]);
    assert_eq!(world.attempt_count(&webhook).await, 2);
}

/// A successful redelivery ends a pending delivery and makes its lease void.
pub async fn a_redelivery_ends_a_pending_delivery_and_its_lease(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let token = world.take(&delivery, world.now()).await;
    let record = redelivered(&delivery, world.now(), answered(200));
    let at = ended_at(&record.attempt);
    world.recorded(record).await;

    let late = leased(&delivery, token, scheduled(&world, 500), Next::Retry { at: world.now(), spent: true });
    assert_eq!(world.record(late).await, AttemptOutcome::Superseded);

    assert_eq!(world.state(&delivery).await, State::Succeeded { at });
    let far_ahead = world.now().after(Duration::from_secs(3600));
    assert!(world.lease_due(&webhook, 1, far_ahead).await.is_empty());
}

/// A successful redelivery ends a failed delivery.
pub async fn a_redelivery_ends_a_failed_delivery(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    world.try_next(&delivery, 500, Next::Failed(FailReason::AttemptsExhausted)).await;
    let record = redelivered(&delivery, world.now(), answered(200));
    let at = ended_at(&record.attempt);
    world.recorded(record).await;
    assert_eq!(world.state(&delivery).await, State::Succeeded { at });
    assert_eq!(world.attempt_count(&webhook).await, 2);
}

/// A failed redelivery leaves a pending delivery, its schedule and its lease unchanged.
pub async fn a_failed_redelivery_leaves_the_schedule(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let token = world.take(&delivery, world.now()).await;

    world.recorded(redelivered(&delivery, world.now(), answered(500))).await;

    assert_eq!(world.find(&delivery).await, Some(delivery.clone()));
    assert!(world.lease_due(&webhook, 1, world.now()).await.is_empty(), "it is still leased");
    world.recorded(leased(&delivery, token, scheduled(&world, 200), Next::Succeeded)).await;
}

/// A failed redelivery leaves a finished delivery unchanged.
pub async fn a_failed_redelivery_leaves_a_finished_delivery(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let ends = [("succeeded", Next::Succeeded), ("failed", Next::Failed(FailReason::Expired))];
    for (name, next) in ends {
        let webhook = world.webhook(name).await;
        let delivery = world.pending(&webhook).await;
        world.try_next(&delivery, 200, next).await;
        let before = world.find(&delivery).await;
        world.recorded(redelivered(&delivery, world.now(), answered(500))).await;
        assert_eq!(world.find(&delivery).await, before);
        assert_eq!(world.attempt_count(&webhook).await, 2);
    }
}

/// A ping is created with its attempt, and is never in the queue.
pub async fn a_ping_is_stored_with_its_attempt(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.new_ping(&webhook);
    let attempt = attempt(AttemptTrigger::Ping, world.now(), answered(500));

    world.recorded(pinged(delivery.clone(), attempt.clone())).await;

    let payload = delivery.body.clone().expect("a ping has its own bytes");
    let delivery = StoredDelivery { delivery, payload };
    let found = world.store.find_delivery(webhook.id, delivery.delivery.event_id).await;
    assert_eq!(found.expect("find_delivery"), Some(delivery.clone()));
    let attempts = world.store.list_attempts(webhook.id, 10, u64::MAX).await.expect("list_attempts");
    assert_eq!(attempts, [StoredAttempt { delivery, attempt }]);
    let (_, lane) = world.lease(&webhook, LaneMode::Probe, 1, world.now()).await;
    assert!(lane.deliveries.is_empty());
}

/// A ping can be sent again, and a success ends it.
pub async fn a_ping_can_be_redelivered(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.new_ping(&webhook);
    let first = attempt(AttemptTrigger::Ping, world.now(), answered(500));
    world.recorded(pinged(delivery.clone(), first)).await;
    let record = redelivered(&delivery, world.now(), answered(200));
    let at = ended_at(&record.attempt);
    world.recorded(record).await;
    assert_eq!(world.state(&delivery).await, State::Succeeded { at });
    assert_eq!(world.attempt_count(&webhook).await, 2);
}

/// An attempt in flight when its webhook was deleted is recorded, and ends its delivery: as succeeded with a
/// 2xx, else as cancelled by the actor that deleted the webhook. This holds before and after the sweep
/// cancels the delivery.
pub async fn an_attempt_of_a_deleted_webhook_is_recorded(harness: &dyn Harness) {
    let world = World::open(harness).await;
    for (is_swept, name) in [(false, "not-swept"), (true, "swept")] {
        let nexts = [
            (200, Next::Succeeded),
            (500, Next::Retry { at: world.now(), spent: true }),
            (500, Next::Failed(FailReason::AttemptsExhausted)),
        ];
        for (index, (status, next)) in nexts.into_iter().enumerate() {
            let webhook = world.webhook(&format!("{name}-{index}")).await;
            let delivery = world.pending(&webhook).await;
            let token = world.take(&delivery, world.now()).await;
            world.delete(&webhook).await;
            if is_swept {
                world.sweep().await;
            }
            let swept = world.state(&delivery).await;
            let attempt = scheduled(&world, status);
            let at = ended_at(&attempt);
            let record = leased(&delivery, token, attempt, next);

            let outcome = world.record(record.clone()).await;

            let reason = CancelReason::WebhookDeleted;
            let cancelled = State::Cancelled { at, reason, by: "analyst".into() };
            let (expected, ended) = match (status, is_swept) {
                (200, _) => (State::Succeeded { at }, Some(State::Succeeded { at })),
                (_, false) => (cancelled.clone(), Some(cancelled)),
                (_, true) => (swept, None),
            };
            assert_eq!(outcome, AttemptOutcome::Recorded { health: Health::default(), ended });
            assert_eq!(world.state(&delivery).await, expected);
            assert_eq!(world.attempts_of(&delivery).await, 1);
            assert_eq!(world.record(record).await, AttemptOutcome::Superseded, "twice");
            assert_eq!(world.attempts_of(&delivery).await, 1);
            assert_eq!(world.sweep().await.cancelled, 0, "it has ended");
            let usage = world.store.usage(world.organization).await.expect("usage");
            assert_eq!(usage.pending, 0);
        }
    }
}

/// Pings and redeliveries in flight when the webhook was deleted are recorded too.
pub async fn attempts_on_demand_of_a_deleted_webhook_are_recorded(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let new_ping = world.new_ping(&webhook);
    world.delete(&webhook).await;

    let redelivery = redelivered(&delivery, world.now(), answered(200));
    let at = ended_at(&redelivery.attempt);
    world.recorded(redelivery).await;
    world.recorded(pinged(new_ping.clone(), attempt(AttemptTrigger::Ping, world.now(), answered(200)))).await;

    assert_eq!(world.state(&delivery).await, State::Succeeded { at });
    assert_eq!(world.find(&new_ping).await, Some(new_ping.clone()));
    assert_eq!((world.attempts_of(&delivery).await, world.attempts_of(&new_ping).await), (1, 1));
}

/// An attempt is superseded if its delivery does not exist or is another webhook's.
pub async fn attempts_of_unknown_deliveries_are_superseded(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (webhook, other) = (world.webhook("hook").await, world.webhook("other").await);
    let unknown = world.new_ping(&webhook);
    let theirs = world.pending(&other).await;
    let token = world.take(&theirs, world.now()).await;
    let mixed_up = Delivery { webhook: webhook.id, ..theirs.clone() };

    let records = vec![
        redelivered(&unknown, world.now(), answered(200)),
        redelivered(&mixed_up, world.now(), answered(200)),
        leased(&mixed_up, token, scheduled(&world, 200), Next::Succeeded),
    ];
    let outcome = world.commit(Vec::new(), records).await;

    assert_eq!(outcome.attempts, vec![AttemptOutcome::Superseded; 3]);
    assert_eq!(world.find(&theirs).await, Some(theirs));
    assert_eq!(world.attempt_count(&webhook).await + world.attempt_count(&other).await, 0);
}
