//! The requirements for a node's start, and the errors if one is not met.

use stackbell_testkit::{Postgres, PostgresSettings, Stop};

use crate::support::{
    Cluster, OTHER_KEY, command, empty_database, ended, publish, refused, register, setup, stop, update,
    webhook,
};

#[tokio::test]
async fn a_database_is_migrated_before_it_is_served() {
    let (database, data) = (empty_database().await, tempfile::tempdir().expect("a folder"));
    let node = setup().store(&database.url());
    let refusal = refused(&node, data.path()).await;
    let said = refusal.ended(1);
    assert!(said.contains("has schema version 0, and this program needs"), "{said}");
    assert!(said.contains("run `stackbell migrate` with the same settings"), "{said}");

    // A migration needs neither the master key nor a data folder.
    let migrate = || ended(command(&["migrate"], &database.url()));
    let label = database.url().replace("postgres@", "");
    let made = migrate().await;
    assert!(made.ended(0).starts_with(&format!("{label}: created at schema version ")), "{}", made.said);
    let again = migrate().await;
    assert!(again.ended(0).ends_with(" already\n"), "{}", again.said);
    stop(node.start().await).await;
}

#[tokio::test]
async fn a_node_is_given_its_master_key() {
    let cluster = Cluster::new().await;
    let serve = |variables: &[(&str, &str)]| {
        let data = tempfile::tempdir().expect("a folder");
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0"], &cluster.database.url());
        serve.arg("--data").arg(data.path()).envs(variables.iter().copied());
        async move {
            let ran = ended(serve).await;
            assert!(!data.path().join("master.key").exists(), "none is made");
            ran
        }
    };
    let refusal = serve(&[]).await;
    let said = refusal.ended(2);
    for expected in ["STACKBELL_MASTER_KEY", "master_key_file", "--master-key-command"] {
        assert!(said.contains(expected), "{said}");
    }
    let node = cluster.node().await;
    let refusal = serve(&[("STACKBELL_MASTER_KEY", OTHER_KEY)]).await;
    let expected = "the master key from STACKBELL_MASTER_KEY does not open this store";
    assert!(refusal.ended(1).contains(expected), "{}", refusal.said);
    stop(node).await;
}

/// If several nodes start on an empty store at the same time, one creates keys, organization and token, and all use them.
#[tokio::test]
async fn nodes_that_begin_a_store_together_agree() {
    for _ in 0..3 {
        let cluster = Cluster::new().await;
        let (one, two, three) = tokio::join!(cluster.node(), cluster.node(), cluster.node());
        for node in [&one, &two, &three] {
            node.client().get("/api/orgs/acme/hooks").await.expect(200);
        }
        // The hash of a token uses a data key.
        let token = serde_json::json!({"name": "t", "role": "viewer"});
        let token = one.client().post("/v1/user/tokens", &token).await.expect(201).json();
        let token = token["token"].as_str().expect("a token").to_owned();
        for node in [&one, &two, &three] {
            node.client().with_token(&token).get("/api/orgs/acme/hooks").await.expect(200);
        }
        assert_eq!(cluster.database.psql("SELECT count(*) FROM organizations"), "1");
        for node in [one, two, three] {
            stop(node).await;
        }
    }
}

#[tokio::test]
async fn each_node_has_a_data_folder_of_its_own() {
    let cluster = Cluster::new().await;
    let node = cluster.node().await;
    let refusal = refused(node.setup(), node.data()).await;
    assert!(refusal.ended(1).contains("uses the data folder"), "{}", refusal.said);
    let mut names: Vec<_> = std::fs::read_dir(node.data())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    assert_eq!(names, ["scratch", "stackbell.lock"]);
    stop(node).await;
}

#[tokio::test]
async fn an_empty_store_can_be_refused() {
    let (cluster, folder) = (Cluster::new().await, tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("stackbell.toml");
    std::fs::write(&file, "expect_existing = true\n").expect("written");
    let expecting = cluster.setup().flag("--config", file.to_str().expect("UTF-8"));
    let refusal = refused(&expecting, &folder.path().join("data")).await;
    let said = refusal.ended(1);
    assert!(said.contains("the store is empty, although expect_existing is set"), "{said}");
    stop(cluster.node().await).await;
    stop(expecting.start().await).await;
}

/// A start fails without the database; a running node waits for it.
#[tokio::test]
async fn a_database_that_is_away_refuses_a_start_and_not_a_node_at_work() {
    let server = Postgres::start(PostgresSettings::default()).await;
    let node = setup().store(&server.url("postgres")).start().await;
    let receiver = stackbell_testkit::Receiver::start().await;
    register(&node.client(), &webhook("hook", &receiver.url("/"))).await;
    server.stop(Stop::Fast).await;
    let data = tempfile::tempdir().expect("a folder");
    let refusal = refused(node.setup(), data.path()).await;
    assert!(refusal.ended(1).contains("cannot connect to postgres://127.0.0.1:"), "{}", refusal.said);
    server.start_again().await;
    stackbell_testkit::wait::until("an accepted event", || async {
        let accepted = node.client().post("/v1/orgs/acme/events", &update()).await;
        assert!(matches!(accepted.status, 202 | 503), "{}", accepted.text());
        (accepted.status == 202).then_some(())
    })
    .await;
    receiver.wait_for(1).await;
    publish(&node.client(), &update()).await;
    receiver.wait_for(2).await;
    let (status, log, _folder) = node.terminate().await;
    assert!(status.success(), "{log}");
}
