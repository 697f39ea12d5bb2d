//! The endpoint of all webhooks: it counts requests, and is sometimes slow or failing.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use stackbell_model::Entropy as _;
use stackbell_testkit::{Client, SeededEntropy};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

/// The webhooks: the endpoint of the first always responds 200 at once; the endpoint of the second is sometimes slow or failing.
pub(crate) const WEBHOOKS: [&str; 2] = ["well", "unwell"];

/// The percentage of responses with 500 from the failing endpoint.
const REFUSED_PERCENT: f64 = 5.0;

/// The percentage of slow responses among its other responses, and their maximum delay.
const SLOW_PERCENT: f64 = 15.0;
const SLOW_MAX: Duration = Duration::from_millis(250);

/// The maximum number of problems that are reported in words.
const PROBLEMS_MAX: usize = 10;

/// One delivery: a webhook's name and an event's id.
pub(crate) type Key = (&'static str, Box<str>);

/// A running endpoint. It stops when dropped.
pub(crate) struct Endpoint {
    address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

struct Shared {
    state: Mutex<State>,
    /// The number of open connections.
    open: watch::Sender<usize>,
    /// Whether each node process must send a delivery at most once. If leases can be lost, the same process may send it again.
    once: bool,
}

struct State {
    rng: SeededEntropy,
    life: u32,
    sends: BTreeMap<Key, Sends>,
    recorded: BTreeSet<Key>,
    counts: Counts,
}

/// The state of a delivery's requests so far.
struct Sends {
    body: u64,
    last: Last,
    is_delivered: bool,
}

/// The outcome of a delivery's last request, with the number of the node process (its life) that sent it.
#[derive(Clone, Copy)]
enum Last {
    /// The request is in progress, or was interrupted.
    InFlight(u32),
    Accepted(u32),
    Refused,
}

/// The counts of the endpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Deliveries that got a 200, each counted once.
    pub(crate) delivered: usize,
    /// Requests of deliveries that had already got a 200.
    pub(crate) repeated_answered: usize,
    /// Requests of deliveries that were in flight when the node was killed.
    pub(crate) repeated_in_flight: usize,
    /// The number of violations.
    pub(crate) wrong: usize,
    /// Descriptions of the first violations.
    pub(crate) problems: Vec<String>,
}

impl Counts {
    /// Records a violation.
    pub(crate) fn note(&mut self, problem: String) {
        self.wrong += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    /// Adds the counts of another endpoint.
    pub(crate) fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.repeated_answered += other.repeated_answered;
        self.repeated_in_flight += other.repeated_in_flight;
        self.wrong += other.wrong;
        let room = PROBLEMS_MAX.saturating_sub(self.problems.len());
        self.problems.extend(other.problems.iter().take(room).cloned());
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this")
    }

    /// Records a request. Returns the status and the delay of its response.
    fn take(&self, key: &Key, body: &Bytes) -> (StatusCode, Duration) {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let body = hasher.finish();
        let mut state = self.state();
        let state = &mut *state;
        let now = Last::InFlight(state.life);
        let sends = state.sends.entry(key.clone()).or_insert(Sends {
            body,
            last: Last::Refused,
            is_delivered: false,
        });
        match sends.last {
            Last::Accepted(life) => {
                state.counts.repeated_answered += 1;
                if state.recorded.contains(key) {
                    state
                        .counts
                        .note(format!("{key:?} was sent again, and the API had said that it succeeded"));
                } else if life == state.life && self.once {
                    state.counts.note(format!("{key:?} was sent again after a 200, without a kill between"));
                }
            }
            Last::InFlight(life) => {
                state.counts.repeated_in_flight += 1;
                if life == state.life && self.once {
                    state.counts.note(format!("{key:?} was sent twice at once"));
                }
            }
            Last::Refused => {}
        }
        if sends.body != body {
            state.counts.note(format!("{key:?} was sent again with other bytes"));
        }
        sends.last = now;
        let toss = |rng: &mut SeededEntropy, percent: f64| rng.fraction() * 100.0 < percent;
        let is_well = key.0 == WEBHOOKS[0];
        if is_well || !toss(&mut state.rng, REFUSED_PERCENT) {
            let is_slow = !is_well && toss(&mut state.rng, SLOW_PERCENT);
            let slow = SLOW_MAX.mul_f64(if is_slow { state.rng.fraction() } else { 0.0 });
            (StatusCode::OK, slow)
        } else {
            (StatusCode::INTERNAL_SERVER_ERROR, Duration::ZERO)
        }
    }

    /// Records that the response is about to be sent.
    fn answered(&self, key: &Key, status: StatusCode) {
        let mut state = self.state();
        let state = &mut *state;
        let Some(sends) = state.sends.get_mut(key) else { return };
        if status != StatusCode::OK {
            sends.last = Last::Refused;
            return;
        }
        sends.last = Last::Accepted(state.life);
        if !std::mem::replace(&mut sends.is_delivered, true) {
            state.counts.delivered += 1;
        }
    }
}

impl Endpoint {
    /// Starts an endpoint. With `once`, a second request of a delivery without a kill since the first is a
    /// violation.
    pub(crate) async fn start(rng: SeededEntropy, once: bool) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = State {
            rng,
            life: 0,
            sends: BTreeMap::new(),
            recorded: BTreeSet::new(),
            counts: Counts::default(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), open: watch::Sender::new(0), once });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, _accepting: accepting })
    }

    /// The URL of a webhook.
    pub(crate) fn url(&self, webhook: &str) -> String {
        format!("http://{}/{webhook}", self.address)
    }

    /// Starts the node's next life. The node must be gone. All its requests are read before this function returns.
    pub(crate) async fn next_life(&self) -> anyhow::Result<()> {
        // Connections are accepted in order, so this one comes after all connections of the node.
        let client = Client::new(&format!("http://{}", self.address), "");
        let passed = client.try_send(http::Method::GET, "/", &[], Bytes::new()).await;
        passed.map_err(|error| anyhow::anyhow!(error))?;
        drop(client);
        self.shared.open.subscribe().wait_for(|open| *open == 0).await?;
        self.shared.state().life += 1;
        Ok(())
    }

    /// Records that the API reports these deliveries as succeeded.
    pub(crate) fn recorded(&self, keys: impl IntoIterator<Item = Key>) {
        self.shared.state().recorded.extend(keys);
    }

    /// Whether a delivery got a 200.
    pub(crate) fn is_delivered(&self, key: &Key) -> bool {
        self.shared.state().sends.get(key).is_some_and(|sends| sends.is_delivered)
    }

    /// The number of deliveries that the API has reported as succeeded.
    pub(crate) fn recorded_count(&self) -> usize {
        self.shared.state().recorded.len()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.shared.state().counts.clone()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let connections = TaskTracker::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.open.send_modify(|open| *open += 1);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&shared)));
            // The sender may be gone: killing it is the purpose of this program.
            let _ = stream.set_nodelay(true);
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            shared.open.send_modify(|open| *open -= 1);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let reply = |status| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        Ok(response)
    };
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let Some(webhook) = WEBHOOKS.into_iter().find(|webhook| *webhook == path) else {
        return reply(StatusCode::NOT_FOUND);
    };
    let id = request.headers().get("pulumi-webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let key = (webhook, Box::from(id));
    // An incomplete body comes from a node that was killed; it does not count as received.
    let Ok(body) = request.into_body().collect().await else { return reply(StatusCode::BAD_REQUEST) };
    let (status, after) = shared.take(&key, &body.to_bytes());
    if !after.is_zero() {
        sleep(after).await;
    }
    shared.answered(&key, status);
    reply(status)
}

/// The deliveries of an event.
pub(crate) fn deliveries(event: &str) -> impl Iterator<Item = Key> {
    WEBHOOKS.into_iter().map(move |webhook| (webhook, event.into()))
}

/// The delivery that a JSON object of the API describes.
pub(crate) fn key(delivery: &serde_json::Value) -> anyhow::Result<Key> {
    let name = delivery["webhook"]["name"].as_str().context("a delivery's webhook")?;
    let webhook = WEBHOOKS.into_iter().find(|webhook| *webhook == name).context("one of our webhooks")?;
    Ok((webhook, delivery["eventId"].as_str().context("a delivery's event")?.into()))
}
