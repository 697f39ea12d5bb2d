//! No accepted event is lost: invariants 1 and 3 against SIGKILL and SIGTERM.
//!
//! `STACKBELL_KILL_EVENTS=100000 cargo test -p stackbell --release --test process kills -- --nocapture` runs the same test
//! with more events; without the variable there are 5,000.

use std::path::Path;

use stackbell_model::Entropy as _;
use stackbell_testkit::{
    Gate, Keep, Load, Receiver, Reply, SecondSends, SecondSendsCount, SeededEntropy, wait,
};
use tokio::task::JoinSet;

use crate::stored::Stored;
use crate::support::{count, publish, register, server, setup, update, webhook};

const KILLS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_accepted_is_lost_by_kills_under_load() {
    let total = count("STACKBELL_KILL_EVENTS", 5_000);
    let (mut server, receiver) = tokio::join!(server(), Receiver::keeping(Keep::Ids));
    register(&server.client(), &webhook("hook", &receiver.url("/"))).await;
    let load = Load::of(total, update(), vec![server.client()]);
    let mut chance = SeededEntropy::new(7);
    let mut second_sends = SecondSends::default();
    for kill in 0..KILLS {
        // The load has a part for each kill, so each kill happens under load.
        let after = (kill as f64 + chance.fraction()) * total as f64 / KILLS as f64;
        load.wait_for(after.min(total as f64 * 0.95).ceil() as usize).await;
        // Both are read while no process runs, because later requests come from the next process.
        let look = |data: &Path| (receiver.count(), Stored::copy_of(&data.join("stackbell.db")).succeeded());
        let (arrived, recorded) = server.kill_look_and_restart(look).await;
        second_sends.fault(arrived, recorded);
        load.moved(vec![server.client()]);
    }
    let accepted = load.end().await;
    assert_eq!(accepted.len(), total);
    receiver.wait_for_ids(&accepted).await;
    wait::until("all recorded", || async {
        let statistics = server.client().get("/v1/orgs/acme/statistics").await.expect(200).json();
        (statistics["usage"]["pending"] == 0).then_some(())
    })
    .await;
    let SecondSendsCount { seen, explained } = second_sends.check(&receiver.ids());
    println!(
        "{total} events, {KILLS} kills: all accepted events arrived, {seen} were sent a second time of at most {explained} \
         that were in flight"
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
    // The connection is opened after the stop has begun.
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
    let codes = wait::until("the record of both", || async {
        let deliveries = server.client().get("/api/orgs/acme/hooks/hook/deliveries").await.expect(200).json();
        let codes: Vec<_> =
            deliveries.as_array().expect("an array").iter().map(|d| d["responseCode"].clone()).collect();
        (codes.len() >= 2).then_some(codes)
    });
    assert_eq!(codes.await, [200, 200]);
    let ids = receiver.ids();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert_ne!(ids[0], ids[1], "the first was not sent again");
    server.assert_quiet();
}

/// The log of a stop without work in progress, and the files that it leaves.
#[tokio::test]
async fn a_clean_stop_leaves_a_clean_folder() {
    let server = server().await;
    let (status, log, folder) = server.terminate().await;
    assert!(status.success(), "{status}\n{log}");
    let left = |name: &str| folder.path().join(name).exists();
    assert!(left("stackbell.db") && !left("stackbell.db-wal") && !left("stackbell.db-shm"));
    assert!(!log.contains("did not end in time") && !log.contains("WARN") && !log.contains("ERROR"), "{log}");
}
