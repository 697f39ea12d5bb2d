//! Nothing accepted is lost: invariants 1 and 3 against SIGKILL and SIGTERM.
//!
//! `STACKBELL_KILL_EVENTS=100000 cargo test -p stackbell --release --test process kills -- --nocapture` is the same test with
//! more events; without the variable there are 5,000.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::Method;
use stackbell_model::Entropy as _;
use stackbell_testkit::{Client, Gate, Keep, Receiver, Reply, SeededEntropy, wait};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::{publish, register, server, setup, update, webhook};

const KILLS: usize = 5;

/// Producers, each with one event under way.
const PRODUCERS: usize = 32;

#[expect(clippy::disallowed_methods, reason = "this test has one setting, and no configuration")]
fn events_to_publish() -> usize {
    std::env::var("STACKBELL_KILL_EVENTS").map_or(5_000, |text| text.parse().expect("a number of events"))
}

/// What the producers share.
struct Load {
    total: usize,
    next: AtomicUsize,
    accepted: Mutex<BTreeSet<Box<str>>>,
    /// Where the server is now.
    server: watch::Receiver<Client>,
}

impl Load {
    fn accepted(&self) -> usize {
        self.accepted.lock().expect("nobody panics with it").len()
    }

    /// Publishes one event at a time until none is left; sends one again that was not answered.
    async fn produce(self: Arc<Self>) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.total {
                return;
            }
            let id = format!("00000000-0000-4000-8000-{number:012x}");
            let mut event = update();
            event["id"] = id.as_str().into();
            let body = bytes::Bytes::from(event.to_string());
            wait::until("an accepted event", || async {
                let client = self.server.borrow().clone();
                let answer =
                    client.try_send(Method::POST, "/v1/orgs/acme/events", &[], body.clone()).await.ok()?;
                assert!(matches!(answer.status, 202 | 503), "{}", answer.text());
                (answer.status == 202).then_some(())
            })
            .await;
            self.accepted.lock().expect("nobody panics with it").insert(id.into());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_accepted_is_lost_by_kills_under_load() {
    let total = events_to_publish();
    let (mut server, receiver) = tokio::join!(server(), Receiver::keeping(Keep::Ids));
    register(&server.client(), &webhook("hook", &receiver.url("/"))).await;
    let (clients, current) = watch::channel(server.client());
    let load =
        Arc::new(Load { total, next: AtomicUsize::new(0), accepted: Mutex::default(), server: current });
    let mut producers = JoinSet::new();
    for _ in 0..PRODUCERS {
        producers.spawn(Arc::clone(&load).produce());
    }
    let mut chance = SeededEntropy::new(7);
    for kill in 0..KILLS {
        // Somewhere in the kill's own part of the load, so that it is always under load.
        let after = (kill as f64 + chance.fraction()) * total as f64 / KILLS as f64;
        let is_there = || async { (load.accepted() as f64 >= after.min(total as f64 * 0.95)).then_some(()) };
        wait::until("the moment of a kill", is_there).await;
        server.kill_and_restart().await;
        clients.send_replace(server.client());
    }
    while let Some(ended) = producers.join_next().await {
        ended.expect("no producer failed");
    }
    assert_eq!(load.accepted(), total);
    let accepted = load.accepted.lock().expect("nobody panics with it").clone();
    let second_sends = receiver.wait_for_ids(&accepted).await;
    println!(
        "{total} events, {KILLS} kills: all accepted events arrived, {second_sends} were sent a second time"
    );
    server.assert_quiet();
}

#[tokio::test]
async fn sigterm_cuts_what_does_not_end_and_loses_nothing() {
    let receiver = Receiver::start().await;
    let mut server = setup().flag("--stop-timeout", "500ms").start().await;
    register(&server.client(), &webhook("hook", &receiver.url("/"))).await;
    let gate = Gate::new();
    receiver.then([Reply::status(200).behind(&gate)]);
    let accepted = publish(&server.client(), &update()).await;
    receiver.wait_for(1).await;
    server.terminate_and_restart().await;
    let requests = receiver.wait_for(2).await;
    assert_eq!(accepted["id"], requests[0].id());
    assert_eq!((requests[0].id(), &requests[0].body), (requests[1].id(), &requests[1].body));
    server.assert_quiet();
}

#[tokio::test]
async fn sigterm_waits_for_what_ends() {
    let (mut server, receiver) = tokio::join!(server(), Receiver::start());
    register(&server.client(), &webhook("hook", &receiver.url("/"))).await;
    let gate = Gate::new();
    receiver.then([Reply::status(200).behind(&gate)]);
    publish(&server.client(), &update()).await;
    receiver.wait_for(1).await;
    // Opened once the server is on its way down.
    let address = server.address();
    let open = async move {
        let is_down = || async { tokio::net::TcpStream::connect(address).await.is_err().then_some(()) };
        wait::until("a closed door", is_down).await;
        gate.open();
    };
    let mut opening = JoinSet::new();
    opening.spawn(open);
    server.terminate_and_restart().await;
    publish(&server.client(), &update()).await;
    receiver.wait_for(2).await;
    let deliveries = server.client().get("/api/orgs/acme/hooks/hook/deliveries").await.expect(200).json();
    let codes: Vec<_> =
        deliveries.as_array().expect("an array").iter().map(|d| d["responseCode"].clone()).collect();
    assert!(codes.iter().all(|code| code == 200), "{codes:?}");
    let ids = receiver.ids();
    assert_ne!(ids[0], ids[1], "the first was not sent again");
    server.assert_quiet();
}

/// The log of a stop that has nothing to wait for, and that nothing is left beside the database.
#[tokio::test]
async fn a_clean_stop_leaves_a_clean_folder() {
    let server = server().await;
    let (status, log, folder) = server.terminate().await;
    assert!(status.success(), "{status}\n{log}");
    let left = |name: &str| folder.path().join(name).exists();
    assert!(left("stackbell.db") && !left("stackbell.db-wal"));
}
