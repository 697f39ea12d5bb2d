//! Three nodes on one database lose no accepted event under load and with faults.
//!
//! A test fails if an accepted event does not arrive, if a producer gets a response other than "accepted" or "retry", or if the
//! cluster does not recover by itself. It also fails if a delivery arrives twice although it was not in flight when a node died,
//! was cut off or hung.
//!
//! `STACKBELL_CLUSTER_EVENTS` and `STACKBELL_CLUSTER_PAUSE` (seconds) make the test larger. The test prints its figures.

use std::collections::BTreeSet;
use std::time::Duration;

use stackbell_testkit::{
    Client, Database, Fault, Keep, Load, Postgres, PostgresSettings, Proxy, Receiver, Replication,
    SecondSends, SecondSendsCount, Server, Stop, wait,
};
use tokio::time::Instant;

use crate::support::{register, setup, succeeded, update, webhook};

#[expect(clippy::disallowed_methods, reason = "tests have few settings, and no configuration")]
fn setting(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |value| value.parse().expect(name))
}

fn events() -> usize {
    setting("STACKBELL_CLUSTER_EVENTS", 2000)
}

fn pause() -> Duration {
    Duration::from_secs(setting("STACKBELL_CLUSTER_PAUSE", 3) as u64)
}

/// The URL of a database with another port, or with several hosts and ports.
fn at_ports(database: &Database, ports: &[u16]) -> String {
    let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    database.url().replace(&format!("127.0.0.1:{}", database.server().port()), &hosts.join(","))
}

async fn nodes(url: &str, count: usize) -> Vec<Server> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(setup().store(url).start().await);
    }
    nodes
}

fn clients(nodes: &[Server]) -> Vec<Client> {
    nodes.iter().map(Server::client).collect()
}

/// The longest time from the acceptance of an event to its delivery's first recorded attempt.
fn longest_gap(database: &Database) -> Duration {
    let milliseconds = database.psql(
        "SELECT coalesce(max(first_at - created_at), 0) FROM (SELECT d.created_at, min(a.started_at) AS first_at \
         FROM deliveries d JOIN attempts a ON a.delivery_id = d.id GROUP BY d.id, d.created_at) AS firsts",
    );
    Duration::from_millis(milliseconds.parse().expect("a number"))
}

fn pending(database: &Database) -> String {
    database.psql("SELECT count(*) FROM deliveries WHERE state = 'pending'")
}

async fn all_recorded(database: &Database) {
    // The leases of lost nodes last longer than one wait.
    for _ in 0..3 {
        let deadline = Instant::now() + wait::DEADLINE;
        while Instant::now() < deadline {
            if pending(database) == "0" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    panic!("{} deliveries are pending yet", pending(database));
}

/// Waits until all accepted events have arrived, and checks which of them arrived twice.
async fn all_arrived(
    receiver: &Receiver,
    accepted: &BTreeSet<Box<str>>,
    database: &Database,
    second_sends: &SecondSends,
) -> SecondSendsCount {
    all_recorded(database).await;
    receiver.wait_for_ids(accepted).await;
    second_sends.check(&receiver.ids())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_a_paused_node_and_a_restarted_database_lose_nothing() {
    let server = Postgres::start(PostgresSettings::default()).await;
    let database = server.database().await;
    setup().migrate(&database.url()).await;
    let receiver = Receiver::keeping(Keep::Ids).await;
    let mut nodes = nodes(&database.url(), 3).await;
    register(&nodes[0].client(), &webhook("hook", &receiver.url("/"))).await;
    let total = events();
    let mut second_sends = SecondSends::default();
    let load = Load::of(total, update(), clients(&nodes));

    load.wait_for(total / 4).await;
    let (_, _folder) = nodes.remove(0).kill().await;
    let recorded = succeeded(&database);
    second_sends.fault(receiver.count(), recorded);
    load.moved(clients(&nodes));
    load.wait_for(total / 2).await;
    nodes[0].pause();
    let recorded = succeeded(&database);
    second_sends.fault(receiver.count(), recorded);
    tokio::time::sleep(pause()).await;
    nodes[0].go_on();
    load.wait_for(total * 3 / 4).await;
    let recorded = succeeded(&database);
    server.restart(Stop::Fast).await;
    second_sends.fault(receiver.count(), recorded);

    let accepted = load.end().await;
    assert_eq!(accepted.len(), total);
    let SecondSendsCount { seen, explained } =
        all_arrived(&receiver, &accepted, &database, &second_sends).await;
    println!(
        "{total} accepted, 0 lost, {seen} sent a second time of at most {explained} in flight; the longest from acceptance to first recorded attempt {:?}",
        longest_gap(&database)
    );
    for node in nodes {
        let (status, log, _) = node.terminate().await;
        assert!(status.success() && !log.contains("panicked"), "{status}\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_has_all_that_was_accepted() {
    let primary = Postgres::start(PostgresSettings::default()).await;
    let database = primary.database().await;
    setup().migrate(&database.url()).await;
    let standby = primary.standby(Replication::Synchronous).await;
    let receiver = Receiver::keeping(Keep::Ids).await;
    let nodes = nodes(&at_ports(&database, &[primary.port(), standby.port()]), 2).await;
    register(&nodes[0].client(), &webhook("hook", &receiver.url("/"))).await;
    let total = events();
    let mut second_sends = SecondSends::default();
    let load = Load::of(total, update(), clients(&nodes));
    load.wait_for(total / 2).await;
    let began = Instant::now();

    // The standby has everything that is visible on the primary.
    let recorded = succeeded(&database);
    primary.stop(Stop::Immediate).await;
    second_sends.fault(receiver.count(), recorded);
    standby.promote().await;

    let before = load.accepted();
    load.wait_for(before + 1).await;
    let away = began.elapsed();
    let accepted = load.end().await;
    let count = "SELECT count(*) FROM event_ids";
    assert_eq!(standby.psql(database.name(), count).await, total.to_string());
    let recorded = || standby.psql(database.name(), "SELECT count(*) FROM deliveries_pending");
    for _ in 0..3 {
        let deadline = Instant::now() + wait::DEADLINE;
        while Instant::now() < deadline && recorded().await != "0" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(recorded().await, "0");
    receiver.wait_for_ids(&accepted).await;
    let SecondSendsCount { seen, explained } = second_sends.check(&receiver.ids());
    println!(
        "{total} accepted, 0 lost over a promotion, {seen} sent a second time of at most {explained} in flight; \
         nothing accepted for {away:?}"
    );
    for node in nodes {
        let (status, log, _) = node.terminate().await;
        assert!(status.success() && !log.contains("panicked"), "{status}\n{log}");
    }
}

/// A node that is cut off from the database refuses within a bounded time, the others continue, and it recovers by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_refuses_and_comes_back() {
    let database = setup().database().await;
    let proxy = Proxy::start(database.server().port()).await;
    let receiver = Receiver::keeping(Keep::Ids).await;
    let cut = setup().store(&at_ports(&database, &[proxy.port()])).start().await;
    let other = setup().store(&database.url()).start().await;
    register(&other.client(), &webhook("hook", &receiver.url("/"))).await;
    for fault in [Fault::Stall, Fault::Refuse] {
        proxy.set(fault);
        if fault == Fault::Refuse {
            proxy.cut();
        }
        let refused = cut.client().post("/v1/orgs/acme/events", &update()).await;
        assert_eq!(
            (refused.status, refused.headers.contains_key("retry-after")),
            (503, true),
            "{}",
            refused.text()
        );
        let before = receiver.count();
        other.client().post("/v1/orgs/acme/events", &update()).await.expect(202);
        receiver.wait_for(before + 1).await;

        proxy.set(Fault::None);

        wait::until("an accepted event", || async {
            let answer = cut.client().post("/v1/orgs/acme/events", &update()).await;
            (answer.status == 202).then_some(())
        })
        .await;
    }
    for node in [cut, other] {
        let (status, log, _) = node.terminate().await;
        assert!(status.success() && !log.contains("panicked"), "{status}\n{log}");
    }
}

/// A slow network costs only time.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_database_is_slow_and_no_more() {
    let database = setup().database().await;
    let proxy = Proxy::start(database.server().port()).await;
    let receiver = Receiver::keeping(Keep::Ids).await;
    let node = setup().store(&at_ports(&database, &[proxy.port()])).start().await;
    register(&node.client(), &webhook("hook", &receiver.url("/"))).await;
    proxy.set(Fault::Delay(Duration::from_millis(20)));
    let accepted = Load::of(200, update(), vec![node.client()]).end().await;
    all_recorded(&database).await;
    assert_eq!(receiver.wait_for_ids(&accepted).await, 0, "none is sent twice");
    node.assert_quiet();
    let (status, log, _) = node.terminate().await;
    assert!(status.success(), "{status}\n{log}");
}
