//! The SQLite store and the in-memory store return equal results for any list of operations.
//!
//! Each store has its own world; both worlds have equal clocks and random numbers.
//! The test fails if a result differs between the stores, or the data that is read after an operation.
//! The version and the stored bytes of an organization are not compared, because each store counts them in its own way.

mod operations;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::ProptestConfig;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use stackbell_model::Timestamp;
use stackbell_model::delivery::{AttemptTrigger, Delivery, FailReason};
use stackbell_model::event::Event;
use stackbell_model::ids::{LeaseToken, SourceId};
use stackbell_model::recovery::Recovery;
use stackbell_model::retry::{Next, RetryPolicy};
use stackbell_model::source::{Change, SourceCursor};
use stackbell_model::webhook::Webhook;
use stackbell_store::Store;
use stackbell_store::audit::AuditRecord;
use stackbell_store::commit::{
    AttemptRecord, AttemptSubject, Batch, BatchOutcome, IntakeItem, ItemChange, NewDelivery, NewEvent, Quota,
};
use stackbell_store::conformance::Harness;
use stackbell_store::conformance::fixtures::{World, answered, attempt, leased, redelivered};
use stackbell_store::history::{DeliveryFilter, DeliveryPage, StoredAttempt, StoredEvent};
use stackbell_store::instance::SendingHold;
use stackbell_store::maintenance::{Depth, LaneDepth, SweepPolicy};
use stackbell_store::queue::{LaneDue, LaneMode};
use stackbell_store::statistics::HourTally;
use stackbell_store_memory::MemoryStore;
use stackbell_store_sqlite::SqliteStore;
use tempfile::TempDir;

use operations::{After, Operation, operations};

/// The number of lists of operations.
const CASES: u32 = 60;

const SOURCE: SourceId = SourceId::from_uuid(uuid::Uuid::nil());
const WEBHOOKS: usize = 3;
const ALL: u32 = 10_000;
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The time after its deadline for which a store must remember a lease. Later it may forget the lease.
const LEASE_KEPT_FOR: Duration = Duration::from_secs(3600);

/// The result of an operation, and the data that can be read after it.
#[derive(Debug, PartialEq)]
struct Observed {
    result: String,
    webhooks: Vec<Webhook>,
    events: Vec<StoredEvent>,
    deliveries: DeliveryPage,
    attempts: Vec<StoredAttempt>,
    lanes: Vec<LaneDue>,
    depth: Depth,
    lane_depths: Vec<LaneDepth>,
    tallies: Vec<Vec<HourTally>>,
    pending: u64,
    recoveries: Vec<Recovery>,
    hold: Option<SendingHold>,
    cursor: Option<SourceCursor>,
    audit: Vec<AuditRecord>,
}

/// The reference.
struct InMemory(MemoryStore);

#[async_trait]
impl Harness for InMemory {
    async fn open(&self) -> Arc<dyn Store> {
        self.0.void_leases();
        Arc::new(self.0.clone())
    }
}

/// The store that is compared with the reference.
struct OnDisk(TempDir);

#[async_trait]
impl Harness for OnDisk {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.0.path().join("store.db")).expect("the store opens"))
    }
}

struct Held {
    delivery: Delivery,
    token: LeaseToken,
    until: Timestamp,
}

/// One of the two stores, and the objects for operations.
struct Side<'harness> {
    harness: &'harness dyn Harness,
    world: World,
    webhooks: Vec<Webhook>,
    events: Vec<Event>,
    deliveries: Vec<Delivery>,
    held: Vec<Held>,
    recoveries: Vec<Recovery>,
    /// The number of cursors that were made.
    cursors: u32,
}

fn pick<T: Clone>(from: &[T], index: usize) -> Option<T> {
    from.get(index.checked_rem(from.len())?).cloned()
}

impl<'harness> Side<'harness> {
    async fn begin(harness: &'harness dyn Harness) -> Self {
        let world = World::open(harness).await;
        let mut webhooks = Vec::new();
        for name in ["one", "two", "three"] {
            webhooks.push(world.webhook(name).await);
        }
        let (events, deliveries, held, recoveries) = Default::default();
        Self { harness, world, webhooks, events, deliveries, held, recoveries, cursors: 0 }
    }

    async fn step(mut self, operation: &Operation) -> (Self, Observed) {
        let result = if matches!(operation, Operation::Restart) {
            self.world = self.world.restarted(self.harness).await;
            String::new()
        } else {
            // There may be no object for the operation, and then on both sides.
            self.apply(operation).await.unwrap_or_default()
        };
        let observed = self.observe(result).await;
        (self, observed)
    }

    async fn apply(&mut self, operation: &Operation) -> Option<String> {
        match *operation {
            Operation::Accept { matches, has_body, is_leased, pending_max, hours_ago } => {
                let new = self.new_event(matches, has_body, is_leased, hours_ago);
                Some(self.accept(new, pending_max).await)
            }
            Operation::AcceptAgain { event, digest } => {
                let key = self.world.new_event().key;
                let event = Event { key, digest: Some([digest; 32]), ..pick(&self.events, event)? };
                let deliveries = vec![self.world.new_delivery(&self.webhooks[0])];
                Some(self.accept(NewEvent { event, deliveries }, 0).await)
            }
            Operation::AdvanceCursor { is_behind, event, pending_max } => {
                self.advance_cursor(is_behind, event, pending_max).await
            }
            Operation::Lease { webhook, limit, mode } => Some(self.lease(webhook, limit, mode).await),
            Operation::Record { held, status, next } => self.record_held(held, status, next).await,
            Operation::Redeliver { delivery, status } => {
                let delivery = pick(&self.deliveries, delivery)?;
                Some(self.record(redelivered(&delivery, self.world.now(), answered(status))).await)
            }
            Operation::Ping { webhook, status } => Some(self.ping(webhook, status).await),
            Operation::Cancel { delivery } => {
                let delivery = pick(&self.deliveries, delivery)?;
                let audit = self.world.audit("delivery.cancel");
                Some(format!("{:?}", self.world.cancel(&delivery, audit).await))
            }
            Operation::Retry { delivery } => {
                let delivery = pick(&self.deliveries, delivery)?;
                let audit = self.world.audit("delivery.retry");
                Some(format!("{:?}", self.world.retry(&delivery, audit).await))
            }
            Operation::Recover { webhook, since } => Some(self.recover(webhook, since).await),
            Operation::Advance { recovery, rows_max } => {
                let recovery = pick(&self.recoveries, recovery)?;
                let now = self.world.now();
                let advanced = self.world.store.advance_recovery(recovery.id, now, rows_max).await;
                Some(format!("{:?}", advanced.expect("advance_recovery")))
            }
            Operation::Replace { webhook } => self.replace(webhook).await,
            Operation::Toggle { webhook } => Some(self.toggle(webhook).await),
            Operation::Resume { webhook } => {
                let webhook = pick(&self.webhooks, webhook)?;
                let (now, audit) = (self.world.now(), self.world.audit("webhook.resume"));
                let resumed = self.world.store.resume_webhook(webhook.id, now, audit).await;
                Some(format!("{:?}", resumed.expect("resume_webhook")))
            }
            Operation::HoldSending => {
                let hold = SendingHold { since: self.world.now(), reason: "restored".into() };
                let held = self.world.store.hold_sending(&hold, self.world.audit("sending.hold")).await;
                Some(format!("{:?}", held.expect("hold_sending")))
            }
            Operation::ResumeSending => {
                let resumed = self.world.store.resume_sending(self.world.audit("sending.resume")).await;
                Some(format!("{:?}", resumed.expect("resume_sending")))
            }
            Operation::Pass { minutes } => {
                self.world.pass(MINUTE * minutes);
                None
            }
            Operation::Sweep { days_kept } => Some(self.sweep(days_kept).await),
            Operation::Restart => unreachable!("`step` handles it"),
        }
    }

    fn new_event(
        &mut self,
        matches: [bool; WEBHOOKS],
        has_body: bool,
        is_leased: bool,
        hours_ago: u32,
    ) -> NewEvent {
        let world = &self.world;
        let accepted_at = world.now().before(MINUTE * 60 * hours_ago);
        let event = Event { accepted_at, digest: Some([1; 32]), ..world.new_event() };
        let lease = is_leased.then(|| world.new_lease(world.now()));
        let matching = self.webhooks.iter().zip(matches).filter(|(_, is_match)| *is_match);
        let deliveries: Vec<NewDelivery> = matching
            .map(|(webhook, _)| {
                let body = has_body.then(|| "{\"text\":\"done\"}".into());
                NewDelivery { body, lease, ..world.new_delivery(webhook) }
            })
            .collect();
        for delivery in &deliveries {
            self.deliveries.push(delivery.to_delivery(&event));
            self.held.extend(lease.map(|lease| Held {
                delivery: delivery.to_delivery(&event),
                token: lease.token,
                until: lease.until,
            }));
        }
        self.events.push(event.clone());
        NewEvent { event, deliveries }
    }

    async fn accept(&mut self, new: NewEvent, pending_max: u64) -> String {
        let quota = Quota { pending_max, ..Quota::UNLIMITED };
        let item = IntakeItem { quota, ..self.world.intake(vec![new]).await };
        format!("{:?}", self.commit(self.world.batch(vec![item], Vec::new())).await)
    }

    async fn advance_cursor(
        &mut self,
        is_behind: bool,
        event: Option<usize>,
        pending_max: u64,
    ) -> Option<String> {
        let new = match event {
            None => self.new_event([true; WEBHOOKS], false, false, 0),
            Some(event) => {
                let key = self.world.new_event().key;
                let event = Event { key, ..pick(&self.events, event)? };
                NewEvent { event, deliveries: vec![self.world.new_delivery(&self.webhooks[0])] }
            }
        };
        self.cursors += 1;
        let to = SourceCursor::parse(&self.cursors.to_string()).expect("a cursor");
        let from = if is_behind { Some(to.clone()) } else { self.cursor().await };
        let change = Change::AdvanceCursor { source: SOURCE, from, to };
        let change = Some(Box::new(ItemChange { change, dropped: self.world.audit("event.drop") }));
        let quota = Quota { pending_max, ..Quota::UNLIMITED };
        let item = IntakeItem { change, quota, ..self.world.intake(vec![new]).await };
        Some(format!("{:?}", self.commit(self.world.batch(vec![item], Vec::new())).await))
    }

    async fn cursor(&self) -> Option<SourceCursor> {
        let found = self.world.store.source_cursor(self.world.organization, SOURCE).await;
        found.expect("source_cursor")
    }

    async fn commit(&self, batch: Batch) -> BatchOutcome {
        self.world.store.commit(Arc::new(batch)).await.expect("commit")
    }

    async fn record(&self, record: AttemptRecord) -> String {
        format!("{:?}", self.commit(self.world.batch(Vec::new(), vec![record])).await)
    }

    async fn lease(&mut self, webhook: usize, limit: u32, mode: LaneMode) -> String {
        let webhook = pick(&self.webhooks, webhook).expect("there are some");
        let now = self.world.now();
        let (token, lane) = self.world.lease(&webhook, mode, limit, now).await;
        let until = now.after(MINUTE);
        for leased in &lane.deliveries {
            self.held.push(Held { delivery: leased.delivery.clone(), token, until });
        }
        format!("{lane:?}")
    }

    /// Records an outcome under a lease, which may be replaced or void.
    async fn record_held(&mut self, held: usize, status: u16, next: After) -> Option<String> {
        let now = self.world.now();
        self.held.retain(|held| held.until.after(LEASE_KEPT_FOR) > now);
        let held = self.held.get(held.checked_rem(self.held.len())?)?;
        let next = match next {
            After::Succeeded => Next::Succeeded,
            After::Failed => Next::Failed(FailReason::AttemptsExhausted),
            After::Retry { minutes, spent } => Next::Retry { at: now.after(MINUTE * minutes), spent },
        };
        let attempt = attempt(AttemptTrigger::Schedule, now, answered(status));
        Some(self.record(leased(&held.delivery, held.token, attempt, next)).await)
    }

    async fn ping(&mut self, webhook: usize, status: u16) -> String {
        let webhook = pick(&self.webhooks, webhook).expect("there are some");
        let ping = self.world.new_ping(&webhook);
        self.deliveries.push(ping.clone());
        let attempt = attempt(AttemptTrigger::Ping, self.world.now(), answered(status));
        let subject = AttemptSubject::Ping(Box::new(ping));
        self.record(AttemptRecord {
            webhook: webhook.id,
            revision: webhook.revision,
            attempt,
            retry_until: None,
            subject,
        })
        .await
    }

    async fn recover(&mut self, webhook: usize, since: usize) -> String {
        let webhook = pick(&self.webhooks, webhook).expect("there are some");
        let since = pick(&self.deliveries, since).map(|delivery| delivery.created_at);
        let since = since.unwrap_or(Timestamp::from_millis(0));
        let recovery = self.world.new_recovery(&webhook, since).await;
        let created = self.world.create_recovery(&recovery).await;
        self.recoveries.push(recovery.clone());
        format!("{created:?} {recovery:?}")
    }

    /// Deletes a webhook, and creates another one with the same name.
    async fn replace(&mut self, webhook: usize) -> Option<String> {
        let index = webhook.checked_rem(self.webhooks.len())?;
        self.world.delete(&self.webhooks[index]).await;
        self.webhooks[index] = self.world.webhook(self.webhooks[index].name.as_str()).await;
        None
    }

    async fn toggle(&mut self, webhook: usize) -> String {
        let webhook = pick(&self.webhooks, webhook).expect("there are some");
        let current = self.world.current(&webhook).await;
        let wanted = Webhook { active: !current.active, ..current };
        let edited = self.world.store.edit_webhook(&wanted, self.world.audit("webhook.edit")).await;
        format!("{:?}", edited.expect("edit_webhook"))
    }

    async fn sweep(&mut self, days_kept: u32) -> String {
        let now = self.world.now();
        let policy = SweepPolicy {
            retry: RetryPolicy::default(),
            finished_before: now.before(DAY * days_kept),
            // Keeps the hours in which counts may still change.
            audit_before: now.before(DAY * (days_kept * 2 + 1)),
            rows_max: ALL,
        };
        format!("{:?}", self.world.store.sweep(now, &policy).await.expect("sweep"))
    }

    async fn observe(&self, result: String) -> Observed {
        let (store, organization) = (&self.world.store, self.world.organization);
        let (from, to) = (Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX));
        let mut attempts = Vec::new();
        let mut tallies = vec![store.tallies(organization, None, from, to).await.expect("tallies")];
        for webhook in &self.webhooks {
            attempts.extend(store.list_attempts(webhook.id, ALL, u64::MAX).await.expect("list_attempts"));
            let hours = store.tallies(organization, Some(webhook.id), from, to).await;
            tallies.push(hours.expect("tallies"));
        }
        let filter = DeliveryFilter::default();
        let deliveries = store.list_deliveries(organization, &filter, None, ALL, ALL).await;
        Observed {
            result,
            webhooks: self.world.snapshot().await.webhooks,
            events: store.list_events(organization, None, ALL, u64::MAX).await.expect("list_events"),
            deliveries: deliveries.expect("list_deliveries"),
            attempts,
            lanes: store.due_lanes(None, ALL).await.expect("due_lanes"),
            depth: store.depth().await.expect("depth"),
            lane_depths: store.lane_depths(self.world.now(), None, ALL).await.expect("lane_depths"),
            tallies,
            pending: self.world.usage().await.pending,
            recoveries: store.list_recoveries(organization, None, ALL).await.expect("list_recoveries"),
            hold: store.sending_hold().await.expect("sending_hold"),
            cursor: self.cursor().await,
            audit: store.list_audit(Some(organization), None, ALL).await.expect("list_audit"),
        }
    }
}

async fn run(operations: &[Operation]) {
    let (memory, disk) = (InMemory(MemoryStore::new()), OnDisk(tempfile::tempdir().expect("a folder")));
    let (mut reference, mut compared) = (Side::begin(&memory).await, Side::begin(&disk).await);
    for (index, operation) in operations.iter().enumerate() {
        let (expected, found);
        (reference, expected) = reference.step(operation).await;
        (compared, found) = compared.step(operation).await;
        assert_eq!(found.result, expected.result, "result of operation {index}, {operation:?}");
        assert_eq!(found, expected, "after operation {index}, {operation:?}");
    }
}

#[test]
fn results_equal_those_of_the_reference() {
    #[expect(clippy::disallowed_methods, reason = "the user of the test chooses the number of cases")]
    let cases = std::env::var("REFERENCE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let outcome = TestRunner::new_with_rng(config, rng).run(&operations(), |operations| {
        runtime.block_on(run(&operations));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
