//! A killed recovery continues, and resends only deliveries that were in flight.
//!
//! `STACKBELL_RECOVERY_DELIVERIES=10000 cargo test -p stackbell --release --test process recovery -- --nocapture` runs the
//! same test with more deliveries; without the variable there are 2,000.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use stackbell_engine::core::CoreConfig;
use stackbell_testkit::{Client, Keep, Receiver, Reply, wait};

use crate::stored::Stored;
use crate::support::{count, register, setup, update, webhook};

/// Events in one request.
const BATCH: usize = 500;

/// Publishes `total` events and returns their ids.
async fn publish(client: &Client, total: usize) -> BTreeSet<Box<str>> {
    let mut ids = BTreeSet::new();
    while ids.len() < total {
        let events = vec![update(); BATCH.min(total - ids.len())];
        let answer = client.post("/v1/orgs/acme/events", &events.into()).await.expect(202).json();
        let accepted = answer.as_array().unwrap_or_else(|| panic!("{answer}"));
        ids.extend(accepted.iter().map(|event| Box::from(event["id"].as_str().expect("an id"))));
    }
    ids
}

async fn is_settled(client: &Client) -> bool {
    let statistics = client.get("/v1/orgs/acme/statistics").await.expect(200).json();
    statistics["usage"]["pending"] == 0
}

/// Waits until all deliveries have failed. After failures the circuit breaker waits half a minute, unless the endpoint responds
/// to a ping.
async fn wait_for_failure(client: &Client) {
    let ping = async || {
        let ping = client.post_empty("/api/orgs/acme/hooks/hook/ping").await.expect(200).json();
        assert_eq!(ping["responseCode"], 200, "{ping}");
    };
    wait::until("the end of all deliveries", || async {
        ping().await;
        is_settled(client).await.then_some(())
    })
    .await;
    // The last failure must not make the recovery wait for half a minute.
    ping().await;
}

/// The state of the recovery.
async fn recovery(client: &Client, path: &str) -> Value {
    client.get(path).await.expect(200).json()
}

/// The state at the time of a kill.
#[derive(Debug)]
struct Killed {
    /// The deliveries whose success was on disk, by the ids of their events.
    recorded: BTreeSet<Box<str>>,
    recovery: String,
    rearmed: usize,
    /// The number of requests that had arrived.
    arrived: usize,
}

impl Killed {
    fn look(data: &Path, receiver: &Receiver) -> Self {
        let stored = Stored::copy_of(&data.join("stackbell.db"));
        stored.assert_consistent();
        Self {
            recorded: stored.succeeded(),
            recovery: stored.text("SELECT state FROM recoveries"),
            rearmed: stored.number("SELECT rearmed FROM recoveries"),
            arrived: receiver.count(),
        }
    }

    /// The number of requests that got a 2xx which was not on disk. The first `refused` requests got no 2xx. Also checks that no
    /// delivery with a recorded success is sent again.
    fn unrecorded(&self, requests: &[Box<str>], refused: usize) -> usize {
        let again = requests[self.arrived..].iter().find(|id| self.recorded.contains(*id));
        assert_eq!(again, None, "it was sent again although its success was on disk");
        let answered: BTreeSet<_> = requests[refused..self.arrived].iter().cloned().collect();
        answered.difference(&self.recorded).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_that_is_killed_loses_nothing_and_repeats_only_what_was_on_its_way() {
    let total = count("STACKBELL_RECOVERY_DELIVERIES", 2_000);
    let settings = tempfile::NamedTempFile::with_suffix(".toml").expect("a file");
    // The schedule is empty: one attempt without retries.
    std::fs::write(&settings, "retry_schedule = []").expect("written");
    let path = settings.path().to_str().expect("UTF-8");
    let mut server = setup().flag("--config", path).start().await;
    let receiver = Receiver::keeping(Keep::Ids).await;
    receiver.answer(Reply::status(500));
    receiver.answer_pings(Reply::status(200));
    let client = server.client();
    register(&client, &webhook("hook", &receiver.url("/"))).await;
    let ids = publish(&client, total).await;
    wait_for_failure(&client).await;
    let refused = receiver.count();
    receiver.answer(Reply::status(200));

    let webhooks = client.get("/v1/orgs/acme/webhooks").await.expect(200).json();
    let path = format!("/v1/orgs/acme/webhooks/{}/recoveries", webhooks[0]["id"].as_str().expect("an id"));
    let begun = client.post(&path, &json!({"since": "2020-01-01T00:00:00Z"})).await.expect(202).json();
    assert_eq!(begun["total"], total, "not all had failed");
    let path = format!("/v1/orgs/acme/recoveries/{}", begun["id"].as_str().expect("an id"));
    wait::until("a recovery on its way", || async {
        let rearmed = recovery(&client, &path).await["rearmed"].as_u64();
        (rearmed >= Some(total as u64 / 3) && receiver.count() > refused).then_some(())
    })
    .await;
    let first = server.kill_look_and_restart(|data| Killed::look(data, &receiver)).await;
    assert_eq!(first.recovery, "running", "it was over before the kill");
    assert!((1..total).contains(&first.rearmed), "{}", first.rearmed);
    receiver.wait_for(refused + total / 2).await;
    let second = server.kill_look_and_restart(|data| Killed::look(data, &receiver)).await;
    assert!(second.recorded.len() < total, "all was over before the second kill");

    let client = server.client();
    let ended = wait::until("the end of the recovery", || async {
        let recovery = recovery(&client, &path).await;
        (recovery["state"] == "done" && is_settled(&client).await).then_some(recovery)
    });
    assert_eq!(ended.await["rearmed"], total);
    server.assert_quiet();
    let (status, log, folder) = server.terminate().await;
    assert!(status.success(), "{status}\n{log}");
    let stored = Stored::copy_of(&folder.path().join("stackbell.db"));
    stored.assert_consistent();
    let lost = "SELECT COUNT(*) FROM deliveries WHERE state <> 'succeeded'";
    assert_eq!(stored.number(lost), 0);

    let requests = receiver.ids();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for request in &requests[refused..] {
        *times.entry(request).or_default() += 1;
    }
    assert!(times.keys().copied().eq(ids.iter().map(|id| &**id)), "not exactly these events arrived");
    let again: usize = times.values().map(|times| times - 1).sum();
    let limits = CoreConfig::default();
    let at_once = limits.lane_limit_max as usize;
    let unrecorded = [&first, &second].map(|killed| killed.unrecorded(&requests, refused));
    for unrecorded in unrecorded {
        assert!(unrecorded <= limits.unrecorded_max + at_once, "{unrecorded} outcomes were in memory alone");
    }
    // In addition, some requests had left the server but not reached the endpoint at the time of the kill.
    let on_their_way = unrecorded.iter().sum::<usize>() + 2 * at_once;
    println!(
        "{total} deliveries recovered, killed with {} and {} of them made pending, {} and {} recorded: \
         all arrived, {again} twice; {} and {} had been answered without a record",
        first.rearmed,
        second.rearmed,
        first.recorded.len(),
        second.recorded.len(),
        unrecorded[0],
        unrecorded[1],
    );
    assert!(again <= on_their_way, "{again} were sent twice, and at most {on_their_way} on their way");
}
