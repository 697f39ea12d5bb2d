//! The speed of a lane's endpoint.

use stackbell_model::delivery::Attempt;

use super::Lane;
use crate::core::config::CoreConfig;
use crate::core::permits::Tier;

/// The longest quick response, in bytes. Reading and recording a longer one takes time from other lanes. The usual
/// acknowledgement is far shorter.
const QUICK_RESPONSE_BYTES_MAX: usize = 16 * 1024;

impl Lane {
    /// Learns from an attempt that got a response.
    pub(super) fn learn_speed(&mut self, attempt: &Attempt, config: &CoreConfig) {
        let before = if self.response_time.is_zero() { attempt.duration } else { self.response_time };
        self.response_time = (before * 7 + attempt.duration) / 8;
        self.has_stalled = false;
        let bytes =
            attempt.outcome.response().map_or(0, |response| response.headers.len() + response.body.len());
        if attempt.duration <= config.quick_response && bytes <= QUICK_RESPONSE_BYTES_MAX {
            self.tier = Tier::Quick;
            self.limit = (self.limit + 1).min(config.lane_limit_max);
        } else {
            self.tier = Tier::Unproven;
        }
    }
}
