//! What was begun goes on when its client is gone.
//!
//! The server drops a handler whose client hangs up. What the handler asked of the store may happen all the same, while what
//! has to follow it would not: a revoked token would stay good, an edited webhook unknown to the engine. So whatever may
//! change something runs in a task of its own, which ends by itself alone.

use std::panic::resume_unwind;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::context::Context;
use super::error::HttpError;

/// Handles a request in a task of [`crate::HttpSettings::changes`].
pub(crate) async fn carry_on(State(context): State<Arc<Context>>, request: Request, next: Next) -> Response {
    let handling = context.settings.changes.spawn(next.run(request).in_current_span());
    match handling.await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(response) => response,
        Err(Ok(panic)) => resume_unwind(panic),
        // Nobody aborts it but a runtime that ends.
        Err(Err(_)) => HttpError::new(StatusCode::SERVICE_UNAVAILABLE, "the server stops").into_response(),
    }
}
