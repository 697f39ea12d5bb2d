//! Why pending deliveries are not sent now.

/// Why a pending delivery is not sent now although nobody has given it up.
///
/// A delivery that has none of these is due: it goes out as soon as a node has room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitReason {
    /// Its last attempt failed, and the schedule has the next one later.
    Backoff,
    /// Its webhook's circuit breaker is open: its endpoint fails, and single attempts find out when that is over.
    Breaker,
    /// Its webhook is kept to a number of attempts in a time.
    Pace,
    /// Its endpoint has as many attempts under way as it may get at once.
    Busy,
    /// Its webhook is suspended.
    Suspended,
    /// Its webhook is not active.
    Inactive,
    /// All sending is held.
    SendingHeld,
}

impl WaitReason {
    /// All of them, in the order of the discriminants.
    pub const ALL: &'static [Self] = &[
        Self::Backoff,
        Self::Breaker,
        Self::Pace,
        Self::Busy,
        Self::Suspended,
        Self::Inactive,
        Self::SendingHeld,
    ];

    /// The word for it in metrics and answers.
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
