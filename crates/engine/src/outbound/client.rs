//! The client itself: pools of connections, one exchange after the other.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use stackbell_model::Clock;
use stackbell_model::delivery::Outcome;
use stackbell_model::names::OrganizationName;
use tokio::time::{Instant, timeout_at};

use super::connect::Connector;
use super::dial::Dialer;
use super::failure;
use super::policy::{OutboundPolicy, Rules};
use super::reachability::Reachability;
use super::record::{self, BodyEnd};
use super::request::{OutboundRequest, build};
use super::resolve::Resolve;
use super::spelling::Spellings;
use super::trust::{TrustError, endpoint_tls};

/// The most bytes of an answer's head; the most headers are 100, which is hyper's own limit.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What can be set.
#[derive(Clone, Debug)]
pub struct OutboundSettings {
    /// For a whole exchange, from connect to last byte. Two thirds of it are for the connection, so that a
    /// connection that never comes is told from an answer that never comes.
    pub exchange_time: Duration,
    /// How long a connection waits for its next request.
    pub idle_time: Duration,
    /// The most connections to one scheme, host and port that wait for their next request.
    pub idle_per_host_max: usize,
    /// PEM file of authorities that are trusted besides the usual ones.
    pub ca_file: Option<PathBuf>,
}

impl Default for OutboundSettings {
    fn default() -> Self {
        Self {
            // Source: wire-facts.md#outgoing-request.
            exchange_time: Duration::from_secs(15),
            // Shorter than the shortest time after which common servers close idle connections (Node.js: 5
            // s), so that we seldom send on one that is being closed; and endpoints that are called rarely
            // hold no sockets.
            idle_time: Duration::from_secs(4),
            // The most that one webhook has in flight.
            idle_per_host_max: 16,
            ca_file: None,
        }
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The certificates to trust could not be read.
    #[error("the outbound client cannot verify endpoints")]
    Trust(#[from] TrustError),
    /// hyper did not make its map of header names.
    #[error("the spelling of header names could not be set up")]
    Spelling(#[source] hyper::Error),
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// An answer, or why there is none.
    pub outcome: Outcome,
    /// From the call to the last byte, or to giving up.
    pub duration: Duration,
    /// How the answer's body ended; `None` without an answer.
    pub body_end: Option<BodyEnd>,
}

type Pool = legacy::Client<Connector, Full<Bytes>>;

/// The one client for untrusted addresses. Cheap to share in an `Arc`; dropping it closes all idle
/// connections.
///
/// hyper's pool knows connections by scheme, host and port, and nothing of organizations. Each organization
/// with allowances of its own therefore has a pool of its own, and all others share one: a pool's connections
/// were all judged by the rules that hold for all who use it.
pub struct OutboundClient {
    shared: Pool,
    own: HashMap<OrganizationName, Pool>,
    exchange_time: Duration,
    spellings: Spellings,
    clock: Arc<dyn Clock>,
}

impl OutboundClient {
    /// Makes a client; reads the certificates to trust from disk, and connects to nothing.
    ///
    /// # Errors
    /// [`OutboundError`], when the certificates cannot be read.
    pub async fn new(
        settings: &OutboundSettings,
        policy: &OutboundPolicy,
        resolver: Arc<dyn Resolve>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OutboundError> {
        let tls = endpoint_tls(settings.ca_file.as_deref())?;
        let reachability = Arc::new(Reachability::default());
        let pool = |rules: &Arc<Rules>| {
            let dialer = Dialer {
                rules: Arc::clone(rules),
                resolver: Arc::clone(&resolver),
                reachability: Arc::clone(&reachability),
                time: settings.exchange_time / 2,
            };
            pool(settings, Connector::new(dialer, Arc::clone(&tls), settings.exchange_time * 2 / 3))
        };
        let own = policy.own().map(|(organization, rules)| (organization.clone(), pool(rules))).collect();
        Ok(Self {
            shared: pool(policy.shared()),
            own,
            exchange_time: settings.exchange_time,
            spellings: Spellings::read().await.map_err(OutboundError::Spelling)?,
            clock,
        })
    }

    /// Sends a request and waits for its answer, of whose body `keep_body` bytes are kept.
    ///
    /// Once the answer's head is here it counts as answered, even if the body then stalls, breaks or never
    /// ends: the status line decides, and what was kept until then is recorded. A head that never ends is no
    /// answer.
    ///
    /// The bytes of a request are written to one connection at most. When a waiting connection turns out to
    /// be closed before the first byte was written, another one is taken; once any may have been written, a
    /// failure is reported and nothing is sent again, although the server may have closed the connection
    /// without having read it.
    ///
    /// Dropping the future closes the connection; the request may have been sent.
    pub async fn send(&self, request: OutboundRequest, keep_body: usize) -> Exchange {
        let started = Instant::now();
        let (outcome, body_end) = self.exchange(request, keep_body, started + self.exchange_time).await;
        Exchange { outcome, duration: started.elapsed(), body_end }
    }

    async fn exchange(
        &self,
        request: OutboundRequest,
        keep_body: usize,
        deadline: Instant,
    ) -> (Outcome, Option<BodyEnd>) {
        let pool = self.own.get(&request.organization).unwrap_or(&self.shared);
        let target = Arc::clone(&request.target);
        let request = match build(request, &self.spellings) {
            Ok(request) => request,
            Err(error) => return (Outcome::OurFault { text: error.to_string().into() }, None),
        };
        match timeout_at(deadline, pool.request(request)).await {
            Ok(Ok(response)) => {
                let (answer, end) = record::read(response, keep_body, deadline, self.clock.now()).await;
                (Outcome::Answered(answer), Some(end))
            }
            Ok(Err(error)) => (failure::outcome(&error, &target), None),
            Err(_) => (failure::timed_out(self.exchange_time, &target), None),
        }
    }
}

fn pool(settings: &OutboundSettings, connector: Connector) -> Pool {
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(settings.idle_time)
        .pool_max_idle_per_host(settings.idle_per_host_max)
        .http1_max_buf_size(HEAD_BYTES_MAX)
        .http1_title_case_headers(true)
        // Of requests of which not one byte was written: hyper hands those back whole, and no others.
        .retry_canceled_requests(true)
        .build(connector)
}
