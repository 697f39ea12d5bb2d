//! Whether anything is sent at all: an operator, or a restored backup, may hold it.
//!
//! What is held is accepted, matched and kept; what somebody asks for goes out. Nothing is sent by itself until it is
//! known that nothing is held.

use stackbell_model::Timestamp;
use stackbell_store::instance::SendingHold;

use super::Core;
use super::messages::{Command, Notice};

/// How long after a failed look the store is asked again.
const FAILED_LOOK_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

/// What is known of it.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    /// Not yet: the store has not been asked since the start.
    Nothing,
    Going,
    /// A commit or a lease has found it held; why is not known yet.
    FoundHeld,
    Held,
}

#[derive(Debug, PartialEq, Eq)]
enum Look {
    Due {
        at: Timestamp,
    },
    /// `again`: something happened meanwhile that it may have missed.
    UnderWay {
        again: bool,
    },
}

/// Sending, as far as it is known here.
#[derive(Debug)]
pub(super) struct Sending {
    known: Known,
    look: Look,
    /// Somebody held or resumed it, and it has not been read since which.
    in_doubt: bool,
}

impl Sending {
    pub(super) fn unknown(now: Timestamp) -> Self {
        Self { known: Known::Nothing, look: Look::Due { at: now }, in_doubt: false }
    }

    /// Whether it may have been held since it was known to go.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Whether deliveries may be sent by themselves.
    pub(super) fn goes(&self) -> bool {
        self.known == Known::Going
    }

    /// Whether it is known to be held. Before the first look nobody knows.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.known, Known::FoundHeld | Known::Held)
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        match self.look {
            Look::Due { at } => Some(at),
            Look::UnderWay { .. } => None,
        }
    }
}

impl Core {
    /// Somebody held or resumed sending.
    pub(super) fn sending_changed(&mut self, now: Timestamp) {
        self.sending.in_doubt = true;
        self.sending.look = match self.sending.look {
            Look::Due { .. } => Look::Due { at: now },
            Look::UnderWay { .. } => Look::UnderWay { again: true },
        };
    }

    pub(super) fn start_sending_look(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        if let Look::Due { at } = self.sending.look
            && at <= now
            && !self.stopping
        {
            self.sending.look = Look::UnderWay { again: false };
            commands.push(Command::ReadSendingHold);
        }
    }

    pub(super) fn sending_read(
        &mut self,
        hold: Option<SendingHold>,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        // It may have been read before what happened meanwhile: it is not taken for leave to send.
        let is_outdated = self.sending.look == Look::UnderWay { again: true };
        self.sending.in_doubt &= is_outdated;
        self.look_again(now.after(self.config.sending_look_interval), now);
        match (&self.sending.known, hold) {
            (_, None) if is_outdated => {}
            (Known::Nothing | Known::Going | Known::FoundHeld, Some(hold)) => {
                commands.push(Command::Note(Notice::SendingHeld { hold }));
                self.sending.known = Known::Held;
            }
            (Known::Held, Some(_)) => {}
            (Known::Held, None) => {
                commands.push(Command::Note(Notice::SendingResumed));
                self.sending.known = Known::Going;
            }
            (Known::Nothing | Known::Going | Known::FoundHeld, None) => self.sending.known = Known::Going,
        }
    }

    /// What the store has found on its way. A hold stops what would begin from here on; that it is over must be read.
    pub(super) fn sending_found(&mut self, is_held: bool, now: Timestamp) {
        match (&self.sending.known, is_held) {
            (Known::Nothing | Known::Going, true) => {
                self.sending.known = Known::FoundHeld;
                self.sending_changed(now);
            }
            (Known::Held, false) => {
                // A look that is under way will tell; what every commit says must not have it taken for outdated.
                if let Look::Due { at } = &mut self.sending.look {
                    *at = now;
                }
            }
            (Known::FoundHeld | Known::Held, true)
            | (Known::Nothing | Known::Going | Known::FoundHeld, false) => {}
        }
    }

    /// What was known before still holds, as far as anybody can say.
    pub(super) fn sending_not_read(&mut self, now: Timestamp) {
        self.look_again(now.after(FAILED_LOOK_WAIT), now);
    }

    fn look_again(&mut self, at: Timestamp, now: Timestamp) {
        let again = self.sending.look == Look::UnderWay { again: true };
        self.sending.look = Look::Due { at: if again { now } else { at } };
    }
}
