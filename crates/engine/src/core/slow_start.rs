//! Slow start: the rate at which attempts of unproven lanes begin.
//!
//! A thousand endpoints that are down, and listen to the same event, would all be connected to at the same moment.
//! All other attempts would wait behind those connections.
//! So a small burst begins at once. After it, attempts begin at the rate of endpoints that are just too slow to be quick
//! and hold all permits for unproven lanes. Slow endpoints are unaffected; endpoints that fail fast cannot use more than
//! this rate (invariant 5).
//!
//! An endpoint that fails to respond twice is unproven again. Quick endpoints that go down together therefore count, too.
//!
//! A start is given back if no request was sent, or if the endpoint turned out to be quick. New endpoints, and endpoints
//! that are not yet known after a restart, therefore prove themselves as quickly as they respond.

use std::time::Duration;

use stackbell_model::Timestamp;

use super::config::CoreConfig;
use super::pacer::{Pacer, Rate};

#[derive(Debug)]
pub(super) struct SlowStart {
    pacer: Pacer,
    /// After the last start is used, slow start rests until so many are available. Each group is then worth a lease request.
    rested: u32,
    is_resting: bool,
}

impl SlowStart {
    pub(super) fn new(config: &CoreConfig, now: Timestamp) -> Self {
        let unproven_max = config.in_flight_max.div_ceil(2).max(1);
        let interval = (config.quick_response / unproven_max).max(Duration::from_nanos(1));
        let burst = config.unproven_burst.max(1);
        let pacer = Pacer::new(Rate::new(interval, burst), now);
        // At most half of what may be in flight, so that a rest lasts at most about half of `quick_response`.
        let rested = burst.min(unproven_max).div_ceil(2);
        Self { pacer, rested, is_resting: false }
    }

    /// Sets the current time. Call it before any question.
    pub(super) fn tell(&mut self, now: Timestamp) {
        self.pacer.tell(now);
        self.is_resting &= self.pacer.available() < self.rested;
    }

    pub(super) fn may_begin(&self) -> bool {
        !self.is_resting && self.pacer.available() > 0
    }

    /// Counts an attempt that begins.
    pub(super) fn take(&mut self) {
        self.pacer.take_now(1);
        self.is_resting |= self.pacer.available() == 0;
    }

    /// Gives back the start of an attempt that cost nothing.
    pub(super) fn give_back(&mut self) {
        self.pacer.give_back(1);
        self.is_resting &= self.pacer.available() < self.rested;
    }

    /// When the next attempt may begin, after a rest.
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
    fn slow_start() -> SlowStart {
        let config = CoreConfig { in_flight_max: 200, unproven_burst: 8, ..CoreConfig::default() };
        SlowStart::new(&config, BEGIN)
    }

    fn begin_all(slow_start: &mut SlowStart) -> usize {
        std::iter::from_fn(|| slow_start.may_begin().then(|| slow_start.take())).count()
    }

    #[test]
    fn they_go_in_groups() {
        let mut slow_start = slow_start();
        assert_eq!(begin_all(&mut slow_start), 8);
        assert_eq!(slow_start.rested_at(), at(40));
        slow_start.tell(at(39));
        assert_eq!(begin_all(&mut slow_start), 0);
        slow_start.tell(at(40));
        assert_eq!(begin_all(&mut slow_start), 4);
        assert_eq!(slow_start.rested_at(), at(80));
        slow_start.tell(at(10_000));
        assert_eq!(begin_all(&mut slow_start), 8, "a long rest makes no more than a burst");
    }

    #[test]
    fn what_cost_nothing_is_given_back() {
        let mut slow_start = slow_start();
        assert_eq!(begin_all(&mut slow_start), 8);
        (0..3).for_each(|_| slow_start.give_back());
        assert_eq!(begin_all(&mut slow_start), 0);
        slow_start.give_back();
        assert_eq!(begin_all(&mut slow_start), 4);
        (0..20).for_each(|_| slow_start.give_back());
        assert_eq!(begin_all(&mut slow_start), 8, "and makes no more than a burst");
    }

    #[test]
    fn few_permits_make_no_long_rest() {
        let config = CoreConfig { in_flight_max: 8, unproven_burst: 16, ..CoreConfig::default() };
        let mut slow_start = SlowStart::new(&config, BEGIN);
        assert_eq!(begin_all(&mut slow_start), 16);
        assert_eq!(slow_start.rested_at(), at(500));
    }

    #[test]
    fn a_clock_that_was_set_back_lengthens_nothing() {
        let mut slow_start = slow_start();
        begin_all(&mut slow_start);
        let earlier = BEGIN.before(Duration::from_secs(3600));
        slow_start.tell(earlier);
        assert_eq!(slow_start.rested_at(), earlier.after(Duration::from_millis(40)));
    }
}
