//! How two stores are seen to hold the same: each row in one spelling, hashed, and the hashes added up.
//!
//! The spelling is of typed values, and so the same however a store keeps them; the sum is the same in whatever order a store
//! reads them. It shows what was lost, doubled or changed by accident, and is no proof against somebody who builds rows that
//! add up.

use sha2::{Digest as _, Sha256};
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, State};
use stackbell_model::deployments::DeploymentsCredential;
use stackbell_model::event::Event;
use stackbell_model::filter::Filter;
use stackbell_model::health::{Health, RetryAfter, Suspension};
use stackbell_model::identity::{Membership, Organization, Token, TokenOwner, User};
use stackbell_model::recovery::{Recovery, RecoveryState};
use stackbell_model::secret::{Sealed, SealedDataKey};
use stackbell_model::webhook::{Pace, PauseReason, StoredSecret, Webhook};

use super::rows::{
    CopiedAttempt, CopiedCursor, CopiedDelivery, CopiedOrganization, CopiedRecovery, CopiedTally,
    CopiedToken, CopiedWebhook, DeliverySubject, Rows,
};
use crate::audit::AuditRecord;
use crate::history::StoredEvent;
use crate::rows::Id;
use crate::rows::attempt::outcome_columns;
use crate::rows::delivery::state_columns;
use crate::rows::event::subject_columns;
use crate::rows::webhook::{filters_column, groups_column, scope_columns};
use crate::rows::{integer, join, milliseconds};
use crate::statistics::Tally;

/// What two stores are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NounDigest {
    /// How many rows there are.
    pub rows: u64,
    /// Of the sum of their hashes.
    pub sha256: [u8; 32],
}

/// Adds rows up.
#[derive(Clone, Debug, Default)]
pub struct Adder {
    rows: u64,
    sum: [u64; 4],
    spelled: Spelled,
}

impl Adder {
    /// Adds rows.
    pub fn add(&mut self, rows: &Rows) {
        rows.each(|row| {
            self.spelled.0.clear();
            row.spell(&mut self.spelled);
            self.rows += 1;
            add(&mut self.sum, Sha256::digest(&self.spelled.0).into());
        });
    }

    /// What they add up to.
    pub fn digest(&self) -> NounDigest {
        let mut sha256 = Sha256::new();
        sha256.update(self.rows.to_be_bytes());
        self.sum.iter().for_each(|part| sha256.update(part.to_be_bytes()));
        NounDigest { rows: self.rows, sha256: sha256.finalize().into() }
    }
}

/// Adds a number of 256 bits to another, the lowest part first, and forgets what goes beyond.
fn add(sum: &mut [u64; 4], hash: [u8; 32]) {
    let mut carry = false;
    for (part, bytes) in sum.iter_mut().zip(hash.as_chunks::<8>().0) {
        let (added, first) = part.overflowing_add(u64::from_le_bytes(*bytes));
        let (carried, second) = added.overflowing_add(u64::from(carry));
        (*part, carry) = (carried, first | second);
    }
}

/// A row in its one spelling.
#[derive(Clone, Debug, Default)]
pub(super) struct Spelled(Vec<u8>);

/// With its type and length before it, no value can be taken for two, or for another.
impl Spelled {
    fn value(&mut self, kind: u8, bytes: &[u8]) {
        self.0.push(kind);
        self.0.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, number: i64) {
        self.value(b'i', &number.to_le_bytes());
    }

    fn count(&mut self, count: u64) {
        self.number(integer(count));
    }

    fn text(&mut self, text: &str) {
        self.value(b't', text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.value(b'b', bytes);
    }

    fn id(&mut self, id: &impl Id) {
        self.value(b'u', id.bytes());
    }

    fn time(&mut self, at: Timestamp) {
        self.number(at.as_millis());
    }

    fn flag(&mut self, flag: bool) {
        self.number(i64::from(flag));
    }

    /// What may be absent.
    fn maybe<T>(&mut self, value: Option<T>, spell: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => spell(self, value),
            None => self.value(b'n', &[]),
        }
    }

    fn sealed(&mut self, Sealed { key, bytes }: &Sealed) {
        self.id(key);
        self.bytes(bytes);
    }
}

/// What can be spelled. Every field is named, so that a new one stops the build.
pub(super) trait Row {
    fn spell(&self, to: &mut Spelled);
}

impl Row for CopiedOrganization {
    fn spell(&self, to: &mut Spelled) {
        let Self { organization, version } = self;
        let Organization { id, name, display_name, avatar_url, created_at } = organization;
        to.id(id);
        to.text(name.as_str());
        to.text(display_name.as_str());
        to.text(avatar_url);
        to.time(*created_at);
        to.count(*version);
    }
}

impl Row for User {
    fn spell(&self, to: &mut Spelled) {
        let Self { id, login, name, email, avatar_url, is_operator, created_at } = self;
        to.id(id);
        to.text(login.as_str());
        to.text(name.as_str());
        to.text(email);
        to.text(avatar_url);
        to.flag(*is_operator);
        to.time(*created_at);
    }
}

impl Row for Membership {
    fn spell(&self, to: &mut Spelled) {
        let Self { organization, user, role } = self;
        to.id(organization);
        to.id(user);
        to.text(role.as_str());
    }
}

impl Row for CopiedToken {
    fn spell(&self, to: &mut Spelled) {
        let Self { token, hash } = self;
        let Token { id, owner, name, role, is_operator, created_at, expires_at, last_used_at } = token;
        to.id(id);
        match owner {
            TokenOwner::User(user) => {
                to.text("user");
                to.id(user);
            }
            TokenOwner::Organization(organization) => {
                to.text("organization");
                to.id(organization);
            }
        }
        to.text(name.as_str());
        to.text(role.as_str());
        to.flag(*is_operator);
        to.time(*created_at);
        to.maybe(*expires_at, Spelled::time);
        to.maybe(*last_used_at, Spelled::time);
        to.bytes(&hash.0);
    }
}

impl Row for SealedDataKey {
    fn spell(&self, to: &mut Spelled) {
        let Self { id, purpose, bytes, created_at } = self;
        to.id(id);
        to.text(purpose.as_str());
        to.bytes(bytes);
        to.time(*created_at);
    }
}

impl Row for DeploymentsCredential {
    fn spell(&self, to: &mut Spelled) {
        let Self { organization, api_url, token, stacks, set_at } = self;
        to.id(organization);
        to.text(api_url.as_str());
        to.sealed(token);
        to.count(stacks.len() as u64);
        stacks.iter().for_each(|stack| to.text(&stack.to_string()));
        to.time(*set_at);
    }
}

impl Row for CopiedCursor {
    fn spell(&self, to: &mut Spelled) {
        let Self { organization, source, cursor } = self;
        to.id(organization);
        to.id(source);
        to.text(cursor.as_str());
    }
}

impl Row for CopiedWebhook {
    fn spell(&self, to: &mut Spelled) {
        let Self { webhook, deleted } = self;
        spell_webhook(webhook, to);
        to.maybe(deleted.as_ref(), |to, (at, by)| {
            to.time(*at);
            to.text(by);
        });
    }
}

fn spell_webhook(webhook: &Webhook, to: &mut Spelled) {
    let Webhook {
        id,
        organization,
        scope,
        name,
        display_name,
        payload_url,
        active,
        format,
        subscription,
        secret,
        standard_headers,
        pace,
        pause_reason,
        created_at,
        revision,
        health,
    } = webhook;
    to.id(id);
    to.id(organization);
    scope_columns(scope).iter().for_each(|part| to.text(part));
    to.text(name.as_str());
    to.text(display_name.as_str());
    to.text(payload_url.expose());
    to.flag(*active);
    to.text(format.as_str());
    to.text(&filters_column(subscription));
    to.text(&groups_column(subscription));
    to.maybe(secret.as_ref(), |to, StoredSecret { sealed, fingerprint, previous }| {
        to.sealed(sealed);
        to.bytes(fingerprint);
        to.maybe(previous.as_ref(), |to, (sealed, until)| {
            to.sealed(sealed);
            to.time(*until);
        });
    });
    to.flag(*standard_headers);
    to.maybe(pace.map(Pace::attempts_per_minute), |to, pace| to.number(pace.into()));
    to.maybe(pause_reason.as_ref().map(PauseReason::as_str), Spelled::text);
    to.time(*created_at);
    to.count(*revision);
    spell_health(*health, to);
}

fn spell_health(health: Health, to: &mut Spelled) {
    let Health { failures, failing_since, suspension, hold_ended_at, retry_after } = health;
    to.number(failures.into());
    to.maybe(failing_since, Spelled::time);
    to.maybe(suspension, |to, Suspension { since, reason, probe_at }| {
        to.time(since);
        to.text(reason.as_str());
        to.time(probe_at);
    });
    to.maybe(hold_ended_at, Spelled::time);
    to.maybe(retry_after, |to, RetryAfter { asked_at, until }| {
        to.time(asked_at);
        to.time(until);
    });
}

impl Row for StoredEvent {
    fn spell(&self, to: &mut Spelled) {
        let Self { event, deliveries } = self;
        let Event {
            key,
            id,
            organization,
            kind,
            filters,
            subject,
            payload,
            digest,
            accepted_at,
            source,
            token,
        } = event;
        to.id(key);
        to.id(id);
        to.id(organization);
        to.text(kind.as_str());
        to.text(&join(filters.iter().map(Filter::as_str)));
        subject_columns(subject).iter().for_each(|part| to.text(part));
        to.bytes(payload);
        to.maybe(digest.as_ref(), |to, digest| to.bytes(digest));
        to.time(*accepted_at);
        to.text(source.as_str());
        to.maybe(token.as_ref(), Spelled::id);
        to.number((*deliveries).into());
    }
}

impl Row for CopiedDelivery {
    fn spell(&self, to: &mut Spelled) {
        let Self { id, webhook, subject, format, created_at, rearmed_at, attempts_spent, state, body } = self;
        to.id(id);
        to.id(webhook);
        match subject {
            DeliverySubject::Event(key) => {
                to.text("event");
                to.id(key);
            }
            DeliverySubject::Ping(id) => {
                to.text("ping");
                to.id(id);
            }
        }
        to.text(format.as_str());
        to.time(*created_at);
        to.maybe(*rearmed_at, Spelled::time);
        to.number((*attempts_spent).into());
        spell_state(state, to);
        to.maybe(body.as_deref(), Spelled::bytes);
    }
}

fn spell_state(state: &State, to: &mut Spelled) {
    let columns = state_columns(state);
    to.text(columns.state);
    to.maybe(columns.due_at, Spelled::number);
    to.maybe(columns.finished_at, Spelled::number);
    to.maybe(columns.fail_reason, Spelled::text);
    to.maybe(columns.cancel_reason, Spelled::text);
    to.maybe(columns.cancelled_by, Spelled::text);
}

impl Row for CopiedAttempt {
    fn spell(&self, to: &mut Spelled) {
        let Self { number, delivery, webhook, attempt } = self;
        let Attempt { trigger, started_at, duration, request_url, request_headers, outcome } = attempt;
        to.number(*number);
        to.id(delivery);
        to.id(webhook);
        to.text(trigger.as_str());
        to.time(*started_at);
        to.number(milliseconds(*duration));
        to.text(request_url);
        to.text(request_headers);
        let columns = outcome_columns(outcome);
        to.text(columns.outcome);
        to.maybe(columns.answer, |to, answer| {
            to.number(answer.status.into());
            to.text(&answer.headers);
            to.text(&answer.body);
            to.maybe(answer.retry_after.map(milliseconds), Spelled::number);
        });
        to.maybe(columns.silence, Spelled::text);
        to.maybe(columns.text, Spelled::text);
    }
}

impl Row for CopiedRecovery {
    fn spell(&self, to: &mut Spelled) {
        let Self { recovery, after_created_at, after } = self;
        let Recovery { id, organization, webhook, since, created_at, created_by, total, rearmed, state } =
            recovery;
        to.id(id);
        to.id(organization);
        to.id(webhook);
        to.time(*since);
        to.time(*created_at);
        to.text(created_by);
        to.count(*total);
        to.count(*rearmed);
        to.text(state.as_str());
        to.maybe(ended_at(*state), Spelled::time);
        to.time(*after_created_at);
        to.maybe(after.as_ref(), Spelled::id);
    }
}

/// The column `ended_at` of a recovery.
pub fn ended_at(state: RecoveryState) -> Option<Timestamp> {
    match state {
        RecoveryState::Running => None,
        RecoveryState::Done { at } | RecoveryState::Abandoned { at } => Some(at),
    }
}

impl Row for CopiedTally {
    fn spell(&self, to: &mut Spelled) {
        let Self { hour, organization, webhook, tally } = self;
        let Tally { events, made, succeeded, failed, cancelled, attempts, attempts_failed, attempts_took } =
            tally;
        to.time(*hour);
        to.id(organization);
        to.maybe(webhook.as_ref(), Spelled::id);
        for count in [events, made, succeeded, failed, cancelled, attempts, attempts_failed] {
            to.count(*count);
        }
        to.number(milliseconds(*attempts_took));
    }
}

impl Row for AuditRecord {
    fn spell(&self, to: &mut Spelled) {
        let Self { id, at, organization, actor, token, remote, action, target, fields } = self;
        to.id(id);
        to.time(*at);
        to.maybe(organization.as_ref(), Spelled::id);
        to.text(actor);
        to.maybe(token.as_ref(), Spelled::id);
        to.maybe(remote.as_deref(), Spelled::text);
        to.text(action);
        to.text(target);
        to.text(&join(fields.iter().map(String::as_str)));
    }
}
