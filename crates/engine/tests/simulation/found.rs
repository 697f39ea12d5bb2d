//! Shrunken histories that once broke something. Every run of the tests replays them.

use std::time::Duration;

use stackbell_model::webhook::Format;

use crate::operations::{Behaviour, Cast, Operation, Plan, RequestFate, StoreFate};

/// Each with a description of the defect.
pub(crate) fn histories() -> Vec<(&'static str, Plan)> {
    vec![
        ("a node that ends while its store fails never sleeps", busy_while_stopping()),
        ("a kept lease is used beside a redelivery", kept_beside_a_redelivery()),
        ("a kept lease is used after a redelivery's 2xx", kept_behind_a_redelivery()),
        ("sent after a redelivery's 2xx, once the commit is heard of", redelivered_before_its_commit()),
        ("forgotten behind a commit that cannot be read", forgotten_by_a_corrupt_commit()),
        (
            "born under a lease that another had taken the place of, as the clock was set back",
            born_behind_a_lease(),
        ),
        (
            "a lane asks the store again and again for the end of a wait that it takes for over",
            wait_taken_for_over(),
        ),
        ("sent within a wait that was not recorded yet, once sending was resumed", wait_not_recorded_yet()),
        ("sent within a wait that a ping at the new URL was asked for", asked_at_the_new_url()),
        (
            "sent after a 2xx that was recorded for a cancelled delivery, under a lease heard of later",
            leased_before_a_cancellation(),
        ),
        (
            "sent within a wait that was not recorded yet, once sending was resumed after an edit",
            wait_not_recorded_before_an_edit(),
        ),
    ]
}

fn embedded(commits_max: usize, rng_seed: u64, operations: Vec<Operation>) -> Plan {
    Plan { cast: Cast::Embedded { commits_max }, rng_seed, operations }
}

fn publish(subject: usize) -> Operation {
    Operation::Publish { node: 0, organization: 0, subject, again: None, behind: 0 }
}

fn store(fate: StoreFate) -> Operation {
    Operation::Store { node: 0, which: 0, fate }
}

fn cancel() -> Operation {
    Operation::Cancel { node: 0, event: 0, webhook: 0, told: false }
}

fn retry(told: bool) -> Operation {
    Operation::Retry { node: 0, event: 0, webhook: 0, told }
}

fn redeliver(webhook: usize) -> Operation {
    Operation::Redeliver { node: 0, event: 0, webhook }
}

fn answered() -> Operation {
    Operation::Request { node: 0, which: 0, fate: RequestFate::Answered }
}

fn wait_taken_for_over() -> Plan {
    let source =
        Operation::Source { node: 0, organization: 0, subject: 0, events: 1, again: None, is_behind: false };
    let mut operations =
        vec![Operation::SetActive { node: 0, webhook: 1, active: true, told: false }, source];
    operations.extend([publish(0); 3]);
    operations.extend([
        Operation::Wake { node: 0, hears_all: false },
        Operation::Endpoint { webhook: 1, behaviour: Behaviour::AsksToWait },
        Operation::Advance(Duration::from_secs(40)),
        Operation::SetBack { node: 0, by: Duration::from_secs(3700) },
    ]);
    operations.extend([publish(0); 2]);
    operations.push(Operation::SetHeld { node: 0, held: true, told: false });
    operations.extend([publish(0); 2]);
    embedded(1, 2_169_283_933_164_960_925, operations)
}

fn wait_not_recorded_yet() -> Plan {
    let source =
        Operation::Source { node: 0, organization: 0, subject: 0, events: 0, again: None, is_behind: false };
    let published =
        |node, organization| Operation::Publish { node, organization, subject: 0, again: None, behind: 0 };
    let operations = vec![
        source,
        source,
        publish(0),
        Operation::SetActive { node: 0, webhook: 0, active: false, told: false },
        published(0, 1),
        store(StoreFate::Done),
        published(2, 0),
        published(1, 1),
        Operation::Endpoint { webhook: 3, behaviour: Behaviour::AsksToWait },
        store(StoreFate::Done),
        Operation::Advance(Duration::from_secs(40)),
        Operation::Pause { node: 0 },
        published(0, 0),
        published(1, 0),
        Operation::Advance(Duration::from_secs(900)),
        Operation::Redeliver { node: 0, event: 4, webhook: 0 },
        Operation::Request { node: 1, which: 0, fate: RequestFate::Answered },
        retry(false),
        Operation::SetHeld { node: 0, held: true, told: false },
    ];
    Plan { cast: Cast::Shared { nodes: 2 }, rng_seed: 18_225_572_188_585_021_282, operations }
}

fn asked_at_the_new_url() -> Plan {
    let done = store(StoreFate::Done);
    let operations = vec![
        Operation::Endpoint { webhook: 0, behaviour: Behaviour::AsksToWait },
        done,
        done,
        publish(0),
        publish(0),
        done,
        done,
        publish(0),
        Operation::SetUrl { node: 0, webhook: 4, told: false },
        Operation::Hear { node: 0, which: 0 },
        Operation::Advance(Duration::from_secs(40)),
        Operation::Ping { node: 0, webhook: 0 },
        answered(),
        Operation::Store { node: 0, which: 2, fate: StoreFate::Done },
    ];
    embedded(1, 9_220_637_195_000_281_039, operations)
}

fn leased_before_a_cancellation() -> Plan {
    let on = |which, fate| Operation::Store { node: 0, which, fate };
    let operations = vec![
        publish(1),
        on(3, StoreFate::Done),
        on(1, StoreFate::Done),
        on(1, StoreFate::Done),
        publish(0),
        Operation::Linger(Duration::from_secs(60)),
        on(2, StoreFate::Done),
        on(0, StoreFate::Corrupt),
        on(0, StoreFate::HeardLater),
        answered(),
        cancel(),
        on(0, StoreFate::Done),
        publish(0),
    ];
    embedded(4, 4_953_960_754_100_068_454, operations)
}

fn wait_not_recorded_before_an_edit() -> Plan {
    let source = |events| Operation::Source {
        node: 0,
        organization: 0,
        subject: 0,
        events,
        again: None,
        is_behind: false,
    };
    let pace = |webhook, pace| Operation::SetPace { node: 0, webhook, pace, told: false };
    let done = store(StoreFate::Done);
    let mut operations = vec![
        publish(0),
        pace(0, Some(1)),
        Operation::Advance(Duration::from_secs(40)),
        source(2),
        done,
        source(0),
        Operation::Advance(Duration::from_secs(6)),
    ];
    operations.extend([publish(0); 2]);
    operations.extend([Operation::Ping { node: 0, webhook: 0 }, done]);
    operations.extend([publish(0); 5]);
    operations.push(Operation::Endpoint { webhook: 2, behaviour: Behaviour::AsksToWait });
    operations.extend([publish(0); 2]);
    operations.extend([
        done,
        Operation::Advance(Duration::from_secs(900)),
        store(StoreFate::FailsBefore),
        redeliver(4),
        publish(0),
        answered(),
        pace(2, None),
        Operation::SetHeld { node: 0, held: true, told: false },
        publish(0),
    ]);
    embedded(1, 11_538_743_643_487_199_908, operations)
}

fn busy_while_stopping() -> Plan {
    let seconds = Duration::from_secs(40);
    let mut operations = vec![publish(0), Operation::Advance(seconds)];
    operations.extend([publish(0); 4]);
    operations.push(store(StoreFate::FailsBefore));
    operations.extend([Operation::Stop { node: 0 }, Operation::SetBack { node: 0, by: seconds }]);
    embedded(1, 2_084_747_119_291_722_113, operations)
}

fn kept_beside_a_redelivery() -> Plan {
    let done = store(StoreFate::Done);
    let operations =
        vec![done, done, publish(1), done, publish(0), done, cancel(), redeliver(0), retry(false)];
    embedded(1, 13_263_054_504_105_643_703, operations)
}

fn kept_behind_a_redelivery() -> Plan {
    let done = store(StoreFate::Done);
    let mut operations = vec![done, done, publish(1), done, done, cancel(), retry(true), done, answered()];
    operations.extend([redeliver(0), store(StoreFate::FailsBefore)]);
    embedded(1, 1_577_428_081_543_353_497, operations)
}

fn redelivered_before_its_commit() -> Plan {
    let done = store(StoreFate::Done);
    let operations =
        vec![done, done, publish(0), done, store(StoreFate::HeardLater), redeliver(3), answered(), done];
    embedded(4, 6_376_287_989_632_776_086, operations)
}

fn born_behind_a_lease() -> Plan {
    let advance = |milliseconds| Operation::Advance(Duration::from_millis(milliseconds));
    let other = |fate| Operation::Store { node: 0, which: 2, fate };
    let operations = vec![
        Operation::SetActive { node: 0, webhook: 0, active: false, told: false },
        advance(1),
        publish(0),
        advance(40_000),
        publish(1),
        publish(0),
        store(StoreFate::Done),
        advance(1),
        store(StoreFate::FailsAfter),
        advance(6_000),
        store(StoreFate::HeardLater),
        store(StoreFate::Done),
        publish(0),
        store(StoreFate::Done),
        publish(0),
        other(StoreFate::FailsBefore),
        Operation::Linger(Duration::from_secs(60)),
        Operation::Hear { node: 0, which: 0 },
        other(StoreFate::HeardLater),
        store(StoreFate::Done),
        Operation::SetBack { node: 0, by: Duration::from_secs(900) },
        store(StoreFate::Done),
    ];
    embedded(1, 11_812_983_647_607_564_009, operations)
}

fn forgotten_by_a_corrupt_commit() -> Plan {
    let done = store(StoreFate::Done);
    let other = |which| Operation::Store { node: 0, which, fate: StoreFate::Done };
    let operations = vec![
        Operation::SetPace { node: 0, webhook: 4, pace: Some(1), told: false },
        Operation::Publish { node: 0, organization: 1, subject: 0, again: None, behind: 0 },
        done,
        Operation::Ping { node: 0, webhook: 0 },
        publish(0),
        Operation::Create { node: 0, organization: 0, subject: None, format: Format::Raw, pace: None },
        done,
        done,
        other(2),
        answered(),
        done,
        answered(),
        done,
        Operation::Delete { node: 0, webhook: 5 },
        Operation::Pause { node: 0 },
        other(5),
        store(StoreFate::Corrupt),
        Operation::Wake { node: 0, hears_all: false },
    ];
    embedded(1, 11_473_341_315_328_921_450, operations)
}
