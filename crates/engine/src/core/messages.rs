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

/// Identifies a waiting producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublishTicket(pub u64);

/// Identifies a caller that waits for a ping or a redelivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OnDemandTicket(pub u64);

/// Identifies an attempt in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptKey(pub u64);

/// Identifies a commit under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitNumber(pub u64);

/// The right by which events are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The instance publishes its own events.
    Own,
    /// The caller had the right to publish at this version of the organization
    /// ([`stackbell_store::webhooks::OrganizationWebhooks::version`]). Events are accepted only while the version is
    /// current, because it grows when a token is revoked.
    AsOf {
        /// The version.
        version: u64,
    },
}

/// Events and a change that a producer wants accepted together.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The waiting producer.
    pub ticket: PublishTicket,
    /// The organization of the events.
    pub organization: OrganizationId,
    /// The right to publish them.
    pub authority: Authority,
    /// A change that commits together with the events.
    pub change: Option<Box<ItemChange>>,
    /// The events, all of one organization; at least one, unless there is a change.
    pub events: Vec<Event>,
}

/// A user's request to send to a webhook at once, without the queue.
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
    /// The webhook to send to.
    pub const fn webhook(&self) -> &Arc<Webhook> {
        match self {
            Self::Ping { webhook } | Self::Redeliver { webhook, .. } => webhook,
        }
    }
}

/// Why a commit failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFault {
    /// The store could not be reached.
    Unavailable,
    /// The store is full.
    Full,
    /// The commit may have succeeded.
    Unknown,
    /// The commit involves a row that cannot be read. It will fail again.
    Corrupt,
}

/// The pending deliveries of a webhook that a user wants sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendNow {
    /// One attempt of the delivery that is due first. The others wait as before, unless a success shows that the endpoint
    /// is back.
    One,
    /// All, due or not. One attempt is made first if the endpoint has failed or requested a wait.
    Everything,
}

/// An event for the core, or the result of a [`Command`].
#[derive(Debug)]
pub enum Input {
    /// A producer publishes events.
    Publish(Publish),
    /// [`Command::LoadWebhooks`] is done.
    WebhooksLoaded {
        /// The organization.
        organization: OrganizationId,
        /// Its webhooks; `None` if the organization does not exist.
        webhooks: Option<OrganizationWebhooks>,
    },
    /// [`Command::LoadWebhooks`] failed.
    LoadFailed {
        /// The organization.
        organization: OrganizationId,
    },
    /// A user changed a webhook through this node.
    WebhookChanged {
        /// Its organization.
        organization: OrganizationId,
        /// The webhook.
        webhook: WebhookId,
    },
    /// A user resumed a webhook through this node. The change ended a suspension or a wait that the endpoint requested, or
    /// reset the count of failures.
    WebhookSetGoing {
        /// Its organization.
        organization: OrganizationId,
        /// The webhook.
        webhook: WebhookId,
    },
    /// The due deliveries of a webhook may have changed, because a recovery made progress or a user cancelled a delivery.
    LaneChanged {
        /// Its organization.
        organization: OrganizationId,
        /// The webhook.
        webhook: WebhookId,
    },
    /// A user wants pending deliveries of a webhook sent now.
    SendNow {
        /// Its organization.
        organization: OrganizationId,
        /// The webhook.
        webhook: WebhookId,
        /// The deliveries to send.
        which: SendNow,
    },
    /// A user held or resumed all sending.
    SendingChanged,
    /// The list of nodes that use the store was read.
    NodesSeen {
        /// The nodes, including this one.
        nodes: Vec<NodeId>,
    },
    /// Another node reported that deliveries may be due.
    WokenUp,
    /// [`Command::ReadSendingHold`] is done.
    SendingRead {
        /// The hold; `None` if sending is not on hold.
        hold: Option<SendingHold>,
    },
    /// [`Command::ReadSendingHold`] failed.
    SendingNotRead,
    /// [`Command::Commit`] is done.
    Committed {
        /// The commit.
        number: CommitNumber,
        /// The outcomes of its parts.
        outcome: BatchOutcome,
    },
    /// [`Command::Commit`] failed.
    CommitFailed {
        /// The commit.
        number: CommitNumber,
        /// The cause.
        fault: CommitFault,
    },
    /// [`Command::Lease`] is done, with one entry for each requested lane.
    Leased(Leased),
    /// [`Command::Lease`] failed.
    LeaseFailed {
        /// True if a row could not be read. The request will fail again.
        corrupt: bool,
    },
    /// [`Command::FindLanes`] is done.
    LanesFound {
        /// The lanes; fewer than the limit if there are no more.
        lanes: Vec<LaneDue>,
    },
    /// [`Command::FindLanes`] failed.
    LanesNotFound,
    /// [`Command::Release`] is done, or failed.
    Released {
        /// The leases of the command.
        held: Vec<HeldDelivery>,
        /// True if the leases were released. Otherwise they last until their deadlines.
        done: bool,
    },
    /// [`Command::Attempt`] is done.
    AttemptEnded {
        /// The attempt's key.
        key: AttemptKey,
        /// The attempt.
        attempt: Box<Attempt>,
    },
    /// A user requests a ping or a redelivery.
    OnDemand {
        /// The waiting caller.
        ticket: OnDemandTicket,
        /// The request.
        request: OnDemand,
    },
    /// The process will end.
    Stop,
    /// Time has passed.
    Tick,
}

/// An attempt to be made now.
#[derive(Clone, Debug)]
pub struct AttemptRequest {
    /// The attempt's key.
    pub key: AttemptKey,
    /// The reason for the attempt.
    pub trigger: AttemptTrigger,
    /// The webhook, with the URL and the secret to use.
    pub webhook: Arc<Webhook>,
    /// The delivery.
    pub delivery: Delivery,
    /// The bytes of the request body.
    pub payload: Bytes,
    /// When the attempt begins, by the machine's clock.
    pub started_at: Timestamp,
}

/// Why a producer's events were not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishRefusal {
    /// Another event has the id of this event.
    Conflict {
        /// The index of the event.
        index: usize,
    },
    /// The organization does not exist.
    NoOrganization,
    /// The organization has reached its quota. Retry when some of its deliveries have ended or some of its data is removed.
    OverQuota(QuotaPart),
    /// The precondition of the change does not hold. Read the state again.
    ChangeRefused,
    /// The change is committed. Its events are dropped, because the organization has reached its quota.
    EventsDropped(QuotaPart),
    /// The organization, its webhooks, its members or its tokens have changed since the caller's right was checked
    /// ([`Authority::AsOf`]). Check the right again, then retry.
    Outdated,
    /// Too many events are waiting. Retry soon.
    Overloaded,
    /// The store cannot accept events now. Retry later.
    Unavailable,
    /// The store is full. Retry when an operator has freed space.
    Full,
    /// Events times webhooks exceed the maximum of deliveries in one publish. Send fewer events at once.
    TooManyDeliveries {
        /// The deliveries of this publish.
        deliveries: usize,
        /// The maximum.
        max: usize,
    },
}

/// Why a ping or redelivery was not made, or not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDemandRefusal {
    /// Too many requests are waiting. Retry soon.
    Overloaded,
    /// The node is stopping, or the store cannot record the outcome now. The attempt may have been made; its outcome is
    /// recorded later.
    Unavailable,
    /// The webhook was changed while the request waited. Repeat the request.
    Changed,
    /// The webhook or the delivery was deleted meanwhile.
    Gone,
}

/// A task for the shell. Its result is reported with the [`Input`] named at the command.
#[derive(Debug)]
pub enum Command {
    /// Reads an organization's webhooks. Result: [`Input::WebhooksLoaded`] or [`Input::LoadFailed`].
    LoadWebhooks {
        /// The organization.
        organization: OrganizationId,
    },
    /// Commits a batch. Result: [`Input::Committed`] or [`Input::CommitFailed`].
    Commit {
        /// The number of the commit.
        number: CommitNumber,
        /// The batch.
        batch: Arc<Batch>,
    },
    /// Leases deliveries. Result: [`Input::Leased`] or [`Input::LeaseFailed`].
    Lease {
        /// The lanes to lease from.
        lanes: Vec<LaneRequest>,
        /// The lease of all these deliveries.
        lease: Lease,
    },
    /// Releases leases. Result: [`Input::Released`].
    Release {
        /// The leased deliveries.
        held: Vec<HeldDelivery>,
    },
    /// Searches for lanes with pending deliveries. Result: [`Input::LanesFound`] or [`Input::LanesNotFound`].
    FindLanes {
        /// The search begins after this webhook; `None` for the beginning.
        after: Option<WebhookId>,
        /// The maximum number of lanes.
        limit: u32,
    },
    /// Reads whether sending is on hold. Result: [`Input::SendingRead`] or [`Input::SendingNotRead`].
    ReadSendingHold,
    /// Makes an attempt. Result: always [`Input::AttemptEnded`].
    Attempt(Box<AttemptRequest>),
    /// Responds to a producer.
    RespondPublish {
        /// The producer.
        ticket: PublishTicket,
        /// The receipts, in the order of the events.
        response: Result<Vec<Receipt>, PublishRefusal>,
    },
    /// Responds to the caller of a ping or a redelivery.
    RespondOnDemand {
        /// The caller.
        ticket: OnDemandTicket,
        /// The recorded attempt.
        response: Result<Box<StoredAttempt>, OnDemandRefusal>,
    },
    /// Requests an [`Input::Tick`] at this time, unless another input comes earlier. Replaces an earlier request.
    WakeAt(Timestamp),
    /// Logs and counts a notice.
    Note(Notice),
}

/// A notice for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A webhook was suspended.
    Suspended {
        /// The webhook.
        webhook: WebhookId,
        /// The reason.
        reason: SuspensionReason,
    },
    /// The suspension of a webhook ended.
    Resumed {
        /// The webhook.
        webhook: WebhookId,
    },
    /// A delivery ended.
    Ended {
        /// The delivery's webhook.
        webhook: WebhookId,
        /// The delivery.
        delivery: DeliveryId,
        /// The final state.
        state: State,
    },
    /// All sending is on hold until an operator resumes it. Pings and redeliveries are still sent.
    SendingHeld {
        /// The hold.
        hold: SendingHold,
    },
    /// The hold of all sending ended.
    SendingResumed,
    /// An outcome came too late to be recorded.
    Superseded {
        /// The delivery's webhook.
        webhook: WebhookId,
    },
    /// An outcome cannot be recorded, because a row cannot be read. Its delivery will be sent again.
    Unrecordable {
        /// The delivery's webhook.
        webhook: WebhookId,
    },
}
