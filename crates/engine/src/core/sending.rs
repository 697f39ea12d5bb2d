//! The hold of all sending. An operator sets it, and so does a restored backup.
//!
//! While sending is held, events are accepted, matched and kept. Pings and redeliveries are sent. Nothing else is sent until
//! the store has said that sending is not held.

use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_store::instance::SendingHold;

use super::messages::Notice;

/// The time between a failed read of the hold and the next.
const FAILED_READ_WAIT: Duration = Duration::from_secs(1);

/// This node's knowledge of the hold.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    /// The store has not been read since the start.
    Nothing,
    Going,
    /// A commit or a lease found that sending is held. The reason is not known yet.
    FoundHeld,
    Held,
}

#[derive(Debug, PartialEq, Eq)]
enum Read {
    Due {
        at: Timestamp,
    },
    /// `again` is true if something happened since the read began that the read may have missed.
    UnderWay {
        again: bool,
    },
}

/// The hold, as this node knows it.
#[derive(Debug)]
pub(super) struct Sending {
    known: Known,
    read: Read,
    /// The hold was changed, and it has not been read since.
    in_doubt: bool,
    /// The time between two reads.
    read_interval: Duration,
}

impl Sending {
    pub(super) fn unknown(read_interval: Duration, now: Timestamp) -> Self {
        Self { known: Known::Nothing, read: Read::Due { at: now }, in_doubt: false, read_interval }
    }

    /// True if sending may have been held since the last read.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// True if sending is known to go on.
    pub(super) fn goes(&self) -> bool {
        self.known == Known::Going
    }

    /// True if sending is known to be held.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.known, Known::FoundHeld | Known::Held)
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        match self.read {
            Read::Due { at } => Some(at),
            Read::UnderWay { .. } => None,
        }
    }

    /// Somebody held or resumed sending.
    pub(super) fn changed(&mut self, now: Timestamp) {
        self.in_doubt = true;
        self.read = match self.read {
            Read::Due { .. } => Read::Due { at: now },
            Read::UnderWay { .. } => Read::UnderWay { again: true },
        };
    }

    /// True if the hold is to be read now. The read is under way from then on.
    pub(super) fn begin_read(&mut self, now: Timestamp) -> bool {
        let is_due = matches!(self.read, Read::Due { at } if at <= now);
        if is_due {
            self.read = Read::UnderWay { again: false };
        }
        is_due
    }

    /// The hold was read. Returns the change, if there is one.
    pub(super) fn read(&mut self, hold: Option<SendingHold>, now: Timestamp) -> Option<Notice> {
        // A read that may be older than the last change is no permission to send.
        let is_outdated = self.read == Read::UnderWay { again: true };
        self.in_doubt &= is_outdated;
        self.read_again(now.after(self.read_interval), now);
        match (&self.known, hold) {
            (_, None) if is_outdated => None,
            (Known::Nothing | Known::Going | Known::FoundHeld, Some(hold)) => {
                self.known = Known::Held;
                Some(Notice::SendingHeld { hold })
            }
            (Known::Held, Some(_)) => None,
            (Known::Held, None) => {
                self.known = Known::Going;
                Some(Notice::SendingResumed)
            }
            (Known::Nothing | Known::Going | Known::FoundHeld, None) => {
                self.known = Known::Going;
                None
            }
        }
    }

    /// A commit or a lease said whether sending is held. A hold stops new attempts at once; its end has to be read.
    pub(super) fn found(&mut self, is_held: bool, now: Timestamp) {
        match (&self.known, is_held) {
            (Known::Nothing | Known::Going, true) => {
                self.known = Known::FoundHeld;
                self.changed(now);
            }
            (Known::Held, false) => {
                // A read that is under way counts: every commit says this, and must not make each read outdated.
                if let Read::Due { at } = &mut self.read {
                    *at = now;
                }
            }
            (Known::FoundHeld | Known::Held, true)
            | (Known::Nothing | Known::Going | Known::FoundHeld, false) => {}
        }
    }

    /// The hold could not be read. The last knowledge stays in force.
    pub(super) fn not_read(&mut self, now: Timestamp) {
        self.read_again(now.after(FAILED_READ_WAIT), now);
    }

    fn read_again(&mut self, at: Timestamp, now: Timestamp) {
        let again = self.read == Read::UnderWay { again: true };
        self.read = Read::Due { at: if again { now } else { at } };
    }
}
