//! Organizations' credentials for starting deployments.

use stackbell_model::deployments::{DeploymentsCredential, StackReference};
use stackbell_model::ids::{DataKeyId, OrganizationId};
use stackbell_model::secret::Sealed;

use super::Harness;
use super::fixtures::World;

fn credential(world: &World, api_url: &str, stacks: &[&str]) -> DeploymentsCredential {
    let stack = |text: &&str| StackReference::parse(text).expect("a stack");
    DeploymentsCredential {
        organization: world.organization,
        api_url: api_url.parse().expect("a URL"),
        token: Sealed { key: world.random(DataKeyId::generate), bytes: [0, 255, 7].into() },
        stacks: stacks.iter().map(stack).collect(),
        set_at: world.now(),
    }
}

async fn set(world: &World, credential: &DeploymentsCredential) -> bool {
    let audit = world.audit("deployments.set");
    world.store.set_deployments_credential(credential, audit).await.expect("set_deployments_credential")
}

async fn remove(world: &World, organization: OrganizationId) -> bool {
    let audit = world.audit("deployments.remove");
    let removed = world.store.remove_deployments_credential(organization, audit).await;
    removed.expect("remove_deployments_credential")
}

async fn find(world: &World, organization: OrganizationId) -> Option<DeploymentsCredential> {
    world.store.deployments_credential(organization).await.expect("deployments_credential")
}

/// A credential is read back as it was set, with its stacks in order.
pub async fn a_credential_is_read_back_unchanged(harness: &dyn Harness) {
    let world = World::open(harness).await;
    assert_eq!(find(&world, world.organization).await, None);
    let credential =
        credential(&world, "https://api.example.com:8443/base/", &["web/prod", "Web/a.b_c-1", "api/prod"]);
    assert!(set(&world, &credential).await);
    assert_eq!(find(&world, world.organization).await, Some(credential));
}

/// A credential replaces the previous one completely.
pub async fn a_credential_replaces_the_one_before(harness: &dyn Harness) {
    let world = World::open(harness).await;
    set(&world, &credential(&world, "https://one.example.com/", &["web/prod"])).await;
    let second = credential(&world, "http://two.example.com/", &[]);
    assert!(set(&world, &second).await);
    assert_eq!(find(&world, world.organization).await, Some(second));
}

/// A credential can be removed once.
pub async fn a_removed_credential_is_gone(harness: &dyn Harness) {
    let world = World::open(harness).await;
    set(&world, &credential(&world, "https://api.example.com/", &["web/prod"])).await;
    assert!(remove(&world, world.organization).await);
    assert_eq!(find(&world, world.organization).await, None);
    assert!(!remove(&world, world.organization).await);
}

/// Each organization has its own credential, and an unknown organization has none.
pub async fn credentials_do_not_mix(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let (other, nobody) = (world.other_organization("other").await.id, world.new_organization("nobody").id);
    let ours = credential(&world, "https://ours.example.com/", &["web/prod"]);
    let theirs = DeploymentsCredential {
        organization: other,
        ..credential(&world, "https://theirs.example.com/", &[])
    };
    assert!(set(&world, &ours).await);
    assert_eq!(find(&world, other).await, None);
    assert!(!remove(&world, other).await);
    assert!(set(&world, &theirs).await);
    assert!(!set(&world, &DeploymentsCredential { organization: nobody, ..ours.clone() }).await);
    assert_eq!(find(&world, nobody).await, None);
    assert!(!remove(&world, nobody).await);
    assert_eq!(find(&world, world.organization).await, Some(ours));
    assert_eq!(find(&world, other).await, Some(theirs));
}

/// Each change has an entry; rejected changes have none.
pub async fn credentials_have_their_entries(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let nobody = world.new_organization("nobody").id;
    let ours = credential(&world, "https://ours.example.com/", &[]);
    remove(&world, world.organization).await;
    set(&world, &DeploymentsCredential { organization: nobody, ..ours.clone() }).await;
    assert_eq!(world.actions().await, [""; 0]);
    set(&world, &ours).await;
    set(&world, &ours).await;
    remove(&world, world.organization).await;
    assert_eq!(world.actions().await, ["deployments.set", "deployments.set", "deployments.remove"]);
}
