//! What every handler can reach.

use std::sync::{Arc, PoisonError};

use axum::http::HeaderValue;
use bytes::Bytes;
use stackbell_app::App;

use super::large::LargeAnswers;
use super::observe::{NowAndThen, RefusalLimits};
use super::rates::TokenRates;
use crate::HttpSettings;
use crate::operations::probe::Probe;

/// The control plane, and what a router was made of.
pub(crate) struct Context {
    pub(crate) app: Arc<App>,
    pub(crate) settings: HttpSettings,
    pub(crate) probe: Probe,
    pub(crate) large: LargeAnswers,
    /// When it was last told that requests are refused for a while.
    pub(crate) lasting_told: NowAndThen,
    /// How many refused requests the log tells of.
    pub(crate) refusals: RefusalLimits,
    /// `None` for no limit.
    pub(crate) rates: Option<TokenRates>,
    /// The OpenAPI document, made once.
    pub(crate) document: Bytes,
}

impl Context {
    pub(crate) fn new(app: Arc<App>, settings: HttpSettings) -> Self {
        let rates = settings.requests_per_second.map(TokenRates::new);
        Self {
            app,
            rates,
            lasting_told: NowAndThen::default(),
            refusals: RefusalLimits::default(),
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
