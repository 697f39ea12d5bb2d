//! The instance as a whole, for operators.

mod audit;
mod backup;
mod operate;

use crate::Route;

pub(crate) use backup::SQLITE;

const TAGS: &[&str] = &["Instance"];
const INSTANCE: &str = "Instance";

pub(super) fn routes() -> impl Iterator<Item = Route> {
    operate::routes().into_iter().chain([backup::route(), audit::route()])
}
