//! The master key of a server: the key that opens its store, and the error for one that does not.

use std::path::Path;
use std::process::Output;

use stackbell_testkit::{Load, Receiver, Server, ServerSetup, event_id};

use crate::support::{
    count, hmac_hex, publish, register, run, run_alone, server, setup, signed_webhook, update,
};

const OTHER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The exit code and error of a server that cannot start on this folder.
async fn refused(setup: ServerSetup, data: &Path) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = setup.command(data).output().await.expect("it starts");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[tokio::test]
async fn a_wrong_master_key_refuses_the_start_and_says_what_to_do() {
    let (status, _, data) = server().await.terminate().await;
    assert!(status.success());
    let file = data.path().join("other.key");
    std::fs::write(&file, OTHER_KEY).expect("written");
    let file = file.to_str().expect("UTF-8");
    let check = async |setup: ServerSetup, origin: &str| {
        let (code, log) = refused(setup, data.path()).await;
        assert_eq!(code, Some(1), "{log}");
        let expected = format!("the master key from {origin} does not open this store");
        assert!(log.contains(&expected) && log.contains("previous_master_key"), "{log}");
        assert!(!log.contains(OTHER_KEY), "{log}");
    };
    check(setup().flag("--master-key-file", file), &format!("--master-key-file ({file})")).await;
    let command = format!("cat {file}");
    check(setup().flag("--master-key-command", &command), "master_key_command (cat)").await;
    let (code, log) = refused(setup().flag("--master-key-command", "false"), data.path()).await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("master_key_command gives no key: false failed (exit status: 1)"), "{log}");
}

/// Secrets sealed before the change can be opened after it: a delivery is signed with its webhook's secret.
#[tokio::test]
async fn a_key_is_changed_at_a_start() {
    let mut server = server().await;
    let receiver = Receiver::start().await;
    register(&server.client(), &signed_webhook("hook", &receiver.url("/"), "a secret")).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    std::fs::copy(server.data().join("master.key"), &old).expect("copied");
    std::fs::write(&new, OTHER_KEY).expect("written");
    let flags = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let both = setup().flag("--master-key-file", &flags(&new));
    server.set_up(both.clone().flag("--previous-master-key-file", &flags(&old)));
    server.terminate_and_restart().await;
    assert!(server.log().contains("take previous_master_key out"), "{}", server.log());
    server.set_up(both);
    server.terminate_and_restart().await;
    publish(&server.client(), &update()).await;
    receiver.wait_for(1).await;
    let request = &receiver.requests()[0];
    let expected = hmac_hex("a secret", &request.body);
    assert_eq!(request.header("pulumi-webhook-signature"), Some(expected.as_str()));
    server.assert_quiet();
}

/// After a kill without a warning, the next start opens the store with the valid key.
#[tokio::test]
async fn a_key_is_changed_while_the_server_serves_and_is_killed() {
    let mut server = server().await;
    let receiver = Receiver::start().await;
    register(&server.client(), &signed_webhook("hook", &receiver.url("/"), "a secret")).await;
    let key = |server: &Server| std::fs::read_to_string(server.data().join("master.key")).expect("read");
    let before = key(&server);
    let answer = server.client().post_empty("/v1/instance/master-key/rotate").await.expect(200).json();
    assert!(answer["dataKeys"].as_u64().is_some_and(|count| count > 0), "{answer}");
    let after = key(&server);
    assert_ne!(after, before);
    server.kill_and_restart().await;
    publish(&server.client(), &update()).await;
    let request = &receiver.wait_for(1).await[0];
    let expected = hmac_hex("a secret", &request.body);
    assert_eq!(request.header("pulumi-webhook-signature"), Some(expected.as_str()));
    for secret in [&before, &after] {
        assert!(!server.log().contains(secret.trim()), "{}", server.log());
    }
    server.assert_quiet();
}

/// The number of rotations under load.
const ROTATIONS: usize = 5;

/// Checks that each request has the right signature for the secret; returns the number of requests.
#[track_caller]
fn check_signed(receiver: &Receiver, secret: &str) -> usize {
    let requests = receiver.requests();
    for request in &requests {
        let expected = hmac_hex(secret, &request.body);
        assert_eq!(request.header("pulumi-webhook-signature"), Some(expected.as_str()), "{request:?}");
    }
    requests.len()
}

/// `STACKBELL_KEY_EVENTS=10000 cargo test -p stackbell --release --test process keys -- --nocapture` runs the same test with
/// more events; without the variable there are 1,000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_and_new_secrets_sign_while_the_key_is_changed_under_load() {
    let events = count("STACKBELL_KEY_EVENTS", 1_000);
    let folder = tempfile::tempdir().expect("a folder");
    let (key, old) = (folder.path().join("key"), folder.path().join("old"));
    let new_key = async || run_alone(&["key", "new"]).await;
    std::fs::write(&key, new_key().await).expect("written");
    let with = |path: &Path| setup().flag("--master-key-file", path.to_str().expect("UTF-8"));
    let mut server = with(&key).start().await;
    let (before, after) = (Receiver::start().await, Receiver::start().await);
    register(&server.client(), &signed_webhook("before", &before.url("/"), "an old secret")).await;

    let load = Load::endless(update(), vec![server.client()]);
    for rotation in 1..=ROTATIONS {
        load.wait_for(events * rotation / (ROTATIONS + 1)).await;
        std::fs::copy(&key, &old).expect("copied");
        std::fs::write(&key, new_key().await).expect("written");
        let accepted = load.accepted();
        let said = run(&server, &["key", "rotate"]).await;
        assert!(said.contains("sealed under the new master key"), "{said}");
        assert!(load.accepted() > accepted, "nobody published meanwhile");
    }
    register(&server.client(), &signed_webhook("after", &after.url("/"), "a new secret")).await;
    let first = event_id(load.begun());
    load.wait_for(load.accepted() + events / (ROTATIONS + 1)).await;

    // The next process has only the store and the key.
    server.kill_and_restart().await;
    load.moved(vec![server.client()]);
    load.wait_for(load.accepted() + events / (ROTATIONS + 1)).await;
    let accepted = load.stop().await;
    before.wait_for_ids(&accepted).await;
    after.wait_for_ids(&accepted.range(first..).cloned().collect()).await;
    println!(
        "{} events accepted, {ROTATIONS} changes of the key, one kill: {} and {} requests, all signed right",
        accepted.len(),
        check_signed(&before, "an old secret"),
        check_signed(&after, "a new secret"),
    );
    server.assert_quiet();

    // The previous key alone no longer opens the store.
    let (status, _, data) = server.terminate().await;
    assert!(status.success());
    let (code, log) = refused(with(&old), data.path()).await;
    assert_eq!(code, Some(1), "{log}");
    let expected =
        format!("the master key from --master-key-file ({}) does not open this store", old.display());
    assert!(log.contains(&expected) && log.contains("previous_master_key"), "{log}");
}
