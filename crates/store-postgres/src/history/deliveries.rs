//! Lists of deliveries. A statement reads a limited number of deliveries, newest first, and returns those that match.

use stackbell_model::Timestamp;
use stackbell_model::delivery::StateKind;
use stackbell_model::ids::{DeliveryId, OrganizationId};
use stackbell_store::history::{DeliveryFilter, DeliveryOverview, DeliveryPage, KindFilter};
use stackbell_store::rows::event::subject_columns;
use stackbell_store::rows::overview::read_overview;
use stackbell_store::rows::{Columns as _, Id};
use uuid::Uuid;

use crate::error::Fault;
use crate::session::Transaction;
use crate::statement::{Statement, statement};

/// The columns of a delivery's overview, from `deliveries d` and [`overview_tables`].
macro_rules! overview_columns {
    () => {
        "d.id, d.format, d.created_at, d.rearmed_at, d.attempts_spent, \
         d.state, d.due_at, d.finished_at, d.fail_reason, d.cancel_reason, d.cancelled_by, \
         w.id, w.scope_kind, w.scope_project, w.scope_name, w.name, w.deleted_at IS NOT NULL, \
         coalesce(a.attempts, 0), a.started_at, a.duration, a.status, a.text, a.error_body, \
         d.ping_id, e.id, e.key, e.kind, e.subject_kind, e.subject_project, e.subject_name"
    };
}
pub(super) use overview_columns;

/// Joins a delivery's event by one lookup for each row. The planner does not know that each row needs only one day's partition,
/// and would read all events for a plain join. The limit prevents that.
macro_rules! event_of_each {
    () => {
        "LEFT JOIN LATERAL (SELECT e.* FROM events e WHERE e.key = d.event_key LIMIT 1) e ON true"
    };
}
pub(super) use event_of_each;

/// The tables of a delivery's overview. The last attempt is found by reading all of the delivery's attempts, which are few.
macro_rules! overview_tables {
    () => {
        concat!(
            "JOIN webhooks w ON w.number = d.webhook_number ",
            event_of_each!(),
            " LEFT JOIN LATERAL (SELECT a.started_at, a.duration, a.status, a.text, \
                 CASE WHEN a.outcome = 'throttled' THEN a.response_body END AS error_body, count(*) OVER () AS attempts \
                 FROM attempts a WHERE a.delivery_id = d.id ORDER BY a.started_at DESC, a.number DESC LIMIT 1) a \
                 ON true"
        )
    };
}
pub(super) use overview_tables;

// Includes deleted webhooks, which stay while they have deliveries.
statement!(NUMBERS = "/* list_deliveries.numbers */ SELECT o.number, w.number FROM organizations o \
    LEFT JOIN webhooks w ON w.organization_number = o.number AND w.id = $2 WHERE o.id = $1"; UUID, UUID);

/// Reads at most `$4` deliveries, and returns up to `$5` that match. Each row also has the number of deliveries that were read,
/// and the last of them. If none matches, there is one row with only these two.
macro_rules! page {
    ($name:ident, $label:literal, $from:literal) => {
        statement!($name = concat!(
            "/* list_deliveries.", $label, " */ WITH read AS MATERIALIZED (SELECT d.id, d.webhook_number, \
                d.event_key, d.ping_id, d.format, d.created_at, d.rearmed_at, d.attempts_spent, d.state, d.due_at, \
                d.finished_at, d.fail_reason, d.cancel_reason, d.cancelled_by \
                FROM ", $from, " AND d.organization_number = $1 AND d.id < $3 ORDER BY d.id DESC LIMIT $4), \
            matching AS MATERIALIZED (SELECT d.* FROM read d ", event_of_each!(), " \
                WHERE ($6 IS NULL OR d.state = $6) AND ($7 IS NULL OR d.created_at >= $7) \
                AND ($8 IS NULL OR d.created_at < $8) AND ($9 IS NULL OR e.kind = $9) \
                AND (NOT $10 OR d.ping_id IS NOT NULL) AND ($11 IS NULL \
                    OR (e.subject_kind = $11 AND e.subject_project = $12 AND e.subject_name = $13)) \
                ORDER BY d.id DESC LIMIT $5) \
            SELECT s.read_count, s.last, d.id IS NOT NULL, ", overview_columns!(),
            " FROM (SELECT count(*) AS read_count, (SELECT id FROM read ORDER BY id LIMIT 1) AS last FROM read) s \
            LEFT JOIN (matching d ", overview_tables!(), ") ON true ORDER BY d.id DESC"
        ); INT8, INT8, UUID, INT8, INT8, TEXT, INT8, INT8, TEXT, BOOL, TEXT, TEXT, TEXT);
    };
}

// One statement for each table or partial index, so that rare states are not searched among all deliveries. Lists of a webhook
// and of an organization use different indexes; `$2` is the webhook.
page!(ALL, "all", "deliveries d WHERE true");
page!(PENDING, "pending", "deliveries_pending d WHERE true");
page!(ENDED, "ended", "deliveries_ended d WHERE true");
page!(LOST, "lost", "deliveries_ended d WHERE d.state IN ('failed', 'cancelled')");
page!(ALL_OF_WEBHOOK, "all_of_webhook", "deliveries d WHERE d.webhook_number = $2");
page!(PENDING_OF_WEBHOOK, "pending_of_webhook", "deliveries_pending d WHERE d.webhook_number = $2");
page!(ENDED_OF_WEBHOOK, "ended_of_webhook", "deliveries_ended d WHERE d.webhook_number = $2");
page!(
    LOST_OF_WEBHOOK,
    "lost_of_webhook",
    "deliveries_ended d WHERE d.webhook_number = $2 AND d.state IN ('failed', 'cancelled')"
);

/// The maximum number of deliveries that one statement reads.
const CHUNK_MAX: u32 = 2000;

fn page_statement(of_webhook: bool, state: Option<StateKind>) -> &'static Statement {
    match (of_webhook, state) {
        (false, None) => &ALL,
        (false, Some(StateKind::Pending)) => &PENDING,
        (false, Some(StateKind::Succeeded)) => &ENDED,
        (false, Some(StateKind::Failed | StateKind::Cancelled)) => &LOST,
        (true, None) => &ALL_OF_WEBHOOK,
        (true, Some(StateKind::Pending)) => &PENDING_OF_WEBHOOK,
        (true, Some(StateKind::Succeeded)) => &ENDED_OF_WEBHOOK,
        (true, Some(StateKind::Failed | StateKind::Cancelled)) => &LOST_OF_WEBHOOK,
    }
}

/// The requested deliveries. `organization` and `webhook` are numbers of rows.
struct Wanted<'filter> {
    organization: i64,
    webhook: Option<i64>,
    filter: &'filter DeliveryFilter,
}

/// The result of one statement.
struct Chunk {
    read_count: u32,
    /// The oldest delivery that was read.
    last: Option<DeliveryId>,
    matching: Vec<DeliveryOverview>,
}

/// Reads the page that [`stackbell_store::history::History::list_deliveries`] returns.
pub(super) async fn list_page(
    tx: &Transaction,
    organization: OrganizationId,
    filter: &DeliveryFilter,
    before: Option<DeliveryId>,
    limit: u32,
    looked_at_max: u32,
) -> Result<DeliveryPage, Fault> {
    let mut page = DeliveryPage { deliveries: Vec::new(), next: before };
    let Some(wanted) = find_wanted(tx, organization, filter).await? else {
        return Ok(DeliveryPage::default());
    };
    if limit == 0 {
        return Ok(DeliveryPage::default());
    }
    let (mut may_read, mut may_return) = (looked_at_max.max(1), limit);
    // One more shows whether there is a next page.
    let mut size = may_return.saturating_add(1).min(CHUNK_MAX);
    loop {
        size = size.min(may_read);
        let chunk = find_chunk(tx, &wanted, page.next, size, may_return.saturating_add(1)).await?;
        let found = u32::try_from(chunk.matching.len()).unwrap_or(u32::MAX);
        page.deliveries.extend(chunk.matching.into_iter().take(may_return as usize));
        if found > may_return {
            page.next = page.deliveries.last().map(|last| last.id);
            return Ok(page);
        }
        if chunk.read_count < size {
            return Ok(DeliveryPage { next: None, ..page });
        }
        page.next = chunk.last;
        (may_read, may_return) = (may_read - size, may_return - found);
        if may_read == 0 || may_return == 0 {
            return Ok(page);
        }
        // Reads more at a time if few deliveries match.
        size = size.saturating_mul(4).min(CHUNK_MAX);
    }
}

/// Finds the rows that the filter names; `None` if one of them does not exist.
async fn find_wanted<'filter>(
    tx: &Transaction,
    organization: OrganizationId,
    filter: &'filter DeliveryFilter,
) -> Result<Option<Wanted<'filter>>, Fault> {
    let ids = (organization.uuid(), filter.webhook.as_ref().map(Id::uuid));
    let found = tx
        .first(&NUMBERS, &[&ids.0, &ids.1], "organizations", |cursor| {
            Ok(Wanted {
                organization: cursor.integer("number")?,
                webhook: cursor.integer_or_null("number")?,
                filter,
            })
        })
        .await?;
    Ok(found.filter(|wanted| wanted.webhook.is_some() == filter.webhook.is_some()))
}

async fn find_chunk(
    tx: &Transaction,
    wanted: &Wanted<'_>,
    before: Option<DeliveryId>,
    size: u32,
    limit: u32,
) -> Result<Chunk, Fault> {
    let Wanted { organization, webhook, filter } = wanted;
    let (kind, is_ping) = match filter.kind {
        None => (None, false),
        Some(KindFilter::Event(kind)) => (Some(kind.as_str()), false),
        Some(KindFilter::Ping) => (None, true),
    };
    let subject = filter.subject.as_ref().map(subject_columns);
    let statement = page_statement(webhook.is_some(), filter.state);
    let rows = tx
        .list(
            statement,
            &[
                organization,
                webhook,
                // No delivery has the greatest id.
                &before.as_ref().map_or(Uuid::max(), Id::uuid),
                &i64::from(size),
                &i64::from(limit),
                &filter.state.map(StateKind::as_str),
                &filter.from.map(Timestamp::as_millis),
                &filter.to.map(Timestamp::as_millis),
                &kind,
                &is_ping,
                &subject.map(|[kind, _, _]| kind),
                &subject.map(|[_, project, _]| project),
                &subject.map(|[_, _, name]| name),
            ],
            "deliveries",
            |cursor| {
                let read = (cursor.number("read_count")?, cursor.id_or_null("last")?);
                let matching = if cursor.flag("id")? { Some(read_overview(cursor)?) } else { None };
                Ok((read, matching))
            },
        )
        .await?;
    let mut chunk = Chunk { read_count: 0, last: None, matching: Vec::new() };
    for ((read_count, last), matching) in rows {
        (chunk.read_count, chunk.last) = (read_count, last);
        chunk.matching.extend(matching);
    }
    Ok(chunk)
}
