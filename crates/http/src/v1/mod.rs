//! Our own API. It is stricter than Pulumi's: unknown fields and query parameters are refused.

mod audit;
mod deliveries;
mod deployments;
pub(crate) mod events;
mod instance;
mod members;
mod organizations;
mod recoveries;
mod statistics;
mod tokens;
mod users;
mod webhooks;

use crate::Route;

pub(crate) use instance::SQLITE;

/// All routes below `/v1`.
pub(crate) fn routes() -> impl Iterator<Item = Route> {
    events::routes()
        .into_iter()
        .chain(webhooks::routes())
        .chain(organizations::routes())
        .chain(members::routes())
        .chain(users::routes())
        .chain(tokens::routes())
        .chain(audit::routes())
        .chain(deliveries::routes())
        .chain(recoveries::routes())
        .chain(statistics::routes())
        .chain(deployments::routes())
        .chain(instance::routes())
}
