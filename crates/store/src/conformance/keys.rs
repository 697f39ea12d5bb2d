//! Data keys.

use std::time::Duration;

use stackbell_model::ids::DataKeyId;
use stackbell_model::secret::{Purpose, SealedDataKey};

use super::Harness;
use super::fixtures::World;

fn keys(world: &World) -> Vec<SealedDataKey> {
    let start = world.now();
    let key = |(index, purpose): (u8, Purpose)| SealedDataKey {
        id: world.random(DataKeyId::generate),
        purpose,
        bytes: vec![index, 0, 255].into(),
        created_at: start.after(Duration::from_secs(u64::from(index))),
    };
    (0_u8..).zip(Purpose::ALL.iter().copied()).map(key).collect()
}

/// A new store has no data keys; the first are installed whole and come back oldest first.
pub async fn the_first_data_keys_are_installed(harness: &dyn Harness) {
    let world = World::blank(harness).await;
    assert_eq!(world.store.data_keys().await.expect("data_keys"), []);
    let keys = keys(&world);
    let newest_first: Vec<_> = keys.iter().rev().cloned().collect();
    assert!(world.store.install_data_keys(&newest_first).await.expect("install_data_keys"));
    assert_eq!(world.store.data_keys().await.expect("data_keys"), keys);
}

/// Data keys are installed once: who comes second gets those that are there.
pub async fn data_keys_are_installed_once(harness: &dyn Harness) {
    let world = World::blank(harness).await;
    let (first, second) = (keys(&world), keys(&world));
    assert!(world.store.install_data_keys(&first).await.expect("install_data_keys"));
    assert!(!world.store.install_data_keys(&second).await.expect("install_data_keys"));
    assert_eq!(world.store.data_keys().await.expect("data_keys"), first);
}
