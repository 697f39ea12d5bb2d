//! Producers that keep servers busy.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::Client;
use crate::wait;

/// The number of producers. Each has one event in flight.
const PRODUCERS: usize = 32;

/// The request timeout, after which the next server is tried.
const PATIENCE: Duration = Duration::from_secs(2);

/// Running producers. They stop when dropped.
///
/// An event without a response, or with a 503, is sent again under the same id, to the next server if there
/// are several.
pub struct Load {
    shared: Arc<Shared>,
    servers: watch::Sender<Vec<Client>>,
    producers: JoinSet<()>,
}

struct Shared {
    path: String,
    event: Value,
    /// The number of events to publish.
    total: AtomicUsize,
    next: AtomicUsize,
    accepted: Mutex<BTreeSet<Box<str>>>,
}

/// Returns the id of an event, by its number from 0.
pub fn event_id(number: usize) -> Box<str> {
    format!("00000000-0000-4000-8000-{number:012x}").into()
}

impl Load {
    /// Publishes `total` copies of `event` in the organization `acme`, each with its own id.
    ///
    /// # Panics
    /// If there is no server.
    pub fn of(total: usize, event: Value, servers: Vec<Client>) -> Self {
        assert!(!servers.is_empty(), "there is nobody to publish to");
        let shared = Arc::new(Shared {
            path: "/v1/orgs/acme/events".to_owned(),
            event,
            total: AtomicUsize::new(total),
            next: AtomicUsize::new(0),
            accepted: Mutex::default(),
        });
        let servers = watch::Sender::new(servers);
        let mut producers = JoinSet::new();
        for first in 0..PRODUCERS {
            producers.spawn(Arc::clone(&shared).produce(servers.subscribe(), first));
        }
        Self { shared, servers, producers }
    }

    /// Publishes until it is stopped.
    pub fn endless(event: Value, servers: Vec<Client>) -> Self {
        Self::of(usize::MAX, event, servers)
    }

    /// Replaces the servers.
    pub fn moved(&self, servers: Vec<Client>) {
        self.servers.send_replace(servers);
    }

    /// The number of accepted events.
    pub fn accepted(&self) -> usize {
        self.shared.accepted().len()
    }

    /// The ids of the events that were accepted.
    pub fn accepted_ids(&self) -> BTreeSet<Box<str>> {
        self.shared.accepted().clone()
    }

    /// Waits until `count` events were accepted.
    pub async fn wait_for(&self, count: usize) {
        let mut before = 0;
        while before < count {
            // A long load may exceed the deadline of a wait, so every accepted event restarts the deadline.
            before = wait::until("another accepted event", || async {
                let accepted = self.accepted();
                (accepted >= count || accepted > before).then_some(accepted)
            })
            .await;
        }
    }

    /// The number of events that may have been published. Events with higher numbers were never sent.
    pub fn begun(&self) -> usize {
        self.shared.next.load(Ordering::SeqCst)
    }

    /// Sends no further events, waits for those in flight, and returns the accepted ids.
    pub async fn stop(self) -> BTreeSet<Box<str>> {
        self.shared.total.store(0, Ordering::SeqCst);
        self.end().await
    }

    /// Waits until everything is published, and returns the accepted ids.
    ///
    /// # Panics
    /// If a producer has failed.
    pub async fn end(mut self) -> BTreeSet<Box<str>> {
        while let Some(ended) = self.producers.join_next().await {
            ended.expect("no producer failed");
        }
        self.accepted_ids()
    }
}

impl Shared {
    fn accepted(&self) -> MutexGuard<'_, BTreeSet<Box<str>>> {
        self.accepted.lock().expect("nobody panics with it")
    }

    /// Publishes one event at a time until none is left.
    async fn produce(self: Arc<Self>, servers: watch::Receiver<Vec<Client>>, first: usize) {
        let turn = AtomicUsize::new(first);
        loop {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            if number >= self.total.load(Ordering::SeqCst) {
                return;
            }
            let id = event_id(number);
            let mut event = self.event.clone();
            event["id"] = (*id).into();
            let body = Bytes::from(event.to_string());
            wait::until("an accepted event", || async {
                let client = {
                    let servers = servers.borrow();
                    servers[turn.fetch_add(1, Ordering::Relaxed) % servers.len()].clone()
                };
                let sent = client.try_send(Method::POST, &self.path, &[], body.clone());
                let answer = timeout(PATIENCE, sent).await.ok()?.ok()?;
                assert!(matches!(answer.status, 202 | 503), "{}", answer.text());
                (answer.status == 202).then_some(())
            })
            .await;
            self.accepted().insert(id);
        }
    }
}
