//! How much one organization may have.

use stackbell_model::webhook::WEBHOOKS_IN_SCOPE_MAX;
use stackbell_store::commit::Quota;

/// What an operator allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most webhooks of one organization, stack or environment; from 1.
    pub webhooks_in_scope_max: u32,
    /// What an organization may keep. The engine sees to it; here it is shown beside what the organization does keep.
    pub quota: Quota,
}

impl Default for Limits {
    fn default() -> Self {
        let webhooks_in_scope_max = u32::try_from(WEBHOOKS_IN_SCOPE_MAX).expect("a thousand");
        Self { webhooks_in_scope_max, quota: Quota::UNLIMITED }
    }
}
