//! What is PostgreSQL's own: days, several nodes, outages, a full disk.

mod copies;
mod days;
mod disk;
mod nodes;
mod outages;
mod schema;
mod support;
