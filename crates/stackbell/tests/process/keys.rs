//! The master key of a server: which one opens its store, and what it says of one that does not.

use std::path::Path;
use std::process::Output;

use stackbell_testkit::{Receiver, Server, ServerSetup};

use crate::support::{hmac_hex, publish, register, server, setup, signed_webhook, update};

const OTHER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// What a server ends with that cannot start on this folder.
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

/// Secrets that were sealed before are opened after: a delivery is signed with the one that its webhook has.
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

/// With no warning and no time to end anything: the next start opens the store with the key that holds.
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
