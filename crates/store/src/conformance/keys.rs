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

/// A new store has no data keys. The first keys are installed together and are listed oldest first.
pub async fn the_first_data_keys_are_installed(harness: &dyn Harness) {
    let world = World::blank(harness).await;
    assert_eq!(world.store.data_keys().await.expect("data_keys"), []);
    let keys = keys(&world);
    let newest_first: Vec<_> = keys.iter().rev().cloned().collect();
    assert!(world.store.install_data_keys(&newest_first).await.expect("install_data_keys"));
    assert_eq!(world.store.data_keys().await.expect("data_keys"), keys);
}

/// Data keys can be installed once; a second attempt changes nothing.
pub async fn data_keys_are_installed_once(harness: &dyn Harness) {
    let world = World::blank(harness).await;
    let (first, second) = (keys(&world), keys(&world));
    assert!(world.store.install_data_keys(&first).await.expect("install_data_keys"));
    assert!(!world.store.install_data_keys(&second).await.expect("install_data_keys"));
    assert_eq!(world.store.data_keys().await.expect("data_keys"), first);
}

/// Resealed data keys keep everything but their bytes, in any order.
pub async fn data_keys_are_replaced_by_a_rotation(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let keys = keys(&world);
    world.store.install_data_keys(&keys).await.expect("install_data_keys");
    let anew: Vec<_> =
        keys.iter().map(|key| SealedDataKey { bytes: [7; 60].into(), ..key.clone() }).collect();
    let newest_first: Vec<_> = anew.iter().rev().cloned().collect();
    let replaced = world.store.replace_data_keys(&newest_first, world.audit("keys.rotate")).await;
    assert!(replaced.expect("replace_data_keys"));
    assert_eq!(world.store.data_keys().await.expect("data_keys"), anew);
    assert_eq!(world.actions().await, ["keys.rotate"]);
}

/// Data keys can be replaced only by the same set of keys: not by fewer, more or other keys, and not with a
/// duplicate.
pub async fn other_data_keys_replace_nothing(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let installed = keys(&world);
    world.store.install_data_keys(&installed).await.expect("install_data_keys");
    let others = keys(&world);
    let anew: Vec<_> =
        installed.iter().map(|key| SealedDataKey { bytes: [7; 60].into(), ..key.clone() }).collect();
    let swapped = |index: usize, other: &SealedDataKey| {
        let mut keys = anew.clone();
        keys[index] = other.clone();
        keys
    };
    let more = [anew.clone(), vec![others[0].clone()]].concat();
    let repurposed = SealedDataKey { purpose: anew[1].purpose, ..anew[0].clone() };
    let refused = [
        Vec::new(),
        anew[1..].to_vec(),
        more,
        swapped(0, &others[0]),
        swapped(0, &anew[1]),
        swapped(0, &repurposed),
        others,
    ];
    for keys in refused {
        let replaced = world.store.replace_data_keys(&keys, world.audit("refused")).await;
        assert!(!replaced.expect("replace_data_keys"), "{keys:?}");
        assert_eq!(world.store.data_keys().await.expect("data_keys"), installed);
    }
    assert_eq!(world.actions().await, [""; 0]);
}
