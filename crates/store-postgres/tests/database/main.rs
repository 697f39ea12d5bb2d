//! What is PostgreSQL's own: days, several nodes, outages.

mod copies;
mod days;
mod nodes;
mod outages;
mod schema;
mod support;
