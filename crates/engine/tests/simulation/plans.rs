//! The random distribution of operations.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use stackbell_model::webhook::Format;

use crate::operations::{Behaviour, Cast, Operation, Plan, RequestFate, StoreFate};

/// Boxed, like its parts: the tree of alternatives is large, and would be copied often.
pub(crate) fn plans() -> BoxedStrategy<Plan> {
    let cast = prop_oneof![
        3 => Just(Cast::Embedded { commits_max: 1 }),
        1 => Just(Cast::Embedded { commits_max: 4 }),
        4 => Just(Cast::Shared { nodes: 2 }),
        1 => Just(Cast::Shared { nodes: 3 }),
    ];
    let operations = vec(operation(), 1..120);
    (cast, any::<u64>().no_shrink(), operations)
        .prop_map(|(cast, rng_seed, operations)| Plan { cast, rng_seed, operations })
        .boxed()
}

fn operation() -> BoxedStrategy<Operation> {
    prop_oneof![
        80 => machinery(),
        11 => clocks(),
        7 => nodes(),
        18 => people(),
    ]
    .boxed()
}

fn node() -> impl Strategy<Value = usize> {
    0..3_usize
}

fn small() -> impl Strategy<Value = usize> {
    0..6_usize
}

fn told() -> impl Strategy<Value = bool> {
    proptest::bool::weighted(0.8)
}

/// Publishes, and the fates of requests to the store and to endpoints.
fn machinery() -> BoxedStrategy<Operation> {
    let store_fate = prop_oneof![
        12 => Just(StoreFate::Done),
        4 => Just(StoreFate::HeardLater),
        2 => Just(StoreFate::FailsBefore),
        2 => Just(StoreFate::FailsAfter),
        2 => Just(StoreFate::Full),
        1 => Just(StoreFate::Corrupt),
    ];
    let request_fate = prop_oneof![
        9 => Just(RequestFate::Answered),
        2 => Just(RequestFate::RequestLost),
        2 => Just(RequestFate::AnswerLost),
        1 => Just(RequestFate::OurFault),
    ];
    let behaviour = prop_oneof![
        3 => Just(Behaviour::Accepts),
        2 => Just(Behaviour::Refuses),
        1 => Just(Behaviour::AsksToWait),
        1 => Just(Behaviour::Gone),
    ];
    let behind = prop_oneof![9 => Just(0), 1 => Just(1)];
    let organization = prop_oneof![4 => Just(0_usize), 1 => Just(1)];
    prop_oneof![
        10 => (node(), organization, 0..2_usize, option::weighted(0.1, 0..8_usize), behind).prop_map(
            |(node, organization, subject, again, behind)|
                Operation::Publish { node, organization, subject, again, behind }),
        5 => (node(), 0..2_usize, 0..2_usize, 0..3_usize, option::weighted(0.2, 0..6_usize), proptest::bool::weighted(0.1))
            .prop_map(|(node, organization, subject, events, again, is_behind)|
                Operation::Source { node, organization, subject, events, again, is_behind }),
        28 => (node(), small(), store_fate)
            .prop_map(|(node, which, fate)| Operation::Store { node, which, fate }),
        6 => (node(), small()).prop_map(|(node, which)| Operation::Hear { node, which }),
        16 => (node(), small(), request_fate)
            .prop_map(|(node, which, fate)| Operation::Request { node, which, fate }),
        3 => (small(), behaviour).prop_map(|(webhook, behaviour)| Operation::Endpoint { webhook, behaviour }),
    ]
    .boxed()
}

fn clocks() -> BoxedStrategy<Operation> {
    let step = || {
        select(vec![
            Duration::from_millis(1),
            Duration::from_secs(6),
            Duration::from_secs(40),
            Duration::from_secs(15 * 60),
            Duration::from_secs(3700),
            Duration::from_secs(13 * 3600),
            Duration::from_secs(6 * 24 * 3600),
        ])
    };
    prop_oneof![
        6 => step().prop_map(Operation::Advance),
        2 => (1..100_u64).prop_map(|seconds| Operation::Linger(Duration::from_secs(seconds))),
        1 => (node(), step()).prop_map(|(node, by)| Operation::SetBack { node, by }),
        1 => (node(), 1..3600_u64)
            .prop_map(|(node, seconds)| Operation::SetAhead { node, by: Duration::from_secs(seconds) }),
    ]
    .boxed()
}

/// Nodes start, stop, pause, and see each other.
fn nodes() -> BoxedStrategy<Operation> {
    prop_oneof![
        2 => (node(), any::<u8>(), told())
            .prop_map(|(node, happened, told)| Operation::Kill { node, happened, told }),
        1 => node().prop_map(|node| Operation::Stop { node }),
        2 => node().prop_map(|node| Operation::Pause { node }),
        3 => (node(), any::<bool>()).prop_map(|(node, hears_all)| Operation::Wake { node, hears_all }),
        2 => (node(), option::weighted(0.3, any::<u8>()))
            .prop_map(|(node, seen)| Operation::Nodes { node, seen }),
        1 => node().prop_map(|node| Operation::WakeUp { node }),
        1 => node().prop_map(|node| Operation::Sweep { node }),
    ]
    .boxed()
}

fn people() -> BoxedStrategy<Operation> {
    let pace = || select(vec![None, Some(1), Some(7), Some(60), Some(60_000)]);
    let ago =
        select(vec![Duration::from_secs(40), Duration::from_secs(3700), Duration::from_secs(6 * 24 * 3600)]);
    let event = || 0..8_usize;
    prop_oneof![
        4 => (node(), small(), any::<bool>(), told()).prop_map(
            |(node, webhook, active, told)| Operation::SetActive { node, webhook, active, told }),
        2 => (node(), small()).prop_map(|(node, webhook)| Operation::Delete { node, webhook }),
        2 => (node(), 0..2_usize, option::of(0..2_usize), select(Format::ALL), pace()).prop_map(
            |(node, organization, subject, format, pace)|
                Operation::Create { node, organization, subject, format, pace }),
        2 => (node(), small(), pace(), told())
            .prop_map(|(node, webhook, pace, told)| Operation::SetPace { node, webhook, pace, told }),
        2 => (node(), small(), told())
            .prop_map(|(node, webhook, told)| Operation::SetUrl { node, webhook, told }),
        2 => (node(), small()).prop_map(|(node, webhook)| Operation::Ping { node, webhook }),
        3 => (node(), event(), small())
            .prop_map(|(node, event, webhook)| Operation::Redeliver { node, event, webhook }),
        4 => (node(), event(), small(), told())
            .prop_map(|(node, event, webhook, told)| Operation::Cancel { node, event, webhook, told }),
        4 => (node(), event(), small(), told())
            .prop_map(|(node, event, webhook, told)| Operation::Retry { node, event, webhook, told }),
        2 => (node(), small(), ago).prop_map(|(node, webhook, ago)| Operation::Recover { node, webhook, ago }),
        4 => (node(), small(), told())
            .prop_map(|(node, which, told)| Operation::RecoveryStep { node, which, told }),
        2 => (node(), proptest::bool::weighted(0.3), told())
            .prop_map(|(node, held, told)| Operation::SetHeld { node, held, told }),
    ]
    .boxed()
}
