//! Random operations on a store.

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use stackbell_store::queue::LaneMode;

use crate::WEBHOOKS;

const OPERATIONS_MAX: usize = 60;

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Accept {
        matches: [bool; WEBHOOKS],
        has_body: bool,
        is_leased: bool,
        pending_max: u64,
        hours_ago: u32,
    },
    AcceptAgain {
        event: usize,
        digest: u8,
    },
    /// An item that advances the cursor, from its current or from another value, with a new event or an earlier one.
    AdvanceCursor {
        is_behind: bool,
        event: Option<usize>,
        pending_max: u64,
    },
    Lease {
        webhook: usize,
        limit: u32,
        mode: LaneMode,
    },
    Record {
        held: usize,
        status: u16,
        next: After,
    },
    Redeliver {
        delivery: usize,
        status: u16,
    },
    Ping {
        webhook: usize,
        status: u16,
    },
    Cancel {
        delivery: usize,
    },
    Retry {
        delivery: usize,
    },
    Recover {
        webhook: usize,
        since: usize,
    },
    Advance {
        recovery: usize,
        rows_max: u32,
    },
    Replace {
        webhook: usize,
    },
    Toggle {
        webhook: usize,
    },
    Resume {
        webhook: usize,
    },
    HoldSending,
    ResumeSending,
    Pass {
        minutes: u32,
    },
    Sweep {
        days_kept: u32,
    },
    Restart,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum After {
    Succeeded,
    Failed,
    Retry { minutes: u32, spent: bool },
}

pub(crate) fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let which = || 0..16_usize;
    let status = || prop_oneof![Just(200), Just(410), Just(500)];
    let mode = prop_oneof![3 => Just(LaneMode::Due), 1 => Just(LaneMode::Probe), 1 => Just(LaneMode::Asked)];
    let after = prop_oneof![
        1 => Just(After::Succeeded),
        3 => Just(After::Failed),
        1 => (0..300_u32, any::<bool>()).prop_map(|(minutes, spent)| After::Retry { minutes, spent }),
    ];
    let pending_max = prop_oneof![3 => Just(u64::MAX), 1 => 0..8_u64];
    let advance_cursor = (proptest::bool::weighted(0.2), proptest::option::of(which()), pending_max.clone());
    let accept = (any::<[bool; WEBHOOKS]>(), any::<bool>(), any::<bool>(), pending_max, 0..400_u32);
    let operation = prop_oneof![
        6 => accept.prop_map(|(matches, has_body, is_leased, pending_max, hours_ago)| {
            Operation::Accept { matches, has_body, is_leased, pending_max, hours_ago }
        }),
        1 => (which(), 1..3_u8).prop_map(|(event, digest)| Operation::AcceptAgain { event, digest }),
        3 => advance_cursor
            .prop_map(|(is_behind, event, pending_max)| Operation::AdvanceCursor { is_behind, event, pending_max }),
        4 => (which(), 1..5_u32, mode)
            .prop_map(|(webhook, limit, mode)| Operation::Lease { webhook, limit, mode }),
        6 => (which(), status(), after)
            .prop_map(|(held, status, next)| Operation::Record { held, status, next }),
        2 => (which(), status()).prop_map(|(delivery, status)| Operation::Redeliver { delivery, status }),
        1 => (which(), status()).prop_map(|(webhook, status)| Operation::Ping { webhook, status }),
        2 => which().prop_map(|delivery| Operation::Cancel { delivery }),
        2 => which().prop_map(|delivery| Operation::Retry { delivery }),
        2 => (which(), which()).prop_map(|(webhook, since)| Operation::Recover { webhook, since }),
        4 => (which(), 1..4_u32)
            .prop_map(|(recovery, rows_max)| Operation::Advance { recovery, rows_max }),
        1 => which().prop_map(|webhook| Operation::Replace { webhook }),
        1 => which().prop_map(|webhook| Operation::Toggle { webhook }),
        1 => which().prop_map(|webhook| Operation::Resume { webhook }),
        1 => Just(Operation::HoldSending),
        1 => Just(Operation::ResumeSending),
        2 => prop_oneof![0..120_u32, 0..20_000_u32].prop_map(|minutes| Operation::Pass { minutes }),
        2 => (0..20_u32).prop_map(|days_kept| Operation::Sweep { days_kept }),
        1 => Just(Operation::Restart),
    ];
    proptest::collection::vec(operation, 1..OPERATIONS_MAX)
}
