//! Limits the deliveries that may be sent a second time.
//!
//! A delivery whose success is recorded is never sent again automatically. A kill or a network cut of a node
//! may repeat two kinds of deliveries: those that had reached the endpoint without a recorded success, and
//! those in flight at that moment. These are at most as many as one webhook may have in flight.

use std::collections::{BTreeMap, BTreeSet};

/// Attempts of one webhook in flight at a node. Source: `lane_limit_max` of the engine's `CoreConfig`.
const IN_FLIGHT_MAX: usize = 16;

/// The state of endpoint and store at the time of a fault.
#[derive(Debug)]
struct Fault {
    /// The number of requests that had arrived.
    arrived: usize,
    /// The ids of events whose deliveries were recorded as succeeded.
    recorded: BTreeSet<Box<str>>,
}

/// The faults of a test, and the repeated sends that they explain.
#[derive(Debug, Default)]
pub struct SecondSends {
    faults: Vec<Fault>,
}

/// The number of repeated sends, and the most that the faults can explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondSendsCount {
    /// Requests beyond one for each event.
    pub seen: usize,
    /// The maximum that the faults explain.
    pub explained: usize,
}

impl SecondSends {
    /// Records that a node was killed or cut off. `recorded` are the ids of the events whose success the
    /// store held; `arrived` is the number of requests at the endpoint, read after that lookup.
    pub fn fault(&mut self, arrived: usize, recorded: BTreeSet<Box<str>>) {
        self.faults.push(Fault { arrived, recorded });
    }

    /// Checks the ids of all requests, in the order of arrival.
    ///
    /// # Panics
    /// If a delivery was sent again after its success was recorded, or if more deliveries were repeated than
    /// the faults explain.
    pub fn check(&self, requests: &[Box<str>]) -> SecondSendsCount {
        let mut unrecorded = 0;
        for fault in &self.faults {
            let again = requests[fault.arrived..].iter().find(|id| fault.recorded.contains(*id));
            assert_eq!(again, None, "it was sent again although its success was recorded");
            let arrived: BTreeSet<_> = requests[..fault.arrived].iter().collect();
            unrecorded += arrived.into_iter().filter(|id| !fault.recorded.contains(*id)).count();
        }
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for request in requests {
            *times.entry(request).or_default() += 1;
        }
        let often = times.iter().find(|(_, times)| **times > 1 + self.faults.len());
        assert_eq!(often, None, "it was sent more often than there were faults");
        let seen = requests.len() - times.len();
        let explained =
            if self.faults.is_empty() { 0 } else { unrecorded + self.faults.len() * IN_FLIGHT_MAX };
        assert!(
            seen <= explained,
            "{seen} were sent a second time, and at most {explained} were in flight at a fault"
        );
        SecondSendsCount { seen, explained }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<Box<str>> {
        text.split_whitespace().map(Box::from).collect()
    }

    fn after(arrived: usize, recorded: &str) -> SecondSends {
        let mut sends = SecondSends::default();
        sends.fault(arrived, ids(recorded).into_iter().collect());
        sends
    }

    #[test]
    fn deliveries_in_flight_may_come_again() {
        let count = after(2, "a").check(&ids("a b b c"));
        assert_eq!(count, SecondSendsCount { seen: 1, explained: 1 + IN_FLIGHT_MAX });
        assert_eq!(SecondSends::default().check(&ids("a b")), SecondSendsCount { seen: 0, explained: 0 });
    }

    #[test]
    #[should_panic(expected = "although its success was recorded")]
    fn recorded_deliveries_may_not_come_again() {
        after(2, "a").check(&ids("a b a"));
    }

    #[test]
    #[should_panic(expected = "more often than there were faults")]
    fn nothing_comes_again_without_a_fault() {
        SecondSends::default().check(&ids("a b a"));
    }

    #[test]
    #[should_panic(expected = "at most 16 were in flight at a fault")]
    fn no_more_come_again_than_were_in_flight() {
        let sent: String = (0..17).map(|number| format!("{number} ")).collect();
        // All deliveries were in flight at the time of the fault, and each was sent once more.
        after(0, "").check(&ids(&sent.repeat(2)));
    }
}
