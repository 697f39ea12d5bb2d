//! Deliveries of an organization.

mod change;
mod get;
mod list;
mod show;

use crate::Route;

const TAGS: &[&str] = &["Deliveries"];
const DELIVERY: &str = "Delivery";
const PATH: &str = "/v1/orgs/{orgName}/deliveries";
const PATH_OF_ONE: &str = "/v1/orgs/{orgName}/deliveries/{deliveryId}";
const NOT_FOUND: &str = "No such delivery, or no such organization that the caller may see.";

pub(super) fn routes() -> impl Iterator<Item = Route> {
    [list::route(), get::route()].into_iter().chain(change::routes())
}
