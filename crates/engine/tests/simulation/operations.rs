//! What can happen.

use std::time::Duration;

use stackbell_model::webhook::Format;

/// A history: who takes part, and what happens.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub cast: Cast,
    /// What ids, shares and jitter come from.
    pub rng_seed: u64,
    pub operations: Vec<Operation>,
}

/// One operation a line.
impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:?}, rng_seed {}", self.cast, self.rng_seed)?;
        self.operations.iter().try_for_each(|operation| writeln!(f, "    {operation:?}"))
    }
}

/// Which nodes there are, and what they have for a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cast {
    /// One node with a store of its own, which takes so many commits at once.
    Embedded { commits_max: usize },
    /// So many nodes on one store, whose clock leases go by.
    Shared { nodes: usize },
}

/// How a request to the store ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StoreFate {
    Done,
    /// Done, but the node hears of it later, maybe after things that were done later.
    HeardLater,
    FailsBefore,
    FailsAfter,
    /// There is no room left.
    Full,
    /// Not done, because of a row that cannot be read.
    Corrupt,
}

/// How a request to an endpoint ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestFate {
    Answered,
    RequestLost,
    AnswerLost,
    /// It never left: it could not be built, or our own stop cut it.
    OurFault,
}

/// What an endpoint answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Accepts,
    Refuses,
    AsksToWait,
    Gone,
}

/// One thing that happens. Numbers choose among what there is, whatever that comes to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Publish {
        node: usize,
        organization: usize,
        subject: usize,
        again: Option<usize>,
        /// How many versions of the organization ago the right to it was found out.
        behind: u64,
    },
    /// A source brings events with the cursor behind them.
    Source {
        node: usize,
        organization: usize,
        subject: usize,
        events: usize,
        again: Option<usize>,
        /// It expects the cursor before the current one.
        is_behind: bool,
    },
    Store {
        node: usize,
        which: usize,
        fate: StoreFate,
    },
    /// The node hears of something that was done.
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
    /// Time passes, and whatever is under way ends.
    Advance(Duration),
    /// Time passes, and nothing ends: whoever is asked is slow.
    Linger(Duration),
    /// A node's clock is set, and nothing ends.
    SetAhead {
        node: usize,
        by: Duration,
    },
    SetBack {
        node: usize,
        by: Duration,
    },
    /// A node stands still: it takes in nothing, while what it asked for goes on.
    Pause {
        node: usize,
    },
    /// It goes on, with all that it knew; it hears of what happened meanwhile at once, or bit by bit.
    Wake {
        node: usize,
        hears_all: bool,
    },
    /// The node dies and starts again; each bit says whether a request to the store under way had happened.
    Kill {
        node: usize,
        happened: u8,
        /// Whether it is told at once who else is at work.
        told: bool,
    },
    /// The node is asked to end; once it has, or is killed, it starts again.
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
    /// Somebody has a webhook send elsewhere.
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
    /// Of what was made since so long ago.
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
    /// A node hears who is at work: all who are, or whom the bits name, right or wrong.
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
