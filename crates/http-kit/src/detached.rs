//! Requests that run to their end although their client has hung up.
//!
//! The server drops a handler whose client hangs up. A store call of that handler may still take effect, while the steps that
//! have to follow it would not run: a revoked token would stay valid in memory, and the engine would not learn of an
//! edited webhook. Every request that may change something therefore runs in a task of its own.

use std::panic::resume_unwind;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::task::JoinError;
use tracing::Instrument;

use crate::context::Context;
use crate::error::HttpError;

/// Handles a request in a task of [`crate::context::Settings::changes`].
pub(crate) async fn detached(State(context): State<Arc<Context>>, request: Request, next: Next) -> Response {
    let handling = context.settings.changes.spawn(next.run(request).in_current_span());
    match handling.await.map_err(JoinError::try_into_panic) {
        Ok(response) => response,
        Err(Ok(panic)) => resume_unwind(panic),
        // Only a runtime that shuts down aborts the task.
        Err(Err(_)) => HttpError::new(StatusCode::SERVICE_UNAVAILABLE, "the server stops").into_response(),
    }
}
