//! The rules for what happens after an attempt.

use std::time::Duration;

use crate::Timestamp;
use crate::delivery::{CancelReason, Delivery, FailReason, Outcome, Response, Silence, State, Verdict};
use crate::webhook::Format;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

/// The retry schedule and its limits. Part of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The backoff after each failed attempt. The delivery fails after the last one.
    pub waits: Vec<Duration>,
    /// The maximum jitter, as a fraction of the wait. It keeps retries from synchronizing.
    pub jitter: f64,
    /// The longest `Retry-After` that is honoured.
    pub retry_after_max: Duration,
    /// The wait before a retry after a fault of our own.
    pub own_fault_wait: Duration,
    /// A delivery of this age is not sent.
    pub age_max: Duration,
    /// The age limit for a delivery that was held.
    pub held_age_max: Duration,
    /// How long a delivery that starts a run is retried, provided that no run can have started.
    pub run_retried_for: Duration,
}

impl Default for RetryPolicy {
    /// Outlasts a weekend: the last of 15 attempts comes about 75 hours after the first.
    fn default() -> Self {
        let mut waits = vec![secs(5), secs(30), secs(120), secs(600), secs(1800)];
        waits.extend([hours(1), hours(2), hours(4), hours(8)]);
        waits.extend([hours(12); 5]);
        Self {
            waits,
            jitter: 0.1,
            retry_after_max: hours(24),
            own_fault_wait: secs(60),
            age_max: hours(7 * 24),
            held_age_max: hours(14 * 24),
            run_retried_for: hours(1),
        }
    }
}

/// The next step of a delivery after a scheduled attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The delivery succeeded.
    Succeeded,
    /// The delivery failed; there is no retry.
    Failed(FailReason),
    /// The delivery is retried.
    Retry {
        /// The earliest time of the retry.
        at: Timestamp,
        /// Whether the attempt counts against the schedule.
        spent: bool,
    },
}

impl Next {
    /// Returns the state of a pending delivery after an attempt that ended at `ended_at`, and whether the
    /// attempt is spent. `deleted_by` is the actor that deleted the webhook in the meantime, if any.
    pub fn state(self, ended_at: Timestamp, deleted_by: Option<&str>) -> (State, bool) {
        match (self, deleted_by) {
            (Self::Succeeded, _) => (State::Succeeded { at: ended_at }, false),
            (_, Some(by)) => {
                let reason = CancelReason::WebhookDeleted;
                (State::Cancelled { at: ended_at, reason, by: by.into() }, false)
            }
            (Self::Failed(reason), None) => (State::Failed { at: ended_at, reason }, false),
            (Self::Retry { at, spent }, None) => (State::Pending { due_at: at }, spent),
        }
    }
}

impl RetryPolicy {
    /// Decides the next step of a pending delivery whose scheduled attempt ended in `outcome` at `now`.
    /// `chance` is a random fraction in `[0, 1)`.
    pub fn next(&self, delivery: &Delivery, outcome: &Outcome, now: Timestamp, chance: f64) -> Next {
        match outcome.verdict() {
            Verdict::Success => Next::Succeeded,
            Verdict::Failure if outcome.is_refused_for_good() => Next::Failed(FailReason::Undeliverable),
            Verdict::Failure | Verdict::Gone if !is_repeatable(delivery.format, outcome) => {
                Next::Failed(FailReason::NotRepeatable)
            }
            Verdict::Failure | Verdict::Gone => self.next_try(delivery, outcome, now, chance),
            Verdict::None => match outcome {
                Outcome::Undeliverable { .. } => Next::Failed(FailReason::Undeliverable),
                Outcome::OurFault { .. }
                | Outcome::Answered(_)
                | Outcome::HiddenError(_)
                | Outcome::Unanswered { .. } => {
                    Next::Retry { at: now.after(self.own_fault_wait), spent: false }
                }
            },
        }
    }

    fn next_try(&self, delivery: &Delivery, outcome: &Outcome, now: Timestamp, chance: f64) -> Next {
        let spent = usize::try_from(delivery.attempts_spent).ok();
        let Some(wait) = spent.and_then(|spent| self.waits.get(spent)) else {
            return Next::Failed(FailReason::AttemptsExhausted);
        };
        let asked = self.wait_asked(outcome).unwrap_or_default();
        let wait = wait.mul_f64(1.0 + self.jitter * chance).max(asked);
        let at = now.after(wait);
        if starts_run(delivery.format) && at.since(delivery.armed_at()) > self.run_retried_for {
            return Next::Failed(FailReason::AttemptsExhausted);
        }
        Next::Retry { at, spent: true }
    }

    /// Returns the wait that a failed response requests, up to [`Self::retry_after_max`]. No automatic
    /// attempts are made for the webhook during that wait. `None` if it requests none, or a wait of zero.
    pub fn wait_asked(&self, outcome: &Outcome) -> Option<Duration> {
        let asked = match outcome.verdict() {
            Verdict::Failure | Verdict::Gone => outcome.response()?.retry_after?,
            Verdict::Success | Verdict::None => return None,
        };
        (!asked.is_zero()).then_some(asked.min(self.retry_after_max))
    }

    /// Returns true if a delivery whose age counts from `armed_at` is too old to be sent.
    /// `held` is true if its webhook is held now; `hold_ended_at` is the end of the last hold.
    pub fn is_expired(
        &self,
        now: Timestamp,
        held: bool,
        armed_at: Timestamp,
        hold_ended_at: Option<Timestamp>,
    ) -> bool {
        let was_held = held || hold_ended_at.is_some_and(|ended| armed_at < ended);
        now.since(armed_at) >= if was_held { self.held_age_max } else { self.age_max }
    }

    /// Returns time windows (both ends inclusive): deliveries armed in one of them are expired by
    /// [`Self::is_expired`]. Queries use the windows to find expired deliveries by age.
    pub fn expired_windows(
        &self,
        now: Timestamp,
        held: bool,
        hold_ended_at: Option<Timestamp>,
    ) -> Vec<(Timestamp, Timestamp)> {
        let beginning = Timestamp::from_millis(i64::MIN);
        let (too_old_if_held, too_old_else) = (now.before(self.held_age_max), now.before(self.age_max));
        match hold_ended_at {
            _ if held => vec![(beginning, too_old_if_held)],
            None => vec![(beginning, too_old_else)],
            Some(ended) => {
                let last_before = ended.before(Duration::from_millis(1));
                vec![(beginning, last_before.min(too_old_if_held)), (ended, too_old_else)]
            }
        }
    }
}

/// Returns true if a delivery of this format starts something that must not be started twice.
const fn starts_run(format: Format) -> bool {
    match format {
        Format::PulumiDeployments => true,
        Format::Raw | Format::Slack | Format::MsTeams => false,
    }
}

/// Returns true if a failed attempt may be retried: unless the endpoint refused for good, or, for formats
/// that start runs, only if no run can have started.
pub fn is_repeatable(format: Format, outcome: &Outcome) -> bool {
    if !starts_run(format) {
        return !outcome.is_refused_for_good();
    }
    match outcome {
        Outcome::Unanswered { silence, .. } => match silence {
            Silence::Forbidden | Silence::Unresolved | Silence::Unreachable => true,
            Silence::TimedOut | Silence::Broken => false,
        },
        Outcome::Answered(Response { status, .. }) => matches!(*status, 429 | 503),
        Outcome::HiddenError(_) => false,
        Outcome::OurFault { .. } => true,
        Outcome::Undeliverable { .. } => false,
    }
}

/// Parses a `Retry-After` header: seconds, or an HTTP date that is counted from `now`.
/// `None` when it is neither; a date in the past is a wait of zero.
pub fn parse_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // A number that overflows a u64 means "very long"; the policy caps it.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let since_epoch = date.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let at = Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX));
    Some(at.since(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Trigger;
    use crate::ids::{DeliveryId, EventId, OrganizationId, WebhookId};

    fn answered(status: u16, retry_after: Option<u64>) -> Outcome {
        let retry_after = retry_after.map(Duration::from_secs);
        Outcome::Answered(Response { status, headers: "".into(), body: "".into(), retry_after })
    }

    /// A delivery that was created at 0.
    fn delivery(format: Format, attempts_spent: u32) -> Delivery {
        let nil = uuid::Uuid::nil();
        let made = Timestamp::from_millis(0);
        Delivery {
            id: DeliveryId::from_uuid(nil),
            organization: OrganizationId::from_uuid(nil),
            webhook: WebhookId::from_uuid(nil),
            trigger: Trigger::Ping,
            event_id: EventId::from_uuid(nil),
            format,
            body: None,
            created_at: made,
            rearmed_at: None,
            attempts_spent,
            state: State::Pending { due_at: made },
        }
    }

    fn check(attempts_spent: u32, outcome: &Outcome, chance: f64, expected: Next) {
        let now = Timestamp::from_millis(0);
        let delivery = delivery(Format::Raw, attempts_spent);
        assert_eq!(RetryPolicy::default().next(&delivery, outcome, now, chance), expected, "{outcome:?}");
    }

    fn retry(at_ms: i64) -> Next {
        Next::Retry { at: Timestamp::from_millis(at_ms), spent: true }
    }

    #[test]
    fn the_schedule_outlasts_a_weekend() {
        let policy = RetryPolicy::default();
        let total: Duration = policy.waits.iter().sum();
        assert_eq!(policy.waits.len(), 14);
        assert!(total > hours(75) && total < hours(76), "{total:?}");
    }

    #[test]
    fn status_decides() {
        check(0, &answered(204, None), 0.0, Next::Succeeded);
        check(0, &answered(301, None), 0.0, retry(5_000));
        check(1, &answered(500, None), 0.0, retry(30_000));
        check(1, &answered(410, None), 0.0, retry(30_000));
        check(13, &answered(500, None), 0.0, retry(12 * 3_600_000));
        check(14, &answered(500, None), 0.0, Next::Failed(FailReason::AttemptsExhausted));
        let silent = Outcome::Unanswered { silence: Silence::TimedOut, text: "".into() };
        check(0, &silent, 0.0, retry(5_000));
    }

    #[test]
    fn chance_lengthens_by_a_tenth_at_most() {
        check(0, &answered(500, None), 0.5, retry(5_250));
        check(0, &answered(500, None), 0.999_999, retry(5_499));
    }

    #[test]
    fn retry_after_only_lengthens_and_is_capped() {
        check(0, &answered(503, Some(2)), 0.0, retry(5_000));
        check(0, &answered(503, Some(60)), 0.0, retry(60_000));
        check(0, &answered(503, Some(u64::MAX)), 0.0, retry(24 * 3_600_000));
    }

    fn check_wait(outcome: &Outcome, expected: Option<Duration>) {
        assert_eq!(RetryPolicy::default().wait_asked(outcome), expected, "{outcome:?}");
    }

    #[test]
    fn a_failed_answer_asks_the_whole_webhook_to_wait() {
        for status in [301, 410, 413, 429, 500, 503] {
            check_wait(&answered(status, Some(60)), Some(secs(60)));
            check_wait(&answered(status, None), None);
            check_wait(&answered(status, Some(0)), None);
        }
        check_wait(&answered(503, Some(u64::MAX)), Some(hours(24)));
        check_wait(&answered(202, Some(60)), None);
        check_wait(&silent(Silence::TimedOut), None);
    }

    #[test]
    fn our_fault_spends_nothing() {
        let expected = Next::Retry { at: Timestamp::from_millis(60_000), spent: false };
        check(3, &Outcome::OurFault { text: "".into() }, 0.0, expected);
        check(0, &Outcome::Undeliverable { text: "".into() }, 0.0, Next::Failed(FailReason::Undeliverable));
    }

    #[test]
    fn a_message_that_teams_did_not_take_is_tried_again_where_that_can_help() {
        let hidden = |status: u16| {
            let body = format!("Microsoft Teams endpoint returned HTTP error {status} with ContextId 1");
            let (headers, retry_after) = ("".into(), Some(Duration::from_secs(60)));
            Outcome::HiddenError(Response { status: 200, headers, body: body.into(), retry_after })
        };
        for status in [429, 500, 502, 503, 302] {
            check(0, &hidden(status), 0.0, retry(60_000));
        }
        for status in [400, 403, 404, 410, 413, 499] {
            check(0, &hidden(status), 0.0, Next::Failed(FailReason::Undeliverable));
            assert!(!is_repeatable(Format::MsTeams, &hidden(status)), "{status}");
        }
    }

    /// Checks a delivery that starts a run, with its second attempt `at_ms` after its creation.
    fn check_run(outcome: &Outcome, at_ms: i64, expected: Next) {
        let now = Timestamp::from_millis(at_ms);
        let delivery = delivery(Format::PulumiDeployments, 1);
        let next = RetryPolicy::default().next(&delivery, outcome, now, 0.0);
        assert_eq!(next, expected, "{outcome:?} at {at_ms} ms");
    }

    fn silent(silence: Silence) -> Outcome {
        Outcome::Unanswered { silence, text: "".into() }
    }

    #[test]
    fn a_run_is_tried_again_only_where_none_can_have_started() {
        for outcome in [silent(Silence::Forbidden), silent(Silence::Unresolved), silent(Silence::Unreachable)]
        {
            check_run(&outcome, 1000, retry(31_000));
        }
        check_run(&answered(503, None), 1000, retry(31_000));
        check_run(&answered(429, Some(60)), 1000, retry(61_000));
        let ours = Outcome::OurFault { text: "".into() };
        check_run(&ours, 1000, Next::Retry { at: Timestamp::from_millis(61_000), spent: false });
        let for_good = Next::Failed(FailReason::NotRepeatable);
        for outcome in [silent(Silence::TimedOut), silent(Silence::Broken)] {
            check_run(&outcome, 1000, for_good);
        }
        for status in [301, 400, 401, 403, 404, 409, 410, 422, 500, 502, 504] {
            check_run(&answered(status, None), 1000, for_good);
        }
        check_run(&answered(202, None), 1000, Next::Succeeded);
    }

    #[test]
    fn a_run_is_tried_again_for_an_hour() {
        let hour = 3_600_000;
        check_run(&answered(503, None), hour - 30_000, retry(hour));
        let exhausted = Next::Failed(FailReason::AttemptsExhausted);
        check_run(&answered(503, None), hour - 29_999, exhausted);
        check_run(&answered(429, Some(7200)), 0, exhausted);
    }

    #[test]
    fn an_hour_counts_from_when_it_was_asked_for_again() {
        let now = Timestamp::from_millis(5 * 3_600_000);
        let rearmed = Delivery { rearmed_at: Some(now), ..delivery(Format::PulumiDeployments, 0) };
        let next = RetryPolicy::default().next(&rearmed, &answered(503, None), now, 0.0);
        assert_eq!(next, Next::Retry { at: now.after(secs(5)), spent: true });
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = Timestamp::from_millis(784_111_777_000);
        assert_eq!(parse_retry_after(" 120 ", now), Some(secs(120)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(secs(60)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(secs(0)));
        assert_eq!(parse_retry_after("99999999999999999999999", now), Some(secs(u64::MAX)));
        assert_eq!(parse_retry_after("-1", now), None);
        assert_eq!(parse_retry_after("soon", now), None);
        assert_eq!(parse_retry_after("", now), None);
    }

    #[test]
    fn age_ends_a_delivery() {
        let policy = RetryPolicy::default();
        let (created, day) = (Timestamp::from_millis(0), 24 * 3_600_000);
        let at = |days: i64| Timestamp::from_millis(days * day);
        assert!(!policy.is_expired(at(6), false, created, None));
        assert!(policy.is_expired(at(7), false, created, None));
        assert!(!policy.is_expired(at(7), true, created, None));
        assert!(!policy.is_expired(at(13), false, created, Some(at(10))));
        assert!(policy.is_expired(at(14), true, created, Some(at(10))));
    }

    /// The windows must agree with the rule for every age.
    fn check_windows(held: bool, ended_at: Option<i64>) {
        let day = hours(24);
        let policy = RetryPolicy { age_max: 7 * day, held_age_max: 14 * day, ..RetryPolicy::default() };
        let at = |days: i64| Timestamp::from_millis(days * 24 * 3_600_000);
        let (now, ended_at) = (at(20), ended_at.map(at));
        let windows = policy.expired_windows(now, held, ended_at);
        let moments =
            (0..=21).flat_map(|day| [-1, 0, 1].map(|ms| Timestamp::from_millis(at(day).as_millis() + ms)));
        for armed_at in moments {
            let found = windows.iter().filter(|(first, last)| *first <= armed_at && armed_at <= *last);
            let expected = usize::from(policy.is_expired(now, held, armed_at, ended_at));
            assert_eq!(found.count(), expected, "{armed_at:?}, held {held}, until {ended_at:?}");
        }
    }

    #[test]
    fn windows_are_what_the_rule_says() {
        for held in [false, true] {
            check_windows(held, None);
            for ended_at in [0, 5, 6, 7, 12, 13, 14, 19, 20] {
                check_windows(held, Some(ended_at));
            }
        }
    }
}
