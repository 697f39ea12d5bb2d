//! The engine under everything that can go wrong, on a manual clock.
//!
//! The machine ([`stackbell_engine::core`]) runs against the in-memory store and a network of endpoints that a list of
//! operations drives: publishes, edits, pings, redeliveries, retries, recoveries, sending held and resumed; commits, leases
//! and requests that come through, fail before, fail after, or are cut by a kill; endpoints that refuse and come back; a clock that goes on or jumps back;
//! other nodes that come and go.
//! Then everything is let to settle, and the invariants are checked.
//!
//! What is failure: an invariant broken, a delivery that never ends, a machine that never comes to rest, a panic.
//! What is not: a second send after a kill, after a lost answer, or after a lease ran out; a publish refused.
//! What chance remains: the store is the in-memory one, so what its real brothers do with a disk is tested by their own suites;
//! the shell around the machine is tested by running it.
//!
//! The lists come from a fixed seed, so a failure comes again; the shrunken list is printed. `SIMULATION_CASES` asks for more.

mod disk;
mod endpoints;
mod invariants;
mod node;
mod operations;
mod people;
mod world;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use operations::Operation;
use stackbell_engine::core::CoreConfig;
use world::World;

/// Enough to meet every fault in every place, in a few seconds.
const CASES: u32 = 1500;

#[test]
fn any_list_of_operations_keeps_the_invariants() {
    simulate(&node::config());
}

/// The same with several commits under way at once, as a store that nodes share takes them.
#[test]
fn any_list_of_operations_keeps_the_invariants_with_several_commits_under_way() {
    simulate(&CoreConfig { commits_in_flight_max: 4, batch_beside_min: 1, ..node::config() });
}

fn simulate(config: &CoreConfig) {
    #[expect(clippy::disallowed_methods, reason = "how much to test is for whoever runs the test to say")]
    let cases = std::env::var("SIMULATION_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES);
    let settings = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(settings, rng);
    let outcome = runner.run(&operations::lists(), |operations| {
        run(&operations, config.clone());
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

fn run(operations: &[Operation], config: CoreConfig) {
    let mut world = World::new(config);
    for operation in operations {
        world.apply(operation);
    }
    world.settle();
    invariants::check(&world);
}
