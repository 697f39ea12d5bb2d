//! New deliveries that are leased at their commit.

use std::sync::Arc;

use stackbell_model::webhook::Webhook;

use super::permits::Permit;

/// The reservation of a delivery that is leased at its commit.
#[derive(Debug)]
pub(super) struct Reserved {
    place: Place,
    webhook: Arc<Webhook>,
}

impl Reserved {
    pub(super) fn new(place: Place, webhook: &Arc<Webhook>) -> Self {
        Self { place, webhook: Arc::clone(webhook) }
    }

    pub(super) fn into_parts(self) -> (Place, Arc<Webhook>) {
        (self.place, self.webhook)
    }
}

#[derive(Debug)]
pub(super) enum Place {
    /// The delivery is sent at once.
    Attempt(Permit),
    /// The delivery is prefetched, unless its lane has changed since: `changes` counts the changes before.
    Prefetch { place: Permit, changes: u64 },
}
