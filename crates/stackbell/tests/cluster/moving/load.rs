//! A large store, with a SIGKILL in the middle of the copy.
//!
//! `STACKBELL_COPY_EVENTS=200000 cargo test -p stackbell --release --test cluster copied_once -- --nocapture` runs the same
//! test with more events; without the variable there are 20,000.

use stackbell_model::Clock as _;
use stackbell_system::SystemClock;
use stackbell_testkit::Receiver;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::Instant;

use super::fill::fill;
use super::{copy, embedded, stopped};
use crate::support::{ended, register, setup, webhook};

#[expect(clippy::disallowed_methods, reason = "this test has one setting, and no configuration")]
fn events_to_copy() -> usize {
    std::env::var("STACKBELL_COPY_EVENTS").map_or(20_000, |text| text.parse().expect("a number of events"))
}

/// Starts a copy, and kills it after about 40 % of the rows. Returns how many seconds it ran.
async fn killed_half_way(mut command: tokio::process::Command) -> f64 {
    let since = Instant::now();
    let mut child = command.spawn().expect("the binary starts");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    loop {
        let line = lines.next_line().await.expect("text").expect("it says how far it is");
        let Some((done, total)) = line.strip_suffix(" rows copied").and_then(|line| line.split_once(" of "))
        else {
            panic!("{line}");
        };
        let number = |text: &str| text.parse::<u64>().expect("a number");
        if number(done) * 5 >= number(total) * 2 {
            child.start_kill().expect("it runs");
            assert!(!child.wait().await.expect("it ends").success(), "it was too quick");
            return since.elapsed().as_secs_f64();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_copied_once_whatever_is_killed() {
    let events = events_to_copy();
    let (server, receiver) = tokio::join!(embedded(), Receiver::start());
    register(&server.client(), &webhook("hook", &receiver.url("/"))).await;
    let folder = stopped(server).await;
    fill(&folder.path().join("stackbell.db"), events, events / 10, SystemClock.now()).await;
    let database = setup().database().await;
    let before = killed_half_way(copy(folder.path(), &database.url(), &[])).await;
    let since = Instant::now();
    let copied = ended(copy(folder.path(), &database.url(), &[])).await;
    let took = before + since.elapsed().as_secs_f64();
    copied.ended(0);
    for (table, expected) in [("events", events), ("event_ids", events), ("deliveries", events)] {
        assert_eq!(database.psql(&format!("SELECT count(*) FROM {table}")), expected.to_string(), "{table}");
    }
    let rows: u64 = database.psql("SELECT rows FROM copies").parse().expect("a number");
    let rate = rows as f64 / took;
    println!("{}", copied.said);
    println!(
        "store copy of {events} events ({rows} rows), interrupted once: {took:.1} s with the comparison, {rate:.0} rows a second"
    );
}
