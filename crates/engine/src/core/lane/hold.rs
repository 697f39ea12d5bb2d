//! The holds of a lane, and their ends.
//!
//! A lane is held while its webhook is inactive or suspended, and waits while its endpoint has requested a wait (`Retry-After`).
//! A hold ends with a 2xx to a probe, with a resume by a user, or with another payload URL or secret of the webhook.
//! After the hold, the lane makes one attempt. Once that attempt has ended, the lane makes the others, faster with each success.
//! The lane then sends all pending deliveries, due or not, until an attempt fails.

use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::delivery::Attempt;
use stackbell_model::health::{Health, RetryAfter, SuspensionReason};
use stackbell_model::ids::WebhookId;
use stackbell_model::webhook::{Endpoint, Webhook};

use super::{CatchingUp, Lane};
use crate::core::breaker::Breaker;
use crate::core::config::CoreConfig;
use crate::core::messages::Notice;
use crate::core::permits::Tier;

/// The hold of a lane's webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    None,
    Inactive,
    Suspended { probe_at: Timestamp },
    Deleted,
}

impl Hold {
    fn of(active: bool, health: &Health) -> Self {
        match (active, health.suspension) {
            (false, _) => Self::Inactive,
            (true, Some(suspension)) => Self::Suspended { probe_at: suspension.probe_at },
            (true, None) => Self::None,
        }
    }
}

/// A change of a lane's hold by its webhook's new health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) enum HealthChange {
    None,
    Suspended(SuspensionReason),
    Resumed,
}

impl HealthChange {
    /// The notice of this change for operators.
    pub(in crate::core) fn notice(self, webhook: WebhookId) -> Option<Notice> {
        match self {
            Self::None => None,
            Self::Suspended(reason) => Some(Notice::Suspended { webhook, reason }),
            Self::Resumed => Some(Notice::Resumed { webhook }),
        }
    }
}

/// Edits of a webhook, as far as its lane must tell them apart.
#[derive(Debug, Default)]
pub(super) struct Edits {
    /// True if an edit that the lane has not read yet resumed the webhook.
    have_set_going: bool,
    /// The newest revision of the webhook from which an attempt was made whose endpoint requested a wait.
    asked_revision: u64,
}

impl Lane {
    /// The end of the wait that its endpoint requested; `None` if there is none, or if it is over.
    pub(super) fn asked_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.asked.map(|asked| asked.until).filter(|until| *until > now)
    }

    /// True if a leased delivery must not be sent now.
    pub(in crate::core) fn must_wait(&self, now: Timestamp) -> bool {
        // Probes, and single attempts while the breaker is open, may be sent by any node.
        let is_anothers = self.is_ordered && self.hold == Hold::None && self.breaker.is_closed();
        let is_asked = self.asked_until(now).is_some() && !self.leases_wanted;
        is_asked || (is_anothers && self.in_flight_max() == 0)
    }

    /// True if a new delivery must not be sent now, although it was leased at its commit.
    pub(in crate::core) fn must_hold_new(&self, now: Timestamp) -> bool {
        matches!(self.hold, Hold::Suspended { .. }) || self.asked_until(now).is_some() || self.must_wait(now)
    }

    /// Learns from an attempt the wait that its endpoint requested.
    pub(super) fn note_asked(&mut self, attempt: &Attempt, revision: u64, retry_until: Option<Timestamp>) {
        if retry_until.is_some() {
            self.edits.asked_revision = self.edits.asked_revision.max(revision);
        }
        let before = Health { retry_after: self.asked, ..Health::default() };
        let after = before.after(attempt, retry_until).retry_after;
        if after.is_none() {
            self.forget_asked();
        }
        self.asked = after;
    }

    /// Learns the store's wait, which may be older than the lane's. The lane keeps its own wait, too.
    fn learn_asked(&mut self, asked: Option<RetryAfter>) {
        let is_over = |asked: &RetryAfter| self.asked_is_over_to.is_some_and(|to| asked.asked_at <= to);
        if let Some(asked) = asked.filter(|asked| !is_over(asked)) {
            self.asked = Some(asked.and(self.asked));
        }
    }

    /// Replaces the lane's wait by the store's.
    fn replace_asked(&mut self, asked: Option<RetryAfter>) {
        self.forget_asked();
        self.asked = asked;
    }

    fn forget_asked(&mut self) {
        if let Some(asked) = self.asked.take() {
            self.asked_is_over_to = Some(asked.asked_at);
        }
    }

    /// Learns the failures that the webhook's health counts.
    fn learn_failures(&mut self, health: &Health, config: &CoreConfig, now: Timestamp) {
        self.breaker.learn(health, self.unrecorded == 0, self.share, config, now);
        if let Some(until) = self.asked_until(now) {
            self.breaker.wait_no_longer_than(until, self.share, config);
        }
    }

    /// Learns the webhook as the store has it.
    pub(in crate::core) fn learn_webhook(&mut self, webhook: &Webhook, config: &CoreConfig, now: Timestamp) {
        self.hold = Hold::of(webhook.active, &webhook.health);
        self.hold_learnt_at = now;
        self.is_known = true;
        self.learn_change(webhook, config, now);
        self.learn_failures(&webhook.health, config, now);
    }

    /// Learns an edited webhook, so that a waiting lane continues at once if the edit resumed it.
    pub(in crate::core) fn learn_edit(&mut self, webhook: &Webhook, config: &CoreConfig, now: Timestamp) {
        if !self.is_known {
            self.learn_change(webhook, config, now);
        }
    }

    /// Resumes or flushes the lane if its webhook's hold has ended since it was last seen, or if it has another endpoint.
    fn learn_change(&mut self, webhook: &Webhook, config: &CoreConfig, now: Timestamp) {
        if webhook.revision < self.revision {
            return;
        }
        let health = &webhook.health;
        let known = self.endpoint.as_ref();
        let known = known.map(|(url, secret)| Endpoint { payload_url: url.expose(), secret: *secret });
        let is_other = known.is_some_and(|known| known != webhook.endpoint());
        let is_set_going = known.is_some() && health.hold_ended_at > self.hold_ended_at;
        if is_other || known.is_none() {
            self.endpoint = Some((webhook.payload_url.clone(), webhook.endpoint().secret));
        }
        self.hold_ended_at = health.hold_ended_at.max(self.hold_ended_at);
        let was_in_trouble = self.breaker.has_failed() || self.asked.is_some();
        if is_other {
            self.forget_endpoint(config);
        }
        // The store's wait is newer than the lane's, unless an attempt is not recorded yet. An edit of the endpoint, or one that
        // ended the hold, also ends the waits of unrecorded attempts from before it. The end of the instance's hold does not.
        let is_by_edit = std::mem::take(&mut self.edits.have_set_going);
        let is_older = (is_other || is_by_edit) && self.edits.asked_revision < webhook.revision;
        let is_store_newer = is_older || self.unrecorded == 0;
        if (is_other || is_set_going) && is_store_newer {
            self.replace_asked(health.retry_after);
        } else {
            self.learn_asked(health.retry_after);
        }
        let is_held = webhook.is_held();
        let is_changed = is_other || is_set_going;
        if !is_held && (self.was_held || (is_changed && was_in_trouble)) {
            self.resume(config, now);
        } else if !is_held && is_changed {
            self.flush(now);
        }
        self.was_held = is_held;
    }

    /// Resets the state that was learnt from the endpoint, because the webhook has another endpoint now.
    fn forget_endpoint(&mut self, config: &CoreConfig) {
        self.breaker = Breaker::CLOSED;
        self.limit = config.lane_limit_start;
        self.tier = Tier::Unproven;
        self.response_time = Duration::ZERO;
        self.has_stalled = false;
    }

    /// Learns the webhook's health as the store has it now. Returns the change of the lane's hold.
    pub(in crate::core) fn learn_health(
        &mut self,
        health: &Health,
        config: &CoreConfig,
        now: Timestamp,
    ) -> HealthChange {
        let before = self.hold;
        if !matches!(before, Hold::Inactive | Hold::Deleted) {
            self.hold = Hold::of(true, health);
            self.hold_learnt_at = now;
            self.was_held = health.suspension.is_some();
        }
        self.hold_ended_at = health.hold_ended_at.max(self.hold_ended_at);
        self.learn_asked(health.retry_after);
        self.learn_failures(health, config, now);
        if self.unrecorded == 0 && std::mem::take(&mut self.flushes_once_recorded) {
            self.flush(now);
        }
        match (before, health.suspension) {
            (Hold::Suspended { .. }, None) => {
                self.forget_asked();
                self.resume(config, now);
                HealthChange::Resumed
            }
            (Hold::None, Some(suspension)) => HealthChange::Suspended(suspension.reason),
            (Hold::None | Hold::Inactive | Hold::Suspended { .. } | Hold::Deleted, _) => HealthChange::None,
        }
    }

    /// Notes that the webhook is deleted. The sweep will cancel its pending deliveries.
    pub(in crate::core) fn learn_deletion(&mut self) {
        self.hold = Hold::Deleted;
    }

    /// True if the lane is held, and read the hold at least `ago` before `now`. True for any `ago` after a clock was set back.
    pub(in crate::core) fn was_held(&self, ago: Duration, now: Timestamp) -> bool {
        let is_news = self.hold_learnt_at <= now && now.since(self.hold_learnt_at) < ago;
        matches!(self.hold, Hold::Inactive | Hold::Suspended { .. }) && !is_news
    }

    /// Ends a hold. The lane starts slowly.
    fn resume(&mut self, config: &CoreConfig, now: Timestamp) {
        self.catching_up = Some(CatchingUp::new(config.resume_interval, now));
        self.breaker = Breaker::CLOSED;
        self.no_probe_before = None;
        self.flush(now);
    }

    /// Begins to send all pending deliveries, due or not.
    pub(super) fn flush(&mut self, now: Timestamp) {
        self.flushes = true;
        self.note_due(now);
    }

    /// Sends deliveries only when they are due again, because an attempt failed.
    pub(super) fn stop_flush(&mut self) {
        self.flushes = false;
        self.flushes_once_recorded = false;
        self.catching_up = self.catching_up.map(CatchingUp::answered);
    }

    /// Notes that a user resumed the webhook. It counts as held before, because this node may not know of the hold.
    pub(in crate::core) fn note_set_going(&mut self) {
        self.edits.have_set_going = true;
        self.was_held = true;
    }

    /// Forgets the hold until the webhook is read again, because an edit may have changed anything.
    pub(in crate::core) fn look_again(&mut self, now: Timestamp) {
        self.hold = Hold::None;
        self.is_known = false;
        self.is_outdated = self.is_leasing;
        self.note_due(now);
    }
}
