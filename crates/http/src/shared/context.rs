//! What every handler can reach.

use std::sync::{Arc, PoisonError};

use axum::http::HeaderValue;
use bytes::Bytes;
use stackbell_app::App;

use super::large::LargeAnswers;
use crate::HttpSettings;
use crate::operations::probe::Probe;

/// The control plane, and what a router was made of.
pub(crate) struct Context {
    pub(crate) app: Arc<App>,
    pub(crate) settings: HttpSettings,
    pub(crate) probe: Probe,
    pub(crate) large: LargeAnswers,
    /// The OpenAPI document, made once.
    pub(crate) document: Bytes,
}

impl Context {
    pub(crate) fn new(app: Arc<App>, settings: HttpSettings) -> Self {
        Self {
            app,
            settings,
            probe: Probe::default(),
            large: LargeAnswers::default(),
            document: crate::openapi().into(),
        }
    }

    /// A new request id: 32 hex digits.
    pub(crate) fn request_id(&self) -> HeaderValue {
        let mut entropy = self.settings.entropy.lock().unwrap_or_else(PoisonError::into_inner);
        let id = entropy.uuid_v4();
        drop(entropy);
        let text = id.simple().to_string();
        HeaderValue::from_str(&text).expect("hex digits may be in a header")
    }
}
