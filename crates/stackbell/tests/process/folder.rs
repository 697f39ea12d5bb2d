//! The data folder and the store's file belong to one process, and must stay in place.

use std::path::Path;

use stackbell_testkit::Server;
use stackbell_testkit::wait::{self, DEADLINE};
use tokio::time::timeout;

use crate::support::{publish, register, server, setup, update, webhook};

#[tokio::test]
async fn a_second_process_is_refused_and_the_first_works_on() {
    let server = server().await;
    let output = setup().command(server.data()).output().await.expect("it starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("another process") && text.contains("--data"), "{text}");
    let client = server.client();
    let receiver = stackbell_testkit::Receiver::start().await;
    register(&client, &webhook("hook", &receiver.url("/"))).await;
    publish(&client, &update()).await;
    receiver.wait_for(1).await;
    server.assert_quiet();
}

/// The second process has its own data folder, and another name for the same file.
#[tokio::test]
async fn a_second_process_is_refused_under_any_name_of_the_file() {
    let server = setup().embedded().start().await;
    let (file, folder) = (server.data().join("stackbell.db"), tempfile::tempdir().expect("a folder"));
    let (link, other) = (folder.path().join("link.db"), folder.path().join("other.db"));
    std::os::unix::fs::symlink(&file, &link).expect("linked");
    std::fs::hard_link(&file, &other).expect("linked");
    let check = async |verb: &str, name: &Path| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stackbell"));
        command.env_clear().args([verb, "--listen", "127.0.0.1:0", "--data"]).arg(folder.path().join("data"));
        command.arg("--store").arg(format!("sqlite:{}", name.display())).kill_on_drop(true);
        let output = timeout(DEADLINE, command.output()).await.expect("it ends").expect("it runs");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert_eq!(output.status.code(), Some(1), "{verb} {}: {text}", name.display());
        assert!(text.contains("in use by another process"), "{verb} {}: {text}", name.display());
    };
    for name in [&file, &link, &other] {
        check("serve", name).await;
    }
    check("migrate", &other).await;
    check("doctor", &other).await;
    publish(&server.client(), &update()).await;
    server.assert_quiet();
}

/// Waits until `/readyz` has this text.
async fn until_ready_says(server: &Server, expected: &str) {
    let client = server.client();
    wait::until(expected, || async {
        let answer = client.get("/readyz").await;
        (answer.json()["status"] == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_gone_ends_readiness_and_takes_no_more_events() {
    let server = setup().embedded().start().await;
    let (client, aside) = (server.client(), tempfile::tempdir_in("/tmp").expect("a folder"));
    for name in ["stackbell.db", "stackbell.db-wal"] {
        let (path, aside) = (server.data().join(name), aside.path().join(name));
        publish(&client, &update()).await;
        std::fs::rename(&path, &aside).expect("moved");
        until_ready_says(&server, "store unavailable").await;
        client.post("/v1/orgs/acme/events", &update()).await.expect(503);
        std::fs::write(&path, "another").expect("written");
        client.post("/v1/orgs/acme/events", &update()).await.expect(503);
        assert!(server.log().contains(&format!("{name} no longer exists")), "{}", server.log());
        std::fs::rename(&aside, &path).expect("moved back");
        until_ready_says(&server, "ok").await;
        wait::until("an accepted event", || async {
            (client.post("/v1/orgs/acme/events", &update()).await.status == 202).then_some(())
        })
        .await;
    }
    let (status, log, _folder) = server.terminate().await;
    assert!(status.success(), "{log}");
}

#[tokio::test]
async fn a_data_folder_that_is_gone_ends_readiness() {
    let server = setup().embedded().start().await;
    let aside = server.data().with_extension("aside");
    std::fs::rename(server.data(), &aside).expect("moved");
    until_ready_says(&server, "data folder gone").await;
    server.client().get("/healthz").await.expect(200);
    std::fs::rename(&aside, server.data()).expect("moved back");
    until_ready_says(&server, "ok").await;
}

#[tokio::test]
async fn a_link_named_scratch_keeps_its_target() {
    let (data, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    std::fs::write(other.path().join("kept"), "text").expect("written");
    std::os::unix::fs::symlink(other.path(), data.path().join("scratch")).expect("linked");
    let mut command = setup().embedded().command(data.path());
    let output = timeout(DEADLINE, command.output()).await.expect("it ends").expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("scratch is a symbolic link"), "{text}");
    assert!(other.path().join("kept").exists());
}
