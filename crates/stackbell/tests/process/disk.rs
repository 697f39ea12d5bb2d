//! A full disk, and a file size limit: producers are told to retry, reads continue, and no accepted event is lost.
//!
//! The data folder is on a small disk of its own. This needs `unshare` and `mount` (util-linux), and root or a kernel that
//! allows user namespaces; without them the test fails.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use http::Method;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;
use stackbell_testkit::{Answer, Ballast, Client, Keep, Receiver, Server, small_disk, wait};

use crate::support::{register, setup, update, webhook};

/// More events than fit on the disk, even if the store has reserved space.
const EVENTS_MAX: u64 = 100_000;

/// Several times the initial size of the store.
fn on_a_small_disk(data: &Path) -> Vec<OsString> {
    small_disk(data, "size=16m,mode=700")
}

async fn publish(client: &Client, number: u64) -> (String, Answer) {
    let id = format!("00000000-0000-4000-8000-{number:012x}");
    let mut event = update();
    event["id"] = id.as_str().into();
    (id, client.send(Method::POST, "/v1/orgs/acme/events", &[], event.to_string().into()).await)
}

/// Checks how often each text is in the log.
#[track_caller]
fn check_told(server: &Server, expected: &[(&str, usize)]) {
    let log = server.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let messages: Vec<String> =
        lines.filter_map(|line| line["message"].as_str().map(str::to_owned)).collect();
    for (text, count) in expected {
        let found = messages.iter().filter(|message| message.contains(text)).count();
        assert_eq!(found, *count, "{text}: {log}");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_producers_and_loses_nothing() {
    let receiver = Receiver::keeping(Keep::Ids).await;
    let server = setup().behind(on_a_small_disk).start().await;
    let client = server.client();
    register(&client, &webhook("hook", &receiver.url("/"))).await;
    let mut accepted = BTreeSet::new();
    let (first, answer) = publish(&client, 0).await;
    answer.expect(202);
    accepted.insert(first);

    let ballast = Ballast::fill(server.process_id(), server.data());
    // The write-ahead log may still have space of its own for a while.
    let mut number = 1;
    let refused = loop {
        let (id, answer) = publish(&client, number).await;
        number += 1;
        match answer.status {
            202 => accepted.insert(id),
            _ => break answer,
        };
        assert!(number < EVENTS_MAX, "the disk is never full");
    };
    let refused = refused.expect(503);
    assert!(refused.text().contains("no room"), "{}", refused.text());
    let wait_s: u64 = refused.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!(wait_s > 0, "{wait_s}");

    for path in ["/api/orgs/acme/hooks", "/v1/orgs/acme/events", "/api/orgs/acme/hooks/hook/deliveries"] {
        client.get(path).await.expect(200);
    }
    client.get("/healthz").await.expect(200);
    let ready = wait::until("a server that is not ready", || async {
        let answer = client.get("/readyz").await;
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(ready.await.json()["status"], "store full");
    // The log reports the full disk once, not for each rejected request.
    let told = server.log().lines().count();
    for _ in 0..50 {
        publish(&client, number).await.1.expect(503);
    }
    assert!(server.log().lines().count() < told + 10, "{}", server.log());
    let expected = [("readiness ends", 1), ("commits are failing", 1), ("requests are refused", 1)];
    check_told(&server, &expected);

    ballast.remove();
    // The server recovers by itself, without a restart.
    let resumed = wait::until("an accepted event", || async {
        let (id, answer) = publish(&client, number).await;
        (answer.status == 202).then_some(id)
    });
    accepted.insert(resumed.await);
    wait::until("readiness", || async { (client.get("/readyz").await.status == 200).then_some(()) }).await;
    wait::until("all that was accepted", || async {
        let received: BTreeSet<String> = receiver.ids().into_iter().map(String::from).collect();
        accepted.is_subset(&received).then_some(())
    })
    .await;
    // The log is written asynchronously, so its last line may come later than the response.
    let told = || async { server.log().contains("the store works again").then_some(()) };
    wait::until("the line that readiness is back", told).await;
    check_told(&server, &[("the store works again", 1), ("commits work again", 1)]);
    let (status, log, _folder) = server.terminate().await;
    assert!(status.success(), "{status}\n{log}");
}

/// Whether a file of the master key exists for a server with its own disk, in that server's mount namespace.
fn exists_for(server: &Server, name: &str) -> bool {
    let data = server.data().strip_prefix("/").expect("an absolute path");
    Path::new(&format!("/proc/{}/root", server.process_id())).join(data).join(name).exists()
}

#[tokio::test]
async fn a_full_disk_changes_no_master_key() {
    let server = setup().embedded().behind(on_a_small_disk).start().await;
    let client = server.client();
    let rotate =
        async || client.send(Method::POST, "/v1/instance/master-key/rotate", &[], Vec::new().into()).await;
    let ballast = Ballast::fill(server.process_id(), server.data());
    let refused = rotate().await.expect(503);
    assert!(refused.headers.contains_key("retry-after"));
    assert!(refused.text().contains("no room"), "{}", refused.text());
    assert!(!exists_for(&server, "master.key.next") && exists_for(&server, "master.key"));
    ballast.remove();
    rotate().await.expect(200);
    assert!(!exists_for(&server, "master.key.next"));
}

/// The first limit of file sizes, in bytes.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// The unit of the limit is 512 or 1,024 bytes, depending on the shell.
fn with_small_files(_: &Path) -> Vec<OsString> {
    ["sh", "-c", "ulimit -S -f 2048 && exec \"$@\"", "sh"].map(OsString::from).into()
}

/// By default SIGXFSZ would end the process. The server gets a write error instead, for which SQLite has no error code of its
/// own.
#[tokio::test]
async fn a_file_that_may_not_grow_is_a_full_disk() {
    let receiver = Receiver::keeping(Keep::Ids).await;
    let server = setup().embedded().behind(with_small_files).start().await;
    let client = server.client();
    register(&client, &webhook("hook", &receiver.url("/"))).await;
    let (mut accepted, mut number) = (BTreeSet::new(), 0);
    let refused = loop {
        let (id, answer) = publish(&client, number).await;
        number += 1;
        match answer.status {
            202 => accepted.insert(id),
            _ => break answer,
        };
        assert!(number < EVENTS_MAX, "files of {FILE_BYTES_MAX} bytes hold all");
    };
    assert!(refused.expect(503).text().contains("no room"));
    let ready = wait::until("a server that is not ready", || async {
        let answer = client.get("/readyz").await;
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(ready.await.json()["status"], "store full");
    let backup = client.send(Method::POST, "/v1/instance/backup", &[], Vec::new().into()).await;
    assert!(matches!(backup.status, 200 | 503), "{}", backup.status);

    let pid = i32::try_from(server.process_id()).ok().and_then(Pid::from_raw).expect("a process");
    let maximum = rustix::process::getrlimit(Resource::Fsize).maximum;
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: maximum, maximum }).expect("it is ours");
    let resumed = wait::until("an accepted event", || async {
        let (id, answer) = publish(&client, number).await;
        (answer.status == 202).then_some(id)
    });
    accepted.insert(resumed.await);
    wait::until("all that was accepted", || async {
        let received: BTreeSet<String> = receiver.ids().into_iter().map(String::from).collect();
        accepted.is_subset(&received).then_some(())
    })
    .await;
    let (status, log, _folder) = server.terminate().await;
    assert!(status.success(), "{status}\n{log}");
}
