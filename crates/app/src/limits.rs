//! Limits of one organization and of one event.

use stackbell_model::event::PAYLOAD_BYTES_MAX;
use stackbell_model::webhook::WEBHOOKS_IN_SCOPE_MAX;
use stackbell_store::commit::Quota;

/// The operator's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most webhooks of one organization, stack or environment; from 1.
    pub webhooks_in_scope_max: u32,
    /// The most that an organization may keep. The engine applies it; the control plane only shows it.
    pub quota: Quota,
    /// The most bytes of an event's payload, compact and filled in.
    pub payload_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let webhooks_in_scope_max = u32::try_from(WEBHOOKS_IN_SCOPE_MAX).expect("a thousand");
        Self { webhooks_in_scope_max, quota: Quota::UNLIMITED, payload_bytes_max: PAYLOAD_BYTES_MAX }
    }
}
