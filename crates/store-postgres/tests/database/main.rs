//! Tests of PostgreSQL only: partitions by day, several nodes, outages, a full disk, and copies.

mod copies;
mod days;
mod disk;
mod nodes;
mod outages;
mod schema;
mod support;
