//! The inputs and commands of the core.

use std::sync::Arc;

use bytes::Bytes;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, AttemptTrigger, Delivery, State};
use stackbell_model::event::Event;
use stackbell_model::health::SuspensionReason;
use stackbell_model::ids::{DeliveryId, NodeId, OrganizationId, WebhookId};
use stackbell_model::webhook::Webhook;
use stackbell_store::commit::{Batch, BatchOutcome, ItemChange, Lease, QuotaPart, Receipt};
use stackbell_store::history::{StoredAttempt, StoredDelivery};
use stackbell_store::instance::SendingHold;
use stackbell_store::queue::{HeldDelivery, LaneDue, LaneRequest, Leased};
use stackbell_store::webhooks::OrganizationWebhooks;

/// Stands for a producer that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublishTicket(pub u64);

/// Stands for somebody who waits for a ping or a redelivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OnDemandTicket(pub u64);

/// Stands for an attempt on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptKey(pub u64);

/// Stands for a commit under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitNumber(pub u64);

/// By what right events are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The instance's own.
    Own,
    /// Somebody's who may publish in the organization as of this version of it
    /// ([`stackbell_store::webhooks::OrganizationWebhooks::version`]). Their events are accepted only while that stands:
    /// a token that is revoked, whoever revokes it, makes another version.
    AsOf {
        /// The version.
        version: u64,
    },
}

/// Events and a change that a producer wants accepted together.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The producer who waits.
    pub ticket: PublishTicket,
    /// Whose events.
    pub organization: OrganizationId,
    /// Why they may be published.
    pub authority: Authority,
    /// A change that commits together with the events.
    pub change: Option<Box<ItemChange>>,
    /// The events, all of that organization; at least one, unless there is a change.
    pub events: Vec<Event>,
}

/// A request of a person to a webhook, past the queue.
#[derive(Clone, Debug)]
pub enum OnDemand {
    /// A ping.
    Ping {
        /// The webhook.
        webhook: Arc<Webhook>,
    },
    /// One more attempt of a delivery.
    Redeliver {
        /// The delivery's webhook.
        webhook: Arc<Webhook>,
        /// The delivery, with its bytes.
        delivery: Box<StoredDelivery>,
    },
}

impl OnDemand {
    /// The webhook that it is for.
    pub const fn webhook(&self) -> &Arc<Webhook> {
        match self {
            Self::Ping { webhook } | Self::Redeliver { webhook, .. } => webhook,
        }
    }
}

/// Why a commit did not happen, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFault {
    /// The store could not be asked.
    Unavailable,
    /// There is no room left.
    Full,
    /// It may have happened.
    Unknown,
    /// Something in it meets a row that cannot be read. It will fail again.
    Corrupt,
}

/// Which pending deliveries of a webhook a person wants sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendNow {
    /// The one that is due first: one attempt. The others wait as before, unless it shows that the endpoint is back.
    One,
    /// All, due or not, beginning with one attempt where the endpoint has failed or asked to wait.
    Everything,
}

/// Something happened.
#[derive(Debug)]
pub enum Input {
    /// A producer has events.
    Publish(Publish),
    /// [`Command::LoadWebhooks`] is done; `None`: there is no such organization.
    WebhooksLoaded {
        /// The organization.
        organization: OrganizationId,
        /// Its webhooks.
        webhooks: Option<OrganizationWebhooks>,
    },
    /// [`Command::LoadWebhooks`] could not be done.
    LoadFailed {
        /// The organization.
        organization: OrganizationId,
    },
    /// Somebody changed a webhook through this node.
    WebhookChanged {
        /// Its organization.
        organization: OrganizationId,
        /// The webhook.
        webhook: WebhookId,
    },
    /// Somebody had a webhook go on through this node: the change ended a suspension or what the endpoint asked for, or forgot
    /// its failures.
    WebhookSetGoing {
        /// Its organization.
        organization: OrganizationId,
        /// Which.
        webhook: WebhookId,
    },
    /// Something of a webhook may be due now that was not before, or is not any more: a recovery went on, or somebody cancelled
    /// a delivery.
    LaneChanged {
        /// Its organization.
        organization: OrganizationId,
        /// The webhook.
        webhook: WebhookId,
    },
    /// A person wants pending deliveries of a webhook sent now.
    SendNow {
        /// Its organization.
        organization: OrganizationId,
        /// The webhook.
        webhook: WebhookId,
        /// Which of them.
        which: SendNow,
    },
    /// Somebody held or resumed sending.
    SendingChanged,
    /// These nodes are at work on the store.
    NodesSeen {
        /// This one among them.
        nodes: Vec<NodeId>,
    },
    /// Another node may have left something that is due.
    WokenUp,
    /// [`Command::ReadSendingHold`] is done.
    SendingRead {
        /// Why nothing is sent; `None` when sending goes on.
        hold: Option<SendingHold>,
    },
    /// [`Command::ReadSendingHold`] could not be done.
    SendingNotRead,
    /// [`Command::Commit`] is done.
    Committed {
        /// Which.
        number: CommitNumber,
        /// The outcomes of its parts.
        outcome: BatchOutcome,
    },
    /// [`Command::Commit`] could not be done.
    CommitFailed {
        /// Which.
        number: CommitNumber,
        /// Why.
        fault: CommitFault,
    },
    /// [`Command::Lease`] is done: one entry for each lane asked of.
    Leased(Leased),
    /// [`Command::Lease`] could not be done.
    LeaseFailed {
        /// Because of a row that cannot be read: it will fail again.
        corrupt: bool,
    },
    /// [`Command::FindLanes`] is done.
    LanesFound {
        /// The lanes; fewer than the limit when there are no more.
        lanes: Vec<LaneDue>,
    },
    /// [`Command::FindLanes`] could not be done.
    LanesNotFound,
    /// [`Command::Release`] is done, or could not be.
    Released {
        /// The leases that were to be given back.
        held: Vec<HeldDelivery>,
        /// Whether it was; if not, its leases last until their deadlines.
        done: bool,
    },
    /// [`Command::Attempt`] is done.
    AttemptEnded {
        /// Which.
        key: AttemptKey,
        /// The attempt.
        attempt: Box<Attempt>,
    },
    /// A person requests a ping or a redelivery.
    OnDemand {
        /// The waiting caller.
        ticket: OnDemandTicket,
        /// The request.
        request: OnDemand,
    },
    /// The process is to end.
    Stop,
    /// Time has passed.
    Tick,
}

/// An attempt to be made now.
#[derive(Clone, Debug)]
pub struct AttemptRequest {
    /// Which attempt.
    pub key: AttemptKey,
    /// Why it is made.
    pub trigger: AttemptTrigger,
    /// The webhook, with the URL and the secret of this moment.
    pub webhook: Arc<Webhook>,
    /// The delivery.
    pub delivery: Delivery,
    /// The bytes.
    pub payload: Bytes,
    /// When the attempt begins, by the machine's clock.
    pub started_at: Timestamp,
}

/// Why a producer's events were not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishRefusal {
    /// This event's id is taken by another event.
    Conflict {
        /// Which of the events.
        index: usize,
    },
    /// The organization is gone.
    NoOrganization,
    /// The organization keeps as much as it may. Come back when some of it has been delivered, or has gone.
    OverQuota(QuotaPart),
    /// The precondition of the change does not hold. Read the state again.
    ChangeRefused,
    /// The change is committed. Its events are dropped, because the organization keeps as much as it may.
    EventsDropped(QuotaPart),
    /// The organization, its webhooks, its members or its tokens have changed since the caller was found to have the right
    /// ([`Authority::AsOf`]). Find out again, and come back.
    Outdated,
    /// Too many wait already. Come back soon.
    Overloaded,
    /// The store cannot take them now. Come back.
    Unavailable,
    /// The store is full. Come back when somebody has made room.
    Full,
    /// Events times webhooks come to more deliveries than one publish may. Send fewer events in one.
    TooManyDeliveries {
        /// The deliveries of this publish.
        deliveries: usize,
        /// The most that a publish may have.
        max: usize,
    },
}

/// Why a ping or redelivery was not made, or not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDemandRefusal {
    /// Too many wait already. Come back soon.
    Overloaded,
    /// The node is stopping, or the store cannot take the record now. The attempt may have been made; it is recorded later.
    Unavailable,
    /// The webhook was changed while the request waited. Make it again.
    Changed,
    /// The webhook or the delivery was deleted meanwhile.
    Gone,
}

/// Something to do. The shell reports its result with the [`Input`] that the command names.
#[derive(Debug)]
pub enum Command {
    /// Read an organization's webhooks: [`Input::WebhooksLoaded`] or [`Input::LoadFailed`].
    LoadWebhooks {
        /// The organization.
        organization: OrganizationId,
    },
    /// Commit: [`Input::Committed`] or [`Input::CommitFailed`].
    Commit {
        /// Which.
        number: CommitNumber,
        /// What.
        batch: Arc<Batch>,
    },
    /// Lease: [`Input::Leased`] or [`Input::LeaseFailed`].
    Lease {
        /// From which lanes.
        lanes: Vec<LaneRequest>,
        /// The lease that all of them get.
        lease: Lease,
    },
    /// Give leases back: [`Input::Released`].
    Release {
        /// Which.
        held: Vec<HeldDelivery>,
    },
    /// Look for lanes with something pending: [`Input::LanesFound`] or [`Input::LanesNotFound`].
    FindLanes {
        /// Beyond this one.
        after: Option<WebhookId>,
        /// At most so many.
        limit: u32,
    },
    /// Read whether sending is held: [`Input::SendingRead`] or [`Input::SendingNotRead`].
    ReadSendingHold,
    /// Attempt: [`Input::AttemptEnded`], always, whatever comes of it.
    Attempt(Box<AttemptRequest>),
    /// Tell a producer. In the same order as the events.
    RespondPublish {
        /// Who.
        ticket: PublishTicket,
        /// What.
        response: Result<Vec<Receipt>, PublishRefusal>,
    },
    /// Tell somebody who asked.
    RespondOnDemand {
        /// Who.
        ticket: OnDemandTicket,
        /// What.
        response: Result<Box<StoredAttempt>, OnDemandRefusal>,
    },
    /// Come back at this time with an [`Input::Tick`], if nothing else happens before. The last one given counts.
    WakeAt(Timestamp),
    /// Log it, count it.
    Note(Notice),
}

/// Something worth telling an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A webhook was suspended.
    Suspended {
        /// Which.
        webhook: WebhookId,
        /// Why.
        reason: SuspensionReason,
    },
    /// A webhook goes on after a suspension.
    Resumed {
        /// Which.
        webhook: WebhookId,
    },
    /// A delivery came to its end.
    Ended {
        /// Whose.
        webhook: WebhookId,
        /// Which.
        delivery: DeliveryId,
        /// How.
        state: State,
    },
    /// Nothing is sent by itself any more, until somebody resumes.
    SendingHeld {
        /// Since when, and why.
        hold: SendingHold,
    },
    /// Sending goes on.
    SendingResumed,
    /// An outcome came too late to be recorded.
    Superseded {
        /// Whose.
        webhook: WebhookId,
    },
    /// An outcome cannot be recorded, because of a row that cannot be read. Its delivery will be sent again.
    Unrecordable {
        /// Whose.
        webhook: WebhookId,
    },
}
