//! The health of an endpoint, and the rules that suspend its webhook.

use std::time::Duration;

use crate::Timestamp;
use crate::delivery::{Attempt, Verdict};

/// The time between two probes of a suspended webhook's endpoint.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(3600);

/// A webhook is suspended after this many failures without a success, spread over [`FAILING_FOR_MIN`].
pub const FAILURES_MIN: u32 = 10;

/// See [`FAILURES_MIN`].
pub const FAILING_FOR_MIN: Duration = Duration::from_secs(5 * 24 * 3600);

/// The reason why a webhook was suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SuspensionReason {
    /// The endpoint responded 410.
    Gone,
    /// The endpoint failed for days.
    Failing,
}

impl SuspensionReason {
    /// The text form for stores and responses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }

    /// Parses the text form; `None` when it is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Gone, Self::Failing].into_iter().find(|reason| reason.as_str() == text)
    }
}

/// A suspension of a webhook: its deliveries are held, and its endpoint is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// When it began.
    pub since: Timestamp,
    /// The reason.
    pub reason: SuspensionReason,
    /// When the next probe may go out.
    pub probe_at: Timestamp,
}

/// A wait that the endpoint requested with `Retry-After`. Automatic attempts resume after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter {
    /// When the last response with such a request came.
    pub asked_at: Timestamp,
    /// When the wait ends.
    pub until: Timestamp,
}

impl RetryAfter {
    /// Merges two waits. A response that requests a shorter wait does not shorten an earlier one.
    #[must_use]
    pub fn and(self, other: Option<Self>) -> Self {
        let other = other.unwrap_or(self);
        Self { asked_at: self.asked_at.max(other.asked_at), until: self.until.max(other.until) }
    }
}

/// The effect of a webhook edit on where and whether it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointEdit {
    /// Whether the webhook was active before the edit.
    pub was_active: bool,
    /// Whether the webhook is active after the edit.
    pub is_active: bool,
    /// Whether the edit changed the payload URL or the secret.
    pub is_endpoint_changed: bool,
}

/// The health of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Failures since the last success.
    pub failures: u32,
    /// When the first of these failures was.
    pub failing_since: Option<Timestamp>,
    /// The suspension that such failures or a 410 caused, if any.
    pub suspension: Option<Suspension>,
    /// When the last hold ended: a suspension, or a time when the webhook was inactive.
    pub hold_ended_at: Option<Timestamp>,
    /// The wait that the endpoint requested, if any. It stays after the wait is over, until the next success.
    pub retry_after: Option<RetryAfter>,
}

impl Health {
    /// Returns the health after an attempt. `retry_until` is the end of the wait that the response requests,
    /// if any.
    ///
    /// Every 2xx counts, including one that a user requested. Failures count only for automatic attempts: a
    /// user who tries a broken endpoint must not get it suspended. A requested wait always counts.
    #[must_use]
    pub fn after(self, attempt: &Attempt, retry_until: Option<Timestamp>) -> Self {
        let (now, verdict) = (attempt.ended_at(), attempt.outcome.verdict());
        let after = match verdict {
            Verdict::Success if self.suspension.is_some() => return self.resumed(now),
            Verdict::Success => {
                let retry_after = self.retry_after.filter(|asked| stands_after_success(*asked, attempt));
                return Self { failures: 0, failing_since: None, retry_after, ..self };
            }
            Verdict::Gone | Verdict::Failure if attempt.trigger.is_ours() => self.failed(verdict, now),
            Verdict::Gone | Verdict::Failure | Verdict::None => self,
        };
        let asked = retry_until.map(|until| RetryAfter { asked_at: now, until });
        Self { retry_after: asked.map(|asked| asked.and(self.retry_after)).or(self.retry_after), ..after }
    }

    /// Returns the health after a resume, by a user or because the endpoint has recovered.
    #[must_use]
    pub fn resumed(self, now: Timestamp) -> Self {
        Self { hold_ended_at: Some(now), ..Self::default() }
    }

    /// Returns the health after an edit at `now`.
    ///
    /// A change of the URL or the secret ends a suspension and a requested wait, because earlier failures do
    /// not apply to the new endpoint. Activating the webhook ends them too, because the user wants it to
    /// send.
    #[must_use]
    pub fn edited(self, edit: EndpointEdit, now: Timestamp) -> Self {
        let is_switched_on = edit.is_active && !edit.was_active;
        if !edit.is_endpoint_changed && !is_switched_on {
            return self;
        }
        let ends_hold = is_switched_on || (edit.is_active && self.suspension.is_some());
        let hold_ended_at = if ends_hold { Some(now) } else { self.hold_ended_at };
        Self { hold_ended_at, ..Self::default() }
    }

    /// Returns true if a new delivery has to wait at `now`, for a suspension or a requested wait to end.
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.suspension.is_some() || self.waits_until(now).is_some()
    }

    /// Returns the end of the wait that the endpoint requested, if it is after `now`.
    pub fn waits_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.retry_after.map(|asked| asked.until).filter(|until| *until > now)
    }

    fn failed(self, verdict: Verdict, now: Timestamp) -> Self {
        let failing_since = self.failing_since.unwrap_or(now);
        let failures = self.failures.saturating_add(1);
        let reason = if verdict == Verdict::Gone {
            Some(SuspensionReason::Gone)
        } else if failures >= FAILURES_MIN && now.since(failing_since) >= FAILING_FOR_MIN {
            Some(SuspensionReason::Failing)
        } else {
            None
        };
        let probe_at = now.after(PROBE_INTERVAL);
        let suspension = match (self.suspension, reason) {
            (Some(earlier), _) => Some(Suspension { probe_at, ..earlier }),
            (None, Some(reason)) => Some(Suspension { since: now, reason, probe_at }),
            (None, None) => None,
        };
        Self { failures, failing_since: Some(failing_since), suspension, ..self }
    }
}

/// Returns true if a requested wait still applies after a 2xx.
/// It does until its end, because the request may have left before the wait was requested.
/// A later attempt that a user requested ends the wait: its success shows that the endpoint accepts requests again.
fn stands_after_success(asked: RetryAfter, success: &Attempt) -> bool {
    let is_newer = !success.trigger.is_ours() && success.started_at >= asked.asked_at;
    !is_newer && asked.until > success.ended_at()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::{AttemptTrigger, Outcome, Response};

    const DAY: i64 = 24 * 3_600_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn attempt(trigger: AttemptTrigger, status: u16, from: i64, to: i64) -> Attempt {
        let answer = Response { status, headers: "".into(), body: "".into(), retry_after: None };
        let duration = at(to).since(at(from));
        let (request_url, request_headers, outcome) = ("".into(), "".into(), Outcome::Answered(answer));
        Attempt { trigger, started_at: at(from), duration, request_url, request_headers, outcome }
    }

    /// Applies an attempt with a duration of zero.
    fn tried(health: Health, trigger: AttemptTrigger, status: u16, at: i64) -> Health {
        health.after(&attempt(trigger, status, at, at), None)
    }

    /// Applies a scheduled attempt with a 429 at `at` that requests a wait of `wait` milliseconds.
    fn asked(health: Health, at: i64, wait: u64) -> Health {
        let until = Timestamp::from_millis(at).after(Duration::from_millis(wait));
        health.after(&attempt(AttemptTrigger::Schedule, 429, at, at), Some(until))
    }

    fn after_failures(times: &[i64]) -> Health {
        times.iter().fold(Health::default(), |health, ms| tried(health, AttemptTrigger::Schedule, 500, *ms))
    }

    #[test]
    fn gone_suspends_at_once_and_success_resumes() {
        let gone = tried(Health::default(), AttemptTrigger::Schedule, 410, 1);
        assert_eq!(gone.suspension.map(|s| s.reason), Some(SuspensionReason::Gone));
        let probed = tried(gone, AttemptTrigger::Probe, 500, 5);
        assert_eq!(
            probed.suspension.map(|s| (s.since, s.probe_at)),
            Some((at(1), at(5).after(PROBE_INTERVAL)))
        );
        let back = tried(probed, AttemptTrigger::Probe, 200, 9);
        assert_eq!(back, Health { hold_ended_at: Some(at(9)), ..Health::default() });
    }

    #[test]
    fn ten_failures_over_five_days_suspend() {
        let ten_at_once = after_failures(&[0; 10]);
        assert_eq!(ten_at_once.suspension, None);
        let nine_over_days = after_failures(&[0, 1, 2, 3, 4, 5, 6, 7, 5 * DAY]);
        assert_eq!(nine_over_days.suspension, None);
        let ten_over_days = after_failures(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 5 * DAY]);
        assert_eq!(ten_over_days.suspension.map(|s| s.reason), Some(SuspensionReason::Failing));
    }

    #[test]
    fn a_person_trying_does_not_suspend() {
        let pinged = tried(Health::default(), AttemptTrigger::Ping, 410, 1);
        assert_eq!(pinged, Health::default());
    }

    #[test]
    fn a_request_to_wait_is_only_lengthened() {
        let until = |health: Health| health.retry_after.map(|asked| asked.until);
        let health = asked(Health::default(), 0, 60_000);
        assert_eq!(until(health), Some(at(60_000)));
        assert_eq!(until(asked(health, 1000, 10_000)), Some(at(60_000)), "a shorter one");
        assert_eq!(until(asked(health, 1000, 60_000)), Some(at(61_000)), "a longer one");
        assert_eq!(until(tried(health, AttemptTrigger::Schedule, 500, 2000)), Some(at(60_000)));
        assert_eq!(
            (health.waits_until(at(59_999)), health.waits_until(at(60_000))),
            (Some(at(60_000)), None)
        );
    }

    #[test]
    fn a_ping_that_is_asked_to_wait_counts() {
        let ping = attempt(AttemptTrigger::Ping, 429, 0, 0);
        let health = Health::default().after(&ping, Some(at(1000)));
        assert_eq!((health.failures, health.waits_until(at(0))), (0, Some(at(1000))));
    }

    #[test]
    fn a_later_success_of_a_person_ends_a_wait() {
        let health = asked(Health::default(), 1000, 60_000);
        let after = |trigger, from, to| health.after(&attempt(trigger, 200, from, to), None).retry_after;
        for trigger in [AttemptTrigger::Ping, AttemptTrigger::Redeliver] {
            assert_eq!(after(trigger, 999, 2000), health.retry_after, "it left before");
            assert_eq!(after(trigger, 1000, 2000), None);
        }
        assert_eq!(after(AttemptTrigger::Schedule, 500, 2000), health.retry_after);
        assert_eq!(after(AttemptTrigger::Schedule, 61_000, 61_001), None, "it is over");
    }

    fn check_edit(health: Health, edit: [bool; 3], expected: Health) {
        let [was_active, is_active, is_endpoint_changed] = edit;
        let edit = EndpointEdit { was_active, is_active, is_endpoint_changed };
        assert_eq!(health.edited(edit, at(9)), expected, "{edit:?}");
    }

    #[test]
    fn another_endpoint_or_switching_on_forgets_failures() {
        let suspended = tried(asked(Health::default(), 0, 1000), AttemptTrigger::Schedule, 410, 1);
        let failing = tried(Health::default(), AttemptTrigger::Schedule, 500, 1);
        let ended = Health { hold_ended_at: Some(at(9)), ..Health::default() };
        for health in [suspended, failing] {
            check_edit(health, [true, true, false], health);
            check_edit(health, [true, false, false], health);
            check_edit(health, [false, false, false], health);
            check_edit(health, [false, true, false], ended);
            check_edit(health, [false, true, true], ended);
            check_edit(health, [false, false, true], Health::default());
            check_edit(health, [true, false, true], Health::default());
        }
        check_edit(suspended, [true, true, true], ended);
        check_edit(failing, [true, true, true], Health::default());
    }
}
