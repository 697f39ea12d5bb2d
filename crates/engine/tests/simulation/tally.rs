//! Counts of what histories met, which show the coverage of a run.

/// Something that a history met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    SharedStore,
    CommitDone,
    CommitFailedBefore,
    CommitFailedAfter,
    CommitFull,
    CommitCorrupt,
    LeaseDone,
    LeaseFailedBefore,
    LeaseFailedAfter,
    LeaseCorrupt,
    OtherRequestFailed,
    HeardLater,
    LeaseStolen,
    OutcomeSuperseded,
    OutcomeUnrecordable,
    NodePaused,
    WokenWithMail,
    NodeKilled,
    NodeStopped,
    ClockAhead,
    ClockBack,
    NodesMisseen,
    RequestLost,
    AnswerLost,
    OurFault,
    Sent,
    SentAgainAfterSuccess,
    Probed,
    Redelivered,
    Pinged,
    PublishRefused,
    AskRefused,
    Rearmed,
    Suspended,
    AskedToWait,
    CursorAdvanced,
    ChangeRefused,
    EventsDropped,
    SendingHeld,
}

impl Met {
    const COUNT: usize = Self::SendingHeld as usize + 1;

    #[rustfmt::skip]
    const NAMES: [(Self, &str); Self::COUNT] = [
        (Self::SharedStore, "histories of several nodes on one store"),
        (Self::CommitDone, "commits done"),
        (Self::CommitFailedBefore, "commits failed before they happened"),
        (Self::CommitFailedAfter, "commits failed after they had happened"),
        (Self::CommitFull, "commits refused by a full store"),
        (Self::CommitCorrupt, "commits that met a row that cannot be read"),
        (Self::LeaseDone, "leases done"),
        (Self::LeaseFailedBefore, "leases failed before they happened"),
        (Self::LeaseFailedAfter, "leases failed after they had happened"),
        (Self::LeaseCorrupt, "leases that met a row that cannot be read"),
        (Self::OtherRequestFailed, "other requests to the store failed"),
        (Self::HeardLater, "answers of the store heard later"),
        (Self::LeaseStolen, "leases stolen: run out, and taken by another node"),
        (Self::OutcomeSuperseded, "outcomes that came too late"),
        (Self::OutcomeUnrecordable, "outcomes given up: a row cannot be read"),
        (Self::NodePaused, "nodes paused"),
        (Self::WokenWithMail, "nodes woken that had missed something"),
        (Self::NodeKilled, "nodes killed"),
        (Self::NodeStopped, "nodes stopped"),
        (Self::ClockAhead, "clocks set ahead"),
        (Self::ClockBack, "clocks set back"),
        (Self::NodesMisseen, "nodes that saw the wrong nodes"),
        (Self::RequestLost, "requests lost"),
        (Self::AnswerLost, "answers of endpoints lost"),
        (Self::OurFault, "requests that never left"),
        (Self::Sent, "requests sent"),
        (Self::SentAgainAfterSuccess, "requests sent again after a 2xx: a crash or a lost lease"),
        (Self::Probed, "probes of suspended webhooks"),
        (Self::Redelivered, "redeliveries sent"),
        (Self::Pinged, "pings sent"),
        (Self::PublishRefused, "publishes refused"),
        (Self::AskRefused, "pings and redeliveries refused"),
        (Self::Rearmed, "deliveries begun anew"),
        (Self::Suspended, "webhooks suspended"),
        (Self::AskedToWait, "answers that asked to be left alone for a time"),
        (Self::CursorAdvanced, "cursors advanced"),
        (Self::ChangeRefused, "changes refused: another cursor"),
        (Self::EventsDropped, "changes accepted without their events: a full quota"),
        (Self::SendingHeld, "sending held"),
    ];
}

/// The count of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tally([u64; Met::COUNT]);

impl Default for Tally {
    fn default() -> Self {
        Self([0; Met::COUNT])
    }
}

impl Tally {
    pub(crate) fn note(&mut self, met: Met) {
        self.0[met as usize] += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }

    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let never = |(met, _): &&(Met, &str)| self.0[*met as usize] == 0;
        Met::NAMES.iter().filter(never).map(|(_, name)| *name).collect()
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (met, name) in Met::NAMES {
            writeln!(f, "{:>12}  {name}", self.0[met as usize])?;
        }
        Ok(())
    }
}
