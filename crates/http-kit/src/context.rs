//! State that every handler can reach.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderValue;
use stackbell_app::App;
use stackbell_model::Entropy;
use tokio_util::task::TaskTracker;

use crate::large_response::LargeResponses;
use crate::log_limit::RefusalLimits;
use crate::rate_limit::RateLimiter;
use crate::request_metrics::RequestMetrics;
use crate::{LogLimit, TrustedProxies};

/// The time between two log lines about a lasting reason.
const LASTING_LOGGED_EVERY: Duration = Duration::from_secs(60);

/// Settings of a router, whatever its routes.
#[derive(Clone)]
pub struct Settings {
    /// The most bytes of a decoded body that is read as a whole, on routes that declare no limit of their own.
    pub request_bytes_max: usize,
    /// The proxies whose word about a client's address is believed.
    pub trusted_proxies: TrustedProxies,
    /// Requests a second with one token, and twice as many at once; `None` for no limit. The limit holds for all nodes
    /// together: each allows its share.
    pub requests_per_second: Option<NonZeroU32>,
    /// The counters of requests. All routers of a server share them.
    pub requests: Arc<RequestMetrics>,
    /// The running requests that may change something. They go on after their client has hung up: close this tracker and
    /// wait for it before the store or the engine ends.
    pub changes: TaskTracker,
    /// Randomness for request ids.
    pub entropy: Arc<Mutex<dyn Entropy>>,
}

/// The control plane, the settings, and what the requests of one router share.
pub struct Context {
    /// The control plane.
    pub app: Arc<App>,
    /// The settings of the router.
    pub settings: Settings,
    /// The room for large responses.
    pub large_responses: LargeResponses,
    /// Limits how often the log says that all requests are refused for a while.
    pub(crate) lasting_reasons: LogLimit,
    /// Limits the refused requests that the log reports.
    pub(crate) refusals: RefusalLimits,
    /// `None` for no limit.
    pub(crate) rate_limiter: Option<RateLimiter>,
}

impl Context {
    /// Puts the context of a router together.
    pub fn new(app: Arc<App>, settings: Settings) -> Self {
        Self {
            app,
            rate_limiter: settings.requests_per_second.map(RateLimiter::new),
            lasting_reasons: LogLimit::once_in(LASTING_LOGGED_EVERY),
            refusals: RefusalLimits::default(),
            settings,
            large_responses: LargeResponses::default(),
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
