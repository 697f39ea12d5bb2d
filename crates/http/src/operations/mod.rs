//! Routes for operators: health, metrics, the OpenAPI document. They need no token and say nothing about any organization.

mod documents;
mod health;
mod metrics;
mod probe;

use std::fmt;
use std::sync::Arc;

use axum::body::Bytes;

use crate::Route;
use probe::Probe;

const TAGS: &[&str] = &["Operations"];

/// State of these routes.
pub(crate) struct Operations {
    readiness: Arc<dyn Fn() -> bool + Send + Sync>,
    data_folder: Arc<dyn Fn() -> bool + Send + Sync>,
    metrics: Arc<dyn Fn() -> Result<String, fmt::Error> + Send + Sync>,
    probe: Probe,
    /// The OpenAPI document.
    document: Bytes,
}

impl Operations {
    /// See [`crate::HttpSettings`] for the functions. `document` is the OpenAPI document.
    pub(crate) fn new(
        readiness: Arc<dyn Fn() -> bool + Send + Sync>,
        data_folder: Arc<dyn Fn() -> bool + Send + Sync>,
        metrics: Arc<dyn Fn() -> Result<String, fmt::Error> + Send + Sync>,
        document: String,
    ) -> Self {
        Self { readiness, data_folder, metrics, probe: Probe::default(), document: document.into() }
    }
}

/// All routes of operations.
pub(crate) fn routes() -> impl Iterator<Item = Route> {
    [health::alive(), health::ready(), metrics::route(), documents::route()].into_iter()
}
