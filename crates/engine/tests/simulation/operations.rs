//! The operations of a history.

use std::time::Duration;

use stackbell_model::webhook::Format;

/// A history: its nodes and its operations.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub cast: Cast,
    /// The seed of ids, shares and jitter.
    pub rng_seed: u64,
    pub operations: Vec<Operation>,
}

/// Prints one operation a line.
impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:?}, rng_seed {}", self.cast, self.rng_seed)?;
        self.operations.iter().try_for_each(|operation| writeln!(f, "    {operation:?}"))
    }
}

/// The nodes, and their store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cast {
    /// One node with an embedded store, which takes up to `commits_max` commits at once.
    Embedded { commits_max: usize },
    /// Several nodes on one store, whose clock applies to leases.
    Shared { nodes: usize },
}

/// How a request to the store ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StoreFate {
    Done,
    /// Done, but the node is told later, perhaps after results of later requests.
    HeardLater,
    FailsBefore,
    FailsAfter,
    /// There is no space left.
    Full,
    /// Not done, because of an unreadable row.
    Corrupt,
}

/// How a request to an endpoint ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestFate {
    Answered,
    RequestLost,
    AnswerLost,
    /// The request was never sent: it could not be built, or our own stop cut it.
    OurFault,
}

/// How an endpoint responds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Accepts,
    Refuses,
    AsksToWait,
    Gone,
}

/// One operation. Its numbers select among the existing things, modulo their count.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Publish {
        node: usize,
        organization: usize,
        subject: usize,
        again: Option<usize>,
        /// The age of the caller's right, in versions of the organization.
        behind: u64,
    },
    /// A source publishes events, together with the cursor after them.
    Source {
        node: usize,
        organization: usize,
        subject: usize,
        events: usize,
        again: Option<usize>,
        /// Whether it expects the cursor before the current one.
        is_behind: bool,
    },
    Store {
        node: usize,
        which: usize,
        fate: StoreFate,
    },
    /// The node receives one waiting result.
    Hear {
        node: usize,
        which: usize,
    },
    Request {
        node: usize,
        which: usize,
        fate: RequestFate,
    },
    Endpoint {
        webhook: usize,
        behaviour: Behaviour,
    },
    /// Time passes, and everything in flight ends.
    Advance(Duration),
    /// Time passes, and nothing in flight ends.
    Linger(Duration),
    /// A node's clock is set, and nothing in flight ends.
    SetAhead {
        node: usize,
        by: Duration,
    },
    SetBack {
        node: usize,
        by: Duration,
    },
    /// A node pauses: it receives nothing, while its requests continue.
    Pause {
        node: usize,
    },
    /// The node continues with its old knowledge. It receives the waiting results at once or one by one.
    Wake {
        node: usize,
        hears_all: bool,
    },
    /// The node is killed and starts again. Each bit says whether a request to the store in flight was executed.
    Kill {
        node: usize,
        happened: u8,
        /// Whether it is told at once which other nodes are live.
        told: bool,
    },
    /// The node is asked to stop. Once it has stopped or is killed, it starts again.
    Stop {
        node: usize,
    },
    SetActive {
        node: usize,
        webhook: usize,
        active: bool,
        told: bool,
    },
    Delete {
        node: usize,
        webhook: usize,
    },
    Create {
        node: usize,
        organization: usize,
        subject: Option<usize>,
        format: Format,
        pace: Option<u32>,
    },
    SetPace {
        node: usize,
        webhook: usize,
        pace: Option<u32>,
        told: bool,
    },
    /// Somebody changes the URL of a webhook.
    SetUrl {
        node: usize,
        webhook: usize,
        told: bool,
    },
    Ping {
        node: usize,
        webhook: usize,
    },
    Redeliver {
        node: usize,
        event: usize,
        webhook: usize,
    },
    Cancel {
        node: usize,
        event: usize,
        webhook: usize,
        told: bool,
    },
    Retry {
        node: usize,
        event: usize,
        webhook: usize,
        told: bool,
    },
    /// Recovers deliveries that were created since this long ago.
    Recover {
        node: usize,
        webhook: usize,
        ago: Duration,
    },
    RecoveryStep {
        node: usize,
        which: usize,
        told: bool,
    },
    SetHeld {
        node: usize,
        held: bool,
        told: bool,
    },
    /// A node is told which nodes are live: all, or the ones that the bits name, true or false.
    Nodes {
        node: usize,
        seen: Option<u8>,
    },
    WakeUp {
        node: usize,
    },
    Sweep {
        node: usize,
    },
}
