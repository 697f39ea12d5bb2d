//! The right to publish, as of a version of the organization.

use stackbell_engine::core::PublishRefusal;

use crate::world::{Cluster, answered};

#[test]
fn a_right_holds_as_long_as_its_version_does() {
    let mut cluster = Cluster::acquainted(2);
    cluster.webhook();
    let before = cluster.version();
    assert_eq!(cluster.publish_as_of(1, before), Ok(1));
    cluster.webhook();
    let after = cluster.version();
    // The node knows the webhooks as of `before`. A later version makes it read them again.
    assert_eq!(cluster.publish_as_of(1, after), Ok(2));
    assert_eq!(cluster.publish_as_of(1, before), Err(PublishRefusal::Outdated));
    assert_eq!(cluster.publish_as_of(1, after), Ok(2));
    assert_eq!(cluster.stale, 0, "no commit was made in vain");
    cluster.end_all(&answered(200));
}

#[test]
fn a_right_that_ended_before_the_commit_is_outdated() {
    let mut cluster = Cluster::acquainted(2);
    cluster.webhook();
    let before = cluster.version();
    assert_eq!(cluster.publish_as_of(1, before), Ok(1));
    cluster.before_commit(|cluster| {
        cluster.webhook();
    });
    assert_eq!(cluster.publish_as_of(1, before), Err(PublishRefusal::Outdated));
    assert_eq!(cluster.stale, 1);
    assert_eq!(cluster.publish(1), 2);
}

/// The node has no snapshot of the organization yet.
#[test]
fn a_right_of_long_ago_is_outdated() {
    let mut cluster = Cluster::acquainted(2);
    let before = cluster.version();
    cluster.webhook();
    assert_eq!(cluster.publish_as_of(0, before), Err(PublishRefusal::Outdated));
}
