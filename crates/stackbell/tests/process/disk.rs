//! A full disk: producers are told to come back, reads go on, and nothing that was accepted is lost.
//!
//! The data folder is a small file system of its own, in a mount namespace of the server's. That takes `unshare` and
//! `mount` (util-linux), and root or a kernel that gives users namespaces; where they are missing this test fails.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use http::Method;
use serde_json::Value;
use stackbell_testkit::{Answer, Client, Keep, Receiver, Server, wait};

use crate::support::{register, setup, update, webhook};

/// How large the data folder's file system is: some times what the store begins with.
const DISK: &str = "16m";

/// More than fits on it, if the store gave itself room ahead.
const EVENTS_MAX: u64 = 100_000;

/// A namespace in which whoever is nobody may mount, and what else root has to be given in a container.
fn namespace() -> &'static [&'static str] {
    const CHOICES: [&[&str]; 2] = [&["--map-root-user", "--mount"], &["--mount"]];
    let works = |flags: &&&[&str]| {
        let mut command = Command::new("unshare");
        command.args(**flags).args(["mount", "-t", "tmpfs", "-o", "size=1m", "none", "/mnt"]);
        command.output().is_ok_and(|output| output.status.success())
    };
    CHOICES.iter().find(works).copied().unwrap_or_else(|| {
        panic!(
            "this test mounts a small file system in a namespace of its own, and cannot: it needs `unshare` and `mount` \
             (Debian: util-linux, mount), and root with CAP_SYS_ADMIN or user namespaces \
             (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)"
        )
    })
}

fn on_a_small_disk(data: &Path) -> Vec<OsString> {
    let script = format!("mount -t tmpfs -o size={DISK},mode=700 none \"$0\" && exec \"$@\"");
    let words = ["unshare"].into_iter().chain(namespace().iter().copied()).chain(["sh", "-c", &script]);
    words.map(OsString::from).chain([data.into()]).collect()
}

/// A file that takes all the room there is. The folder is seen through the server's own namespace.
struct Ballast(PathBuf);

impl Ballast {
    fn fill(server: &Server) -> Self {
        let data = server.data().strip_prefix("/").expect("an absolute path");
        let path = PathBuf::from(format!("/proc/{}/root", server.process_id())).join(data).join("ballast");
        let mut file = File::create(&path).expect("made");
        for size in [64 * 1024, 4096, 1] {
            let block = vec![0; size];
            while file.write_all(&block).is_ok() {}
        }
        Self(path)
    }

    fn remove(self) {
        std::fs::remove_file(self.0).expect("removed");
    }
}

async fn publish(client: &Client, number: u64) -> (String, Answer) {
    let id = format!("00000000-0000-4000-8000-{number:012x}");
    let mut event = update();
    event["id"] = id.as_str().into();
    (id, client.send(Method::POST, "/v1/orgs/acme/events", &[], event.to_string().into()).await)
}

/// Checks how often the log has messages with these texts.
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

    let ballast = Ballast::fill(&server);
    // The write-ahead log may have room of its own for a while.
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
    // The log tells of it once, not for each who is refused.
    let told = server.log().lines().count();
    for _ in 0..50 {
        publish(&client, number).await.1.expect(503);
    }
    assert!(server.log().lines().count() < told + 10, "{}", server.log());
    let expected = [("readiness ends", 1), ("no commit goes through", 1), ("requests are refused", 1)];
    check_told(&server, &expected);

    ballast.remove();
    // By itself: nobody starts it anew.
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
    check_told(&server, &[("the store is well again", 1), ("commits go through again", 1)]);
    let (status, log, _folder) = server.terminate().await;
    assert!(status.success(), "{status}\n{log}");
}
