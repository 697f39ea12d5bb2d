//! Lists of deliveries: walked newest first, so many at a time, and sorted out where they are.

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

/// Of `deliveries d` and what [`overview_tables`] joins to it.
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

/// A delivery's event, row by row: planners see all days beforehand, and not that each row is of one, and would rather read
/// all events there are. A subquery with a limit is nothing that they could turn into that.
macro_rules! event_of_each {
    () => {
        "LEFT JOIN LATERAL (SELECT e.* FROM events e WHERE e.key = d.event_key LIMIT 1) e ON true"
    };
}
pub(super) use event_of_each;

/// A delivery has few attempts: finding the last takes a look at each.
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

// A deleted webhook is there as long as it has deliveries.
statement!(NUMBERS = "/* list_deliveries.numbers */ SELECT o.number, w.number FROM organizations o \
    LEFT JOIN webhooks w ON w.organization_number = o.number AND w.id = $2 WHERE o.id = $1"; UUID, UUID);

/// Looks at `$4` deliveries at the most and answers up to `$5` that pass, and in each row how many were looked at and the
/// last of them: one row with nothing else when none passes.
macro_rules! walk {
    ($name:ident, $label:literal, $from:literal) => {
        statement!($name = concat!(
            "/* list_deliveries.", $label, " */ WITH looked AS MATERIALIZED (SELECT d.id, d.webhook_number, \
                d.event_key, d.ping_id, d.format, d.created_at, d.rearmed_at, d.attempts_spent, d.state, d.due_at, \
                d.finished_at, d.fail_reason, d.cancel_reason, d.cancelled_by \
                FROM ", $from, " AND d.organization_number = $1 AND d.id < $3 ORDER BY d.id DESC LIMIT $4), \
            passing AS MATERIALIZED (SELECT d.* FROM looked d ", event_of_each!(), " \
                WHERE ($6 IS NULL OR d.state = $6) AND ($7 IS NULL OR d.created_at >= $7) \
                AND ($8 IS NULL OR d.created_at < $8) AND ($9 IS NULL OR e.kind = $9) \
                AND (NOT $10 OR d.ping_id IS NOT NULL) AND ($11 IS NULL \
                    OR (e.subject_kind = $11 AND e.subject_project = $12 AND e.subject_name = $13)) \
                ORDER BY d.id DESC LIMIT $5) \
            SELECT s.looked_at, s.last, d.id IS NOT NULL, ", overview_columns!(),
            " FROM (SELECT count(*) AS looked_at, (SELECT id FROM looked ORDER BY id LIMIT 1) AS last FROM looked) s \
            LEFT JOIN (passing d ", overview_tables!(), ") ON true ORDER BY d.id DESC"
        ); INT8, INT8, UUID, INT8, INT8, TEXT, INT8, INT8, TEXT, BOOL, TEXT, TEXT, TEXT);
    };
}

// What an index has by itself is walked by itself: what is pending among many that ended, what did not arrive among many
// that did. Of a webhook and of an organization by different indices; `$2` is the webhook.
walk!(ALL, "all", "deliveries d WHERE true");
walk!(PENDING, "pending", "deliveries_pending d WHERE true");
walk!(ENDED, "ended", "deliveries_ended d WHERE true");
walk!(LOST, "lost", "deliveries_ended d WHERE d.state IN ('failed', 'cancelled')");
walk!(ALL_OF_WEBHOOK, "all_of_webhook", "deliveries d WHERE d.webhook_number = $2");
walk!(PENDING_OF_WEBHOOK, "pending_of_webhook", "deliveries_pending d WHERE d.webhook_number = $2");
walk!(ENDED_OF_WEBHOOK, "ended_of_webhook", "deliveries_ended d WHERE d.webhook_number = $2");
walk!(
    LOST_OF_WEBHOOK,
    "lost_of_webhook",
    "deliveries_ended d WHERE d.webhook_number = $2 AND d.state IN ('failed', 'cancelled')"
);

/// The most that one statement looks at.
const CHUNK_MAX: u32 = 2000;

fn walk(of_webhook: bool, state: Option<StateKind>) -> &'static Statement {
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

/// What is asked for, by the numbers that rows have.
struct Wanted<'filter> {
    organization: i64,
    webhook: Option<i64>,
    filter: &'filter DeliveryFilter,
}

/// What one statement found.
struct Chunk {
    looked_at: u32,
    /// The oldest of what was looked at.
    last: Option<DeliveryId>,
    passing: Vec<DeliveryOverview>,
}

/// What [`stackbell_store::history::History::list_deliveries`] answers.
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
    let (mut may_look_at, mut may_answer) = (looked_at_max.max(1), limit);
    // One more says whether there is more.
    let mut size = may_answer.saturating_add(1).min(CHUNK_MAX);
    loop {
        size = size.min(may_look_at);
        let chunk = find_chunk(tx, &wanted, page.next, size, may_answer.saturating_add(1)).await?;
        let found = u32::try_from(chunk.passing.len()).unwrap_or(u32::MAX);
        page.deliveries.extend(chunk.passing.into_iter().take(may_answer as usize));
        if found > may_answer {
            page.next = page.deliveries.last().map(|last| last.id);
            return Ok(page);
        }
        if chunk.looked_at < size {
            return Ok(DeliveryPage { next: None, ..page });
        }
        page.next = chunk.last;
        (may_look_at, may_answer) = (may_look_at - size, may_answer - found);
        if may_look_at == 0 || may_answer == 0 {
            return Ok(page);
        }
        // The rarer what is asked for, the more at a time.
        size = size.saturating_mul(4).min(CHUNK_MAX);
    }
}

/// `None` when nothing can be what is asked for.
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
    let statement = walk(webhook.is_some(), filter.state);
    let rows = tx
        .list(
            statement,
            &[
                organization,
                webhook,
                // No delivery has the greatest id of all.
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
                let walked = (cursor.number("looked_at")?, cursor.id_or_null("last")?);
                let passing = if cursor.flag("id")? { Some(read_overview(cursor)?) } else { None };
                Ok((walked, passing))
            },
        )
        .await?;
    let mut chunk = Chunk { looked_at: 0, last: None, passing: Vec::new() };
    for ((looked_at, last), passing) in rows {
        (chunk.looked_at, chunk.last) = (looked_at, last);
        chunk.passing.extend(passing);
    }
    Ok(chunk)
}
