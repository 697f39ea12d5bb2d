//! Reading events, deliveries and attempts.

use std::time::Duration;

use bytes::Bytes;
use stackbell_model::delivery::Attempt;
use stackbell_model::event::{Event, PAYLOAD_BYTES_MAX};
use stackbell_model::ids::{EventId, EventKey};
use stackbell_model::webhook::Format;

use super::Harness;
use super::fixtures::{World, answered, redelivered};
use crate::commit::{NewDelivery, NewEvent};

/// An event is found in its own organization only.
pub async fn an_event_is_found_in_its_organization_only(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let other = world.new_organization("other");
    let audit = world.audit("organization.create");
    world.store.create_organization(&other, None, audit).await.expect("create_organization");
    let event = world.new_event();
    world.accept(&event, &[]).await;

    let ours = world.store.find_event(world.organization, event.id).await.expect("find_event");
    assert_eq!(ours.map(|stored| stored.event), Some(event.clone()));
    assert_eq!(world.store.find_event(other.id, event.id).await.expect("find_event"), None);
    assert_eq!(world.store.list_events(other.id, None, 10, u64::MAX).await.expect("list_events"), []);
    let unknown = world.random(EventId::generate);
    assert_eq!(world.store.find_event(world.organization, unknown).await.expect("find_event"), None);
}

/// Events are listed newest first; pages have no gap and no overlap.
pub async fn events_are_listed_newest_first(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let mut expected: Vec<EventKey> = Vec::new();
    for _ in 0..5 {
        let event = world.new_event();
        world.accept(&event, &[]).await;
        expected.insert(0, event.key);
    }
    let mut found: Vec<EventKey> = Vec::new();
    loop {
        let page = world.store.list_events(world.organization, found.last().copied(), 2, u64::MAX).await;
        let page = page.expect("list_events");
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        found.extend(page.iter().map(|stored| stored.event.key));
    }
    assert_eq!(found, expected);
}

/// A delivery is found by its webhook and the event's id on the wire only.
pub async fn a_delivery_is_found_by_webhook_and_event(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (webhook, other) = (world.webhook("hook").await, world.webhook("other").await);
    let delivery = world.pending(&webhook).await;
    let theirs = world.pending(&other).await;

    assert_eq!(world.find(&delivery).await, Some(delivery.clone()));
    let mixed_up = world.store.find_delivery(webhook.id, theirs.event_id).await;
    assert_eq!(mixed_up.expect("find_delivery"), None);
}

/// Payloads and rendered bodies are read back unchanged, up to the maximum size.
pub async fn payloads_are_read_back_unchanged(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let largest = format!("\"{}\"", "x".repeat(PAYLOAD_BYTES_MAX - 2));
    let odd = "{\"z\":1.0,\"a\":1e400,\"z\":\"\\u0000\u{2028}\u{1f514}\"}";
    let not_text = vec![0xff, 0x00, 0xfe];
    for payload in [Bytes::from(largest), Bytes::from(odd), Bytes::from(not_text), Bytes::new()] {
        let raw = Event { payload: payload.clone(), ..world.new_event() };
        let chat = world.new_event();
        let rendered = NewDelivery {
            format: Format::Slack,
            body: Some(payload.clone()),
            ..world.new_delivery(&webhook)
        };
        let events = vec![
            NewEvent { event: raw.clone(), deliveries: vec![world.new_delivery(&webhook)] },
            NewEvent { event: chat.clone(), deliveries: vec![rendered] },
        ];
        let item = world.intake(events).await;
        world.commit(vec![item], Vec::new()).await;
        for event in [raw, chat] {
            let found = world.store.find_delivery(webhook.id, event.id).await.expect("find_delivery");
            assert!(found.is_some_and(|stored| stored.payload == payload), "{} bytes", payload.len());
        }
    }
}

/// Attempts are listed newest first by their start and then by the order of recording, up to the limit.
pub async fn attempts_are_listed_newest_first(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let (one, two) = (world.pending(&webhook).await, world.pending(&webhook).await);
    let start = world.now();
    // The starts are 2 s, 1 s, 2 s again and 0 s, so the third attempt is the newest, and the first comes
    // next.
    for (delivery, seconds, status) in [(&one, 2, 500), (&two, 1, 501), (&two, 2, 502), (&one, 0, 503)] {
        let at = start.after(Duration::from_secs(seconds));
        world.recorded(redelivered(delivery, at, answered(status))).await;
    }
    let listed = async |limit| {
        let attempts = world.store.list_attempts(webhook.id, limit, u64::MAX).await.expect("list_attempts");
        attempts.into_iter().map(|stored| stored.attempt.outcome.status()).collect::<Vec<_>>()
    };
    assert_eq!(listed(10).await, [502, 500, 501, 503]);
    assert_eq!(listed(3).await, [502, 500, 501]);
}

/// An attempt is listed with the current state of its delivery, under its own webhook only.
pub async fn attempts_are_listed_with_their_delivery(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (webhook, other) = (world.webhook("hook").await, world.webhook("other").await);
    let delivery = world.pending(&webhook).await;
    world.recorded(redelivered(&delivery, world.now(), answered(500))).await;
    world.recorded(redelivered(&delivery, world.now(), answered(200))).await;
    let current = world.store.find_delivery(webhook.id, delivery.event_id).await.expect("find_delivery");
    let attempts = world.store.list_attempts(webhook.id, 10, u64::MAX).await.expect("list_attempts");
    assert_eq!(attempts.len(), 2);
    for stored in attempts {
        assert_eq!(Some(stored.delivery), current);
    }
    assert_eq!(world.attempt_count(&other).await, 0);
}

/// A list ends with the row that reaches the size limit. It has at least one row, whatever its size.
pub async fn lists_are_limited_by_size(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    for _ in 0..3 {
        let event = Event { payload: Bytes::from(vec![b'x'; 1000]), ..world.new_event() };
        world.accept(&event, &[&webhook]).await;
        let stored = world.store.find_delivery(webhook.id, event.id).await.expect("find_delivery");
        let delivery = stored.expect("it is there").delivery;
        world.recorded(redelivered(&delivery, world.now(), answered(500))).await;
    }
    let events = async |bytes_max| {
        let listed = world.store.list_events(world.organization, None, 10, bytes_max).await;
        listed.expect("list_events").len()
    };
    let attempts = world.store.list_attempts(webhook.id, 10, u64::MAX).await.expect("list_attempts");
    let size = attempts[0].size();
    assert!(size > 1000, "it counts what was answered, too");
    let attempts = async |bytes_max| {
        let listed = world.store.list_attempts(webhook.id, 10, bytes_max).await;
        listed.expect("list_attempts").len()
    };
    for (rows, events_bytes, attempts_bytes) in
        [(1, 0, 0), (1, 1000, size), (2, 1001, size + 1), (2, 2000, 2 * size), (3, 2001, 2 * size + 1)]
    {
        assert_eq!(events(events_bytes).await, rows, "{events_bytes} bytes of events");
        assert_eq!(attempts(attempts_bytes).await, rows, "{attempts_bytes} bytes of attempts");
    }
}

/// An attempt's duration is kept to the millisecond.
pub async fn durations_are_kept_in_milliseconds(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    for milliseconds in [0, 1, 14_999] {
        let mut record = redelivered(&delivery, world.now(), answered(500));
        let duration = Duration::from_millis(milliseconds);
        record.attempt = Attempt { duration, ..record.attempt };
        world.recorded(record).await;
        let newest = world.store.list_attempts(webhook.id, 1, u64::MAX).await.expect("list_attempts");
        assert_eq!(newest[0].attempt.duration, duration);
    }
}
