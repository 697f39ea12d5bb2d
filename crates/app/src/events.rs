//! Events: list, get. [`crate::intake`] accepts new ones.

use stackbell_model::ids::{EventId, EventKey};
use stackbell_model::permission::Permission;

use crate::auth::OrganizationCaller;
use crate::page::{LIST_BYTES_MAX, Page, one_more};
use crate::{App, Error};

pub use stackbell_store::history::StoredEvent;

/// The most events on a page.
pub const EVENTS_LISTED_MAX: usize = 100;

impl App {
    /// An organization's events older than `before`, newest first: at most `limit` events and about [`LIST_BYTES_MAX`] bytes.
    /// The last page may be empty.
    ///
    /// # Errors
    /// Errors of access and store.
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
        // There may be more events after a list that was cut by its bytes.
        let last = events.last().map(|stored| stored.event.key).filter(|_| bytes >= LIST_BYTES_MAX);
        let page = Page::cut(events, limit, |stored| stored.event.key);
        Ok(Page { next: page.next.or(last), ..page })
    }

    /// One event.
    ///
    /// # Errors
    /// [`crate::Code::NotFound`]; errors of access and store.
    pub async fn get_event(&self, caller: &OrganizationCaller, event: &str) -> Result<StoredEvent, Error> {
        let access = caller.require(Permission::Read)?;
        let not_found = || Error::not_found("Event", event);
        let id = EventId::parse(event).ok_or_else(not_found)?;
        self.store.find_event(access.organization.id, id).await?.ok_or_else(not_found)
    }
}
