//! Several machines ([`stackbell_engine::core`]) on one store, on a manual clock, each told at once of all that happens to it.
//!
//! What each does by itself the simulation is about; here it is what they come to together, where nothing fails but endpoints.

mod going_on;
mod limits;
mod news;
mod order;
mod prefetch;
mod rights;
mod slow_start;
mod waiting;
mod world;
