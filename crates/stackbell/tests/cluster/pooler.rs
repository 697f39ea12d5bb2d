//! Nodes behind a pooler in transaction mode.

use stackbell_testkit::{PgBouncer, Receiver};

use crate::support::{Cluster, publish, register, setup, stop, update, webhook};

#[tokio::test]
async fn nodes_work_behind_a_pooler() {
    let cluster = Cluster::new().await;
    let url = PgBouncer::shared().await.url(&cluster.database);
    let pooled = setup().store(&url).flag("--database-pooling", "transaction");
    let (one, two) = tokio::join!(pooled.clone().start(), pooled.start());
    let receiver = Receiver::start().await;
    register(&one.client(), &webhook("hook", &receiver.url("/"))).await;
    for _ in 0..5 {
        publish(&one.client(), &update()).await;
        publish(&two.client(), &update()).await;
    }
    receiver.wait_for(10).await;
    stop(one).await;
    stop(two).await;
}
