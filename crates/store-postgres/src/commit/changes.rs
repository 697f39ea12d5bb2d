//! Changes of state that commit together with events.

use std::collections::{BTreeMap, HashMap};

use futures_util::future::try_join;
use stackbell_model::ids::{OrganizationId, SourceId};
use stackbell_model::source::{Change, SourceCursor};
use stackbell_store::audit::AuditEntry;
use stackbell_store::commit::Batch;
use stackbell_store::rows::{Columns as _, Id as _};
use uuid::Uuid;

use crate::audit::insert_audit;
use crate::error::Fault;
use crate::session::Transaction;
use crate::statement::{Statement, statement};

// The rows stay locked until the end. If two batches advance one cursor, the second one sees the first one's write.
statement!(FIND_CURSORS = "/* commit.cursors */ SELECT o.id, c.source, c.cursor \
    FROM unnest($1::uuid[], $2::uuid[]) AS new (organization, source) JOIN organizations o ON o.id = new.organization \
    JOIN source_cursors c ON c.organization_number = o.number AND c.source = new.source \
    ORDER BY c.organization_number, c.source FOR UPDATE OF c"; UUID_ARRAY, UUID_ARRAY);

statement!(INSERT_CURSORS = "/* commit.insert_cursors */ INSERT INTO source_cursors (organization_number, source, cursor) \
    SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[])"; INT8_ARRAY, UUID_ARRAY, TEXT_ARRAY);

statement!(UPDATE_CURSORS = "/* commit.update_cursors */ UPDATE source_cursors c SET cursor = new.cursor \
    FROM unnest($1::bigint[], $2::uuid[], $3::text[]) AS new (organization_number, source, cursor) \
    WHERE c.organization_number = new.organization_number AND c.source = new.source";
    INT8_ARRAY, UUID_ARRAY, TEXT_ARRAY);

/// Cursors by organization and source.
pub(super) type Cursors = HashMap<(OrganizationId, SourceId), SourceCursor>;

/// Finds and locks the cursors that a batch's changes refer to.
pub(super) async fn find_cursors(tx: &Transaction, batch: &Batch) -> Result<Cursors, Fault> {
    let changes = batch.intakes.iter().filter_map(|item| Some((item.organization, item.change.as_deref()?)));
    let (organizations, sources): (Vec<Uuid>, Vec<Uuid>) = changes
        .map(|(organization, change)| match &change.change {
            Change::AdvanceCursor { source, .. } => (organization.uuid(), source.uuid()),
        })
        .unzip();
    if sources.is_empty() {
        return Ok(Cursors::new());
    }
    let found = tx
        .list(&FIND_CURSORS, &[&organizations, &sources], "source_cursors", |cursor| {
            let key = (cursor.id("organization_number")?, cursor.id("source")?);
            Ok((key, cursor.word("cursor", SourceCursor::parse)?))
        })
        .await?;
    Ok(found.into_iter().collect())
}

/// The changes of a batch that are applied.
#[derive(Default)]
pub(super) struct Changes<'batch> {
    /// The new cursors, with the numbers of their organizations.
    cursors: BTreeMap<(OrganizationId, SourceId), (i64, &'batch SourceCursor)>,
    audit: Vec<&'batch AuditEntry>,
}

impl<'batch> Changes<'batch> {
    /// The cursor that an earlier item of the batch has set.
    pub(super) fn cursor(&self, organization: OrganizationId, source: SourceId) -> Option<&SourceCursor> {
        self.cursors.get(&(organization, source)).map(|(_, cursor)| *cursor)
    }

    pub(super) fn apply(&mut self, organization: OrganizationId, number: i64, change: &'batch Change) {
        match change {
            Change::AdvanceCursor { source, from: _, to } => {
                self.cursors.insert((organization, *source), (number, to));
            }
        }
    }

    pub(super) fn audit(&mut self, entry: &'batch AuditEntry) {
        self.audit.push(entry);
    }

    /// Writes all changes. `found` has the cursors that exist in the database.
    pub(super) async fn write(&self, tx: &Transaction, found: &Cursors) -> Result<(), Fault> {
        try_join(
            self.write_cursors(tx, &UPDATE_CURSORS, |key| found.contains_key(key)),
            // If another node has inserted the cursor since, the insert fails and the batch is repeated.
            self.write_cursors(tx, &INSERT_CURSORS, |key| !found.contains_key(key)),
        )
        .await?;
        for entry in &self.audit {
            insert_audit(tx, entry).await?;
        }
        Ok(())
    }

    async fn write_cursors(
        &self,
        tx: &Transaction,
        statement: &Statement,
        is_wanted: impl Fn(&(OrganizationId, SourceId)) -> bool,
    ) -> Result<(), Fault> {
        let (mut numbers, mut sources, mut cursors) = (Vec::new(), Vec::new(), Vec::new());
        for (key, (number, cursor)) in self.cursors.iter().filter(|(key, _)| is_wanted(key)) {
            numbers.push(*number);
            sources.push(key.1.uuid());
            cursors.push(cursor.as_str());
        }
        if numbers.is_empty() {
            return Ok(());
        }
        tx.change(statement, &[&numbers, &sources, &cursors]).await.map(drop)
    }
}
