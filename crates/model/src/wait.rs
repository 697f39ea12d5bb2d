//! The reasons why pending deliveries are not sent now.

/// The reason why a pending delivery is not sent now.
///
/// A delivery without such a reason is due: it is sent as soon as a node has a free permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitReason {
    /// Its last attempt failed, and its next attempt is scheduled for later.
    Backoff,
    /// Its webhook's circuit breaker is open. The endpoint is failing, and single attempts test whether it
    /// has recovered.
    Breaker,
    /// Its webhook has a rate limit.
    Pace,
    /// Its endpoint has reached the limit of attempts in flight.
    Busy,
    /// Its webhook is suspended.
    Suspended,
    /// Its webhook is not active.
    Inactive,
    /// All sending is on hold.
    SendingHeld,
}

impl WaitReason {
    /// All reasons, in the order of the discriminants.
    pub const ALL: &'static [Self] = &[
        Self::Backoff,
        Self::Breaker,
        Self::Pace,
        Self::Busy,
        Self::Suspended,
        Self::Inactive,
        Self::SendingHeld,
    ];

    /// The text form for metrics and responses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backoff => "backoff",
            Self::Breaker => "breaker",
            Self::Pace => "pace",
            Self::Busy => "busy",
            Self::Suspended => "suspended",
            Self::Inactive => "inactive",
            Self::SendingHeld => "sending_held",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_in_order() {
        assert!(WaitReason::ALL.iter().enumerate().all(|(index, reason)| *reason as usize == index));
    }
}
