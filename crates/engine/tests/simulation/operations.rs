//! What can happen.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use stackbell_model::webhook::Format;

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
}

/// How a request to an endpoint ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RequestFate {
    Answered,
    RequestLost,
    AnswerLost,
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
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Publish {
        subject: usize,
        again: Option<usize>,
        /// How many versions of the organization ago the right to it was found out.
        behind: u64,
    },
    Store {
        which: usize,
        fate: StoreFate,
    },
    /// The node hears of something that was done.
    Hear {
        which: usize,
    },
    Request {
        which: usize,
        fate: RequestFate,
    },
    Endpoint {
        webhook: usize,
        behaviour: Behaviour,
    },
    /// Time passes, and whatever is under way ends.
    Advance(Duration),
    /// The clock is set, and nothing ends.
    JumpAhead(Duration),
    SetBack(Duration),
    /// The node dies and starts again; each bit says whether a request to the store under way had happened.
    Kill {
        happened: u8,
    },
    SetActive {
        webhook: usize,
        active: bool,
        told: bool,
    },
    Delete {
        webhook: usize,
    },
    Create {
        subject: Option<usize>,
        format: Format,
        pace: Option<u32>,
    },
    SetPace {
        webhook: usize,
        pace: Option<u32>,
        told: bool,
    },
    Ping {
        webhook: usize,
    },
    Redeliver {
        event: usize,
        webhook: usize,
    },
    Cancel {
        event: usize,
        webhook: usize,
    },
    Retry {
        event: usize,
        webhook: usize,
        told: bool,
    },
    /// Of what was made since so long ago.
    Recover {
        webhook: usize,
        ago: Duration,
    },
    RecoveryStep {
        which: usize,
        told: bool,
    },
    SetHeld {
        held: bool,
        told: bool,
    },
    /// Other nodes come and go.
    Nodes {
        count: u128,
    },
    WakeUp,
    Sweep,
}

pub(crate) fn lists() -> impl Strategy<Value = Vec<Operation>> {
    vec(operation(), 1..120)
}

fn operation() -> impl Strategy<Value = Operation> {
    let small = 0..6_usize;
    let store_fate = prop_oneof![
        6 => Just(StoreFate::Done),
        2 => Just(StoreFate::HeardLater),
        1 => Just(StoreFate::FailsBefore),
        1 => Just(StoreFate::FailsAfter),
        1 => Just(StoreFate::Full),
    ];
    let request_fate = prop_oneof![
        6 => Just(RequestFate::Answered),
        1 => Just(RequestFate::RequestLost),
        1 => Just(RequestFate::AnswerLost),
    ];
    let behaviour = prop_oneof![
        3 => Just(Behaviour::Accepts),
        2 => Just(Behaviour::Refuses),
        1 => Just(Behaviour::AsksToWait),
        1 => Just(Behaviour::Gone),
    ];
    let step = prop_oneof![
        Just(Duration::from_millis(1)),
        Just(Duration::from_secs(6)),
        Just(Duration::from_secs(40)),
        Just(Duration::from_secs(15 * 60)),
        Just(Duration::from_secs(3700)),
        Just(Duration::from_secs(13 * 3600)),
        Just(Duration::from_secs(6 * 24 * 3600)),
    ];
    let behind = prop_oneof![9 => Just(0), 1 => Just(1)];
    let told = proptest::bool::weighted(0.8);
    let pace = prop_oneof![Just(None), Just(Some(1)), Just(Some(7)), Just(Some(60)), Just(Some(60_000))];
    prop_oneof![
        10 => (0..2_usize, proptest::option::weighted(0.1, 0..8_usize), behind)
            .prop_map(|(subject, again, behind)| Operation::Publish { subject, again, behind }),
        20 => (small.clone(), store_fate).prop_map(|(which, fate)| Operation::Store { which, fate }),
        4 => small.clone().prop_map(|which| Operation::Hear { which }),
        14 => (small.clone(), request_fate).prop_map(|(which, fate)| Operation::Request { which, fate }),
        3 => (small.clone(), behaviour).prop_map(|(webhook, behaviour)| Operation::Endpoint { webhook, behaviour }),
        6 => step.clone().prop_map(Operation::Advance),
        1 => step.clone().prop_map(Operation::SetBack),
        1 => (1..3600_u64).prop_map(|seconds| Operation::JumpAhead(Duration::from_secs(seconds))),
        2 => any::<u8>().prop_map(|happened| Operation::Kill { happened }),
        2 => (small.clone(), any::<bool>(), told)
            .prop_map(|(webhook, active, told)| Operation::SetActive { webhook, active, told }),
        1 => small.clone().prop_map(|webhook| Operation::Delete { webhook }),
        1 => (proptest::option::of(0..2_usize), select(Format::ALL), pace.clone())
            .prop_map(|(subject, format, pace)| Operation::Create { subject, format, pace }),
        1 => (small.clone(), pace, told)
            .prop_map(|(webhook, pace, told)| Operation::SetPace { webhook, pace, told }),
        1 => small.clone().prop_map(|webhook| Operation::Ping { webhook }),
        1 => (0..8_usize, small.clone()).prop_map(|(event, webhook)| Operation::Redeliver { event, webhook }),
        2 => (0..8_usize, small.clone()).prop_map(|(event, webhook)| Operation::Cancel { event, webhook }),
        2 => (0..8_usize, small.clone(), told)
            .prop_map(|(event, webhook, told)| Operation::Retry { event, webhook, told }),
        1 => (small.clone(), step.clone()).prop_map(|(webhook, ago)| Operation::Recover { webhook, ago }),
        2 => (small, told).prop_map(|(which, told)| Operation::RecoveryStep { which, told }),
        1 => (proptest::bool::weighted(0.3), told).prop_map(|(held, told)| Operation::SetHeld { held, told }),
        1 => (1..5_u128).prop_map(|count| Operation::Nodes { count }),
        1 => Just(Operation::WakeUp),
        2 => Just(Operation::Sweep),
    ]
}
