//! Events: publish, list, get.

use bytes::Bytes;
use stackbell_engine::core::{Authority, PublishRefusal};
use stackbell_model::event::{Event, Source};
use stackbell_model::filter::{EventKind, FilterSet};
use stackbell_model::identity::{Organization, User};
use stackbell_model::ids::{EventId, EventKey};
use stackbell_model::permission::Permission;
use stackbell_model::scope::Subject;
use stackbell_store::commit::Receipt;

use crate::auth::{Access, Caller, OrganizationCaller};
use crate::deliveries::LIST_BYTES_MAX;
use crate::page::{Page, one_more};
use crate::{App, Code, Error};

pub use stackbell_store::history::StoredEvent;

/// The most events on a page.
pub const EVENTS_LISTED_MAX: usize = 100;

/// What is said of a conflict where there is no doubt which event it is.
const ID_TAKEN: &str = "the id belongs to an event with other content";

/// An event that a producer wants accepted: read, filled in and classified.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The producer's id, if it chose one, with the digest of kind and payload as it sent them.
    pub id: Option<(EventId, [u8; 32])>,
    /// What the payload is.
    pub kind: EventKind,
    /// The filters that select it.
    pub filters: FilterSet,
    /// What it is about.
    pub subject: Subject,
    /// The bytes to send.
    pub payload: Bytes,
}

/// An event that is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedEvent {
    /// Its id.
    pub id: EventId,
    /// Its kind.
    pub kind: EventKind,
    /// The filters that select it.
    pub filters: FilterSet,
    /// The deliveries that it got when it was first accepted.
    pub deliveries: u32,
    /// Whether it was in already.
    pub duplicate: bool,
}

/// The right to publish in an organization.
pub struct Publisher<'a> {
    app: &'a App,
    access: Access<'a>,
    caller: &'a Caller,
}

impl App {
    /// Lets a caller publish in an organization, as far as is known of them.
    ///
    /// # Errors
    /// Those of access.
    pub fn publisher<'a>(&'a self, caller: &'a Caller, organization: &str) -> Result<Publisher<'a>, Error> {
        let access = may_publish(caller, organization)?;
        Ok(Publisher { app: self, access, caller })
    }

    /// The caller, if they may publish in an organization. Who would be refused by what is remembered of them is found anew.
    ///
    /// # Errors
    /// Those of access and store.
    pub async fn admit_publisher(&self, caller: Caller, organization: &str) -> Result<Caller, Error> {
        self.or_anew(caller, |caller| may_publish(caller, organization).map(|_| ())).await
    }

    /// Finds out whether a caller may publish in an organization, for an answer that is given without a commit, which
    /// would have found that out.
    ///
    /// # Errors
    /// Those of access and store.
    pub async fn confirm_publisher(&self, caller: &Caller, organization: &str) -> Result<(), Error> {
        if caller.is_remembered() {
            may_publish(&self.renew(caller).await?, organization)?;
        }
        Ok(())
    }

    /// An organization's events, newest first; `limit` at the most, older than `before`, and no more than come to
    /// [`LIST_BYTES_MAX`]. The last page may be empty.
    ///
    /// # Errors
    /// Those of access and store.
    pub async fn list_events(
        &self,
        caller: &OrganizationCaller,
        before: Option<EventKey>,
        limit: usize,
    ) -> Result<Page<StoredEvent, EventKey>, Error> {
        let access = caller.require(Permission::Read)?;
        let limit = limit.clamp(1, EVENTS_LISTED_MAX);
        let organization = access.organization.id;
        let events = self.store.list_events(organization, before, one_more(limit), LIST_BYTES_MAX).await?;
        let bytes: u64 = events.iter().map(StoredEvent::size).sum();
        // Where bytes cut the list there may be more behind it.
        let last = events.last().map(|stored| stored.event.key).filter(|_| bytes >= LIST_BYTES_MAX);
        let page = Page::cut(events, limit, |stored| stored.event.key);
        Ok(Page { next: page.next.or(last), ..page })
    }

    /// One event.
    ///
    /// # Errors
    /// [`crate::Code::NotFound`]; those of access and store.
    pub async fn get_event(&self, caller: &OrganizationCaller, event: &str) -> Result<StoredEvent, Error> {
        let access = caller.require(Permission::Read)?;
        let not_found = || Error::not_found("Event", event);
        let id = EventId::parse(event).ok_or_else(not_found)?;
        self.store.find_event(access.organization.id, id).await?.ok_or_else(not_found)
    }
}

fn may_publish<'a>(caller: &'a Caller, organization: &str) -> Result<Access<'a>, Error> {
    let access = caller.in_organization(organization)?;
    access.require(Permission::Publish)?;
    Ok(access)
}

impl Publisher<'_> {
    /// The organization, to fill events in.
    pub fn organization(&self) -> &Organization {
        self.access.organization
    }

    /// The user who publishes, to fill events in; `None` for a service token.
    pub fn user(&self) -> Option<&User> {
        self.caller.user()
    }

    /// Accepts events, all or none. Once this is `Ok` they and their deliveries are on disk (invariant 1).
    ///
    /// # Errors
    /// [`crate::Code::Conflict`] for an id that is taken; those of engine and store.
    pub async fn publish(&self, events: Vec<NewEvent>) -> Result<Vec<PublishedEvent>, Error> {
        let described: Vec<_> = events.iter().map(|event| (event.kind, event.filters)).collect();
        let events = self.app.chance_events(&self.access, self.caller, events);
        let is_one = events.len() == 1;
        let receipts = self.commit(events).await.map_err(|error| match error.code {
            Code::Conflict if is_one => Error { message: ID_TAKEN.to_owned(), ..error },
            _ => error,
        })?;
        let published =
            receipts.into_iter().zip(described).map(|(receipt, (kind, filters))| PublishedEvent {
                id: receipt.id,
                kind,
                filters,
                deliveries: receipt.deliveries,
                duplicate: receipt.duplicate,
            });
        Ok(published.collect())
    }

    /// Commits events while the caller may publish them: a long request must not outlive its token, whichever node it is
    /// revoked by. The commit itself sees to that, by the version of the organization as of which the caller may.
    async fn commit(&self, events: Vec<Event>) -> Result<Vec<Receipt>, Error> {
        let Organization { id, name, .. } = self.access.organization;
        let mut caller = self.app.renew_publisher(self.caller).await?;
        for _ in 0..COMMITS_TRIED_MAX {
            caller = self.app.admit_publisher(caller, name.as_str()).await?;
            let version = may_publish(&caller, name.as_str())?.version;
            let receipts = self.app.engine.publish(*id, Authority::AsOf { version }, events.clone()).await;
            match receipts {
                Err(PublishRefusal::Outdated) => {
                    caller = self.app.renew_beyond(&caller, *id, version).await?;
                }
                // It says something of the organization, and nothing was committed.
                Err(refusal @ PublishRefusal::TooManyDeliveries { .. }) => {
                    self.app.confirm_publisher(&caller, name.as_str()).await?;
                    return Err(refusal.into());
                }
                done => return done.map_err(Error::from),
            }
        }
        Err(PublishRefusal::Outdated.into())
    }
}

/// How often events are committed anew because their organization was edited meanwhile. Each time somebody has edited it
/// within the moment since the caller was found.
const COMMITS_TRIED_MAX: u32 = 5;

impl App {
    fn chance_events(&self, access: &Access<'_>, caller: &Caller, events: Vec<NewEvent>) -> Vec<Event> {
        let now = self.now();
        self.chance(|entropy| {
            let make = |new: NewEvent| Event {
                key: EventKey::generate(now, entropy),
                id: new.id.map_or_else(|| EventId::generate(entropy), |(id, _)| id),
                organization: access.organization.id,
                kind: new.kind,
                filters: new.filters,
                subject: new.subject,
                payload: new.payload,
                digest: new.id.map(|(_, digest)| digest),
                accepted_at: now,
                source: Source::Api,
                token: Some(caller.token().id),
            };
            events.into_iter().map(make).collect()
        })
    }
}
