//! The node's disk: what the store is asked, what it does, and what the node hears of it.

use std::sync::Arc;

use stackbell_engine::core::{Command, CommitFault, Input};
use stackbell_model::ids::WebhookId;
use stackbell_model::scope::Subject;
use stackbell_model::webhook::Webhook;
use stackbell_store::commit::{Commit, IntakeOutcome};
use stackbell_store::instance::Instance;
use stackbell_store::queue::Queue;
use stackbell_store::webhooks::Webhooks;

use crate::operations::StoreFate;
use crate::world::{World, now};

impl World {
    pub(super) fn store_step(&mut self, which: usize, fate: StoreFate) {
        if self.disk.is_empty() {
            return;
        }
        let command = self.disk.remove(which % self.disk.len());
        let input = match fate {
            StoreFate::Done => self.store_does(&command),
            StoreFate::HeardLater => {
                let input = self.store_does(&command);
                self.unheard.push(input);
                return;
            }
            StoreFate::Full => failed(&command, CommitFault::Full),
            StoreFate::FailsBefore => failed(&command, CommitFault::Unavailable),
            StoreFate::FailsAfter => {
                if let Input::Leased(leased) = self.store_does(&command) {
                    let leased = leased.lanes.iter().flat_map(|lane| &lane.deliveries);
                    let lost = leased.map(|leased| (leased.delivery.webhook, leased.delivery.event_id));
                    self.endpoints.lost_leases.extend(lost);
                }
                failed(&command, CommitFault::Unknown)
            }
        };
        self.turn(vec![input]);
    }

    pub(super) fn hear(&mut self, which: usize) {
        if !self.unheard.is_empty() {
            let input = self.unheard.remove(which % self.unheard.len());
            self.turn(vec![input]);
        }
    }

    pub(super) fn store_does(&mut self, command: &Command) -> Input {
        match command {
            Command::LoadWebhooks { organization } => Input::WebhooksLoaded {
                organization: *organization,
                webhooks: now(self.store.organization_webhooks(*organization)).expect("the store works"),
            },
            Command::Commit { number, batch } => {
                let heard = self.who_hears();
                let new = batch.intakes.iter().flat_map(|item| &item.events).flat_map(|new| &new.deliveries);
                let step = self.endpoints.next_step();
                self.leases.extend(new.filter_map(|new| Some((new.id, (new.lease?.until, step)))));
                let outcome = now(self.store.commit(Arc::clone(batch))).expect("the store works");
                for (item, outcome) in batch.intakes.iter().zip(&outcome.intakes) {
                    let IntakeOutcome::Accepted(receipts) = outcome else { continue };
                    for (new, receipt) in
                        item.events.iter().zip(receipts).filter(|(_, receipt)| !receipt.duplicate)
                    {
                        let webhooks = heard(&new.event.subject);
                        assert_eq!(receipt.deliveries as usize, webhooks.len());
                        self.expected.insert(receipt.id, webhooks);
                    }
                }
                Input::Committed { number: *number, outcome }
            }
            Command::Lease { lanes, lease } => {
                let answer =
                    now(self.store.lease_deliveries(lanes, self.now, *lease)).expect("the store works");
                let leased = answer.lanes.iter().flat_map(|lane| &lane.deliveries);
                let step = self.endpoints.next_step();
                self.leases.extend(leased.map(|leased| (leased.delivery.id, (lease.until, step))));
                Input::Leased(answer)
            }
            Command::Release { held } => {
                now(self.store.release_deliveries(held)).expect("the store works");
                Input::Released { held: held.clone(), done: true }
            }
            Command::FindLanes { after, limit } => Input::LanesFound {
                lanes: now(self.store.due_lanes(*after, *limit)).expect("the store works"),
            },
            Command::ReadSendingHold => {
                Input::SendingRead { hold: now(self.store.sending_hold()).expect("the store works") }
            }
            other => unreachable!("not for the store: {other:?}"),
        }
    }

    /// Who has to hear of an event about a subject, by the store at this moment.
    pub(super) fn who_hears(&self) -> impl Fn(&Subject) -> Vec<WebhookId> + use<> {
        let all = now(self.store.organization_webhooks(self.organization)).expect("the store works");
        let webhooks = all.expect("the organization is there").webhooks;
        move |subject| {
            let hears = |webhook: &&Webhook| webhook.active && webhook.scope.reaches(subject);
            webhooks.iter().filter(hears).map(|webhook| webhook.id).collect()
        }
    }
}

fn failed(command: &Command, fault: CommitFault) -> Input {
    match command {
        Command::LoadWebhooks { organization } => Input::LoadFailed { organization: *organization },
        Command::Commit { number, .. } => Input::CommitFailed { number: *number, fault },
        Command::Lease { .. } => Input::LeaseFailed { corrupt: false },
        Command::Release { held } => Input::Released { held: held.clone(), done: false },
        Command::FindLanes { .. } => Input::LanesNotFound,
        Command::ReadSendingHold => Input::SendingNotRead,
        other => unreachable!("not for the store: {other:?}"),
    }
}
