//! What people do: register, edit and delete webhooks, ask for deliveries again, cancel and recover them, hold sending.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use stackbell_engine::core::{Ask, AskTicket, Input};
use stackbell_model::delivery::State;
use stackbell_model::filter::Subscription;
use stackbell_model::health::Health;
use stackbell_model::ids::{EventId, RecoveryId, WebhookId};
use stackbell_model::names::{DisplayName, WebhookName};
use stackbell_model::recovery::{Recovery, RecoveryState};
use stackbell_model::scope::Scope;
use stackbell_model::webhook::{Format, Pace, PayloadUrl, Webhook};
use stackbell_store::instance::{Instance, SendingHold};
use stackbell_store::recoveries::{DeliveryChange, Recoveries, RecoveryCreated};
use stackbell_store::webhooks::{EditOutcome, Webhooks};

use crate::world::{World, now, project, stack};

/// Small, so that a recovery takes several steps.
const ROWS_IN_STEP: u32 = 2;

impl World {
    pub(super) fn create(&mut self, subject: Option<usize>, format: Format, pace: Option<u32>) {
        let id = WebhookId::generate(self.now, &mut self.entropy);
        let scope = match subject {
            None => Scope::Organization,
            Some(n) => Scope::Stack { project: project(), stack: stack(n) },
        };
        let webhook = Webhook {
            id,
            organization: self.organization,
            format: if format.allowed_in(scope.kind()) { format } else { Format::Raw },
            scope,
            name: WebhookName::parse(&format!("w{}", self.webhooks.len())).expect("a name"),
            display_name: DisplayName::parse("a webhook").expect("a name"),
            payload_url: PayloadUrl::from_stored("https://example.com/hook"),
            active: true,
            subscription: Subscription::default(),
            secret: None,
            standard_headers: true,
            pace: pace.and_then(Pace::per_minute),
            pause_reason: None,
            created_at: self.now,
            revision: 1,
            health: Health::default(),
        };
        let audit = self.audit();
        now(self.store.create_webhook(&webhook, 100, audit)).expect("the store works");
        self.webhooks.push(id);
        self.turn(vec![Input::WebhookChanged { organization: self.organization, webhook: id }]);
    }

    pub(super) fn webhook(&self, n: usize) -> Option<Webhook> {
        let id = self.webhooks[n % self.webhooks.len()];
        let all = now(self.store.organization_webhooks(self.organization)).expect("the store works");
        all?.webhooks.into_iter().find(|webhook| webhook.id == id)
    }

    pub(super) fn edit(&mut self, n: usize, told: bool, change: impl FnOnce(&mut Webhook)) {
        let Some(mut webhook) = self.webhook(n) else { return };
        change(&mut webhook);
        let audit = self.audit();
        let edited = now(self.store.edit_webhook(&webhook, audit)).expect("the store works");
        assert_eq!(edited, EditOutcome::Done);
        if told {
            self.turn(vec![Input::WebhookChanged { organization: self.organization, webhook: webhook.id }]);
        } else {
            self.untold.insert(webhook.id);
        }
    }

    pub(super) fn delete(&mut self, n: usize) {
        let Some(webhook) = self.webhook(n) else { return };
        let audit = self.audit();
        now(self.store.delete_webhook(self.organization, &webhook.scope, &webhook.name, audit))
            .expect("the store works");
        self.deleted.insert(webhook.id);
        self.turn(vec![Input::WebhookChanged { organization: self.organization, webhook: webhook.id }]);
    }

    pub(super) fn redeliver(&mut self, event: usize, n: usize) {
        let Some((id, _)) = self.published.get(event).copied() else { return };
        let Some(webhook) = self.webhook(n) else { return };
        let Some(delivery) = self.delivery(webhook.id, id) else { return };
        let ticket = AskTicket(self.ticket());
        let ask = Ask::Redeliver { webhook: Arc::new(webhook), delivery: Box::new(delivery) };
        self.turn(vec![Input::Ask { ticket, ask }]);
    }

    pub(super) fn cancel(&mut self, event: usize, n: usize) {
        let Some((event, webhook)) = self.pair(event, n) else { return };
        let Some(stored) = self.delivery(webhook, event) else { return };
        let audit = self.audit();
        let change = now(self.store.cancel_delivery(self.organization, stored.delivery.id, audit));
        if let DeliveryChange::Done { webhook } = change.expect("the store works") {
            self.cancelled.insert((webhook, event));
            self.turn(vec![Input::LaneChanged { organization: self.organization, webhook }]);
        }
    }

    pub(super) fn retry(&mut self, event: usize, n: usize, told: bool) {
        let Some((event, webhook)) = self.pair(event, n) else { return };
        let Some(stored) = self.delivery(webhook, event) else { return };
        let audit = self.audit();
        let change = now(self.store.retry_delivery(self.organization, stored.delivery.id, audit));
        if let DeliveryChange::Done { webhook } = change.expect("the store works") {
            self.begins_anew(webhook, event);
            self.lane_changed(webhook, told);
        }
    }

    fn pair(&self, event: usize, n: usize) -> Option<(EventId, WebhookId)> {
        let (event, _) = self.published.get(event)?;
        Some((*event, self.webhooks[n % self.webhooks.len()]))
    }

    fn begins_anew(&mut self, webhook: WebhookId, event: EventId) {
        let step = self.endpoints.next_step();
        self.rearmed.entry((webhook, event)).or_default().push(step);
    }

    fn lane_changed(&mut self, webhook: WebhookId, told: bool) {
        if told {
            self.turn(vec![Input::LaneChanged { organization: self.organization, webhook }]);
        } else {
            self.untold_lanes.insert(webhook);
        }
    }

    pub(super) fn recover(&mut self, n: usize, ago: Duration) {
        let webhook = self.webhooks[n % self.webhooks.len()];
        let since = self.now.before(ago);
        let total = now(self.store.count_recoverable(webhook, since)).expect("the store works");
        let recovery = Recovery {
            id: RecoveryId::generate(self.now, &mut self.entropy),
            organization: self.organization,
            webhook,
            since,
            created_at: self.now,
            created_by: "somebody".into(),
            total,
            rearmed: 0,
            state: RecoveryState::Running,
        };
        let audit = self.audit();
        match now(self.store.create_recovery(&recovery, audit)).expect("the store works") {
            RecoveryCreated::Done => {
                self.recovered.insert(recovery.id, HashSet::new());
            }
            RecoveryCreated::WebhookMissing => assert!(self.deleted.contains(&webhook)),
            RecoveryCreated::Running { id } => assert!(self.recovered.contains_key(&id)),
        }
    }

    /// The next step of a running recovery; the node may die before it tells the machine of it.
    /// Says whether there was one.
    pub(super) fn recovery_step(&mut self, which: usize, told: bool) -> bool {
        let running = now(self.store.running_recoveries(100)).expect("the store works");
        let Some(recovery) = running.get(which % running.len().max(1)).cloned() else { return false };
        let lost = self.lost(recovery.webhook);
        let stands = now(self.store.advance_recovery(recovery.id, self.now, ROWS_IN_STEP));
        let stands = stands.expect("the store works").expect("it is there");
        let still_lost = self.lost(recovery.webhook);
        let rearmed: Vec<_> = lost.difference(&still_lost).copied().collect();
        assert_eq!(stands.rearmed - recovery.rearmed, rearmed.len() as u64, "a recovery counts what it does");
        for event in rearmed {
            let done = self.recovered.get_mut(&recovery.id).expect("somebody asked for it");
            assert!(done.insert(event), "a recovery makes no delivery pending twice");
            self.begins_anew(recovery.webhook, event);
        }
        self.lane_changed(recovery.webhook, told);
        true
    }

    /// The events of which a webhook's delivery failed or was cancelled.
    fn lost(&self, webhook: WebhookId) -> HashSet<EventId> {
        let heard = self.expected.iter().filter(|(_, webhooks)| webhooks.contains(&webhook));
        let is_lost = |event: &EventId| {
            let stored = self.delivery(webhook, *event).expect("no delivery vanishes");
            matches!(stored.delivery.state, State::Failed { .. } | State::Cancelled { .. })
        };
        heard.map(|(event, _)| *event).filter(is_lost).collect()
    }

    pub(super) fn set_held(&mut self, held: bool, told: bool) {
        let audit = self.audit();
        if held {
            let hold = SendingHold { since: self.now, reason: "to see".into() };
            now(self.store.hold_sending(&hold, audit)).expect("the store works");
        } else {
            now(self.store.resume_sending(audit)).expect("the store works");
        }
        if told {
            self.turn(vec![Input::SendingChanged]);
        }
    }
}
