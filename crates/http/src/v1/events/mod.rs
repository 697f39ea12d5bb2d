//! Events: publish, list, get.

mod get;
mod lines;
mod list;
mod producer;
#[cfg(any(test, feature = "properties"))]
pub(crate) mod properties;
mod publish;
mod read;
mod stream;

use crate::Route;

const TAGS: &[&str] = &["Events"];
/// The resource that errors name.
const EVENT: &str = "Event";
const PATH: &str = "/v1/orgs/{orgName}/events";

pub(super) fn routes() -> [Route; 3] {
    [publish::route(), list::route(), get::route()]
}
