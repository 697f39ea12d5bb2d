//! Repeats a test of invariant 10: an edit acknowledged by one node applies to every event that another node accepts later.
//!
//! `STACKBELL_CLUSTER_TRIES` sets the number of tries.

use serde_json::json;
use stackbell_testkit::{Keep, Receiver};

use crate::support::{Cluster, publish, register, stop, update, webhook};

const HOOK: &str = "/api/orgs/acme/hooks/hook";

#[expect(clippy::disallowed_methods, reason = "tests have few settings, and no configuration")]
fn tries() -> usize {
    std::env::var("STACKBELL_CLUSTER_TRIES").map_or(100, |value| value.parse().expect("a number"))
}

/// A deactivated webhook gets no event that another node accepts later, even if that node has just sent to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_deactivated_webhook_gets_nothing() {
    let cluster = Cluster::new().await;
    let ((edits, takes), receiver) = tokio::join!(cluster.two_nodes(), Receiver::keeping(Keep::Ids));
    register(&edits.client(), &webhook("hook", &receiver.url("/"))).await;
    let (edits_client, takes_client) = (edits.client(), takes.client());
    let tries = tries();
    for number in 1..=tries {
        let heard = publish(&takes_client, &update()).await;
        assert_eq!(heard["deliveries"], 1, "{heard}, {number}");
        edits_client.patch(HOOK, &json!({"active": false})).await.expect(200);
        let unheard = publish(&takes_client, &update()).await;
        assert_eq!(unheard["deliveries"], 0, "{unheard}, {number}");
        edits_client.patch(HOOK, &json!({"active": true})).await.expect(200);
    }
    receiver.wait_for(tries).await;
    println!("{tries} times deactivated, nothing delivered of what came after");
    for node in [edits, takes] {
        stop(node).await;
    }
    assert_eq!(receiver.count(), tries);
}
