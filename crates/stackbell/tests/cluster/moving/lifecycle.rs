//! From a server on a file to nodes on a database, with interruptions and refusals in between.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stackbell_model::Clock as _;
use stackbell_system::SystemClock;
use stackbell_testkit::{Database, Receiver, wait};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_postgres::NoTls;

use super::fill::fill;
use super::{copy, embedded, node, stopped};
use crate::support::{Ran, empty_database, ended, refused, register, setup, stop, update, webhook};

/// Locks a table until it is dropped.
struct Locked {
    _client: tokio_postgres::Client,
    _connection: JoinSet<()>,
}

impl Locked {
    async fn table(database: &Database, table: &str) -> Self {
        let (client, connection) =
            tokio_postgres::connect(&database.url(), NoTls).await.expect("a connection");
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            // The connection ends with the test.
            let _ = connection.await;
        });
        client.batch_execute(&format!("BEGIN; LOCK TABLE {table}")).await.expect("locked");
        Self { _client: client, _connection: connections }
    }
}

/// Starts a command, waits until the given number of connections wait for a lock, and sends the command a signal. A statement
/// keeps waiting after its connection is closed, because the database does not notice the close during the wait.
async fn interrupted(mut command: Command, database: &Database, waiting: &str, signal: Signal) -> Ran {
    let child = command.spawn().expect("the binary starts");
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).expect("a process id")));
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    wait::until("a copy that waits", || async { (database.psql(waits) == waiting).then_some(()) }).await;
    kill_process(pid.expect("it runs"), signal).expect("it is ours");
    let output = child.wait_with_output().await.expect("it ends");
    let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    Ran { code: output.status.code().unwrap_or(-1), said }
}

fn check_said(ran: &Ran, code: i32, expected: &[&str]) {
    let said = ran.ended(code);
    for text in expected {
        assert!(said.contains(text), "{text:?} is not in {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_moves_from_a_file_to_a_database() {
    let (server, receiver) = tokio::join!(embedded(), Receiver::start());
    register(&server.client(), &webhook("hook", &receiver.url("/"))).await;
    for number in 1..=3 {
        crate::support::publish(&server.client(), &update()).await;
        receiver.wait_for(number).await;
    }
    let database = setup().database().await;
    let url = database.url();
    let label = url.replace("postgres@", "");
    let running = ended(copy(server.data(), &url, &[])).await;
    check_said(&running, 1, &["is in use by another process", "stop the server first"]);

    let before = read(&server).await;
    let folder = stopped(server).await;
    let data = folder.path();
    let file = data.join("stackbell.db");
    fill(&file, 40, 20, SystemClock.now()).await;
    let bare = empty_database().await;
    let unmigrated = ended(copy(data, &bare.url(), &[])).await;
    check_said(&unmigrated, 1, &["has schema version 0", "stackbell migrate"]);

    // The copy is interrupted twice in the middle, by a signal and by SIGKILL.
    let lock = Locked::table(&database, "tallies").await;
    let cut = interrupted(copy(data, &url, &[]), &database, "1", Signal::INT).await;
    check_said(&cut, 1, &["interrupted by SIGINT: the same command starts the copy again", "rows copied"]);
    let killed = interrupted(copy(data, &url, &[]), &database, "2", Signal::KILL).await;
    assert_eq!(killed.code, -1, "{}", killed.said);
    let part = format!("{label} is the target of an unfinished copy of sqlite:{}", file.display());
    check_said(&refused(&node(&url, data), tempfile::tempdir().expect("a folder").path()).await, 1, &[&part]);
    let on_its_way = format!("is being moved to {label}");
    check_said(&refused(&setup().embedded(), data).await, 1, &[&on_its_way, "stackbell store take-back"]);
    let elsewhere = setup().database().await;
    let second = ended(copy(data, &elsewhere.url(), &[])).await;
    check_said(&second, 1, &["is being copied to", &label, "take the file back first"]);
    assert_eq!(elsewhere.psql("SELECT count(*) FROM copies"), "0");
    assert_eq!(database.psql("SELECT count(*) FROM organizations"), "0");
    drop(lock);

    let copied = ended(copy(data, &url, &["--hold", "--output", "json"])).await;
    // The output ends with the progress from standard error, which follows the document.
    check_said(&copied, 0, &["an earlier copy was interrupted and left no rows: starting again"]);
    let mut documents = serde_json::Deserializer::from_str(copied.ended(0)).into_iter::<Value>();
    let document = documents.next().expect("a document").expect("JSON");
    assert_eq!((&document["to"], &document["sendingHeld"]), (&label.as_str().into(), &true.into()));
    let nouns = document["nouns"].as_array().expect("nouns");
    assert_eq!(nouns.len(), 14);
    assert!(nouns.iter().all(|noun| noun["same"] == true), "{document:#}");
    let events = nouns.iter().find(|noun| noun["noun"] == "events").expect("events");
    assert_eq!(events["rows"], 43);
    let again = ended(copy(data, &url, &[])).await;
    check_said(&again, 0, &["was copied to", "nothing is left to do"]);
    let moved = format!("was moved to {label}");
    check_said(&refused(&setup().embedded(), data).await, 1, &[&moved, "deliveries are sent twice"]);

    // Token, webhook and deliveries are unchanged. Each pending delivery is sent once after the resume.
    let node = node(&url, data).start().await;
    assert_eq!(read(&node).await["webhooks"], before["webhooks"]);
    let instance = node.client().get("/v1/instance").await.expect(200).json();
    assert_eq!(instance["sending"]["held"], true, "{instance}");
    node.client().post("/v1/instance/sending/resume", &serde_json::json!({})).await;
    let requests = receiver.wait_for(23).await;
    let mut ids: Vec<_> = requests.iter().map(|request| request.id().to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 23);
    crate::support::publish(&node.client(), &update()).await;
    receiver.wait_for(24).await;
    stop(node).await;
    taken_back(data, &url).await;
}

/// A file that is taken back can be served again. The database with its earlier copy is now a separate store that is not empty.
async fn taken_back(data: &std::path::Path, url: &str) {
    let file = format!("sqlite:{}", data.join("stackbell.db").display());
    let take_back = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stackbell"));
        command.env_clear().args(["store", "take-back", &file]);
        ended(command)
    };
    check_said(&take_back().await, 0, &["is a store of its own again, as it was before it was copied to"]);
    check_said(&take_back().await, 1, &["was not copied: servers can use it already"]);
    let other = ended(copy(data, url, &[])).await;
    check_said(&other, 1, &["holds a copy of", "an empty database", "drop the database"]);
}

async fn read(server: &stackbell_testkit::Server) -> Value {
    let client = server.client();
    let webhooks = client.get("/api/orgs/acme/hooks").await.expect(200).json();
    serde_json::json!({ "webhooks": webhooks })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_used_is_refused_and_the_file_stays_as_it_was() {
    let cluster = crate::support::Cluster::new().await;
    let (node, server) = tokio::join!(cluster.node(), embedded());
    let folder = stopped(server).await;
    let refusal = ended(copy(folder.path(), &cluster.database.url(), &[])).await;
    check_said(&refusal, 1, &["holds organizations: a store is copied into an empty database"]);
    stop(node).await;
    // This file was never moved.
    let not_moved = ended({
        let mut command = Command::new(env!("CARGO_BIN_EXE_stackbell"));
        command.env_clear().args(["store", "take-back"]);
        command.arg(format!("sqlite:{}", folder.path().join("stackbell.db").display()));
        command
    })
    .await;
    check_said(&not_moved, 1, &["was not copied: servers can use it already"]);
    let nowhere = ended(copy(&folder.path().join("nowhere"), &cluster.database.url(), &[])).await;
    check_said(&nowhere, 1, &["cannot open"]);
    assert!(!folder.path().join("nowhere").exists());
    let to_a_file = ended(copy(folder.path(), "sqlite:other.db", &[])).await;
    check_said(&to_a_file, 2, &["is a file: a store is copied into a PostgreSQL database"]);
}

/// If the database changes a row, the comparison fails: no row is kept, and no node opens the database. After the cause is
/// removed, this database accepts the copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_differs_is_not_kept() {
    let folder = stopped(embedded().await).await;
    let database = setup().database().await;
    let url = database.url();
    database.psql(
        "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql \
         AS 'BEGIN NEW.name := $$somebody$$; RETURN NEW; END'; \
         CREATE TRIGGER meddle BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION meddle()",
    );
    let copied = ended(copy(folder.path(), &url, &[])).await;
    check_said(&copied, 1, &["no", "the rows in ", "so the copy was rolled back"]);
    let users = copied.said.lines().find(|line| line.starts_with("users ")).expect("a line");
    assert!(users.ends_with("no"), "{users}");
    assert_eq!(database.psql("SELECT count(*) FROM users"), "0");
    let data = tempfile::tempdir().expect("a folder");
    check_said(
        &refused(&node(&url, folder.path()), data.path()).await,
        1,
        &["an unfinished copy of sqlite:"],
    );
    database.psql("DROP TRIGGER meddle ON users");
    let again = ended(copy(folder.path(), &url, &[])).await;
    check_said(&again, 0, &["the same on both sides"]);
}
