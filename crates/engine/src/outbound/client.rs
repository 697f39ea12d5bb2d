//! The client: connection pools, and one exchange at a time on each connection.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use stackbell_model::Clock;
use stackbell_model::delivery::Outcome;
use stackbell_model::names::OrganizationName;
use stackbell_system::{TrustError, client_tls_logged};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::connect::Connector;
use super::dial::Dialer;
use super::failure;
use super::policy::{OutboundPolicy, Rules};
use super::pool::{Link, Pool};
use super::reachability::Reachability;
use super::record::{self, BodyEnd};
use super::request::{BuildError, Connections, OutboundRequest, build};
use super::resolve::Resolve;
use super::spelling::Spellings;
use super::target::Target;

/// How long a connection may take to become ready again when its response came before the request was fully written. It is
/// closed after this time.
const READY_TIME: Duration = Duration::from_secs(1);

/// The settings of the client.
#[derive(Clone, Debug)]
pub struct OutboundSettings {
    /// The time limit of a whole exchange, from connect to the last byte. Connecting gets two thirds of it, so that a slow
    /// connect can be told from a slow response.
    pub exchange_time: Duration,
    /// How long an idle connection is kept.
    pub idle_time: Duration,
    /// The most idle connections to one scheme, host and port.
    pub idle_per_host_max: usize,
    /// A PEM file with authorities that are trusted in addition to the usual ones.
    pub ca_file: Option<PathBuf>,
}

impl Default for OutboundSettings {
    fn default() -> Self {
        Self {
            // Source: wire-facts.md#outgoing-request.
            exchange_time: Duration::from_secs(15),
            // Common servers close idle connections after 5 s or more (Node.js: 5 s). A shorter time avoids requests on
            // connections that are being closed. Endpoints that are rarely called hold no sockets.
            idle_time: Duration::from_secs(4),
            // The most attempts that one webhook has in flight.
            idle_per_host_max: 16,
            ca_file: None,
        }
    }
}

/// Why the client could not be created.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The certificates to trust could not be read.
    #[error("the outbound client cannot verify endpoints")]
    Trust(#[from] TrustError),
    /// hyper did not produce its map of header names.
    #[error("the spelling of header names could not be set up")]
    Spelling(#[source] hyper::Error),
}

/// The result of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// A response, or why there is none.
    pub outcome: Outcome,
    /// The time from the call to the last byte, or until the client gave up.
    pub duration: Duration,
    /// How the body of the response ended; `None` without a response.
    pub body_end: Option<BodyEnd>,
}

/// The one client for untrusted addresses. Share it in an `Arc`; dropping it closes all idle connections.
///
/// Each organization with allowances of its own has its own connections. All other organizations share theirs. The connections
/// of a `Way` were therefore all judged by the rules of everyone who uses it.
pub struct OutboundClient {
    shared: Way,
    own: HashMap<OrganizationName, Way>,
    exchange_time: Duration,
    spellings: Spellings,
    clock: Arc<dyn Clock>,
    tasks: TaskTracker,
}

/// A connector and a pool of idle connections, for organizations with equal rules.
struct Way {
    connector: Connector,
    pool: Arc<Pool>,
    /// The task that closes connections after their idle time.
    _closer: AbortOnDropHandle<()>,
}

/// Why a request on a connection got no response.
enum Lost {
    /// The connection was closed before the first byte of a response, which does not show that the endpoint failed.
    Stale,
    /// Any other failure.
    Failed(Outcome),
}

impl OutboundClient {
    /// Creates a client. Reads the trusted certificates from disk, and connects to nothing.
    ///
    /// # Errors
    /// [`OutboundError`], if the certificates could not be read or the client could not be set up.
    pub async fn new(
        settings: &OutboundSettings,
        policy: &OutboundPolicy,
        resolver: Arc<dyn Resolve>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OutboundError> {
        let tls = client_tls_logged(settings.ca_file.as_deref())?;
        let tasks = TaskTracker::new();
        let reachability = Arc::new(Reachability::default());
        let way = |rules: &Arc<Rules>| {
            let dialer = Dialer {
                rules: Arc::clone(rules),
                resolver: Arc::clone(&resolver),
                reachability: Arc::clone(&reachability),
                time: settings.exchange_time / 2,
            };
            let pool = Arc::new(Pool::new(settings.idle_time, settings.idle_per_host_max));
            let closer = tasks.spawn(Pool::close_idle(Arc::downgrade(&pool), settings.idle_time));
            Way {
                connector: Connector { dialer, tls: Arc::clone(&tls), time: settings.exchange_time * 2 / 3 },
                pool,
                _closer: AbortOnDropHandle::new(closer),
            }
        };
        let own = policy.own().map(|(organization, rules)| (organization.clone(), way(rules))).collect();
        Ok(Self {
            shared: way(policy.shared()),
            own,
            exchange_time: settings.exchange_time,
            spellings: Spellings::read().await.map_err(OutboundError::Spelling)?,
            clock,
            tasks,
        })
    }

    /// Sends a request, waits for the response, and keeps at most `keep_body` bytes of its body.
    ///
    /// The attempt counts as answered once the head of the response has arrived, even if the body then stalls, breaks or never
    /// ends. The status line decides, and the part of the body that arrived is recorded. A head that never ends is not a
    /// response.
    ///
    /// The request is written to at most one new connection. Before that it may have been written to a reused connection that
    /// was closed before the first byte of a response; see [`Connections`].
    ///
    /// Dropping the future closes the connection; the request may have been sent by then.
    pub async fn send(&self, request: OutboundRequest, keep_body: usize) -> Exchange {
        let started = Instant::now();
        let exchange = Attempting {
            client: self,
            way: self.own.get(&request.organization).unwrap_or(&self.shared),
            request: &request,
            keep_body,
            deadline: started + self.exchange_time,
        };
        let (outcome, body_end) = match exchange.run().await {
            Ok((outcome, body_end)) => (outcome, Some(body_end)),
            Err(outcome) => (outcome, None),
        };
        Exchange { outcome, duration: started.elapsed(), body_end }
    }
}

/// One exchange in progress.
struct Attempting<'a> {
    client: &'a OutboundClient,
    way: &'a Way,
    request: &'a OutboundRequest,
    keep_body: usize,
    deadline: Instant,
}

impl Attempting<'_> {
    async fn run(&self) -> Result<(Outcome, BodyEnd), Outcome> {
        let built = self.build()?;
        let reused = match self.request.connections {
            Connections::Any => self.way.pool.take(self.target().origin()),
            Connections::New => None,
        };
        let built = match reused {
            None => built,
            Some(link) => match self.exchange(link, built, true).await {
                Ok(answered) => return Ok(answered),
                Err(Lost::Failed(outcome)) => return Err(outcome),
                Err(Lost::Stale) => self.build()?,
            },
        };
        let link = self.connect().await?;
        self.exchange(link, built, false).await.map_err(|lost| match lost {
            Lost::Failed(outcome) => outcome,
            Lost::Stale => unreachable!("a new connection is not stale"),
        })
    }

    fn target(&self) -> &Target {
        &self.request.target
    }

    fn build(&self) -> Result<Request<Full<Bytes>>, Outcome> {
        let ours = |error: BuildError| Outcome::OurFault { text: error.to_string().into() };
        build(self.request, &self.client.spellings).map_err(ours)
    }

    async fn connect(&self) -> Result<Link, Outcome> {
        let connecting = self.way.connector.connect(self.target().origin(), &self.client.tasks);
        match timeout_at(self.deadline, connecting).await {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(error)) => Err(failure::not_connected(&error, self.target())),
            Err(_) => Err(failure::timed_out(self.client.exchange_time, self.target())),
        }
    }

    async fn exchange(
        &self,
        mut link: Link,
        request: Request<Full<Bytes>>,
        is_reused: bool,
    ) -> Result<(Outcome, BodyEnd), Lost> {
        link.exchanging.begin();
        let sent = timeout_at(self.deadline, link.sender.try_send_request(request)).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(_)) if is_reused && !link.exchanging.has_begun() => return Err(Lost::Stale),
            Ok(Err(error)) => {
                let is_unsent = error.message().is_some();
                let asked_for_certificate = link.tls_requests.were_made() && !link.exchanging.has_begun();
                let error = error.into_error();
                let outcome = failure::lost(&error, is_unsent, asked_for_certificate, self.target());
                return Err(Lost::Failed(outcome));
            }
            Err(_) => {
                let outcome = failure::timed_out(self.client.exchange_time, self.target());
                return Err(Lost::Failed(outcome));
            }
        };
        let head = link.exchanging.take_head().expect("hyper reads the head that was made of it");
        let now = self.client.clock.now();
        let (answer, end) =
            record::read(head, response.into_body(), self.keep_body, self.deadline, now).await;
        if end == BodyEnd::Whole {
            self.put_back(link);
        }
        Ok((Outcome::Answered(answer), end))
    }

    /// Returns a connection to the pool, once hyper has finished with this exchange.
    fn put_back(&self, mut link: Link) {
        let (pool, origin) = (&self.way.pool, self.target().origin());
        if link.sender.is_ready() {
            pool.put(origin, link);
        } else if !link.sender.is_closed() {
            // hyper still has to write the end of the request, or to read the end of the response.
            let (pool, origin) = (Arc::downgrade(pool), origin.clone());
            self.client.tasks.spawn(async move {
                let is_ready = matches!(timeout(READY_TIME, link.sender.ready()).await, Ok(Ok(())));
                if let Some(pool) = pool.upgrade().filter(|_| is_ready) {
                    pool.put(&origin, link);
                }
            });
        }
    }
}
