//! Producers that keep a server busy.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Method;
use stackbell_testkit::{Client, wait};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::update;

/// Producers, each with one event under way.
const PRODUCERS: usize = 32;

/// Producers at work. They end when dropped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    /// Where the server is now.
    server: watch::Sender<Client>,
    producers: JoinSet<()>,
}

struct Shared {
    /// Events to publish.
    total: AtomicUsize,
    next: AtomicUsize,
    accepted: Mutex<BTreeSet<Box<str>>>,
}

/// The id of the event with this number, counted from 0.
pub(crate) fn event_id(number: usize) -> Box<str> {
    format!("00000000-0000-4000-8000-{number:012x}").into()
}

impl Load {
    /// Publishes so many events.
    pub(crate) fn of(total: usize, server: Client) -> Self {
        let (total, next) = (AtomicUsize::new(total), AtomicUsize::new(0));
        let shared = Arc::new(Shared { total, next, accepted: Mutex::default() });
        let server = watch::Sender::new(server);
        let mut producers = JoinSet::new();
        for _ in 0..PRODUCERS {
            producers.spawn(Arc::clone(&shared).produce(server.subscribe()));
        }
        Self { shared, server, producers }
    }

    /// Publishes until it is told to stop.
    pub(crate) fn endless(server: Client) -> Self {
        Self::of(usize::MAX, server)
    }

    /// The server was started again, and is somewhere else.
    pub(crate) fn moved(&self, server: Client) {
        self.server.send_replace(server);
    }

    /// How many events were accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted().len()
    }

    /// The ids of the events that were accepted.
    pub(crate) fn accepted_ids(&self) -> BTreeSet<Box<str>> {
        self.shared.accepted().clone()
    }

    /// Waits until so many events were accepted.
    pub(crate) async fn wait_for(&self, count: usize) {
        wait::until("accepted events", || async { (self.accepted() >= count).then_some(()) }).await;
    }

    /// How many events there are that somebody may have published: no later number has been on its way.
    pub(crate) fn begun(&self) -> usize {
        self.shared.next.load(Ordering::SeqCst)
    }

    /// Begins no other event, waits for those under way, and gives the ids of all.
    pub(crate) async fn stop(self) -> BTreeSet<Box<str>> {
        self.shared.total.store(0, Ordering::SeqCst);
        self.end().await
    }

    /// Waits until all is published, and gives the ids.
    pub(crate) async fn end(mut self) -> BTreeSet<Box<str>> {
        while let Some(ended) = self.producers.join_next().await {
            ended.expect("no producer failed");
        }
        self.accepted_ids()
    }
}

impl Shared {
    fn accepted(&self) -> std::sync::MutexGuard<'_, BTreeSet<Box<str>>> {
        self.accepted.lock().expect("nobody panics with it")
    }

    /// Publishes one event at a time until none is left; sends one again that was not answered.
    async fn produce(self: Arc<Self>, server: watch::Receiver<Client>) {
        loop {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            if number >= self.total.load(Ordering::SeqCst) {
                return;
            }
            let id = event_id(number);
            let mut event = update();
            event["id"] = (*id).into();
            let body = Bytes::from(event.to_string());
            wait::until("an accepted event", || async {
                let client = server.borrow().clone();
                let answer =
                    client.try_send(Method::POST, "/v1/orgs/acme/events", &[], body.clone()).await.ok()?;
                assert!(matches!(answer.status, 202 | 503), "{}", answer.text());
                (answer.status == 202).then_some(())
            })
            .await;
            self.accepted().insert(id);
        }
    }
}
