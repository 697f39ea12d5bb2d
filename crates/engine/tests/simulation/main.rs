//! The engine under everything that can go wrong, on manual clocks.
//!
//! One to three machines ([`stackbell_engine::core`]) run against the in-memory store and a network of endpoints that a list
//! of operations drives: publishes, sources with cursors, edits, pings, redeliveries, retries, recoveries, sending held and resumed; commits, leases
//! and requests that come through, fail before, fail after, come late, or are cut by a kill; nodes that stand still and go on
//! with what they knew, are asked to end, die, and see the wrong others; clocks that are apart, set ahead and set back;
//! endpoints that refuse and come back.
//! A node that is alone has an embedded store, whose leases go by its clock. Several share one whose leases go by its own, and
//! hear of each other's work only by looking.
//! Each step is checked as it happens (`promises`); then everything is let to settle, and what must hold in the end is
//! checked (`invariants`).
//!
//! What is failure: an invariant broken, a delivery that never ends, an outcome that is dropped, a machine that never comes to
//! rest, a panic.
//! What is not: a second send after a kill, or after a lease was lost between answer and record; a publish refused.
//! What chance remains: none within a history, which its seed says whole.
//!
//! Each seed is a history of its own. `./test` runs the first few thousand; `scripts/simulate` runs a million, counts the faults
//! that were met, and shrinks a history that fails. `scripts/simulate --seed N` runs one again. Variables do the same:
//! `SIMULATION_HISTORIES`, `SIMULATION_FIRST`, `SIMULATION_SEED`.
//!
//! | decided | simulated | not here |
//! | --- | --- | --- |
//! | the engine is a machine; time and chance handed in (11) | all of it; a seed run twice comes to the same | the shell: `tests/service` |
//! | one commit; 2xx means committed (1, 10) | matched by what the store knows at the commit, by a right that stands; lost, late, full and doubtful commits, four at a time | a real disk: kills of the process, the stores' suites |
//! | the deliveries table is the queue; leases (3) | every send under a lease that stands; stolen, lost, late and voided leases; clocks apart; no outcome dropped | |
//! | events and a change of state commit together | cursors and events of sources, under the same faults: both or neither, by what the store holds in the end; refused changes; events that a full quota drops | other changes: none yet |
//! | every delivery ends, and says why (2) | at rest nothing is pending but what is held | removal after retention: the stores' suite |
//! | bytes are fixed; URL of the moment (4) | bytes of every send; the webhook no older than its lease | secrets: `tests/service` |
//! | two stores, one port | leases by the node's clock and by the store's | SQL, and a shared store's clock that is set: its own suite |
//! | outcome, retry | waits no shorter than the schedule, attempts no more, none too old; runs not started twice; our own fault | the schedule itself: `model` |
//! | suspension, not loss | 410 and steady failure, probes, holds, edits, deletion; what was held goes on | one probe among several nodes: the store's suite |
//! | redeliver, recover, ping | under the same faults; a 2xx ends, who asks is answered once, a recovery rearms once | that recovery is a job: `tests/service` |
//! | fairness (5) | caps of node, organization and webhook at every send, and whole again at rest; paces in every window | latency of the others, reserved halves: unit tests; what nodes come to together: `tests/cluster` |
//! | limits (6) | outcomes, producers and people that wait are bounded; quota, overload and a full store refuse | bytes of bodies: unit tests |
//! | sending held | nothing goes by itself once the node knows | |
//! | several nodes | joined, lost, misseen, paused, woken with old knowledge; wake-ups lost | elections: there are none |
//! | outbound policy, keys, signatures, formats, events, lists, backup, the API | | not the machine's: `tests/outbound`, `wire`, `app`, `http`, the binary's tests |

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

/// How many histories `./test` runs.
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

/// Runs one history again, and prints what happens in it.
fn replay(seed: u64) {
    let plan = plan(seed).current();
    println!("seed {seed}: {plan}");
    match run(&plan) {
        Ok(done) => println!("no invariant broken; it met\n{}", done.tally),
        Err(message) => report(Failure { seed, message }),
    }
}

/// Fails, with the shrunken history and how to run it again.
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
fn what_once_broke_something_does_so_no_more() {
    for (what, plan) in found::histories() {
        if let Err(message) = run(&plan) {
            panic!("{what}, again: {message}\n{plan}");
        }
    }
}

/// The same history comes to the same, to the last request and answer (invariant 11).
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
