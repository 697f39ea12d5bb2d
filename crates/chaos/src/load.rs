//! Producers that choose event ids and retry until a request is accepted.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use stackbell_model::Entropy as _;
use stackbell_testkit::{Client, SeededEntropy};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The number of producers. Each has one request in flight.
const PRODUCERS: u64 = 10;

/// The maximum number of events in a request; most requests have one.
const BATCH_MAX: f64 = 6.0;

/// The maximum pause of a producer between requests. The pauses keep the number of events small enough to check all of them.
const PAUSE_MAX: Duration = Duration::from_millis(12);

/// The backoff between retries.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// The request timeout.
const PATIENCE: Duration = Duration::from_secs(5);

/// The path for publishing and listing events.
pub(crate) const EVENTS: &str = "/v1/orgs/acme/events";

/// Running producers. They stop when dropped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    node: watch::Sender<Option<Client>>,
    producers: JoinSet<()>,
}

struct Shared {
    next: AtomicU64,
    is_over: AtomicBool,
    accepted: Mutex<BTreeSet<Box<str>>>,
    /// Responses that should not occur.
    problems: Mutex<Vec<String>>,
}

impl Shared {
    fn accepted(&self) -> MutexGuard<'_, BTreeSet<Box<str>>> {
        self.accepted.lock().expect("nothing panics while it holds this")
    }
}

impl Load {
    /// Starts the producers. They wait for a node.
    pub(crate) fn begin(rng: &mut SeededEntropy) -> Self {
        let shared = Arc::new(Shared {
            next: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            accepted: Mutex::default(),
            problems: Mutex::default(),
        });
        let node = watch::Sender::new(None);
        let mut producers = JoinSet::new();
        for _ in 0..PRODUCERS {
            let rng = SeededEntropy::new(rng.next_u64());
            producers.spawn(produce(Arc::clone(&shared), node.subscribe(), rng));
        }
        Self { shared, node, producers }
    }

    /// Sets the node to publish to, or none.
    pub(crate) fn to(&self, node: Option<Client>) {
        self.node.send_replace(node);
    }

    /// The ids of all events that got a 202.
    pub(crate) fn accepted(&self) -> BTreeSet<Box<str>> {
        self.shared.accepted().clone()
    }

    /// Starts no further requests, waits until those in flight are accepted, and returns the problems.
    pub(crate) async fn end(&mut self) -> anyhow::Result<Vec<String>> {
        self.shared.is_over.store(true, Ordering::SeqCst);
        while let Some(ended) = self.producers.join_next().await {
            ended?;
        }
        Ok(std::mem::take(&mut *self.shared.problems.lock().expect("nothing panics while it holds this")))
    }
}

async fn produce(shared: Arc<Shared>, mut node: watch::Receiver<Option<Client>>, mut rng: SeededEntropy) {
    while !shared.is_over.load(Ordering::SeqCst) {
        sleep(PAUSE_MAX.mul_f64(rng.fraction())).await;
        let count = if rng.fraction() < 0.6 { 1 } else { 1 + (rng.fraction() * BATCH_MAX) as u64 };
        let first = shared.next.fetch_add(count, Ordering::SeqCst);
        let events: Vec<Value> = (first..first + count).map(|number| event(number, &mut rng)).collect();
        let ids: Vec<Box<str>> = (first..first + count).map(event_id).collect();
        let body = if count == 1 { events[0].to_string() } else { Value::from(events).to_string() };
        let problem = publish(&mut node, body.into()).await;
        match problem {
            None => shared.accepted().extend(ids),
            Some(problem) => {
                shared.problems.lock().expect("nothing panics while it holds this").push(problem);
            }
        }
    }
}

/// Publishes until the request is accepted. Returns a problem if an unexpected response arrives.
async fn publish(node: &mut watch::Receiver<Option<Client>>, body: Bytes) -> Option<String> {
    loop {
        // The sender is dropped after the producers.
        let client = node.wait_for(Option::is_some).await.ok()?.clone()?;
        let sent = client.try_send(Method::POST, EVENTS, &[], body.clone());
        match timeout(PATIENCE, sent).await {
            Ok(Ok(answer)) if answer.status == 202 => return None,
            Ok(Ok(answer)) if answer.status != 503 => {
                return Some(format!("a producer got {}: {}", answer.status, answer.text()));
            }
            Ok(Ok(_) | Err(_)) | Err(_) => sleep(RETRY_AFTER).await,
        }
    }
}

fn event_id(number: u64) -> Box<str> {
    format!("00000000-0000-4000-8000-{number:012x}").into()
}

/// An event of random size, so that rows can end at any position in a page.
fn event(number: u64, rng: &mut SeededEntropy) -> Value {
    let filler = "x".repeat((3000.0 * rng.fraction().powi(3)) as usize);
    json!({
        "id": event_id(number),
        "kind": "stack_update",
        "payload": {
            "projectName": "website", "stackName": "prod", "kind": "update", "result": "succeeded",
            "resourceChanges": {"same": number}, "isPreview": false, "message": filler,
        },
    })
}
