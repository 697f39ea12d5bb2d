//! The engine under all faults that can happen, on manual clocks.
//!
//! One to three cores ([`stackbell_engine::core`]) run against the in-memory store and simulated endpoints. A list of
//! operations drives them:
//! - publishes, sources with cursors, edits, pings, redeliveries, retries, recoveries, and sending held and resumed
//! - commits, leases and requests that succeed, fail before or after their effect, come late, or are cut by a kill
//! - nodes that pause and continue with old knowledge, are asked to stop, are killed, or see the wrong other nodes
//! - clocks that differ, and are set ahead and back
//! - endpoints that refuse and recover
//!
//! A single node has an embedded store, whose leases use the node's clock. Several nodes share a store whose leases use its own
//! clock, and they find each other's work only by looking. Each step is checked as it happens (`promises`). Then everything is
//! left to settle, and the final state is checked (`invariants`).
//!
//! A failure is a broken invariant, a delivery that never ends, a dropped outcome, a core that never comes to rest, or a panic.
//! A second send is no failure after a kill, or after a lease was lost between response and record; nor is a refused publish. A
//! history has no randomness beyond its seed.
//!
//! Each seed is one history. `./test` runs the first few thousand. `scripts/simulate` runs a million, counts the faults that
//! occurred, and shrinks a history that fails. `scripts/simulate --seed N` replays one. Environment variables do the same:
//! `SIMULATION_HISTORIES`, `SIMULATION_FIRST`, `SIMULATION_SEED`.
//!
//! | rule | simulated | tested elsewhere |
//! | --- | --- | --- |
//! | the engine is a state machine; time and randomness are arguments (11) | all of it; two runs of a seed are equal | the shell: `tests/service` |
//! | one commit; 2xx means committed (1, 10) | matching by the store's state at the commit, with a current right; lost, late, full and unknown commits, four at a time | a real disk: process kills, the stores' suites |
//! | the deliveries table is the queue; leases (3) | every send under a valid lease; stolen, lost, late and voided leases; clocks that differ; no outcome dropped | |
//! | events and a change of state commit together | cursors and events of sources, under equal faults: both or neither in the final state; refused changes; events that a full quota drops | other changes: none yet |
//! | every delivery ends, and says why (2) | at rest only held deliveries are pending | removal after retention: the stores' suite |
//! | fixed bytes; current URL (4) | bytes of every send; the webhook no older than its lease | secrets: `tests/service` |
//! | several stores, one port | leases by the node's clock and by the store's | SQL, and jumps of a shared store's clock: its own suite |
//! | outcome, retry | waits no shorter than the schedule, no extra attempts, no expired ones; deployments not started twice; our own faults | the schedule itself: `model` |
//! | suspension without loss | 410 and steady failure, probes, holds, edits, deletion; held deliveries continue | one probe among several nodes: the store's suite |
//! | redeliver, recover, ping | under equal faults; a 2xx ends the delivery, each caller gets one response, a recovery rearms once | recoveries in steps: `tests/service` |
//! | fairness (5) | limits of node, organization and webhook at every send, and full again at rest; rate limits in every window | latency of the others, reserved halves: unit tests; nodes together: `tests/cluster` |
//! | limits (6) | bounded numbers of waiting outcomes, producers and callers; quota, overload and a full store refuse | bytes of bodies: unit tests |
//! | sending held | no automatic send once the node knows of the hold | |
//! | several nodes | joined, lost, wrongly seen, paused, resumed with old knowledge; lost wake-ups | elections: there are none |
//! | outbound policy, keys, signatures, formats, events, lists, backup, the API | | not in the core: `tests/outbound`, `wire`, `app`, `http`, the binary's tests |

mod disk;
mod endpoints;
mod found;
mod histories;
mod invariants;
mod lives;
mod node;
mod operations;
mod people;
mod plans;
mod promises;
mod rest;
mod sources;
mod tally;
mod time;
mod turns;
mod world;

use proptest::strategy::ValueTree;

use histories::{Failure, plan, run, run_all, shrink};

/// The number of histories that `./test` runs.
const HISTORIES: u64 = 4000;

#[test]
fn any_history_keeps_the_invariants() {
    if let Some(seed) = number("SIMULATION_SEED") {
        return replay(seed);
    }
    let asked = number("SIMULATION_HISTORIES");
    let (first, count) = (number("SIMULATION_FIRST").unwrap_or(0), asked.unwrap_or(HISTORIES));
    match run_all(first, count, asked.is_some()) {
        Ok(tally) => {
            println!("{count} histories from seed {first} on, no invariant broken; they met\n{tally}");
            let missing = tally.missing();
            assert!(count < HISTORIES || missing.is_empty(), "never met: {missing:?}");
        }
        Err(failure) => report(failure),
    }
}

/// Replays one history, and prints what happens in it.
fn replay(seed: u64) {
    let plan = plan(seed).current();
    println!("seed {seed}: {plan}");
    match run(&plan) {
        Ok(done) => println!("no invariant broken; it met\n{}", done.tally),
        Err(message) => report(Failure { seed, message }),
    }
}

/// Fails with the shrunken history, and the command that replays it.
fn report(Failure { seed, message }: Failure) -> ! {
    println!("seed {seed}: {message}\nlooking for a shorter history that fails ...");
    let (plan, message) = shrink(seed, message);
    let count = plan.operations.len();
    panic!(
        "{message}\n\nseed {seed}, cut to {count} operations: {plan}\nto run it again:\n    scripts/simulate --seed {seed}\n    \
         SIMULATION_SEED={seed} cargo test -p stackbell-engine --test simulation -- --nocapture"
    );
}

#[test]
fn earlier_failing_histories_pass() {
    for (what, plan) in found::histories() {
        if let Err(message) = run(&plan) {
            panic!("{what}, again: {message}\n{plan}");
        }
    }
}

/// A history replays identically, down to the last request and response (invariant 11).
#[test]
fn a_seed_says_all_that_happens() {
    for seed in 0..200 {
        let plan = plan(seed).current();
        let traces = [(); 2].map(|()| run(&plan).map(|done| done.trace));
        assert!(traces[0].is_ok() && traces[0] == traces[1], "invariant 11: seed {seed}: {traces:?}");
    }
}

#[expect(clippy::disallowed_methods, reason = "how much to test is for whoever runs the test to say")]
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, and not {text:?}")))
}
