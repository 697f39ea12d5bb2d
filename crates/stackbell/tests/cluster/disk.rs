//! A full disk of the database: producers are told to retry, reads continue, and no accepted event is lost.
//!
//! The database's server has a small disk of its own. This needs `unshare` and `mount` (util-linux), and root or a kernel
//! that allows user namespaces; without them the test fails.
//!
//! In most cases the database's own files run out of space first, because segments of its write-ahead log are reused:
//! PostgreSQL then returns errors and continues. If the log runs out of space, PostgreSQL stops, and is started again once
//! there is space.

use std::collections::BTreeSet;

use stackbell_testkit::{
    Answer, Client, Database, Keep, Postgres, PostgresSettings, Receiver, SecondSends, SecondSendsCount,
    Server, event_id, wait,
};
use tokio::time::Instant;

use crate::support::{NODES_KEY, command, ended, register, setup, succeeded, update, webhook};

/// The size of the disk in MiB: a new server, one of our databases, and some segments of the log.
const DISK: u32 = 180;

/// Writes more than the remaining segments of the log and the disk can hold. The data itself is not used.
const FILL_LOG: &str =
    "SELECT count(pg_logical_emit_message(false, '', repeat('-', 1000000))) FROM generate_series(1, 200)";

/// The number of events that are accepted before the disk is full.
const EVENTS_BEFORE: usize = 50;

/// Counts the accepted events.
const EVENTS: &str = "SELECT count(*) FROM event_ids";

/// More events than the existing pages can hold.
const EVENTS_MAX: usize = 10_000;

/// Publishes the event with this number; it must be accepted, or rejected for a while.
async fn publish(client: &Client, number: usize) -> Answer {
    let mut event = update();
    event["id"] = (*event_id(number)).into();
    let answer = client.post("/v1/orgs/acme/events", &event).await;
    assert!(matches!(answer.status, 202 | 503), "{}", answer.text());
    answer
}

/// Publishes the first events, which must all be accepted; returns their number.
async fn publish_before(nodes: &[Server]) -> usize {
    for number in 0..EVENTS_BEFORE {
        publish(&nodes[number % nodes.len()].client(), number).await.expect(202);
    }
    EVENTS_BEFORE
}

/// Publishes events from this number on until one is rejected; returns its number and the response.
async fn publish_until_refused(client: &Client, first: usize) -> (usize, Answer) {
    for number in first..EVENTS_MAX {
        let answer = publish(client, number).await;
        if answer.status == 503 {
            return (number, answer);
        }
    }
    panic!("the disk is never full");
}

/// Publishes this event until it is accepted.
async fn publish_until_accepted(client: &Client, number: usize) {
    wait::until("an accepted event", || async {
        (publish(client, number).await.status == 202).then_some(())
    })
    .await;
}

#[track_caller]
fn check_retry_after(refused: &Answer, why: &str) {
    assert!(refused.text().contains(why), "{}", refused.text());
    let wait_s: u64 = refused.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!(wait_s > 0, "{wait_s}");
}

async fn check_reads(client: &Client) {
    for path in ["/api/orgs/acme/hooks", "/v1/orgs/acme/events", "/api/orgs/acme/hooks/hook/deliveries"] {
        client.get(path).await.expect(200);
    }
    client.get("/healthz").await.expect(200);
}

async fn wait_for_readiness(node: &Server, status: u16, word: &str) {
    let client = node.client();
    let ready = wait::until(word, || async {
        let answer = client.get("/readyz").await;
        (answer.status == status).then_some(answer)
    });
    assert_eq!(ready.await.json()["status"], word);
}

async fn check_doctor(database: &Database, code: i32, expected: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut doctor = command(&["doctor", "--listen", "127.0.0.1:0"], &database.url());
    doctor.arg("--data").arg(folder.path()).env("STACKBELL_MASTER_KEY", NODES_KEY);
    let doctor = ended(doctor).await;
    assert!(doctor.ended(code).contains(expected), "{}", doctor.said);
}

/// Checks that exactly the accepted events are in the database and have arrived, and that only those in flight at the time
/// of the full disk arrived twice.
async fn check_whole(
    accepted: &BTreeSet<Box<str>>,
    database: &Database,
    receiver: &Receiver,
    second_sends: &SecondSends,
) {
    assert_eq!(database.psql(EVENTS), accepted.len().to_string());
    receiver.wait_for_ids(accepted).await;
    let pending = "SELECT count(*) FROM deliveries WHERE state = 'pending'";
    wait::until("all recorded", || async { (database.psql(pending) == "0").then_some(()) }).await;
    let SecondSendsCount { seen, explained } = second_sends.check(&receiver.ids());
    println!(
        "{} accepted, 0 lost, {seen} sent a second time of at most {explained} in flight",
        accepted.len()
    );
}

async fn end(nodes: impl IntoIterator<Item = Server>) {
    for node in nodes {
        let (status, log, _) = node.terminate().await;
        assert!(status.success() && !log.contains("panicked"), "{status}\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_the_database_refuses_producers_and_loses_nothing() {
    let server = Postgres::start(PostgresSettings::default().on_disk(DISK)).await;
    let (database, receiver) = (server.database().await, Receiver::keeping(Keep::Ids).await);
    let node = setup().store(&database.url());
    let nodes = [node.clone().start().await, node.start().await];
    register(&nodes[0].client(), &webhook("hook", &receiver.url("/"))).await;
    // The deliveries of these events may have to wait for space. The numbers have no gap, because the first rejected event is
    // published again until it is accepted.
    let mut next = publish_before(&nodes).await;

    let mut second_sends = SecondSends::default();
    server.keep_log_ahead().await;
    let recorded = succeeded(&database);
    let ballast = server.fill_disk().await;
    for node in &nodes {
        let (number, refused) = publish_until_refused(&node.client(), next).await;
        next = number;
        check_retry_after(&refused, "no room");
        check_reads(&node.client()).await;
        wait_for_readiness(node, 503, "store full").await;
    }
    second_sends.fault(receiver.count(), recorded);
    check_doctor(&database, 1, "No space left").await;
    assert_eq!(database.psql(EVENTS), next.to_string(), "what was refused is not there");

    ballast.remove();
    let began = Instant::now();
    for node in &nodes {
        // The node recovers by itself, without a restart and without another event.
        wait_for_readiness(node, 200, "ok").await;
        publish_until_accepted(&node.client(), next).await;
        next += 1;
    }
    println!("accepted again after {:?}", began.elapsed());
    check_whole(&(0..next).map(event_id).collect(), &database, &receiver, &second_sends).await;
    assert!(!server.log().contains("PANIC"), "{}", server.log());
    end(nodes).await;
}

/// PostgreSQL stops in this case, and is started again once there is space, not before.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_the_databases_log_loses_nothing() {
    let settings = PostgresSettings::default().on_disk(DISK).with("restart_after_crash", "off");
    let server = Postgres::start(settings).await;
    let (database, receiver) = (server.database().await, Receiver::keeping(Keep::Ids).await);
    let nodes = [setup().store(&database.url()).start().await];
    let client = nodes[0].client();
    register(&client, &webhook("hook", &receiver.url("/"))).await;
    let next = publish_before(&nodes).await;

    let mut second_sends = SecondSends::default();
    let recorded = succeeded(&database);
    let ballast = server.fill_disk().await;
    server.try_psql(database.name(), FILL_LOG).await.expect_err("the server ends");
    let ended = || async { server.log().contains("database system is shut down").then_some(()) };
    wait::until("a server that has ended", ended).await;
    assert!(server.log().contains("PANIC"), "{}", server.log());
    second_sends.fault(receiver.count(), recorded);
    let refused = publish(&client, next).await.expect(503);
    check_retry_after(&refused, "cannot be reached");
    wait_for_readiness(&nodes[0], 503, "store unavailable").await;

    ballast.remove();
    server.start_again().await;
    wait_for_readiness(&nodes[0], 200, "ok").await;
    publish_until_accepted(&client, next).await;
    check_whole(&(0..=next).map(event_id).collect(), &database, &receiver, &second_sends).await;
    end(nodes).await;
}
