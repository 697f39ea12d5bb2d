//! Taking in all that another store holds.
//!
//! - `rows`, `webhooks`, `events`: rows in, many at once; what they refer to by id is found by the statement that inserts them
//! - `export`: the same rows out again, to be compared
//!
//! Ended deliveries, events and attempts are put into the days that their ids fall into, which are made for them: they go as
//! those that came in by themselves.

mod events;
mod export;
mod rows;
mod webhooks;

use std::collections::BTreeSet;

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::instance::SendingHold;
use stackbell_store::rows::{Columns as _, Id as _, integer};
use stackbell_store::transfer::rows::DeliverySubject;
use stackbell_store::transfer::{CopyBegun, CopyId, CopyState, Import, Noun, Place, Progress, Rows};
use uuid::Uuid;

use crate::PostgresStore;
use crate::audit::insert_audit;
use crate::error::Fault;
use crate::instance;
use crate::partitions;
use crate::session::{Access, Transaction};
use crate::statement::statement;

#[cfg(test)]
pub(crate) use export::STATEMENTS as EXPORTS;

// A page whose sender is gone may be about to commit: it holds the row, and is waited for.
statement!(FIND = "/* copy_state */ SELECT id, source, begun_at, noun, after_numbers[1], after_numbers[2], \
    after_numbers[3], after_id, rows, finished_at FROM copies FOR UPDATE";);

statement!(LOCK = "/* begin_copy.lock */ LOCK TABLE copies IN EXCLUSIVE MODE";);

// A node says every few seconds that it is at work.
statement!(FIND_ANYTHING = "/* begin_copy.find */ SELECT CASE \
    WHEN EXISTS (SELECT FROM copies) THEN 'a copy' \
    WHEN EXISTS (SELECT FROM organizations) THEN 'organizations' \
    WHEN EXISTS (SELECT FROM users) THEN 'users' \
    WHEN EXISTS (SELECT FROM data_keys) THEN 'data keys' \
    WHEN EXISTS (SELECT FROM audit) THEN 'an audit log' \
    WHEN EXISTS (SELECT FROM nodes WHERE seen_at > now_ms() - 60000) THEN 'a node that is at work' END";);

statement!(BEGIN = "/* begin_copy */ INSERT INTO copies (one, id, source, begun_at, noun, after_numbers, after_id, rows) \
    VALUES (1, $1, $2, $3, $4, $5, $6, 0)"; UUID, TEXT, INT8, TEXT, INT8_ARRAY, UUID);

// Whoever is at the same copy waits here, and then finds it elsewhere.
statement!(ADVANCE = "/* import_rows.advance */ UPDATE copies SET noun = $3, after_numbers = $4, after_id = $5, rows = $6 \
    WHERE id = $1 AND rows = $2 AND finished_at IS NULL"; UUID, INT8, TEXT, INT8_ARRAY, UUID, INT8);

statement!(FINISH = "/* finish_copy */ UPDATE copies SET finished_at = $2 WHERE id = $1 AND finished_at IS NULL";
    UUID, INT8);

/// Who plans has no idea of what came in at once.
const ANALYZE: &str = "/* settle */ ANALYZE organizations, usage, users, memberships, tokens, webhooks, event_ids, \
    events, deliveries, attempts, recoveries, tallies, audit";

/// Days that are made in one transaction: each locks some twenty tables and indices.
const DAYS_MAX: usize = 16;

#[async_trait]
impl Import for PostgresStore {
    async fn copy_state(&self) -> Result<Option<CopyState>, StoreError> {
        self.people.run(Access::Long, "copy_state", |tx| async move { find(&tx).await }).await
    }

    async fn begin_copy(&self, id: CopyId, source: &str, now: Timestamp) -> Result<CopyBegun, StoreError> {
        self.write("begin_copy", |tx| async move {
            tx.change(&LOCK, &[]).await?;
            let found = tx.first(&FIND_ANYTHING, &[], "copies", |cursor| {
                Ok(cursor.text_or_null("one")?.map(str::to_owned))
            });
            if let Some(what) = found.await?.flatten() {
                return Ok(CopyBegun::NotEmpty { what });
            }
            let Place { numbers, id: after } = Place::BEGINNING;
            let (begun_at, noun) = (now.as_millis(), Noun::FIRST.as_str());
            tx.change(&BEGIN, &[&id, &source, &begun_at, &noun, &numbers.as_slice(), &after]).await?;
            Ok(CopyBegun::Done)
        })
        .await
    }

    async fn import_rows(
        &self,
        id: CopyId,
        rows: &Rows,
        before: Progress,
        after: Progress,
    ) -> Result<(), StoreError> {
        self.make_days_of(rows).await?;
        self.people
            .run(Access::Long, "import_rows", |tx| async move {
                advance(&tx, id, before, after).await?;
                rows::insert(&tx, rows).await
            })
            .await
    }

    async fn settle(&self) -> Result<(), StoreError> {
        self.people.run(Access::Long, "settle", |tx| async move { tx.define(ANALYZE).await }).await
    }

    async fn finish_copy(
        &self,
        id: CopyId,
        hold: Option<&SendingHold>,
        audit: AuditEntry,
    ) -> Result<(), StoreError> {
        let audit = &audit;
        self.write("finish_copy", |tx| async move {
            if tx.change(&FINISH, &[&id, &audit.at.as_millis()]).await? == 0 {
                return Err(elsewhere(id));
            }
            if let Some(hold) = hold {
                tx.change(&instance::HOLD, &[&hold.since.as_millis(), &hold.reason]).await?;
            }
            insert_audit(&tx, audit).await
        })
        .await
    }
}

impl PostgresStore {
    /// Makes the days that rows belong into. That they are there harms nobody, whatever becomes of the rows.
    async fn make_days_of(&self, rows: &Rows) -> Result<(), StoreError> {
        let days: Vec<i64> = days_of(rows).into_iter().collect();
        if days.is_empty() {
            return Ok(());
        }
        let wanted = &days;
        let missing =
            self.people
                .run(Access::Long, "import_rows.days", |tx| async move {
                    partitions::missing_days(&tx, wanted).await
                })
                .await?;
        for days in missing.chunks(DAYS_MAX) {
            self.people
                .run(Access::Long, "import_rows.make_days", |tx| async move {
                    partitions::make_past_days(&tx, days).await
                })
                .await?;
        }
        Ok(())
    }
}

/// The days that ids of rows fall into. An id whose day is not about that of its row's making was made elsewhere, or by a
/// clock that was wrong. Attempts lie in the days of deliveries, which came before them.
fn days_of(rows: &Rows) -> BTreeSet<i64> {
    let day = |id: Uuid, at: Timestamp| {
        let day = partitions::day_of(id);
        (day - at.as_millis().div_euclid(partitions::DAY_MS)).abs().le(&1).then_some(day)
    };
    match rows {
        Rows::Events(rows) => {
            rows.iter().filter_map(|row| day(row.event.key.uuid(), row.event.accepted_at)).collect()
        }
        Rows::Deliveries(rows) => {
            let of_event = |subject: &DeliverySubject| match subject {
                DeliverySubject::Event(key) => Some(key.uuid()),
                DeliverySubject::Ping(_) => None,
            };
            let days = rows.iter().filter_map(|row| day(row.id.uuid(), row.created_at));
            // An event is not dropped before the deliveries of its day.
            let of_events =
                rows.iter().filter_map(|row| of_event(&row.subject).and_then(|key| day(key, row.created_at)));
            days.chain(of_events).collect()
        }
        Rows::Organizations(_)
        | Rows::Users(_)
        | Rows::Memberships(_)
        | Rows::Tokens(_)
        | Rows::DataKeys(_)
        | Rows::DeploymentsCredentials(_)
        | Rows::SourceCursors(_)
        | Rows::Webhooks(_)
        | Rows::Attempts(_)
        | Rows::Recoveries(_)
        | Rows::Tallies(_)
        | Rows::Audit(_) => BTreeSet::new(),
    }
}

async fn find(tx: &Transaction) -> Result<Option<CopyState>, Fault> {
    tx.first(&FIND, &[], "copies", |cursor| {
        Ok(CopyState {
            id: cursor.uuid_or_null("id")?.ok_or_else(|| cursor.fault("id", &"is null"))?,
            source: cursor.text("source")?.to_owned(),
            begun_at: cursor.time("begun_at")?,
            progress: Progress {
                noun: cursor.word("noun", Noun::parse)?,
                after: Place {
                    numbers: [
                        cursor.integer("after_numbers")?,
                        cursor.integer("after_numbers")?,
                        cursor.integer("after_numbers")?,
                    ],
                    id: cursor.uuid_or_null("after_id")?.unwrap_or(Uuid::nil()),
                },
                rows: cursor.count("rows")?,
            },
            finished_at: cursor.time_or_null("finished_at")?,
        })
    })
    .await
}

async fn advance(tx: &Transaction, id: CopyId, before: Progress, after: Progress) -> Result<(), Fault> {
    let (rows_before, noun, rows) = (integer(before.rows), after.noun.as_str(), integer(after.rows));
    let Place { numbers, id: after } = after.after;
    let advanced =
        tx.change(&ADVANCE, &[&id, &rows_before, &noun, &numbers.as_slice(), &after, &rows]).await?;
    if advanced == 0 { Err(elsewhere(id)) } else { Ok(()) }
}

fn elsewhere(id: CopyId) -> Fault {
    Fault::Unreadable {
        table: "copies",
        column: "rows",
        id: id.to_string(),
        problem: "the copy is not where this process left it: another one is at it".to_owned(),
    }
}
