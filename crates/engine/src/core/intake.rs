//! Events on their way to a commit: wait, match, join a batch.

use std::sync::Arc;

use stackbell_model::event::Event;
use stackbell_model::ids::{DeliveryId, OrganizationId};
use stackbell_model::webhook::Webhook;
use stackbell_model::{Entropy, Timestamp};
use stackbell_store::commit::{IntakeItem, NewDelivery, NewEvent};
use stackbell_store::webhooks::OrganizationWebhooks;
use url::Url;

use super::commits::Gathering;
use super::config::CoreConfig;
use super::intake_queue::{IntakeQueue, PendingIntake, Producer, parts};
use super::matching::{Rendered, Snapshot, Standing};
use super::messages::{Command, CommitFault, Publish, PublishRefusal};
use super::preleased::Reserved;
use super::snapshots::Snapshots;

/// Events that wait for a commit, and the snapshots that match them.
#[derive(Debug)]
pub(super) struct Intake {
    config: Arc<CoreConfig>,
    /// The base of links in messages.
    public_url: Option<Url>,
    queue: IntakeQueue,
    snapshots: Snapshots,
}

impl From<CommitFault> for PublishRefusal {
    fn from(fault: CommitFault) -> Self {
        match fault {
            CommitFault::Full => Self::Full,
            CommitFault::Unavailable | CommitFault::Unknown | CommitFault::Corrupt => Self::Unavailable,
        }
    }
}

impl Intake {
    pub(super) fn new(config: Arc<CoreConfig>, public_url: Option<Url>) -> Self {
        let snapshots = Snapshots::new(config.snapshots_max);
        Self { config, public_url, queue: IntakeQueue::default(), snapshots }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The size of all waiting items for limits.
    pub(super) fn parts(&self) -> usize {
        self.queue.parts()
    }

    /// Adds a publish to the queue, or refuses it. `fault` is the reason for which no commit begins now.
    pub(super) fn publish(
        &mut self,
        publish: Publish,
        fault: Option<CommitFault>,
        commands: &mut Vec<Command>,
    ) {
        let Publish { ticket, organization, authority, change, events } = publish;
        let parts = parts(change.as_deref(), &events);
        let refusal = if self.queue.has_room(organization, parts, self.config.waiting_events_max) {
            fault.map(PublishRefusal::from)
        } else {
            Some(PublishRefusal::Overloaded)
        };
        let producer = Producer { ticket, authority };
        match refusal {
            Some(refusal) => commands.push(producer.refuse(refusal)),
            None => self.queue.push_back(PendingIntake { producer, organization, change, events }),
        }
    }

    /// An organization's webhooks are loaded; `None`: the organization does not exist.
    pub(super) fn webhooks_loaded(
        &mut self,
        organization: OrganizationId,
        webhooks: Option<OrganizationWebhooks>,
        commands: &mut Vec<Command>,
    ) {
        commands.extend(self.snapshots.load_done(organization));
        match webhooks {
            Some(webhooks) => {
                self.snapshots.add(organization, webhooks);
                self.queue.resume(organization);
            }
            None => self.refuse_all_of(organization, PublishRefusal::NoOrganization, commands),
        }
    }

    /// An organization's webhooks could not be loaded.
    pub(super) fn load_failed(&mut self, organization: OrganizationId, commands: &mut Vec<Command>) {
        self.snapshots.load_failed(organization);
        self.refuse_all_of(organization, PublishRefusal::Unavailable, commands);
    }

    fn refuse_all_of(
        &mut self,
        organization: OrganizationId,
        refusal: PublishRefusal,
        commands: &mut Vec<Command>,
    ) {
        commands.extend(self.queue.drain(organization).into_iter().map(|item| item.producer.refuse(refusal)));
    }

    /// The organization's webhooks have changed: they are loaded for the next event.
    pub(super) fn forget_snapshot(&mut self, organization: OrganizationId) {
        self.snapshots.forget(organization);
    }

    /// Loads the organization's webhooks now, after an edit.
    pub(super) fn load_edited(&mut self, organization: OrganizationId) -> Option<Command> {
        self.snapshots.load_edited(organization)
    }

    /// Puts an item of a failed commit before all others of its organization.
    pub(super) fn put_back(&mut self, item: &IntakeItem, producer: Producer) {
        let events = item.events.iter().map(|new| new.event.clone()).collect();
        let (organization, change) = (item.organization, item.change.clone());
        self.queue.push_front(PendingIntake { producer, organization, change, events });
    }

    /// An item was matched against an outdated snapshot.
    pub(super) fn match_again(&mut self, item: &IntakeItem, producer: Producer) {
        self.snapshots.forget_version(item.organization, item.organization_version);
        self.put_back(item, producer);
    }

    /// Moves waiting items into a batch, up to `parts_max`, and matches their events. A lone producer's batch is its one event:
    /// nobody waits for company. `reserve` reserves what a delivery of so many bytes needs to be leased at its commit.
    pub(super) fn gather(
        &mut self,
        parts_max: usize,
        gathering: &mut Gathering,
        entropy: &mut dyn Entropy,
        mut reserve: impl FnMut(&Arc<Webhook>, usize, Timestamp) -> Option<Reserved>,
        commands: &mut Vec<Command>,
    ) {
        while gathering.parts() < parts_max
            && let Some(item) = self.queue.pop()
        {
            let Some(snapshot) = self.snapshots.get(item.organization) else {
                self.load_for(item, commands);
                continue;
            };
            match snapshot.judge(item.producer.authority) {
                Standing::Holds => {}
                Standing::Unknown => {
                    self.snapshots.forget(item.organization);
                    self.load_for(item, commands);
                    continue;
                }
                Standing::Outdated => {
                    commands.push(item.producer.refuse(PublishRefusal::Outdated));
                    continue;
                }
            }
            let deliveries = item.events.iter().map(|event| snapshot.listeners(event).count()).sum();
            let max = self.config.deliveries_in_publish_max;
            if deliveries > max {
                let refusal = PublishRefusal::TooManyDeliveries { deliveries, max };
                commands.push(item.producer.refuse(refusal));
                continue;
            }
            if !gathering.has_room(deliveries, item.bytes(), &self.config) {
                self.queue.push_front(item);
                return;
            }
            let (parts, producer) = (item.parts(), item.producer);
            let PendingIntake { organization, change, events, .. } = item;
            let events = events.into_iter().map(|event| {
                match_event(event, &snapshot, self.public_url.as_ref(), gathering, entropy, &mut reserve)
            });
            let item = IntakeItem {
                organization,
                organization_version: snapshot.version(),
                change,
                events: events.collect(),
                quota: self.config.quota,
            };
            gathering.add_item(item, parts, producer);
        }
    }

    /// Pauses the organization's items until its webhooks are loaded.
    fn load_for(&mut self, item: PendingIntake, commands: &mut Vec<Command>) {
        let organization = item.organization;
        self.queue.pause(item);
        commands.extend(self.snapshots.load(organization));
    }
}

fn match_event(
    event: Event,
    snapshot: &Snapshot,
    public_url: Option<&Url>,
    gathering: &mut Gathering,
    entropy: &mut dyn Entropy,
    reserve: &mut impl FnMut(&Arc<Webhook>, usize, Timestamp) -> Option<Reserved>,
) -> NewEvent {
    let now = gathering.now();
    let mut deliveries = Vec::new();
    let mut rendered = Rendered::default();
    for webhook in snapshot.listeners(&event) {
        let body = rendered.body(webhook.format, &event, public_url);
        let bytes = body.as_ref().unwrap_or(&event.payload).len();
        let reserved = reserve(webhook, bytes, now);
        deliveries.push(NewDelivery {
            id: DeliveryId::generate(now, entropy),
            webhook: webhook.id,
            format: webhook.format,
            body,
            lease: gathering.add_reserved(reserved),
        });
    }
    NewEvent { event, deliveries }
}
