//! How an endpoint has been doing, and when that suspends its webhook.

use std::time::Duration;

use crate::Timestamp;
use crate::delivery::{AttemptTrigger, Verdict};

/// A suspended webhook is asked once in this time whether its endpoint is back.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(3600);

/// This many failures without a success, over [`FAILING_FOR_MIN`], suspend a webhook.
pub const FAILURES_MIN: u32 = 10;

/// See [`FAILURES_MIN`].
pub const FAILING_FOR_MIN: Duration = Duration::from_secs(5 * 24 * 3600);

/// Why a webhook was suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SuspensionReason {
    /// The endpoint answered 410.
    Gone,
    /// It failed for days.
    Failing,
}

impl SuspensionReason {
    /// The word for it in stores and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }

    /// Reads that word; `None` when there is no such reason.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Gone, Self::Failing].into_iter().find(|reason| reason.as_str() == text)
    }
}

/// A webhook is suspended: its deliveries are held, and its endpoint is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub reason: SuspensionReason,
    /// When the next probe may go out.
    pub probe_at: Timestamp,
}

/// How an endpoint has been doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Failures since the last success.
    pub failures: u32,
    /// When the first of them was.
    pub failing_since: Option<Timestamp>,
    /// Whether that, or a 410, suspended the webhook.
    pub suspension: Option<Suspension>,
    /// When the webhook was last set going again, after a suspension or after being inactive.
    pub hold_ended_at: Option<Timestamp>,
}

impl Health {
    /// How it has been doing once an attempt ended at `now`.
    ///
    /// Any 2xx counts, whoever asked for it. Failures count only where we asked by ourselves:
    /// a person who tries a broken endpoint must not get it suspended.
    #[must_use]
    pub fn after(self, trigger: AttemptTrigger, verdict: Verdict, now: Timestamp) -> Self {
        let ours = matches!(trigger, AttemptTrigger::Schedule | AttemptTrigger::Probe);
        match verdict {
            Verdict::Success if self.suspension.is_some() => self.resumed(now),
            Verdict::Success => Self { failures: 0, failing_since: None, ..self },
            Verdict::Gone | Verdict::Failure if ours => self.failed(verdict, now),
            Verdict::Gone | Verdict::Failure | Verdict::None => self,
        }
    }

    /// Going again: somebody resumed it, or set it active, or its endpoint is back.
    #[must_use]
    pub fn resumed(self, now: Timestamp) -> Self {
        Self { hold_ended_at: Some(now), ..Self::default() }
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

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3_600_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn after_failures(times: &[i64]) -> Health {
        times.iter().fold(Health::default(), |health, ms| {
            health.after(AttemptTrigger::Schedule, Verdict::Failure, at(*ms))
        })
    }

    #[test]
    fn gone_suspends_at_once_and_success_resumes() {
        let gone = Health::default().after(AttemptTrigger::Schedule, Verdict::Gone, at(1));
        assert_eq!(gone.suspension.map(|s| s.reason), Some(SuspensionReason::Gone));
        let probed = gone.after(AttemptTrigger::Probe, Verdict::Failure, at(5));
        assert_eq!(
            probed.suspension.map(|s| (s.since, s.probe_at)),
            Some((at(1), at(5).after(PROBE_INTERVAL)))
        );
        let back = probed.after(AttemptTrigger::Probe, Verdict::Success, at(9));
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
        let pinged = Health::default().after(AttemptTrigger::Ping, Verdict::Gone, at(1));
        assert_eq!(pinged, Health::default());
    }
}
