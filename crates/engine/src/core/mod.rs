//! The engine as a pure state machine: [`Input`]s in, [`Command`]s out.
//!
//! The core does no IO, reads no clock and starts no task: [`crate::shell`] executes commands and reports their results.
//! The simulation runs the same core under failed commits, lost responses and killed nodes.
//!
//! All state of the core may be lost at any moment, because the store holds everything that matters. The core knows which lanes
//! have due deliveries, which permits are taken, and which records are on their way to a commit.
//!
//! - `intake`, `intake_queue`, `matching`: publish, match, group commit, response
//! - `leasing`, `prefetch`, `in_progress`: leases of due deliveries, also ahead of time
//! - `attempts`: attempts and their outcomes
//! - `on_demand`: pings and redeliveries
//! - `lane`, `pacer`, `breaker`: one webhook's sending, its rate limit and its circuit breaker
//! - `permits`, `round_robin`, `slow_start`: limits of the node and of each organization, and the next lane
//! - `rendezvous`: this node's part, where several nodes send
//! - `sending`: the hold of all sending
//! - `waits`: why pending deliveries are not sent now
//! - `backoff`: failures of the store

mod attempts;
mod backoff;
mod breaker;
mod config;
mod in_progress;
mod intake;
mod intake_queue;
mod lane;
mod leasing;
mod matching;
mod messages;
mod on_demand;
mod pacer;
mod permits;
mod prefetch;
mod rendezvous;
mod round_robin;
mod sending;
mod slow_start;
mod waits;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use stackbell_model::ids::{DeliveryId, OrganizationId, WebhookId};
use stackbell_model::{Entropy, Ordered, Timestamp};
use stackbell_store::queue::HeldDelivery;
use url::Url;

pub use config::CoreConfig;
pub use messages::{
    AttemptKey, AttemptRequest, Authority, Command, CommitFault, CommitNumber, Input, Notice, OnDemand,
    OnDemandRefusal, OnDemandTicket, Publish, PublishRefusal, PublishTicket, SendNow,
};
pub use rendezvous::Neighbours;
pub use waits::{LaneView, LaneWait, OpenBreaker, OpenBreakers, Waits, hold_of};

use attempts::InFlight;
use in_progress::InProgress;
use intake::{CommitInFlight, PendingRecord};
use lane::Lane;
use matching::Snapshot;
use on_demand::WaitingRequest;
use permits::{Permits, Tier};
use round_robin::RoundRobin;
use sending::Sending;
use slow_start::SlowStart;

/// The machine. Drive it with [`Core::handle`] for each input and one [`Core::flush`] after a burst of them.
pub struct Core {
    config: CoreConfig,
    /// What links in messages are built from.
    public_url: Option<Url>,
    entropy: Ordered,
    stopping: bool,
    sending: Sending,
    neighbours: Neighbours,

    snapshots: HashMap<OrganizationId, Arc<Snapshot>>,
    /// Organizations whose webhooks are being read.
    loading: HashSet<OrganizationId>,
    /// Organizations in `loading` whose webhooks were edited since the read began: they are read once more.
    outdated_loads: HashSet<OrganizationId>,

    lanes: HashMap<WebhookId, Lane>,
    permits: Permits,
    turns: RoundRobin,
    timers: BTreeSet<(Timestamp, WebhookId)>,
    /// Lanes of which a lease was asked; one request is under way at a time.
    leasing: Option<leasing::LeaseInFlight>,
    /// The most lanes that the next request asks of.
    lanes_in_request: usize,
    lanes_search: leasing::LanesSearch,

    in_flight: HashMap<AttemptKey, InFlight>,
    on_demand: VecDeque<WaitingRequest>,
    /// Deliveries that somebody asked for again, until that is recorded: the queue keeps its hands off them.
    redelivering: HashMap<DeliveryId, u32>,
    /// Those of them that were recorded while a lease was asked for, whose answer may be older than that.
    redelivered: Vec<DeliveryId>,
    /// Deliveries under way, from their lease until their outcome is recorded, with the lease that will record it.
    in_progress: HashMap<DeliveryId, InProgress>,
    /// Places for what is leased ahead.
    places: Permits,
    /// The lanes that have something ahead and may attempt it.
    prefetched_turns: RoundRobin,
    /// When what lanes have ahead is too old, earliest first, but for a clock that jumps. May name what is gone by then.
    prefetched_ages: VecDeque<(Timestamp, WebhookId)>,
    /// What is to be given back to the store.
    to_release: Vec<HeldDelivery>,
    releases_under_way: usize,
    next_attempt: u64,

    intakes: intake_queue::IntakeQueue,
    records: VecDeque<PendingRecord>,
    commits: HashMap<CommitNumber, CommitInFlight>,
    /// Outcomes that came too late, maybe because of a lease of ours that is being asked for.
    superseded: Vec<PendingRecord>,
    /// Outcomes handed to a commit and not yet known to be in.
    records_in_commit: usize,
    /// Bytes of all outcomes that are not known to be in.
    record_bytes: usize,
    /// After a commit met a row that cannot be read: so many of its parts go one by one, to find out which it is.
    isolate: usize,
    next_commit: u64,
    commit_backoff: backoff::Backoff,
}

impl Core {
    /// A machine that knows nothing yet: its first flush asks for the lanes that have something pending. It sends nothing by
    /// itself before it knows its neighbours.
    /// `public_url` is what links in messages are built from.
    pub fn new(
        config: CoreConfig,
        neighbours: Neighbours,
        public_url: Option<Url>,
        entropy: Box<dyn Entropy>,
        now: Timestamp,
    ) -> Self {
        Self {
            permits: Permits::new(config.in_flight_max, config.organization_in_flight_max)
                .with_slow_start(SlowStart::new(&config, now)),
            places: Permits::new(config.prefetch_max, config.organization_prefetch_max),
            config,
            public_url,
            entropy: Ordered::new(entropy),
            stopping: false,
            sending: Sending::unknown(now),
            neighbours,
            snapshots: HashMap::new(),
            loading: HashSet::new(),
            outdated_loads: HashSet::new(),
            lanes: HashMap::new(),
            turns: RoundRobin::default(),
            timers: BTreeSet::new(),
            leasing: None,
            lanes_in_request: leasing::LANES_IN_REQUEST_MAX,
            lanes_search: leasing::LanesSearch::due(now),
            in_flight: HashMap::new(),
            on_demand: VecDeque::new(),
            redelivering: HashMap::new(),
            redelivered: Vec::new(),
            in_progress: HashMap::new(),
            prefetched_turns: RoundRobin::default(),
            prefetched_ages: VecDeque::new(),
            to_release: Vec::new(),
            releases_under_way: 0,
            next_attempt: 0,
            intakes: intake_queue::IntakeQueue::default(),
            records: VecDeque::new(),
            commits: HashMap::new(),
            superseded: Vec::new(),
            records_in_commit: 0,
            record_bytes: 0,
            isolate: 0,
            next_commit: 0,
            commit_backoff: backoff::Backoff::default(),
        }
    }

    /// Takes in what happened. Commits, leases and wake-ups wait for [`Core::flush`].
    pub fn handle(&mut self, input: Input, now: Timestamp, commands: &mut Vec<Command>) {
        match input {
            Input::Publish(publish) => self.publish(publish, now, commands),
            Input::WebhooksLoaded { organization, webhooks } => {
                self.webhooks_loaded(organization, webhooks, now, commands);
            }
            Input::LoadFailed { organization } => self.load_failed(organization, commands),
            Input::WebhookChanged { organization, webhook } => {
                self.webhook_changed(organization, webhook, now, commands);
            }
            Input::WebhookSetGoing { organization, webhook } => {
                self.webhook_set_going(organization, webhook, now, commands);
            }
            Input::Committed { number, outcome } => self.committed(number, outcome, now, commands),
            Input::CommitFailed { number, fault } => self.commit_failed(number, fault, now, commands),
            Input::Leased(leased) => self.leased(leased, now, commands),
            Input::LeaseFailed { corrupt } => self.lease_failed(corrupt, now, commands),
            Input::LanesFound { lanes } => self.lanes_found(&lanes, now),
            Input::LanesNotFound => self.lanes_not_found(now),
            Input::AttemptEnded { key, attempt } => self.attempt_ended(key, *attempt, now),
            Input::OnDemand { ticket, request } => self.on_demand(ticket, request, now, commands),
            Input::Released { held, done } => self.released(&held, done, now),
            Input::LaneChanged { organization, webhook } => {
                self.give_back_of(webhook);
                self.note_due(organization, webhook, now, now);
            }
            Input::SendNow { organization, webhook, which } => {
                self.send_now(organization, webhook, which, now);
            }
            Input::SendingChanged => self.sending_changed(now),
            Input::SendingRead { hold } => self.sending_read(hold, now, commands),
            Input::SendingNotRead => self.sending_not_read(now),
            Input::NodesSeen { nodes } => self.nodes_seen(nodes, now),
            Input::WokenUp => self.woken_up(now),
            Input::Stop => self.stop(commands),
            Input::Tick => {}
        }
    }

    /// Starts what the inputs since the last flush made possible, and says when to come back.
    pub fn flush(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        self.permits.tell(now);
        self.start_sending_look(now, commands);
        self.queue_due_lanes(now);
        self.start_on_demand_all(now, commands);
        // Lanes that have nothing ahead come first, so that those who do cannot keep permits among themselves; what is born
        // takes permits that nobody waits for. And last those that only now could go.
        self.start_lease(now, commands);
        self.start_prefetched(now, commands);
        self.start_commits(now, commands);
        self.start_lease(now, commands);
        self.start_release(commands);
        self.start_lanes_search(now, commands);
        if let Some(at) = self.wake_at(now) {
            commands.push(Command::WakeAt(at));
        }
    }

    /// Whether nothing is under way: no attempt, no commit, nobody waiting. Pending deliveries in the store do not count.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
            && self.on_demand.is_empty()
            && self.intakes.is_empty()
            && self.records.is_empty()
            && self.superseded.is_empty()
            && self.commits.is_empty()
            && self.leasing.is_none()
            && self.to_release.is_empty()
            && self.releases_under_way == 0
    }

    /// Whether the queue may begin what it has leased: sending is not held, it is known who else sends, and we are not stopping.
    fn may_begin(&self) -> bool {
        self.sending.goes() && self.neighbours.are_known() && !self.stopping
    }

    /// Whether the queue may lease more: the outcomes before it are not too many.
    fn may_send(&self) -> bool {
        self.may_begin() && !self.is_behind_with_records()
    }

    /// Whether there is something to commit, or will be as soon as an endpoint has answered.
    fn has_something_to_commit(&self) -> bool {
        let waits = !self.records.is_empty() || !self.intakes.is_empty();
        waits || !self.commits.is_empty() || !self.in_flight.is_empty()
    }

    /// How many attempts are on their way.
    pub fn attempts_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// How many outcomes are not known to be recorded.
    pub fn unrecorded(&self) -> usize {
        self.records.len() + self.records_in_commit + self.superseded.len()
    }

    fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let commit = self.commit_backoff.until().filter(|until| *until > now);
        if self.stopping {
            // Nothing else is begun any more, and what is due of it would have us come back at once, for ever.
            return commit;
        }
        let timer = self.timers.first().map(|(at, _)| *at);
        let ask = self.on_demand.front().map(|ask| ask.asked_at.after(self.config.on_demand_wait_max));
        let search = self.lanes_search.wake_at(now);
        let look = self.sending.wake_at();
        let old = self.prefetched_is_old_at();
        let unproven = self.unproven_wait_until();
        [timer, search, look, commit, ask, old, unproven].into_iter().flatten().min().map(|at| at.max(now))
    }

    /// When lanes of unproven endpoints go on that have their turn, and wait for nothing but the pace of all of them.
    fn unproven_wait_until(&self) -> Option<Timestamp> {
        let waiting =
            self.turns.organizations(Tier::Unproven) + self.prefetched_turns.organizations(Tier::Unproven);
        self.permits.unproven_rested_at().filter(|_| waiting > 0 && self.may_send())
    }

    /// No new work from here on. What is under way ends and is recorded.
    fn stop(&mut self, commands: &mut Vec<Command>) {
        self.stopping = true;
        self.refuse_on_demand(OnDemandRefusal::Unavailable, commands, |_| true);
    }

    /// Commits may refer to more than one batch at a time; each has its own number.
    fn next_commit_number(&mut self) -> CommitNumber {
        self.next_commit += 1;
        CommitNumber(self.next_commit)
    }

    fn next_attempt_key(&mut self) -> AttemptKey {
        self.next_attempt += 1;
        AttemptKey(self.next_attempt)
    }

    /// Outcomes that are not yet known to be in. Nothing new is sent while there are too many: each holds a body.
    fn is_behind_with_records(&self) -> bool {
        self.records.len() + self.records_in_commit >= self.config.unrecorded_max
            || self.record_bytes >= self.config.unrecorded_bytes_max
    }
}
