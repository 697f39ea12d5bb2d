//! The size of the file.

use std::fs;
use std::time::Duration;

use rusqlite::Connection;
use stackbell_model::delivery::AttemptTrigger;
use stackbell_model::event::Event;
use stackbell_model::retry::{Next, RetryPolicy};
use stackbell_model::webhook::Webhook;
use stackbell_store::commit::{AttemptOutcome, AttemptRecord, AttemptSubject, IntakeItem, NewEvent, Quota};
use stackbell_store::conformance::fixtures::{World, answered, attempt};
use stackbell_store::maintenance::SweepPolicy;

use super::File;

/// The payload of an update in Pulumi's form, with a message of random words that makes it a kilobyte.
fn payload_of_a_kilobyte(seed: usize) -> String {
    let head = format!(
        r#"{{"user":{{"name":"Morty Smith","githubLogin":"morty","avatarUrl":"https://crazy-adventures.net/morty.png"}},"organization":{{"name":"Crazy Adventures","githubLogin":"crazy-adventures","avatarUrl":"https://crazy-adventures.net/logo.png"}},"projectName":"website","stackName":"website-prod","updateUrl":"https://app.pulumi.com/crazy-adventures/website/website-prod/updates/{seed}","kind":"update","result":"succeeded","resourceChanges":{{"create":{},"same":28}},"isPreview":false,"message":""#,
        seed % 7
    );
    let words =
        ["bucket", "policy", "replaced", "because", "region", "changed", "from", "eu-west-1", "to", "role"];
    let mut random = seed as u64 + 1;
    let mut text = head;
    while text.len() < 1022 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(words[(random >> 33) as usize % words.len()]);
        text.push_str(&format!("-{:x} ", random >> 40));
    }
    text.truncate(1022);
    text + "\"}"
}

/// The request headers of a delivery to a webhook with a secret. Ids and signatures differ between events.
fn request_headers(event: &Event) -> String {
    let id = event.id;
    let noise = format!("{}{}", event.id, event.key).replace('-', "");
    format!(
        "Accept: */*\r\nContent-Type: application/json\r\nPulumi-Webhook-Id: {id}\r\n\
         Pulumi-Webhook-Kind: stack_update\r\nPulumi-Webhook-Signature: {noise}\r\n\
         webhook-id: {id}\r\nwebhook-signature: v1,{}=\r\nwebhook-timestamp: 1767571200\r\n",
        &noise[..43]
    )
}

/// Stores a hundred delivered events of a kilobyte.
async fn deliver_a_hundred(world: &World, webhook: &Webhook, seed: usize) {
    let organization_version = world.snapshot().await.version;
    let (mut intakes, mut attempts) = (Vec::new(), Vec::new());
    for seed in seed..seed + 100 {
        let payload = payload_of_a_kilobyte(seed);
        assert_eq!(payload.len(), 1024);
        let event = Event { payload: payload.into(), digest: Some([7; 32]), ..world.new_event() };
        let lease = world.new_lease(world.now());
        let mut delivery = world.new_delivery(webhook);
        delivery.lease = Some(lease);
        let mut sent = attempt(AttemptTrigger::Schedule, world.now(), answered(200));
        sent.request_headers = request_headers(&event).into();
        let (id, token) = (delivery.id, lease.token);
        attempts.push(AttemptRecord {
            webhook: webhook.id,
            revision: webhook.revision,
            attempt: sent,
            retry_until: None,
            subject: AttemptSubject::Leased { delivery: id, token, next: Next::Succeeded },
        });
        let events = vec![NewEvent { event, deliveries: vec![delivery] }];
        let organization = world.organization;
        intakes.push(IntakeItem {
            organization,
            organization_version,
            change: None,
            events,
            quota: Quota::UNLIMITED,
        });
    }
    world.commit(intakes, Vec::new()).await;
    let recorded = world.commit(Vec::new(), attempts).await;
    assert!(recorded.attempts.iter().all(|one| matches!(one, AttemptOutcome::Recorded { .. })));
}

/// The size of all files of the store.
fn bytes(file: &File) -> u64 {
    let files = fs::read_dir(file.folder.path()).expect("the folder");
    files.map(|entry| entry.expect("a file").metadata().expect("its size").len()).sum()
}

#[tokio::test]
async fn a_thousand_delivered_events_of_a_kilobyte_stay_under_two_megabytes() {
    let file = File::new();
    let world = World::open(&file).await;
    let webhook = world.webhook("hook").await;
    for batch in 0..10 {
        deliver_a_hundred(&world, &webhook, batch * 100).await;
    }
    drop(world);
    let bytes = bytes(&file);
    assert!(bytes < 2_000_000, "{bytes} bytes");
}

/// New rows use the space of removed rows.
#[tokio::test]
async fn a_file_stops_growing_when_as_much_is_removed_as_added() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    const KEPT_DAYS: usize = 3;
    let file = File::new();
    let world = World::open(&file).await;
    let webhook = world.webhook("hook").await;
    let connection = Connection::open(file.path()).expect("a connection");
    let mut pages = Vec::new();
    for day in 0..4 * KEPT_DAYS {
        for batch in 0..5 {
            deliver_a_hundred(&world, &webhook, day * 500 + batch * 100).await;
        }
        world.pass(DAY);
        let policy = SweepPolicy {
            retry: RetryPolicy::default(),
            finished_before: world.now().before(DAY * 3),
            audit_before: world.now().before(DAY * 3),
            rows_max: 100,
        };
        while world.store.sweep(world.now(), &policy).await.expect("sweep").more {}
        // Counts pages of the database, and not of the log, which has its own limit.
        pages.push(
            connection.query_row("PRAGMA page_count", [], |row| row.get::<_, u32>(0)).expect("a count"),
        );
    }
    let (full, last) = (pages[KEPT_DAYS], pages[pages.len() - 1]);
    assert!(full > 300 && last <= full * 21 / 20, "{full} pages, then {last}: {pages:?}");
}
