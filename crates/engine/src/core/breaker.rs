//! A lane's circuit breaker, which limits a failing endpoint to single attempts.
//!
//! ```text
//! closed ──failures in a row──> open ──wait over──> one attempt ──success──> closed
//!                                ^───────────────────────┘ failure
//! ```
//!
//! If several nodes send, the breaker uses the store's count of failures in a row, which includes all nodes. The nodes take
//! turns with the single attempts.

use stackbell_model::Timestamp;
use stackbell_model::health::Health;

use super::config::CoreConfig;
use super::rendezvous::Share;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breaker {
    Closed { failures: u32 },
    Open { until: Timestamp, because: Cause },
}

/// A circuit breaker that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenBreaker {
    /// When this node makes its next single attempt, if a delivery is due then. Another node may make one earlier.
    /// `None` if this node's own breaker is closed, and the store counts the failures of other nodes.
    pub until: Option<Timestamp>,
    /// True if the breaker is open because this node cannot make requests. The endpoint may be healthy.
    pub is_our_fault: bool,
}

/// The number of open breakers, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenBreakers {
    /// Breakers that are open because their endpoints fail.
    pub failures: u64,
    /// Breakers that are open because this node cannot make requests.
    pub our_fault: u64,
}

impl OpenBreakers {
    /// Counts a breaker, if it is open.
    pub(super) fn add(&mut self, breaker: Breaker) {
        match breaker {
            Breaker::Open { because: Cause::Failures, .. } => self.failures += 1,
            Breaker::Open { because: Cause::OurFault, .. } => self.our_fault += 1,
            Breaker::Closed { .. } => {}
        }
    }
}

/// Why a breaker is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The endpoint fails.
    Failures,
    /// This node cannot make requests.
    OurFault,
}

impl Breaker {
    pub(super) const CLOSED: Self = Self::Closed { failures: 0 };

    pub(super) fn is_closed(self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// Whether the last attempt failed.
    pub(super) fn has_failed(self) -> bool {
        self != Self::CLOSED
    }

    /// Whether more than one attempt in a row has failed.
    pub(super) fn has_failed_again(self) -> bool {
        match self {
            Self::Closed { failures } => failures > 1,
            Self::Open { .. } => true,
        }
    }

    /// Counts a failed attempt.
    pub(super) fn fail(&mut self, share: Share, config: &CoreConfig, now: Timestamp) {
        let open = |wait| Self::Open { until: now.after(wait), because: Cause::Failures };
        *self = match *self {
            Self::Open { .. } => open(share.turn(config.breaker_wait)),
            Self::Closed { failures } if failures + 1 >= config.breaker_failures => {
                open(share.first_turn(config.breaker_wait))
            }
            Self::Closed { failures } => Self::Closed { failures: failures + 1 },
        };
    }

    /// Opens the breaker, because this node could not make a request.
    pub(super) fn our_fault(&mut self, config: &CoreConfig, now: Timestamp) {
        *self = Self::Open { until: now.after(config.retry.own_fault_wait), because: Cause::OurFault };
    }

    /// Learns from the webhook's health, which counts the attempts of all nodes. A single node ignores it, because the node has
    /// seen all attempts itself. `is_all_recorded` is true if all outcomes of this node are recorded.
    pub(super) fn learn(
        &mut self,
        health: &Health,
        is_all_recorded: bool,
        share: Share,
        config: &CoreConfig,
        now: Timestamp,
    ) {
        if share.is_whole() {
            return;
        }
        match *self {
            // A success of this node that is not recorded yet is newer.
            Self::Closed { failures }
                if health.failures >= config.breaker_failures && (is_all_recorded || failures > 0) =>
            {
                let until = now.after(share.first_turn(config.breaker_wait));
                *self = Self::Open { until, because: Cause::Failures };
            }
            Self::Open { because: Cause::Failures, .. } if health.failures == 0 && is_all_recorded => {
                *self = Self::CLOSED;
            }
            Self::Closed { .. } | Self::Open { .. } => {}
        }
    }

    /// The breaker for operators, with the store's current health. The breaker itself learns that health with the next lease.
    /// `is_all_recorded` is as in [`Self::learn`].
    pub(super) fn view(
        self,
        health: &Health,
        is_all_recorded: bool,
        share: Share,
        config: &CoreConfig,
    ) -> Option<OpenBreaker> {
        let is_shared = !share.is_whole();
        match self {
            Self::Open { because: Cause::Failures, .. }
                if is_shared && health.failures == 0 && is_all_recorded =>
            {
                None
            }
            Self::Open { until, because } => {
                Some(OpenBreaker { until: Some(until), is_our_fault: because == Cause::OurFault })
            }
            Self::Closed { .. } if is_shared && health.failures >= config.breaker_failures => {
                Some(OpenBreaker { until: None, is_our_fault: false })
            }
            Self::Closed { .. } => None,
        }
    }

    /// Shortens the wait to the time that the endpoint requested. From then on, nodes take turns.
    pub(super) fn wait_no_longer_than(&mut self, asked_until: Timestamp, share: Share, config: &CoreConfig) {
        if let Self::Open { until, because: Cause::Failures } = self {
            let turn = share.first_turn(config.breaker_wait).saturating_sub(config.breaker_wait);
            *until = (*until).min(asked_until.after(turn));
        }
    }

    /// Shortens the wait to this node's current turn, after nodes have joined or left.
    pub(super) fn shorten(&mut self, share: Share, config: &CoreConfig, now: Timestamp) {
        if let Self::Open { until, because: Cause::Failures } = self {
            *until = (*until).min(now.after(share.turn(config.breaker_wait)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_778_653_205_000);
    const WAIT: Duration = Duration::from_secs(30);

    fn health(failures: u32) -> Health {
        Health { failures, ..Health::default() }
    }

    fn failed(times: u32, share: Share) -> Breaker {
        let mut breaker = Breaker::CLOSED;
        (0..times).for_each(|_| breaker.fail(share, &CoreConfig::default(), NOW));
        breaker
    }

    /// `breaker` after it has learnt of so many failures.
    fn learnt(mut breaker: Breaker, failures: u32, is_all_recorded: bool, share: Share) -> Breaker {
        breaker.learn(&health(failures), is_all_recorded, share, &CoreConfig::default(), NOW);
        breaker
    }

    fn open(after: Duration) -> Breaker {
        Breaker::Open { until: NOW.after(after), because: Cause::Failures }
    }

    #[test]
    fn who_is_alone_learns_from_attempts_alone() {
        assert_eq!(failed(4, Share::WHOLE), Breaker::Closed { failures: 4 });
        assert_eq!([5, 6, 7].map(|times| failed(times, Share::WHOLE)), [open(WAIT); 3]);
        assert_eq!(learnt(Breaker::CLOSED, 100, true, Share::WHOLE), Breaker::CLOSED);
        assert_eq!(learnt(failed(5, Share::WHOLE), 0, true, Share::WHOLE), open(WAIT));
    }

    #[test]
    fn several_take_turns() {
        let share = Share::nth(1, 3);
        assert_eq!(failed(5, share), open(WAIT * 2));
        assert_eq!(failed(6, share), open(WAIT * 3));
        assert_eq!(learnt(Breaker::CLOSED, 5, true, share), open(WAIT * 2));
        assert_eq!(learnt(Breaker::CLOSED, 4, true, share), Breaker::CLOSED);
        assert_eq!(learnt(failed(6, share), 0, true, share), Breaker::CLOSED);
    }

    #[test]
    fn what_the_store_has_not_heard_of_is_newer() {
        let share = Share::nth(1, 3);
        assert_eq!(learnt(Breaker::CLOSED, 5, false, share), Breaker::CLOSED, "a success");
        assert_eq!(learnt(failed(1, share), 5, false, share), open(WAIT * 2), "one failure more");
        assert_eq!(learnt(failed(5, share), 0, false, share), open(WAIT * 2), "failures");
    }

    #[test]
    fn those_who_ask_hear_what_the_store_knows_of_other_nodes() {
        let view = |breaker: Breaker, failures, share| {
            breaker.view(&health(failures), true, share, &CoreConfig::default())
        };
        let open = |until| Some(OpenBreaker { until, is_our_fault: false });
        let share = Share::nth(0, 2);
        assert_eq!(view(Breaker::CLOSED, 5, share), open(None), "another node's failures");
        assert_eq!(view(Breaker::CLOSED, 4, share), None);
        assert_eq!(view(failed(5, share), 0, share), None, "another node's success");
        assert_eq!(view(failed(5, share), 5, share), open(Some(NOW.after(WAIT))));
        // A single node uses only its own attempts, also after a restart.
        assert_eq!(view(Breaker::CLOSED, 7, Share::WHOLE), None);
        assert_eq!(view(failed(5, Share::WHOLE), 0, Share::WHOLE), open(Some(NOW.after(WAIT))));
        let mut ours = Breaker::CLOSED;
        ours.our_fault(&CoreConfig::default(), NOW);
        assert_eq!(view(ours, 0, share).map(|open| open.is_our_fault), Some(true));
    }

    #[test]
    fn our_own_fault_is_no_matter_of_the_webhooks_health() {
        let share = Share::nth(0, 2);
        let mut breaker = Breaker::CLOSED;
        breaker.our_fault(&CoreConfig::default(), NOW);
        assert_eq!(learnt(breaker, 0, true, share), breaker);
        let before = breaker;
        breaker.shorten(share, &CoreConfig::default(), NOW);
        assert_eq!(breaker, before);
    }

    #[test]
    fn nobody_waits_for_who_has_gone() {
        let mut breaker = failed(6, Share::nth(2, 3));
        assert_eq!(breaker, open(WAIT * 3));
        breaker.shorten(Share::WHOLE, &CoreConfig::default(), NOW);
        assert_eq!(breaker, open(WAIT));
    }
}
