//! The publisher of a request.

use std::sync::Arc;

use axum::extract::{FromRef as _, FromRequestParts};
use axum::http;
use stackbell_app::auth::Publisher;
use stackbell_app::intake::{AcceptedEvent, Intake, NewEvent};
use stackbell_http_kit::auth::AuthenticatedPublisher;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::path::{ORGANIZATION, PathTexts};
use stackbell_model::event::Source;
use stackbell_wire::rest::event::EventAccepted;

use super::EVENT;
use super::lines::line_bytes_max;
use crate::Limits;
use crate::state::State;

/// A longer text is read on a blocking thread: canonical JSON costs about a millisecond for each megabyte.
const READ_INLINE_BYTES_MAX: usize = 64 * 1024;

/// The publisher with the context of the request. It can be moved to another task.
#[derive(Clone)]
pub(super) struct Producer(Arc<Parts>);

struct Parts {
    context: Arc<Context>,
    limits: Limits,
    publisher: Publisher,
}

/// The right to publish in the path's organization is checked before anything else (invariant 9).
impl FromRequestParts<State> for Producer {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &State) -> Result<Self, HttpError> {
        let AuthenticatedPublisher(caller) = AuthenticatedPublisher::from_request_parts(parts, state).await?;
        let path = PathTexts::from_request_parts(parts, state).await?;
        let context = Arc::<Context>::from_ref(state);
        let publisher = context.app.admit_publisher(caller, path.get(ORGANIZATION)).await;
        let publisher = publisher.map_err(about(EVENT))?;
        Ok(Self(Arc::new(Parts { context, limits: Limits::from_ref(state), publisher })))
    }
}

impl Producer {
    fn intake(&self) -> Intake<'_> {
        self.0.context.app.intake(&self.0.publisher, Source::Api)
    }

    /// The limits of a request.
    pub(super) fn limits(&self) -> Limits {
        self.0.limits
    }

    /// The context of the request.
    pub(super) fn context(&self) -> &Arc<Context> {
        &self.0.context
    }

    /// The most bytes of a line of NDJSON.
    pub(super) fn line_bytes_max(&self) -> usize {
        line_bytes_max(self.0.context.app.limits().payload_bytes_max)
    }

    /// Reads `text` with `read`, on a blocking thread if it is long.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        text: String,
        read: fn(&str, &Intake<'_>, Limits) -> Result<T, HttpError>,
    ) -> Result<T, HttpError> {
        let limits = self.limits();
        if text.len() <= READ_INLINE_BYTES_MAX {
            return read(&text, &self.intake(), limits);
        }
        let producer = self.clone();
        let reading = tokio::task::spawn_blocking(move || read(&text, &producer.intake(), limits));
        reading.await.map_err(|error| HttpError::internal("the events could not be read", error))?
    }

    /// Checks that the caller may still publish. A response without a commit needs it.
    pub(super) async fn confirm(&self) -> Result<(), HttpError> {
        self.0.context.app.confirm_publisher(&self.0.publisher).await.map_err(about(EVENT))
    }

    /// Accepts events, all or none.
    pub(super) async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<AcceptedEvent>, HttpError> {
        self.intake().accept(events).await.map_err(about(EVENT))
    }
}

/// Shows an event that is committed.
pub(super) fn accepted(event: &AcceptedEvent) -> EventAccepted {
    EventAccepted::new(event.id, event.kind, event.filters, u64::from(event.deliveries))
}
