//! Events accepted by any node and delivered by one of them.

use serde_json::json;
use stackbell_testkit::{Gate, Receiver, Reply, wait};

use crate::support::{Cluster, command, ended, publish, register, stop, update, webhook};

#[tokio::test]
async fn an_event_is_delivered_once_whichever_node_takes_it() {
    let cluster = Cluster::new().await;
    let ((one, two), receiver) = tokio::join!(cluster.two_nodes(), Receiver::start());
    register(&one.client(), &webhook("hook", &receiver.url("/"))).await;
    let mut accepted = Vec::new();
    for _ in 0..5 {
        for node in [&one, &two] {
            let event = publish(&node.client(), &update()).await;
            accepted.push(event["id"].as_str().expect("an id").to_owned());
        }
    }
    receiver.wait_for(accepted.len()).await;
    // The outcome is recorded, and both nodes show it.
    let recorded = |node: &stackbell_testkit::Server| {
        let client = node.client();
        async move {
            let listed = client.get("/api/orgs/acme/hooks/hook/deliveries").await.expect(200).json();
            listed.as_array().is_some_and(|listed| listed.len() == 10).then_some(())
        }
    };
    wait::until("ten recorded", || recorded(&one)).await;
    wait::until("ten recorded", || recorded(&two)).await;
    let mut received: Vec<String> = receiver.ids().iter().map(ToString::to_string).collect();
    received.sort();
    accepted.sort();
    assert_eq!(received, accepted);
    stop(one).await;
    stop(two).await;
}

/// Invariant 10, on every node: an edit acknowledged by one node applies to all later events of the other.
#[tokio::test]
async fn an_edit_through_one_node_holds_at_once_on_the_other() {
    let cluster = Cluster::new().await;
    let ((one, two), receiver) = tokio::join!(cluster.two_nodes(), Receiver::start());
    register(&one.client(), &webhook("hook", &receiver.url("/0"))).await;
    for number in 1..=10 {
        let path = format!("/{number}");
        let (edits, takes) = if number % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let edit = json!({"payloadUrl": receiver.url(&path)});
        edits.client().patch("/api/orgs/acme/hooks/hook", &edit).await.expect(200);
        let read = takes.client().get("/api/orgs/acme/hooks/hook").await.expect(200).json();
        assert_eq!(read["payloadUrl"], receiver.url(&path));
        publish(&takes.client(), &update()).await;
        let requests = receiver.wait_for(number).await;
        assert_eq!(requests[number - 1].path, path);
    }
    one.client().delete("/api/orgs/acme/hooks/hook").await.expect(204);
    let accepted = publish(&two.client(), &update()).await;
    assert_eq!(accepted["deliveries"].as_u64().unwrap_or_default(), 0, "{accepted}");
    stop(one).await;
    stop(two).await;
}

/// A node that stops sends its attempts in flight, or leaves them to the other.
#[tokio::test]
async fn a_node_that_is_stopped_leaves_nothing_behind() {
    let cluster = Cluster::new().await;
    let receiver = Receiver::start().await;
    let one = cluster.setup().flag("--stop-timeout", "500ms").start().await;
    let two = cluster.node().await;
    register(&one.client(), &webhook("hook", &receiver.url("/"))).await;
    let gate = Gate::new();
    receiver.then([Reply::status(200).behind(&gate)]);
    let accepted = publish(&one.client(), &update()).await;
    receiver.wait_for(1).await;
    stop(one).await;
    let requests = receiver.wait_for(2).await;
    assert_eq!(
        (requests[0].id(), requests[1].id()),
        (requests[1].id(), accepted["id"].as_str().expect("an id"))
    );
    assert_eq!(requests[0].body, requests[1].body);
    stop(two).await;
    drop(gate);
}

/// A backup is made with the database's own tools, and the API and the command line say so.
#[tokio::test]
async fn backups_are_the_databases() {
    let cluster = Cluster::new().await;
    let node = cluster.node().await;
    let answer = node.client().post_empty("/v1/instance/backup").await.expect(409);
    assert!(answer.text().contains("pg_dump"), "{}", answer.text());
    let folder = tempfile::tempdir().expect("a folder");
    let mut backup = command(&["backup", "--to", "copy.db"], &cluster.database.url());
    backup.current_dir(folder.path());
    backup.env("STACKBELL_URL", node.url()).env("STACKBELL_TOKEN", node.token());
    let backup = ended(backup).await;
    assert!(backup.ended(1).contains("pg_dump"), "{}", backup.said);
    let mut restore = command(&["restore", "copy.db"], &cluster.database.url());
    restore.current_dir(folder.path());
    let restore = ended(restore).await;
    assert!(restore.ended(2).contains("pg_restore"), "{}", restore.said);
    assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 0);
    stop(node).await;
}
