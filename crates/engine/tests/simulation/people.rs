//! Actions of people: register, edit and delete webhooks, redeliver, cancel and recover deliveries, hold sending.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use stackbell_engine::core::{Input, OnDemand, OnDemandTicket};
use stackbell_model::delivery::State;
use stackbell_model::filter::Subscription;
use stackbell_model::health::Health;
use stackbell_model::ids::{AuditId, EventId, OrganizationId, RecoveryId, WebhookId};
use stackbell_model::names::{DisplayName, WebhookName};
use stackbell_model::recovery::{Recovery, RecoveryState};
use stackbell_model::scope::Scope;
use stackbell_model::webhook::{Format, PayloadUrl, Webhook};
use stackbell_store::audit::{Audit, AuditEntry};
use stackbell_store::instance::{Instance, SendingHold};
use stackbell_store::recoveries::{DeliveryChange, Recoveries, RecoveryCreated};
use stackbell_store::webhooks::{EditOutcome, Webhooks};

use crate::endpoints::Key;
use crate::operations::Operation;
use crate::tally::Met;
use crate::world::{World, now, pace, project, stack};

/// Small, so that a recovery takes several steps.
const ROWS_IN_STEP: u32 = 2;

impl World {
    /// The node that receives a person's operation.
    pub(super) fn asks_of(&self, operation: &Operation) -> usize {
        match *operation {
            Operation::SetActive { node, .. }
            | Operation::SetPace { node, .. }
            | Operation::SetUrl { node, .. }
            | Operation::Delete { node, .. }
            | Operation::Create { node, .. }
            | Operation::Ping { node, .. }
            | Operation::Redeliver { node, .. }
            | Operation::Cancel { node, .. }
            | Operation::Retry { node, .. }
            | Operation::Recover { node, .. }
            | Operation::RecoveryStep { node, .. }
            | Operation::SetHeld { node, .. } => node,
            ref other => unreachable!("nobody asks for {other:?}"),
        }
    }

    pub(super) fn somebody_asks(&mut self, n: usize, operation: Operation) {
        match operation {
            Operation::SetActive { webhook, active, told, .. } => {
                self.sets_going(webhook);
                self.edit(n, webhook, told, |webhook| webhook.active = active);
            }
            Operation::SetPace { webhook, pace: per_minute, told, .. } => {
                if let Some(webhook) = self.webhook(webhook) {
                    self.set_pace_of(webhook.id, webhook.revision + 1);
                }
                self.edit(n, webhook, told, |webhook| webhook.pace = pace(per_minute));
            }
            Operation::SetUrl { webhook, told, .. } => {
                self.moves(self.webhooks[webhook % self.webhooks.len()]);
                self.sets_going(webhook);
                self.edit(n, webhook, told, |webhook| {
                    let url = format!("https://example.com/{}", webhook.revision);
                    webhook.payload_url = PayloadUrl::from_stored(&url);
                });
            }
            Operation::Delete { webhook, .. } => self.delete(n, webhook),
            Operation::Create { organization, subject, format, pace, .. } => {
                self.create(n, organization, subject, format, pace);
            }
            Operation::Ping { webhook, .. } => self.ping(n, webhook),
            Operation::Redeliver { event, webhook, .. } => self.redeliver(n, event, webhook),
            Operation::Cancel { event, webhook, told, .. } => self.cancel(n, event, webhook, told),
            Operation::Retry { event, webhook, told, .. } => self.retry(n, event, webhook, told),
            Operation::Recover { webhook, ago, .. } => self.recover(n, webhook, ago),
            Operation::RecoveryStep { which, told, .. } => {
                self.recovery_step(n, which, told);
            }
            Operation::SetHeld { held, told, .. } => self.set_held(n, held, told),
            other => unreachable!("nobody asks for {other:?}"),
        }
    }

    /// Records that a webhook's URL was edited. A node that learns of it restarts with the initial limit; until then it keeps
    /// the old one.
    fn moves(&mut self, webhook: WebhookId) {
        let start = self.config.lane_limit_start;
        self.moved.insert(webhook);
        let limits = self.nodes.iter_mut().filter_map(|node| node.limits.get_mut(&webhook));
        limits.for_each(|limit| *limit = (*limit).max(start));
    }

    pub(crate) fn audit(&mut self, n: usize, organization: OrganizationId) -> AuditEntry {
        let at = self.clock(n);
        AuditEntry {
            id: AuditId::generate(at, &mut self.entropy),
            at,
            organization: Some(organization),
            actor: "somebody".into(),
            token: None,
            remote: None,
            action: "test",
            target: "".into(),
            fields: Vec::new(),
        }
    }

    pub(super) fn create(
        &mut self,
        n: usize,
        organization: usize,
        subject: Option<usize>,
        format: Format,
        per_minute: Option<u32>,
    ) {
        let at = self.clock(n);
        let id = WebhookId::generate(at, &mut self.entropy);
        let organization = self.organizations[organization];
        let scope = match subject {
            None => Scope::Organization,
            Some(n) => Scope::Stack { project: project(), stack: stack(n) },
        };
        let webhook = Webhook {
            id,
            organization,
            format: if format.allowed_in(scope.kind()) { format } else { Format::Raw },
            scope,
            name: WebhookName::parse(&format!("w{}", self.webhooks.len())).expect("a name"),
            display_name: DisplayName::parse("a webhook").expect("a name"),
            payload_url: PayloadUrl::from_stored("https://example.com/hook"),
            active: true,
            subscription: Subscription::default(),
            secret: None,
            standard_headers: true,
            pace: pace(per_minute),
            pause_reason: None,
            created_at: at,
            revision: 1,
            health: Health::default(),
        };
        let audit = self.audit(n, organization);
        now(self.store.create_webhook(&webhook, 100, audit)).expect("the store works");
        self.webhooks.push(id);
        self.owners.insert(id, organization);
        self.turn(n, vec![Input::WebhookChanged { organization, webhook: id }.into()]);
    }

    /// The nth webhook, if it exists yet.
    pub(super) fn webhook(&self, n: usize) -> Option<Webhook> {
        self.find_webhook(self.webhooks[n % self.webhooks.len()])
    }

    pub(super) fn find_webhook(&self, id: WebhookId) -> Option<Webhook> {
        let all = now(self.store.organization_webhooks(self.owners[&id])).expect("the store works");
        all?.webhooks.into_iter().find(|webhook| webhook.id == id)
    }

    fn edit(&mut self, n: usize, which: usize, told: bool, change: impl FnOnce(&mut Webhook)) {
        let Some(mut webhook) = self.webhook(which) else { return };
        change(&mut webhook);
        let audit = self.audit(n, webhook.organization);
        let edited = now(self.store.edit_webhook(&webhook, audit)).expect("the store works");
        assert_eq!(edited, EditOutcome::Done);
        if told {
            let (organization, webhook) = (webhook.organization, webhook.id);
            self.turn(n, vec![Input::WebhookChanged { organization, webhook }.into()]);
        } else {
            self.untold.insert(webhook.id);
        }
    }

    /// Records that somebody may have ended the wait that a webhook's endpoint asked for.
    fn sets_going(&mut self, which: usize) {
        let (webhook, step) = (self.webhooks[which % self.webhooks.len()], self.endpoints.next_step());
        self.set_going.insert(webhook, step);
    }

    fn delete(&mut self, n: usize, which: usize) {
        let Some(webhook) = self.webhook(which) else { return };
        let (organization, id) = (webhook.organization, webhook.id);
        let audit = self.audit(n, organization);
        now(self.store.delete_webhook(organization, &webhook.scope, &webhook.name, audit))
            .expect("the store works");
        self.deleted.insert(id);
        self.turn(n, vec![Input::WebhookChanged { organization, webhook: id }.into()]);
    }

    pub(super) fn ask(&mut self, n: usize, key: Option<Key>, request: OnDemand) {
        let ticket = OnDemandTicket(self.ticket());
        self.nodes[n].asking.insert(ticket, key);
        self.turn(n, vec![Input::OnDemand { ticket, request }.into()]);
    }

    fn redeliver(&mut self, n: usize, event: usize, which: usize) {
        let Some(key) = self.pair(event, which) else { return };
        let Some(webhook) = self.find_webhook(key.0) else { return };
        let Some(delivery) = self.delivery(key.0, key.1) else { return };
        self.ask(
            n,
            Some(key),
            OnDemand::Redeliver { webhook: Arc::new(webhook), delivery: Box::new(delivery) },
        );
    }

    fn cancel(&mut self, n: usize, event: usize, which: usize, told: bool) {
        let Some((webhook, event)) = self.pair(event, which) else { return };
        let Some(stored) = self.delivery(webhook, event) else { return };
        let organization = self.owners[&webhook];
        let audit = self.audit(n, organization);
        let change = now(self.store.cancel_delivery(organization, stored.delivery.id, audit));
        if let DeliveryChange::Done { webhook } = change.expect("the store works") {
            self.cancelled.insert((webhook, event));
            self.touch((webhook, event));
            self.lane_changed(n, webhook, told);
        }
    }

    fn retry(&mut self, n: usize, event: usize, which: usize, told: bool) {
        let Some((webhook, event)) = self.pair(event, which) else { return };
        let Some(stored) = self.delivery(webhook, event) else { return };
        let organization = self.owners[&webhook];
        let audit = self.audit(n, organization);
        let change = now(self.store.retry_delivery(organization, stored.delivery.id, audit));
        if let DeliveryChange::Done { webhook } = change.expect("the store works") {
            self.begins_anew((webhook, event));
            self.lane_changed(n, webhook, told);
        }
    }

    /// One of the committed deliveries.
    fn pair(&self, event: usize, which: usize) -> Option<Key> {
        let (event, heard) = self.expected.iter().nth(event % self.expected.len().max(1))?;
        Some((*heard.get(which % heard.len().max(1))?, *event))
    }

    fn begins_anew(&mut self, key: Key) {
        self.tally.note(Met::Rearmed);
        self.touch(key);
        let step = self.endpoints.next_step();
        self.rearmed.entry(key).or_default().push(step);
    }

    fn lane_changed(&mut self, n: usize, webhook: WebhookId, told: bool) {
        if told {
            let organization = self.owners[&webhook];
            self.turn(n, vec![Input::LaneChanged { organization, webhook }.into()]);
        } else {
            self.untold_lanes.insert(webhook);
        }
    }

    fn recover(&mut self, n: usize, which: usize, ago: Duration) {
        let webhook = self.webhooks[which % self.webhooks.len()];
        let (organization, at) = (self.owners[&webhook], self.clock(n));
        let since = at.before(ago);
        let total = now(self.store.count_recoverable(webhook, since)).expect("the store works");
        let recovery = Recovery {
            id: RecoveryId::generate(at, &mut self.entropy),
            organization,
            webhook,
            since,
            created_at: at,
            created_by: "somebody".into(),
            total,
            rearmed: 0,
            state: RecoveryState::Running,
        };
        let audit = self.audit(n, organization);
        match now(self.store.create_recovery(&recovery, audit)).expect("the store works") {
            RecoveryCreated::Done => {
                self.recovered.insert(recovery.id, HashSet::new());
            }
            RecoveryCreated::WebhookMissing => assert!(self.deleted.contains(&webhook)),
            RecoveryCreated::Running { id } => assert!(self.recovered.contains_key(&id)),
        }
    }

    /// Runs the next step of a running recovery. The node may be killed before it tells the core. Returns whether there was a
    /// step.
    pub(super) fn recovery_step(&mut self, n: usize, which: usize, told: bool) -> bool {
        let running = now(self.store.running_recoveries(100)).expect("the store works");
        let Some(recovery) = running.get(which % running.len().max(1)).cloned() else { return false };
        let lost = self.lost_deliveries(recovery.webhook);
        let stands = now(self.store.advance_recovery(recovery.id, self.clock(n), ROWS_IN_STEP));
        let stands = stands.expect("the store works").expect("it is there");
        let still_lost = self.lost_deliveries(recovery.webhook);
        let rearmed: Vec<_> = lost.difference(&still_lost).copied().collect();
        assert_eq!(stands.rearmed - recovery.rearmed, rearmed.len() as u64, "a recovery counts what it does");
        for event in rearmed {
            let done = self.recovered.get_mut(&recovery.id).expect("somebody asked for it");
            assert!(done.insert(event), "a recovery makes no delivery pending twice");
            self.begins_anew((recovery.webhook, event));
        }
        self.lane_changed(n, recovery.webhook, told);
        true
    }

    /// The events whose delivery to a webhook failed or was cancelled.
    fn lost_deliveries(&self, webhook: WebhookId) -> HashSet<EventId> {
        let heard = self.expected.iter().filter(|(_, webhooks)| webhooks.contains(&webhook));
        let is_lost = |event: &EventId| {
            let stored = self.delivery(webhook, *event).expect("no delivery vanishes");
            matches!(stored.delivery.state, State::Failed { .. } | State::Cancelled { .. })
        };
        heard.map(|(event, _)| *event).filter(is_lost).collect()
    }

    pub(super) fn set_held(&mut self, n: usize, held: bool, told: bool) {
        let audit = self.audit(n, self.organizations[0]);
        if held {
            let hold = SendingHold { since: self.clock(n), reason: "to see".into() };
            now(self.store.hold_sending(&hold, audit)).expect("the store works");
            self.tally.note(Met::SendingHeld);
        } else {
            now(self.store.resume_sending(audit)).expect("the store works");
        }
        if told {
            self.turn(n, vec![Input::SendingChanged.into()]);
        }
    }

    pub(crate) fn audit_entries(&self) -> usize {
        let of = |organization| {
            now(self.store.list_audit(Some(organization), None, 1000)).expect("the store works")
        };
        self.organizations.iter().map(|organization| of(*organization).len()).sum()
    }
}
