//! A change of the master key with several nodes: running nodes continue, and starting ones need the new key.

use std::path::{Path, PathBuf};

use stackbell_testkit::{Receiver, Server, ServerSetup};

use crate::support::{Cluster, NODES_KEY, OTHER_KEY, publish, refused, register, stop, update, webhook};

/// Key files.
struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn file(&self, name: &str, key: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, key).expect("written");
        path
    }
}

fn with(setup: ServerSetup, flag: &str, file: &Path) -> ServerSetup {
    setup.flag(flag, file.to_str().expect("UTF-8"))
}

/// Checks that a secret sealed earlier can be opened: the delivery that arrives is signed.
async fn check_signs(node: &Server, receiver: &Receiver) {
    let before = receiver.count();
    publish(&node.client(), &update()).await;
    let requests = receiver.wait_for(before + 1).await;
    assert!(requests[before].header("Pulumi-Webhook-Signature").is_some(), "signed");
}

async fn register_signed(node: &Server, receiver: &Receiver) {
    let mut body = webhook("hook", &receiver.url("/"));
    body["secret"] = "a secret".into();
    register(&node.client(), &body).await;
}

async fn check_refused(setup: &ServerSetup) {
    let data = tempfile::tempdir().expect("a folder");
    let refusal = refused(setup, data.path()).await;
    assert!(refusal.ended(1).contains("does not open this store"), "{}", refusal.said);
}

#[tokio::test]
async fn a_key_is_changed_by_starting_one_node_after_the_other() {
    let (cluster, keys, receiver) = (Cluster::new().await, Keys::new(), Receiver::start().await);
    let one = cluster.node().await;
    register_signed(&one, &receiver).await;
    let new = with(cluster.setup(), "--master-key-file", &keys.file("new", OTHER_KEY));
    let both = with(new.clone(), "--previous-master-key-file", &keys.file("old", NODES_KEY));
    let two = both.start().await;
    check_signs(&one, &receiver).await;
    check_signs(&two, &receiver).await;
    check_refused(&cluster.setup()).await;
    let three = new.start().await;
    check_signs(&three, &receiver).await;
    for node in [one, two, three] {
        stop(node).await;
    }
}

#[tokio::test]
async fn a_key_is_changed_while_nodes_serve() {
    let (cluster, keys, receiver) = (Cluster::new().await, Keys::new(), Receiver::start().await);
    let file = keys.file("master.key", NODES_KEY);
    let setup = with(cluster.setup(), "--master-key-file", &file);
    let (one, two) = tokio::join!(setup.clone().start(), setup.clone().start());
    register_signed(&one, &receiver).await;
    keys.file("master.key", OTHER_KEY);
    check_refused(&setup).await;
    one.client().post_empty("/v1/instance/master-key/rotate").await.expect(200);
    let again = two.client().post_empty("/v1/instance/master-key/rotate").await.expect(409);
    assert!(again.text().contains("still gives the key"), "{}", again.text());
    check_signs(&one, &receiver).await;
    check_signs(&two, &receiver).await;
    let three = setup.start().await;
    check_signs(&three, &receiver).await;
    for node in [one, two, three] {
        stop(node).await;
    }
}
