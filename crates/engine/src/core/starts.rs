//! How quickly attempts of unproven lanes begin.
//!
//! A thousand endpoints that are down, and hear of the same event, would all be connected to in the same moment, and
//! everybody else's attempts would wait behind that. So a few begin at once, and then as many in a time as could if all
//! permits for them were taken by endpoints that are just too slow to be quick: who is slow does not feel it, and who fails
//! at once, however often, costs the others no more than that (invariant 5).
//!
//! Whoever fails to answer twice is unproven again, so that endpoints that were quick and go down together are among them.
//!
//! A start that comes to nothing, or finds its endpoint quick, is given back: endpoints that are new, or not yet known
//! after a restart, prove themselves as quickly as they answer.

use std::time::Duration;

use stackbell_model::Timestamp;

use super::config::CoreConfig;
use super::pacer::{Pacer, Rate};

#[derive(Debug)]
pub(super) struct Starts {
    pacer: Pacer,
    /// Once none is left it rests until there are so many, so that what waits goes in groups that are worth a lease.
    rested: u32,
    is_resting: bool,
}

impl Starts {
    pub(super) fn new(config: &CoreConfig, now: Timestamp) -> Self {
        let unproven_max = config.in_flight_max.div_ceil(2).max(1);
        let interval = (config.quick_answer / unproven_max).max(Duration::from_nanos(1));
        let burst = config.unproven_burst.max(1);
        let pacer = Pacer::new(Rate::new(interval, burst), now);
        // Of what may be in flight no more than half, so that a rest is about half of `quick_answer` at the most.
        let rested = burst.min(unproven_max).div_ceil(2);
        Self { pacer, rested, is_resting: false }
    }

    /// Tells it the time, before it is asked anything.
    pub(super) fn tell(&mut self, now: Timestamp) {
        self.pacer.tell(now);
        self.is_resting &= self.pacer.available() < self.rested;
    }

    pub(super) fn may_begin(&self) -> bool {
        !self.is_resting && self.pacer.available() > 0
    }

    /// One begins.
    pub(super) fn take(&mut self) {
        self.pacer.take_now(1);
        self.is_resting |= self.pacer.available() == 0;
    }

    /// One of those that began cost nothing.
    pub(super) fn give_back(&mut self) {
        self.pacer.give_back(1);
        self.is_resting &= self.pacer.available() < self.rested;
    }

    /// When the next may begin, after a rest.
    pub(super) fn rested_at(&self) -> Timestamp {
        self.pacer.ready_for(self.rested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Timestamp = Timestamp::from_millis(1_778_653_205_000);

    fn at(milliseconds: u64) -> Timestamp {
        BEGIN.after(Duration::from_millis(milliseconds))
    }

    /// Eight at once, then one in 10 ms.
    fn starts() -> Starts {
        let config = CoreConfig { in_flight_max: 200, unproven_burst: 8, ..CoreConfig::default() };
        Starts::new(&config, BEGIN)
    }

    fn begin_all(starts: &mut Starts) -> usize {
        std::iter::from_fn(|| starts.may_begin().then(|| starts.take())).count()
    }

    #[test]
    fn they_go_in_groups() {
        let mut starts = starts();
        assert_eq!(begin_all(&mut starts), 8);
        assert_eq!(starts.rested_at(), at(40));
        starts.tell(at(39));
        assert_eq!(begin_all(&mut starts), 0);
        starts.tell(at(40));
        assert_eq!(begin_all(&mut starts), 4);
        assert_eq!(starts.rested_at(), at(80));
        starts.tell(at(10_000));
        assert_eq!(begin_all(&mut starts), 8, "a long rest makes no more than a burst");
    }

    #[test]
    fn what_cost_nothing_is_given_back() {
        let mut starts = starts();
        assert_eq!(begin_all(&mut starts), 8);
        (0..3).for_each(|_| starts.give_back());
        assert_eq!(begin_all(&mut starts), 0);
        starts.give_back();
        assert_eq!(begin_all(&mut starts), 4);
        (0..20).for_each(|_| starts.give_back());
        assert_eq!(begin_all(&mut starts), 8, "and makes no more than a burst");
    }

    #[test]
    fn few_permits_make_no_long_rest() {
        let config = CoreConfig { in_flight_max: 8, unproven_burst: 16, ..CoreConfig::default() };
        let mut starts = Starts::new(&config, BEGIN);
        assert_eq!(begin_all(&mut starts), 16);
        assert_eq!(starts.rested_at(), at(500));
    }

    #[test]
    fn a_clock_that_was_set_back_lengthens_nothing() {
        let mut starts = starts();
        begin_all(&mut starts);
        let earlier = BEGIN.before(Duration::from_secs(3600));
        starts.tell(earlier);
        assert_eq!(starts.rested_at(), earlier.after(Duration::from_millis(40)));
    }
}
