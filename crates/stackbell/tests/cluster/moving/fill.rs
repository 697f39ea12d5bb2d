//! Fills a store with many rows, much faster than a server would.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, AttemptTrigger, Outcome, Response};
use stackbell_model::event::{Event, Source};
use stackbell_model::filter::{EventKind, Filter, FilterSet};
use stackbell_model::ids::{BatchId, DeliveryId, EventId, EventKey, LeaseToken, OrganizationId, WebhookId};
use stackbell_model::names::{OrganizationName, ProjectName, StackName};
use stackbell_model::retry::Next;
use stackbell_model::scope::Subject;
use stackbell_model::webhook::Format;
use stackbell_store::commit::{
    AttemptRecord, AttemptSubject, Batch, Commit as _, IntakeItem, IntakeOutcome, Lease, NewDelivery,
    NewEvent, Quota,
};
use stackbell_store::identity::Identity as _;
use stackbell_store::webhooks::Webhooks as _;
use stackbell_store_sqlite::SqliteStore;
use stackbell_testkit::SeededEntropy;

/// Events in one commit.
const BATCH: usize = 500;

/// The time between the first and the last event.
const SPREAD: Duration = Duration::from_secs(10 * 24 * 3600);

/// Writes events of acme into a file that no server uses, each with a delivery of its first webhook. The last `pending`
/// deliveries are pending and due; the others succeeded at the first attempt.
pub(super) async fn fill(file: &Path, events: usize, pending: usize, now: Timestamp) {
    let store = SqliteStore::open(file).expect("nobody has it");
    let acme = OrganizationName::parse("acme").expect("a name");
    let organization = store.find_organization(&acme).await.expect("read").expect("it is there").id;
    let webhooks = store.organization_webhooks(organization).await.expect("read").expect("it is there");
    let mut filling = Filling {
        store: &store,
        organization,
        version: webhooks.version,
        webhook: webhooks.webhooks.first().expect("there is a webhook").id,
        chance: SeededEntropy::new(1),
    };
    let begun = now.before(SPREAD);
    for first in (0..events).step_by(BATCH) {
        let numbers = first..events.min(first + BATCH);
        let at = begun
            .after(SPREAD / u32::try_from(events).expect("fewer") * u32::try_from(first).expect("fewer"));
        filling
            .batch(numbers.len(), numbers.end.saturating_sub(events - pending).min(numbers.len()), at)
            .await;
    }
}

struct Filling<'store> {
    store: &'store SqliteStore,
    organization: OrganizationId,
    version: u64,
    webhook: WebhookId,
    chance: SeededEntropy,
}

impl Filling<'_> {
    async fn batch(&mut self, events: usize, pending: usize, at: Timestamp) {
        let lease = Lease { token: LeaseToken::generate(&mut self.chance), until: at.after(SPREAD * 2) };
        let new: Vec<NewEvent> =
            (0..events).map(|number| self.event(at, (number < events - pending).then_some(lease))).collect();
        let delivered =
            new.iter().flat_map(|new| &new.deliveries).filter(|delivery| delivery.lease.is_some());
        let attempts: Vec<AttemptRecord> =
            delivered.map(|delivery| self.attempt(delivery.id, lease, at)).collect();
        let item = IntakeItem {
            organization: self.organization,
            organization_version: self.version,
            change: None,
            events: new,
            quota: Quota::UNLIMITED,
        };
        let batch =
            Batch { intakes: vec![item], attempts, ..Batch::new(BatchId::generate(&mut self.chance), at) };
        let outcome = self.store.commit(Arc::new(batch)).await.expect("commit");
        assert!(matches!(outcome.intakes[0], IntakeOutcome::Accepted(_)), "{:?}", outcome.intakes);
    }

    fn event(&mut self, at: Timestamp, lease: Option<Lease>) -> NewEvent {
        let id = EventId::generate(&mut self.chance);
        let event = Event {
            key: EventKey::generate(at, &mut self.chance),
            id,
            organization: self.organization,
            kind: EventKind::StackUpdate,
            filters: FilterSet::EMPTY.with(Filter::UpdateSucceeded),
            subject: Subject::Stack {
                project: ProjectName::parse("web").expect("a project's name"),
                stack: StackName::parse("prod").expect("a stack's name"),
            },
            payload: payload(id),
            digest: None,
            accepted_at: at,
            source: Source::Api,
            token: None,
        };
        let delivery = NewDelivery {
            id: DeliveryId::generate(at, &mut self.chance),
            webhook: self.webhook,
            format: Format::Raw,
            body: None,
            lease,
        };
        NewEvent { event, deliveries: vec![delivery] }
    }

    fn attempt(&self, delivery: DeliveryId, lease: Lease, at: Timestamp) -> AttemptRecord {
        let answer = Response {
            status: 200,
            headers: "Content-Type: text/plain\r\nDate: Mon, 01 Jan 2026 00:00:00 GMT\r\n".into(),
            body: "ok".into(),
            retry_after: None,
        };
        AttemptRecord {
            webhook: self.webhook,
            revision: 0,
            attempt: Attempt {
                trigger: AttemptTrigger::Schedule,
                started_at: at,
                duration: Duration::from_millis(12),
                request_url: "https://hooks.example.com/stackbell".into(),
                request_headers: "Content-Type: application/json\r\nPulumi-Webhook-Kind: stack_update\r\n"
                    .into(),
                outcome: Outcome::Answered(answer),
            },
            retry_until: None,
            subject: AttemptSubject::Leased { delivery, token: lease.token, next: Next::Succeeded },
        }
    }
}

/// A payload of about a thousand bytes.
fn payload(id: EventId) -> bytes::Bytes {
    let resources = (0..12).map(|number| format!(r#"{{"urn":"urn:pulumi:prod::web::{id}::{number}"}}"#));
    format!(
        r#"{{"projectName":"web","stackName":"prod","kind":"update","result":"succeeded","resources":[{}]}}"#,
        resources.collect::<Vec<_>>().join(",")
    )
    .into()
}
