//! Somebody who publishes in an organization, for as long as their request lasts.

use std::sync::Arc;

use axum::extract::{FromRef as _, FromRequestParts};
use axum::http;
use stackbell_app::auth::Caller;
use stackbell_app::events::{NewEvent, PublishedEvent, Publisher};
use stackbell_http_kit::auth::AuthenticatedPublisher;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::path::PathTexts;
use stackbell_wire::rest::event::EventAccepted;

use super::EVENT;
use crate::Limits;
use crate::state::State;

/// A text longer than this is read on a thread of its own: canonical JSON costs about a millisecond for a megabyte.
const READ_INLINE_BYTES_MAX: usize = 64 * 1024;

/// Owns what publishing needs, so that it can go on in another task.
#[derive(Clone)]
pub(super) struct Producer(Arc<Parts>);

struct Parts {
    context: Arc<Context>,
    limits: Limits,
    caller: Caller,
    organization: String,
}

/// Whoever may not publish in the organization in the path is told so before anything else is looked at (invariant 9).
impl FromRequestParts<State> for Producer {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &State) -> Result<Self, HttpError> {
        let AuthenticatedPublisher(caller) = AuthenticatedPublisher::from_request_parts(parts, state).await?;
        let path = PathTexts::from_request_parts(parts, state).await?;
        let context = Arc::<Context>::from_ref(state);
        let organization = path.get("orgName").to_owned();
        let caller = context.app.admit_publisher(caller, &organization).await.map_err(about(EVENT))?;
        Ok(Self(Arc::new(Parts { context, limits: Limits::from_ref(state), caller, organization })))
    }
}

impl Producer {
    fn publisher(&self) -> Result<Publisher<'_>, HttpError> {
        let Parts { context, caller, organization, .. } = &*self.0;
        context.app.publisher(caller, organization).map_err(about(EVENT))
    }

    /// How much a request may bring.
    pub(super) fn limits(&self) -> Limits {
        self.0.limits
    }

    /// The context of the request.
    pub(super) fn context(&self) -> &Arc<Context> {
        &self.0.context
    }

    /// Reads `text` by `read` where that holds up nobody else.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        text: String,
        read: fn(&str, &Publisher<'_>, Limits) -> Result<T, HttpError>,
    ) -> Result<T, HttpError> {
        let limits = self.limits();
        if text.len() <= READ_INLINE_BYTES_MAX {
            return read(&text, &self.publisher()?, limits);
        }
        let producer = self.clone();
        let reading = tokio::task::spawn_blocking(move || read(&text, &producer.publisher()?, limits));
        reading.await.map_err(|error| HttpError::internal("the events could not be read", error))?
    }

    /// Finds out whether they may publish yet. For answers that say nothing of events that were published, which says so.
    pub(super) async fn confirm(&self) -> Result<(), HttpError> {
        let Parts { context, caller, organization, .. } = &*self.0;
        context.app.confirm_publisher(caller, organization).await.map_err(about(EVENT))
    }

    /// Publishes events, all or none.
    pub(super) async fn publish(&self, events: Vec<NewEvent>) -> Result<Vec<PublishedEvent>, HttpError> {
        let publisher = self.publisher()?;
        if events.is_empty() {
            self.confirm().await?;
            return Ok(Vec::new());
        }
        publisher.publish(events).await.map_err(about(EVENT))
    }
}

/// Shows an event that is in.
pub(super) fn accepted(event: &PublishedEvent) -> EventAccepted {
    EventAccepted::new(event.id, event.kind, event.filters, u64::from(event.deliveries))
}
