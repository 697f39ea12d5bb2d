//! The routes in process: a real control plane and engine on the in-memory store, and receivers on loopback.

mod audit;
mod bodies;
mod breakers;
mod callers;
mod documentation;
mod errors;
mod events;
mod identity;
mod instance;
mod invisibility;
mod late_bodies;
mod lists;
mod ndjson;
mod nodes;
mod operations;
mod options;
mod paths;
mod permissions;
mod refusals;
mod rights;
mod sources;
mod support;
mod tokens;
mod updates;
mod webhook_fields;
mod webhooks;
