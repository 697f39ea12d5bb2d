//! The changes of counts in a transaction. They are summed up during the transaction and written once, at its end.

use std::ops::{Deref, DerefMut};

use rusqlite::{Connection, Statement, params};
pub(crate) use stackbell_store::rows::ledger::{Account, WHOLE_ORGANIZATION};
use stackbell_store::rows::ledger::{Counts, Sums, TallyKey};
use stackbell_store::rows::{integer, milliseconds};
use stackbell_store::statistics::Tally;

use crate::error::Fault;
use crate::rows::change;

pub(crate) const ADD_TALLY: &str = "/* ledger.tally */ INSERT INTO tallies (hour, organization_number, \
    webhook_number, events, made, succeeded, failed, cancelled, attempts, attempts_failed, attempts_took) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
    ON CONFLICT (hour, organization_number, webhook_number) DO UPDATE SET events = events + excluded.events, \
    made = made + excluded.made, succeeded = succeeded + excluded.succeeded, failed = failed + excluded.failed, \
    cancelled = cancelled + excluded.cancelled, attempts = attempts + excluded.attempts, \
    attempts_failed = attempts_failed + excluded.attempts_failed, \
    attempts_took = attempts_took + excluded.attempts_took";

pub(crate) const ADD_USAGE: &str = "/* ledger.usage */ UPDATE organizations SET pending = pending + ?2, \
    stored_bytes = stored_bytes + ?3 WHERE number = ?1";

/// The changes of counts in one transaction.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Counts);

impl Ledger {
    /// Writes the changes.
    pub(crate) fn write(self, connection: &Connection) -> Result<(), Fault> {
        let Sums { tallies, usage } = self.0.sums();
        let mut add_tally = connection.prepare_cached(ADD_TALLY)?;
        for (key, tally) in &tallies {
            write_tally(&mut add_tally, *key, tally)?;
        }
        for (organization, usage) in &usage {
            change(connection, ADD_USAGE, [*organization, usage.pending, usage.stored_bytes])?;
        }
        Ok(())
    }
}

impl Deref for Ledger {
    type Target = Counts;

    fn deref(&self) -> &Counts {
        &self.0
    }
}

impl DerefMut for Ledger {
    fn deref_mut(&mut self) -> &mut Counts {
        &mut self.0
    }
}

fn write_tally(add: &mut Statement<'_>, key: TallyKey, tally: &Tally) -> Result<(), Fault> {
    let TallyKey { hour, organization, webhook } = key;
    let Tally { events, made, succeeded, failed, cancelled, attempts, attempts_failed, attempts_took } =
        *tally;
    let parameters = params![
        hour,
        organization,
        webhook,
        integer(events),
        integer(made),
        integer(succeeded),
        integer(failed),
        integer(cancelled),
        integer(attempts),
        integer(attempts_failed),
        milliseconds(attempts_took),
    ];
    add.execute(parameters)?;
    Ok(())
}
