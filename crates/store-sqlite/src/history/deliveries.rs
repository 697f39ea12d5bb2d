//! Lists of deliveries, newest first.
//!
//! An index has the deliveries of each webhook in order. The list of an organization merges those of its webhooks.

use std::collections::BinaryHeap;

use rusqlite::{CachedStatement, Connection, params};
use stackbell_model::Timestamp;
use stackbell_model::delivery::StateKind;
use stackbell_model::ids::{DeliveryId, OrganizationId, WebhookId};
use stackbell_store::history::{DeliveryFilter, DeliveryOverview, DeliveryPage, KindFilter};
use uuid::Uuid;

use crate::error::Fault;
use crate::rows::overview::{overview_columns, overview_tables};
use crate::rows::{first, first_of, list};
use stackbell_store::rows::Id;
use stackbell_store::rows::event::subject_columns;
use stackbell_store::rows::overview::read_overview;

/// Includes deleted webhooks, which stay while they have deliveries.
pub(crate) const WEBHOOKS: &str = "/* list_deliveries.webhooks */ SELECT w.number FROM organizations o \
    JOIN webhooks w ON w.organization_number = o.number WHERE o.id = ?1 AND (?2 IS NULL OR w.id = ?2)";

pub(crate) const LIST: &str = "/* list_deliveries.all */ SELECT id, number FROM deliveries \
    INDEXED BY deliveries_by_id WHERE webhook_number = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3";

/// Steps over no finished delivery.
pub(crate) const LIST_PENDING: &str = "/* list_deliveries.pending */ SELECT id, number FROM deliveries \
    INDEXED BY deliveries_pending_by_id WHERE webhook_number = ?1 AND state = 'pending' \
    AND id < ?2 ORDER BY id DESC LIMIT ?3";

/// Steps over no delivery that succeeded.
pub(crate) const LIST_LOST: &str = "/* list_deliveries.lost */ SELECT id, number FROM deliveries \
    INDEXED BY deliveries_lost WHERE webhook_number = ?1 AND (state = 'failed' OR state = 'cancelled') \
    AND id < ?2 ORDER BY id DESC LIMIT ?3";

pub(crate) const FIND_MATCHING: &str = concat!(
    "/* list_deliveries */ SELECT ",
    overview_columns!(),
    overview_tables!(),
    "WHERE d.number = ?1 AND (?2 IS NULL OR d.state = ?2) AND (?3 IS NULL OR d.created_at >= ?3) \
     AND (?4 IS NULL OR d.created_at < ?4) AND (?5 IS NULL OR e.kind = ?5) AND (NOT ?6 OR d.ping_id IS NOT NULL) \
     AND (?7 IS NULL OR (e.subject_kind = ?7 AND e.subject_project = ?8 AND e.subject_name = ?9))"
);

pub(crate) const FIND_NUMBER: &str = "/* delivery.number */ SELECT d.number FROM organizations o \
    JOIN webhooks w ON w.organization_number = o.number \
    JOIN deliveries d INDEXED BY deliveries_by_id ON d.webhook_number = w.number AND d.id = ?2 \
    WHERE o.id = ?1 LIMIT 1";

pub(crate) const OVERVIEW: &str =
    concat!("/* delivery */ SELECT ", overview_columns!(), overview_tables!(), "WHERE d.number = ?1");

/// The maximum number of rows that one query reads for a webhook.
const FETCHED_MAX: u32 = 256;

/// Greater than every id.
const LAST: [u8; 17] = [0xff; 17];

/// The id of a delivery, which orders the merge, then the position of its webhook, then the delivery's rowid.
type Candidate = ([u8; 16], usize, i64);

/// The deliveries of one webhook.
struct WebhookStream {
    webhook_rowid: i64,
    /// Rows that are read and not in the heap yet, newest last.
    fetched: Vec<([u8; 16], i64)>,
    fetch_next: u32,
}

/// The deliveries of several webhooks, newest first.
struct Merge<'connection> {
    list: CachedStatement<'connection>,
    streams: Vec<WebhookStream>,
    heap: BinaryHeap<Candidate>,
}

impl<'connection> Merge<'connection> {
    fn begin(
        connection: &'connection Connection,
        webhook_rowids: Vec<i64>,
        state: Option<StateKind>,
        before: &[u8],
    ) -> Result<Self, Fault> {
        let list = match state {
            Some(StateKind::Pending) => LIST_PENDING,
            Some(StateKind::Failed | StateKind::Cancelled) => LIST_LOST,
            Some(StateKind::Succeeded) | None => LIST,
        };
        // A single webhook gives the whole page. Most of many webhooks have no delivery on it.
        let fetch_next = if webhook_rowids.len() == 1 { FETCHED_MAX } else { 1 };
        let stream = |webhook_rowid| WebhookStream { webhook_rowid, fetched: Vec::new(), fetch_next };
        let streams: Vec<_> = webhook_rowids.into_iter().map(stream).collect();
        let mut merge = Self { list: connection.prepare_cached(list)?, streams, heap: BinaryHeap::new() };
        for position in 0..merge.streams.len() {
            merge.refill(position, before)?;
        }
        Ok(merge)
    }

    /// Adds a webhook's next delivery to the heap, if there is one before the id `before`.
    fn refill(&mut self, position: usize, before: &[u8]) -> Result<(), Fault> {
        let stream = &mut self.streams[position];
        if stream.fetched.is_empty() {
            let mut rows = self.list.query(params![stream.webhook_rowid, before, stream.fetch_next])?;
            while let Some(row) = rows.next()? {
                stream.fetched.push((row.get(0)?, row.get(1)?));
            }
            stream.fetched.reverse();
            stream.fetch_next = (stream.fetch_next * 2).min(FETCHED_MAX);
        }
        if let Some((id, number)) = stream.fetched.pop() {
            self.heap.push((id, position, number));
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<([u8; 16], i64)>, Fault> {
        let Some((id, position, number)) = self.heap.pop() else { return Ok(None) };
        self.refill(position, &id)?;
        Ok(Some((id, number)))
    }
}

/// Reads the page that [`stackbell_store::history::History::list_deliveries`] returns.
pub(super) fn list_page(
    connection: &Connection,
    organization: OrganizationId,
    filter: &DeliveryFilter,
    before: Option<DeliveryId>,
    limit: u32,
    looked_at_max: u32,
) -> Result<DeliveryPage, Fault> {
    let webhook = filter.webhook.as_ref().map(WebhookId::bytes);
    let webhooks = params![organization.bytes(), webhook];
    let webhook_rowids = list(connection, WEBHOOKS, webhooks, "webhooks", |cursor| cursor.get("number"))?;
    let before: &[u8] = before.as_ref().map_or(&LAST, |before| before.bytes());
    let mut merge = Merge::begin(connection, webhook_rowids, filter.state, before)?;
    let mut page = DeliveryPage::default();
    let (limit, mut may_look_at) = (usize::try_from(limit).unwrap_or(usize::MAX), looked_at_max.max(1));
    while page.deliveries.len() < limit && may_look_at > 0 {
        let Some((id, number)) = merge.next()? else { return Ok(DeliveryPage { next: None, ..page }) };
        page.deliveries.extend(find_matching(connection, number, filter)?);
        page.next = Some(DeliveryId::from_uuid(Uuid::from_bytes(id)));
        may_look_at -= 1;
    }
    if merge.heap.is_empty() {
        page.next = None;
    }
    Ok(page)
}

/// The overview of a delivery, if it matches the filter.
fn find_matching(
    connection: &Connection,
    number: i64,
    filter: &DeliveryFilter,
) -> Result<Option<DeliveryOverview>, Fault> {
    let (kind, is_ping) = match filter.kind {
        None => (None, false),
        Some(KindFilter::Event(kind)) => (Some(kind.as_str()), false),
        Some(KindFilter::Ping) => (None, true),
    };
    let subject = filter.subject.as_ref().map(subject_columns);
    let parameters = params![
        number,
        filter.state.map(StateKind::as_str),
        filter.from.map(Timestamp::as_millis),
        filter.to.map(Timestamp::as_millis),
        kind,
        is_ping,
        subject.map(|[kind, _, _]| kind),
        subject.map(|[_, project, _]| project),
        subject.map(|[_, _, name]| name),
    ];
    first_of(&mut *connection.prepare_cached(FIND_MATCHING)?, parameters, "deliveries", |cursor| {
        read_overview(cursor)
    })
}

/// The rowid of an organization's delivery. One index lookup for each of its webhooks.
pub(crate) fn find_number(
    connection: &Connection,
    organization: OrganizationId,
    id: DeliveryId,
) -> Result<Option<i64>, Fault> {
    let ids = [organization.bytes(), id.bytes()];
    first(connection, FIND_NUMBER, ids, "deliveries", |cursor| cursor.get("number"))
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;
    use tempfile::TempDir;

    use super::*;
    use crate::schema;
    use crate::session::{Access, connect};

    const WEBHOOK_COUNT: u32 = 3;

    fn organization() -> OrganizationId {
        OrganizationId::from_uuid(Uuid::from_u128(1))
    }

    /// A store with an organization of three webhooks. Each has two pending deliveries, then `finished_count` newer ones that
    /// succeeded.
    fn store(finished_count: u32) -> (TempDir, Connection) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        schema::migrate(&path).expect("a new file");
        let connection = connect(&path, Access::Write).expect("a connection");
        connection
            .execute_batch(&format!(
                "INSERT INTO organizations VALUES
                     (1, x'00000000000000000000000000000001', 'acme', 'Acme', '', 0, 1, 0, 0);
                 WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < {WEBHOOK_COUNT})
                 INSERT INTO webhooks (number, id, organization_number, scope_kind, scope_project, scope_name, name,
                     display_name, payload_url, active, format, filters, groups, standard_headers, created_at, revision,
                     failures)
                 SELECT n, randomblob(16), 1, 'organization', '', '', 'hook-' || n, 'Hook', 'https://a.example', 1, 'raw',
                     '', '', 1, 0, 1, 0 FROM n;
                 WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < {finished_count} + 2)
                 INSERT INTO deliveries (id, webhook_number, ping_id, format, created_at, attempts_spent, state, due_at,
                     finished_at, body)
                 SELECT unhex(printf('%016x%016x', n, w.number)), w.number, randomblob(16), 'raw', n, 0,
                     iif(n <= 2, 'pending', 'succeeded'), iif(n <= 2, n, NULL), iif(n <= 2, NULL, n), x'00'
                 FROM n CROSS JOIN webhooks w;"
            ))
            .expect("rows");
        (folder, connection)
    }

    /// Reads a page of pending deliveries: how many there are, and the number of steps of SQLite's virtual machine.
    fn read_pending(connection: &Connection, filter: &DeliveryFilter) -> (usize, i32) {
        let filter = DeliveryFilter { state: Some(StateKind::Pending), ..filter.clone() };
        let page = list_page(connection, organization(), &filter, None, 100, 10_000).expect("a page");
        assert_eq!(page.next, None);
        let statements = [LIST, LIST_PENDING, LIST_LOST, FIND_MATCHING];
        let steps = statements.map(|sql| {
            let statement = connection.prepare_cached(sql).expect(sql);
            statement.get_status(StatementStatus::VmStep)
        });
        (page.deliveries.len(), steps.into_iter().sum())
    }

    #[test]
    fn a_page_of_pending_deliveries_steps_over_no_finished_delivery() {
        let webhook = |connection: &Connection| {
            let id = connection.query_row("SELECT id FROM webhooks WHERE number = 2", [], |row| row.get(0));
            Some(WebhookId::from_uuid(Uuid::from_bytes(id.expect("a webhook"))))
        };
        for (is_of_webhook, expected) in [(false, 6), (true, 2)] {
            let counts = [0, 2000].map(|finished_count| {
                let (_folder, connection) = store(finished_count);
                let webhook = if is_of_webhook { webhook(&connection) } else { None };
                read_pending(&connection, &DeliveryFilter { webhook, ..DeliveryFilter::default() })
            });
            assert_eq!(counts[0].0, expected);
            assert_eq!(counts[1], counts[0], "with 2,000 finished deliveries");
        }
    }
}
