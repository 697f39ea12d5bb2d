//! The node that is simulated, and others that it hears of.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use stackbell_engine::core::{Core, CoreConfig, Input, Neighbours};
use stackbell_model::Timestamp;
use stackbell_model::ids::NodeId;
use stackbell_store::commit::Quota;

use crate::world::{Seeded, World};

/// The node as it is when it is alone.
pub(crate) fn start(config: &CoreConfig, seed: [u8; 32], now: Timestamp) -> Core {
    let entropy = Box::new(Seeded(ChaCha20Rng::from_seed(seed)));
    Core::new(config.clone(), Neighbours::alone(node(0)), None, entropy, now)
}

/// A node; the first is the one that is simulated.
fn node(n: u128) -> NodeId {
    NodeId::from_uuid(uuid::Uuid::from_u128(n))
}

/// Small limits, so that every one of them is met.
pub(crate) fn config() -> CoreConfig {
    CoreConfig {
        in_flight_max: 8,
        organization_in_flight_max: 6,
        ahead_max: 6,
        organization_ahead_max: 5,
        lane_ahead_max: 4,
        batch_events_max: 3,
        batch_records_max: 2,
        waiting_events_max: 6,
        unrecorded_max: 4,
        waiting_asks_max: 2,
        quota: Quota { pending_max: 40, stored_bytes_max: u64::MAX },
        sending_look_interval: Duration::from_secs(1000 * 24 * 3600),
        // Never within a list: the machine must not need it to find what it knows of.
        lanes_search_interval: Duration::from_secs(1000 * 24 * 3600),
        ..CoreConfig::default()
    }
}

impl World {
    /// So many nodes are at work, of which this is one. What the others do is not simulated.
    pub(super) fn see_nodes(&mut self, count: u128) {
        self.turn(vec![Input::NodesSeen { nodes: (0..count).map(node).collect() }]);
    }
}
