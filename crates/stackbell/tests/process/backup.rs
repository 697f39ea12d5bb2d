//! A backup under load is a consistent snapshot of the store. The restored store is equal to it, and sends only after a resume.
//!
//! `STACKBELL_BACKUP_EVENTS=10000 cargo test -p stackbell --release --test process backup -- --nocapture` runs the same test
//! with more events in the store before the backup; without the variable there are 1,000.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use stackbell_testkit::{Gate, Keep, Load, Receiver, Reply, Server, event_id, wait};

use crate::stored::Stored;
use crate::support::{count, register, run, run_alone, setup, update, webhook};

type Ids = BTreeSet<Box<str>>;

/// The printed lines of tables: name, row count, digest.
fn tables(printed: &str) -> BTreeMap<&str, (usize, &str)> {
    let table = |line| {
        let [name, rows, sha256] = str::split_whitespace(line).collect::<Vec<_>>()[..] else { return None };
        (sha256.len() == 64).then(|| (name, (rows.parse().expect("a count"), sha256)))
    };
    printed.lines().filter_map(table).collect()
}

/// Events with a pending delivery for the webhook of this name.
fn pending(stored: &Stored, webhook: &str) -> Ids {
    stored.ids(&format!(
        "SELECT e.id FROM deliveries d JOIN events e ON e.number = d.event_number \
         JOIN webhooks w ON w.number = d.webhook_number WHERE d.state = 'pending' AND w.name = '{webhook}'"
    ))
}

/// The ids of the requests after the first `earlier`, each of which arrived once.
#[track_caller]
fn ids_after(receiver: &Receiver, earlier: usize) -> Ids {
    let requests = receiver.ids().split_off(earlier);
    let ids: Ids = requests.iter().cloned().collect();
    assert_eq!(ids.len(), requests.len(), "something came twice");
    ids
}

/// Waits until this number of deliveries is pending.
async fn settle(server: &Server, pending: usize) {
    let client = server.client();
    wait::until("the deliveries that end", || async {
        let statistics = client.get("/v1/orgs/acme/statistics").await.expect(200).json();
        (statistics["usage"]["pending"] == pending).then_some(())
    })
    .await;
}

/// A backup made under load.
struct Made {
    /// The output of `stackbell backup`.
    printed: String,
    /// The events accepted before the backup began.
    before: Ids,
    /// The number of events whose publishing began before the backup ended.
    begun: usize,
    /// All accepted events.
    accepted: Ids,
}

/// Publishes, makes a backup after `events` events, and continues to publish for a while.
async fn back_up_under_load(server: &Server, events: usize, copy: &str) -> Made {
    let load = Load::endless(update(), vec![server.client()]);
    load.wait_for(events).await;
    let before = load.accepted_ids();
    let printed = run(server, &["backup", "--to", copy]).await;
    let (begun, after) = (load.begun(), load.accepted());
    assert!(after > before.len(), "nobody published meanwhile");
    load.wait_for(after + events / 10).await;
    Made { printed, before, begun, accepted: load.stop().await }
}

/// Checks that the copy is a snapshot of the store at one moment during the backup.
fn check_moment(stored: &Stored, made: &Made) {
    stored.assert_consistent();
    let without_two = "SELECT COUNT(*) FROM events WHERE deliveries <> 2";
    assert_eq!(stored.number(without_two), 0, "an event came without its deliveries");
    let events = stored.ids("SELECT id FROM events");
    assert!(made.before.is_subset(&events), "what was accepted before is missing");
    let sent: Ids = (0..made.begun).map(event_id).collect();
    assert!(events.is_subset(&sent), "something is in it that was published later");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_restored_completely_and_sends_after_a_resume() {
    let events = count("STACKBELL_BACKUP_EVENTS", 1_000);
    let (answering, mute) = (Receiver::keeping(Keep::Ids).await, Receiver::keeping(Keep::Ids).await);
    let server = setup().flag("--stop-timeout", "500ms").start().await;
    register(&server.client(), &webhook("answering", &answering.url("/"))).await;
    register(&server.client(), &webhook("mute", &mute.url("/"))).await;
    // The mute endpoint's deliveries are pending in the backup.
    mute.answer(Reply::status(200).behind(&Gate::new()));
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (copy, key) = (path("copy.db"), path("master.key"));
    let made = back_up_under_load(&server, events, &copy).await;
    let stored = Stored::copy_of(Path::new(&copy));
    check_moment(&stored, &made);

    // The server and its folder are gone from here on.
    settle(&server, made.accepted.len()).await;
    std::fs::copy(server.data().join("master.key"), &key).expect("copied");
    let (_, _, lost) = server.terminate().await;
    drop(lost);
    let earlier = (answering.count(), mute.count());
    mute.answer(Reply::status(200));

    let data = tempfile::tempdir().expect("a folder");
    let flags = ["--data", data.path().to_str().expect("UTF-8"), "--master-key-file", &key];
    let restored = setup().flag("--master-key-file", &key);
    let printed = run_alone(&[&["restore", &copy][..], &flags].concat()).await;
    let (mut expected, mut found) = (tables(&made.printed), tables(&printed));
    assert!(expected.len() > 10, "{}", made.printed);
    for (table, rows) in [("audit", 1), ("meta", 0)] {
        let (before, after) = (expected.remove(table).expect(table), found.remove(table).expect(table));
        assert!(before.0 + rows == after.0 && before.1 != after.1, "{table}: {before:?}, {after:?}");
    }
    assert_eq!(expected, found);
    let differing = stored.tables_unlike(&Stored::copy_of(&data.path().join("stackbell.db")));
    assert_eq!(differing, ["audit", "meta"]);
    let left =
        std::fs::read_dir(data.path()).expect("a folder").map(|entry| entry.expect("read").file_name());
    assert_eq!(left.collect::<BTreeSet<_>>(), ["stackbell.db", "stackbell.lock"].map(Into::into).into());

    let server = restored.start_on(data).await;
    let client = server.client();
    let held = client.get("/v1/instance").await.expect(200).json();
    assert_eq!(held["sending"]["held"], true, "{held}");
    // Pings are sent even while sending is held; any other delivery would have been sent before them.
    for hook in ["answering", "mute"] {
        let ping = client.post_empty(&format!("/api/orgs/acme/hooks/{hook}/ping")).await.expect(200).json();
        assert_eq!(ping["responseCode"], 200, "{ping}");
    }
    assert_eq!((answering.count(), mute.count()), (earlier.0 + 1, earlier.1 + 1));

    run(&server, &["sending", "resume"]).await;
    settle(&server, 0).await;
    let (late, missed) = (pending(&stored, "answering"), pending(&stored, "mute"));
    assert_eq!(ids_after(&answering, earlier.0 + 1), late);
    assert_eq!(ids_after(&mute, earlier.1 + 1), missed);
    let rows = |table| expected[table].0;
    assert_eq!((missed.len(), rows("deliveries")), (rows("events"), 2 * rows("events")));
    println!(
        "{} events accepted, {} before the backup, {} in it; {} tables with the same counts and digests, beside audit and meta; \
         nothing sent while held, then {} + {} pending deliveries once each",
        made.accepted.len(),
        made.before.len(),
        rows("events"),
        expected.len(),
        late.len(),
        missed.len(),
    );
    server.assert_quiet();
}
