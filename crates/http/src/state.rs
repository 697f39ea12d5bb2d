//! State that the handlers share.

use std::sync::Arc;

use axum::extract::FromRef;
use stackbell_http_kit::context::Context;

use crate::Limits;
use crate::operations::Operations;

/// The state of a router. Handlers extract the part that they need.
#[derive(Clone)]
pub(crate) struct State(Arc<Parts>);

struct Parts {
    context: Arc<Context>,
    limits: Limits,
    operations: Arc<Operations>,
}

impl State {
    pub(crate) fn new(context: Context, limits: Limits, operations: Operations) -> Self {
        Self(Arc::new(Parts { context: Arc::new(context), limits, operations: Arc::new(operations) }))
    }
}

impl FromRef<State> for Arc<Context> {
    fn from_ref(state: &State) -> Self {
        Self::clone(&state.0.context)
    }
}

impl FromRef<State> for Arc<Operations> {
    fn from_ref(state: &State) -> Self {
        Self::clone(&state.0.operations)
    }
}

impl FromRef<State> for Limits {
    fn from_ref(state: &State) -> Self {
        state.0.limits
    }
}
