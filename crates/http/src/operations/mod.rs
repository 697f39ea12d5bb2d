//! Routes for those who run the instance. They need no token and tell nothing of any organization.

mod documents;
mod health;
mod metrics;
pub(crate) mod probe;

use crate::shared::routes::Route;

const TAGS: &[&str] = &["Operations"];

/// All of them.
pub(crate) fn routes() -> impl Iterator<Item = Route> {
    [health::alive(), health::ready(), metrics::route(), documents::route()].into_iter()
}
