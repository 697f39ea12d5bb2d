//! A process that is killed while sources publish events. Afterwards each cursor agrees with its events.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use stackbell_engine::core::{Authority, CoreConfig};
use stackbell_engine::outbound::OutboundSettings;
use stackbell_engine::shell::{EngineHandle, Metrics};
use stackbell_keys::{Keyring, MasterKey};
use stackbell_model::event::Event;
use stackbell_model::identity::Organization;
use stackbell_model::ids::{EventId, OrganizationId, SourceId};
use stackbell_model::names::{DisplayName, OrganizationName};
use stackbell_model::source::{Change, SourceCursor};
use stackbell_store::Store;
use stackbell_store::commit::ItemChange;
use stackbell_testkit::{ManualClock, SeededEntropy};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use uuid::Uuid;

use crate::world::{BEGIN, audit, new_event, open, start_engine};

const FOLDER: &str = "STACKBELL_TEST_FOLDER";
const ROUND: &str = "STACKBELL_TEST_ROUND";

/// The number of sources that publish at the same time, so that commits hold items of several.
const SOURCES: u64 = 4;

/// The number of responses from the process before it is killed, in each round.
const ANSWERS: [usize; 4] = [1, 40, 97, 23];

const ORGANIZATION: OrganizationId = OrganizationId::from_uuid(Uuid::from_u128(1));

fn source(n: u64) -> SourceId {
    SourceId::from_uuid(Uuid::from_u128(u128::from(n)))
}

/// The events between the cursor before `number` and the cursor `number`.
fn events(source: u64, number: u64) -> Vec<EventId> {
    let id = |part| {
        EventId::from_uuid(Uuid::from_u128(
            u128::from(source) << 96 | u128::from(number) << 32 | u128::from(part),
        ))
    };
    (0..=number % 3).map(id).collect()
}

async fn cursor(store: &dyn Store, n: u64) -> u64 {
    let found = store.source_cursor(ORGANIZATION, source(n)).await.expect("a store");
    found.map_or(0, |cursor| cursor.as_str().parse().expect("a number"))
}

#[tokio::test]
async fn a_kill_leaves_cursors_and_events_in_agreement() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut answered = BTreeMap::new();
    for (round, answers) in ANSWERS.into_iter().enumerate() {
        let mut child = tokio::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "killed::child", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the test can run");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut heard = 0;
        while heard < answers {
            let line = lines.next_line().await.expect("text").expect("it brings events until it is killed");
            let Some((source, number)) = line.strip_prefix("in ").and_then(|line| line.split_once(' '))
            else {
                continue;
            };
            let number: u64 = number.parse().expect("a number");
            answered.insert(source.parse::<u64>().expect("a number"), number);
            heard += 1;
        }
        child.kill().await.expect("it runs");
        check(folder.path(), &answered).await;
    }
}

/// Checks that no acknowledged cursor is lost, that all events up to a cursor are stored, and that none after it is.
async fn check(folder: &Path, answered: &BTreeMap<u64, u64>) {
    let store = open(folder);
    for n in 0..SOURCES {
        let at = cursor(&*store, n).await;
        assert!(at >= answered.get(&n).copied().unwrap_or(0), "source {n}: an answered cursor is lost");
        for number in 1..=at + 2 {
            for id in events(n, number) {
                let is_in = store.find_event(ORGANIZATION, id).await.expect("a store").is_some();
                assert_eq!(is_in, number <= at, "source {n}, event {id} of {number}, cursor {at}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run and killed by the test above"]
#[expect(clippy::disallowed_methods, reason = "the test above says in the environment what to do")]
async fn child() {
    let folder = PathBuf::from(std::env::var(FOLDER).expect("set by the test above"));
    let round: u64 = std::env::var(ROUND).expect("set by the test above").parse().expect("a number");
    let mut entropy = SeededEntropy::new(round);
    let store = open(&folder);
    if round == 0 {
        let organization = Organization {
            id: ORGANIZATION,
            name: OrganizationName::parse("acme").expect("a name"),
            display_name: DisplayName::parse("Acme").expect("a name"),
            avatar_url: String::new(),
            created_at: BEGIN,
        };
        let audit = audit(BEGIN, &mut entropy);
        assert!(store.create_organization(&organization, None, audit).await.expect("a store"));
    }
    let master = MasterKey::generate(&mut entropy);
    let keyring = Arc::new(Keyring::generate(&master, &mut entropy, BEGIN).0);
    let (clock, metrics) = (Arc::new(ManualClock::at(BEGIN)), Arc::new(Metrics::default()));
    let config = (&CoreConfig::default(), &OutboundSettings::default());
    let engine = start_engine(&store, &keyring, &clock, config, round, &metrics).await;
    let bring = |n| bring(Arc::clone(&store), engine.handle(), n, SeededEntropy::new(round << 8 | n));
    futures_util::future::join_all((0..SOURCES).map(bring)).await;
}

/// Publishes events of a source without end, and reports each response.
async fn bring(store: Arc<dyn Store>, engine: EngineHandle, n: u64, mut entropy: SeededEntropy) {
    let at = cursor(&*store, n).await;
    let parse = |number: u64| SourceCursor::parse(&number.to_string());
    for number in at + 1.. {
        let to = parse(number).expect("a cursor");
        let from = Some(number - 1).filter(|from| *from > 0).and_then(parse);
        let change = Change::AdvanceCursor { source: source(n), from, to };
        let change = ItemChange { change, dropped: audit(BEGIN, &mut entropy) };
        let events = events(n, number)
            .into_iter()
            .map(|id| Event { id, ..new_event(ORGANIZATION, BEGIN, &mut entropy) })
            .collect();
        let answer = engine.publish(ORGANIZATION, Authority::Own, Some(Box::new(change)), events).await;
        answer.expect("it is accepted");
        println!("in {n} {number}");
    }
}
