//! The one door for events, whatever their source.
//!
//! - [`App::intake`] opens it: a publisher and a source
//! - [`Intake::read`] applies the rules of payloads: fills in, classifies, limits, digests
//! - [`Intake::accept`] commits events together with their deliveries; [`Intake::accept_change`] also a change of state
//!
//! No other code of the control plane makes events. The engine does not know their source.

use bytes::Bytes;
use stackbell_engine::core::{Authority, PublishRefusal};
use stackbell_model::event::{Event, Source};
use stackbell_model::filter::{EventKind, FilterSet};
use stackbell_model::identity::User;
use stackbell_model::ids::{EventId, EventKey, SourceId};
use stackbell_model::scope::Subject;
use stackbell_model::source::Change;
use stackbell_payload::raw::{Filling, read_event};
use stackbell_store::commit::{ItemChange, Receipt};

use crate::auth::Publisher;
use crate::{App, Error};

/// The message for a conflict in an item with one event.
const ID_TAKEN: &str = "the id belongs to an event with other content";

/// The most commits that are tried for one item whose organization is edited meanwhile. Each retry needs another edit in the
/// short time since the caller was looked up.
const COMMITS_TRIED_MAX: u32 = 5;

/// An event as its producer sent it.
#[derive(Clone, Copy, Debug)]
pub struct SentEvent<'a> {
    /// The producer's id, if it chose one.
    pub id: Option<EventId>,
    /// The text form of its kind.
    pub kind: &'a str,
    /// JSON text.
    pub payload: &'a str,
}

/// An event with a valid payload. Only [`Intake::read`] makes it.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The producer's id, if it chose one, with the digest of kind and payload as the producer sent them.
    id: Option<(EventId, [u8; 32])>,
    kind: EventKind,
    filters: FilterSet,
    subject: Subject,
    payload: Bytes,
}

/// An event that is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedEvent {
    /// Its id.
    pub id: EventId,
    /// Its kind.
    pub kind: EventKind,
    /// The filters that select it.
    pub filters: FilterSet,
    /// The number of deliveries that it got when it was first accepted.
    pub deliveries: u32,
    /// Whether an earlier request had brought it.
    pub duplicate: bool,
}

/// A change that is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcceptedChange {
    /// Together with all events, in the given order.
    WithEvents(Vec<AcceptedEvent>),
    /// Without the events, because the organization has reached its quota. The audit log has an entry about it.
    EventsDropped,
}

/// The door for the events of one source for one organization.
pub struct Intake<'a> {
    app: &'a App,
    publisher: &'a Publisher,
    source: Source,
}

impl App {
    /// Opens the door for a publisher's events. The commit validates the right.
    pub fn intake<'a>(&'a self, publisher: &'a Publisher, source: Source) -> Intake<'a> {
        Intake { app: self, publisher, source }
    }
}

impl Intake<'_> {
    /// Applies the rules of payloads to an event. Takes about a millisecond for each megabyte.
    ///
    /// # Errors
    /// [`crate::Code::Invalid`], naming the field and its rule.
    pub fn read(&self, sent: SentEvent<'_>) -> Result<NewEvent, Error> {
        let user = self.publisher.user().map(<&User>::into);
        let filling = Filling { organization: self.publisher.organization().into(), user };
        let read = read_event(sent.kind, sent.payload, &filling, self.app.limits.payload_bytes_max)?;
        Ok(NewEvent {
            id: sent.id.map(|id| (id, read.digest())),
            kind: read.kind,
            filters: read.filters,
            subject: read.subject,
            payload: read.payload,
        })
    }

    /// Accepts events, all or none. After `Ok` they and their deliveries are on disk (invariant 1).
    ///
    /// # Errors
    /// [`crate::Code::Conflict`] for an id that is taken; errors of engine and store.
    pub async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<AcceptedEvent>, Error> {
        if events.is_empty() {
            self.app.confirm_publisher(self.publisher).await?;
            return Ok(Vec::new());
        }
        let is_one = events.len() == 1;
        self.commit(None, events).await.map_err(|refused| match refused {
            Refused::Engine(PublishRefusal::Conflict { .. }) if is_one => {
                Error { message: ID_TAKEN.to_owned(), ..refused.into() }
            }
            refused => refused.into(),
        })
    }

    /// Accepts a change together with events, all or nothing. The list of events may be empty. If all events had been accepted
    /// before, the change had been made with them. A full quota does not prevent the change: its events are dropped, with an
    /// audit entry.
    ///
    /// # Errors
    /// [`crate::Code::Conflict`] for a change whose precondition does not hold, or for an id that is taken; errors of engine
    /// and store.
    pub async fn accept_change(
        &self,
        change: Change,
        events: Vec<NewEvent>,
    ) -> Result<AcceptedChange, Error> {
        let organization = Some(self.publisher.organization().id);
        let target = format!("{} events of source {}", events.len(), source_of(&change));
        let dropped = self.app.audit(self.publisher, organization, "event.drop", target, Vec::new());
        match self.commit(Some(Box::new(ItemChange { change, dropped })), events).await {
            Ok(events) => Ok(AcceptedChange::WithEvents(events)),
            Err(Refused::Engine(PublishRefusal::EventsDropped(_))) => Ok(AcceptedChange::EventsDropped),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Commits an item if the publisher still has the right. The commit validates the version of the organization that the
    /// right is from, so a revoked token stops a long request on every node.
    async fn commit(
        &self,
        change: Option<Box<ItemChange>>,
        events: Vec<NewEvent>,
    ) -> Result<Vec<AcceptedEvent>, Refused> {
        let described: Vec<_> = events.iter().map(|event| (event.kind, event.filters)).collect();
        let events = self.make(events);
        let organization = self.publisher.organization().id;
        let mut publisher = self.app.renew_publisher(self.publisher).await?;
        for _ in 0..COMMITS_TRIED_MAX {
            let authority = Authority::AsOf { version: publisher.version() };
            match self.app.engine.publish(organization, authority, change.clone(), events.clone()).await {
                Ok(receipts) => return Ok(accepted(receipts, described)),
                Err(PublishRefusal::Outdated) => publisher = self.app.renew_outdated(&publisher).await?,
                // The refusal tells something about the organization, and no commit has validated the right.
                Err(refusal @ PublishRefusal::TooManyDeliveries { .. }) => {
                    self.app.confirm_publisher(&publisher).await?;
                    return Err(Refused::Engine(refusal));
                }
                Err(refusal) => return Err(Refused::Engine(refusal)),
            }
        }
        Err(Refused::Engine(PublishRefusal::Outdated))
    }

    fn make(&self, events: Vec<NewEvent>) -> Vec<Event> {
        let now = self.app.now();
        self.app.chance(|entropy| {
            let make = |new: NewEvent| Event {
                key: EventKey::generate(now, entropy),
                id: new.id.map_or_else(|| EventId::generate(entropy), |(id, _)| id),
                organization: self.publisher.organization().id,
                kind: new.kind,
                filters: new.filters,
                subject: new.subject,
                payload: new.payload,
                digest: new.id.map(|(_, digest)| digest),
                accepted_at: now,
                source: self.source,
                token: Some(self.publisher.token().id),
            };
            events.into_iter().map(make).collect()
        })
    }
}

fn accepted(receipts: Vec<Receipt>, described: Vec<(EventKind, FilterSet)>) -> Vec<AcceptedEvent> {
    let events = receipts.into_iter().zip(described).map(|(receipt, (kind, filters))| AcceptedEvent {
        id: receipt.id,
        kind,
        filters,
        deliveries: receipt.deliveries,
        duplicate: receipt.duplicate,
    });
    events.collect()
}

fn source_of(change: &Change) -> SourceId {
    match change {
        Change::AdvanceCursor { source, .. } => *source,
    }
}

/// The reason why an item was not committed.
enum Refused {
    /// The right to publish, or the store.
    App(Error),
    Engine(PublishRefusal),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::App(error)
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::App(error) => error,
            Refused::Engine(refusal) => refusal.into(),
        }
    }
}
