//! The decision about an attempt: one rule for every store.
//!
//! A store finds the delivery, calls the function for the kind of attempt, and writes the [`Effect`].
//!
//! | attempt | delivery | effect |
//! | --- | --- | --- |
//! | under its lease | pending | [`leased`]: the state of its [`Next`] |
//! | its lease is lost | cancelled, and the attempt is not recorded yet | [`late`]: as on demand |
//! | its lease is lost | any other | [`late`]: [`Effect::Superseded`] |
//! | on demand | any | [`on_demand`]: a 2xx makes it succeeded; any other outcome leaves it as it is |
//! | any | not found | [`Effect::Superseded`] |

use stackbell_model::delivery::{Attempt, State, StateKind, Verdict};
use stackbell_model::retry::Next;

/// The writes of a store for an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: the attempt came too late.
    Superseded,
    /// The attempt. Its delivery and the lease stay as they are.
    Recorded,
    /// The attempt and its delivery's new state. The lease ends.
    Moved(Transition),
}

/// A delivery's change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state before.
    pub from: StateKind,
    /// The state after.
    pub to: State,
    /// True if the attempt counts in [`attempts_spent`](stackbell_model::delivery::Delivery::attempts_spent).
    pub spent: bool,
}

impl Transition {
    /// The final state, if the delivery was not in a state of this kind before.
    pub fn ended(&self) -> Option<&State> {
        let is_new = self.to.kind() != self.from;
        Some(&self.to).filter(|to| is_new && to.kind() != StateKind::Pending)
    }
}

/// The transition of a pending delivery after an attempt under its lease. `deleted_by` is the actor that deleted its webhook, if
/// it is deleted.
pub fn leased(next: Next, attempt: &Attempt, deleted_by: Option<&str>) -> Transition {
    let (to, spent) = next.state(attempt.ended_at(), deleted_by);
    Transition { from: StateKind::Pending, to, spent }
}

/// The effect of an attempt whose lease is lost, on a delivery in this state. `is_recorded` is true if the store has the attempt.
///
/// A cancellation ends the lease while the request is in flight. The attempt is recorded all the same, because the endpoint may
/// have acted on it.
pub fn late(state: StateKind, is_recorded: bool, attempt: &Attempt) -> Effect {
    if state == StateKind::Cancelled && !is_recorded { on_demand(state, attempt) } else { Effect::Superseded }
}

/// The effect of an attempt that a user requested, on a delivery in this state.
pub fn on_demand(state: StateKind, attempt: &Attempt) -> Effect {
    if attempt.outcome.verdict() != Verdict::Success {
        return Effect::Recorded;
    }
    Effect::Moved(Transition { from: state, to: State::Succeeded { at: attempt.ended_at() }, spent: false })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stackbell_model::Timestamp;
    use stackbell_model::delivery::{AttemptTrigger, CancelReason, FailReason, Outcome, Response};

    use super::*;

    const END: Timestamp = Timestamp::from_millis(1500);
    const STATES: [StateKind; 4] =
        [StateKind::Pending, StateKind::Succeeded, StateKind::Failed, StateKind::Cancelled];

    /// An attempt that ends at [`END`].
    fn attempt(status: u16) -> Attempt {
        let answer = Response { status, headers: "".into(), body: "".into(), retry_after: None };
        Attempt {
            trigger: AttemptTrigger::Schedule,
            started_at: Timestamp::from_millis(1000),
            duration: Duration::from_millis(500),
            request_url: "".into(),
            request_headers: "".into(),
            outcome: Outcome::Answered(answer),
        }
    }

    fn succeeded(from: StateKind) -> Effect {
        Effect::Moved(Transition { from, to: State::Succeeded { at: END }, spent: false })
    }

    #[test]
    fn a_leased_delivery_takes_the_state_of_its_next_step() {
        let at = Timestamp::from_millis(9000);
        let failed = State::Failed { at: END, reason: FailReason::Undeliverable };
        let cancelled = State::Cancelled { at: END, reason: CancelReason::WebhookDeleted, by: "ann".into() };
        let cases = [
            (Next::Succeeded, None, State::Succeeded { at: END }, false),
            (Next::Failed(FailReason::Undeliverable), None, failed, false),
            (Next::Retry { at, spent: true }, None, State::Pending { due_at: at }, true),
            (Next::Retry { at, spent: false }, None, State::Pending { due_at: at }, false),
            (Next::Succeeded, Some("ann"), State::Succeeded { at: END }, false),
            (Next::Failed(FailReason::Undeliverable), Some("ann"), cancelled.clone(), false),
            (Next::Retry { at, spent: true }, Some("ann"), cancelled, false),
        ];
        for (next, deleted_by, to, spent) in cases {
            let expected = Transition { from: StateKind::Pending, to, spent };
            assert_eq!(leased(next, &attempt(200), deleted_by), expected, "{next:?} {deleted_by:?}");
        }
    }

    #[test]
    fn a_late_attempt_counts_only_for_a_cancelled_delivery_and_once() {
        for state in STATES {
            for status in [200, 500] {
                let expected = match (state, status) {
                    (StateKind::Cancelled, 200) => succeeded(state),
                    (StateKind::Cancelled, _) => Effect::Recorded,
                    _ => Effect::Superseded,
                };
                assert_eq!(late(state, false, &attempt(status)), expected, "{state:?} {status}");
                assert_eq!(late(state, true, &attempt(status)), Effect::Superseded, "{state:?} {status}");
            }
        }
    }

    #[test]
    fn an_attempt_on_demand_succeeds_from_any_state() {
        for state in STATES {
            assert_eq!(on_demand(state, &attempt(204)), succeeded(state));
            assert_eq!(on_demand(state, &attempt(410)), Effect::Recorded);
        }
    }

    #[test]
    fn a_delivery_ends_once_in_each_kind_of_state() {
        let ended = |from, to| Transition { from, to, spent: false }.ended().map(State::kind);
        let success = || State::Succeeded { at: END };
        assert_eq!(ended(StateKind::Pending, success()), Some(StateKind::Succeeded));
        assert_eq!(ended(StateKind::Cancelled, success()), Some(StateKind::Succeeded));
        assert_eq!(ended(StateKind::Succeeded, success()), None);
        assert_eq!(ended(StateKind::Pending, State::Pending { due_at: END }), None);
    }
}
