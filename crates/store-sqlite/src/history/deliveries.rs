//! Lists of deliveries: each webhook's are in order by themselves, an organization's are merged from these.

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

/// Deleted ones too, as long as they have deliveries.
pub(crate) const WEBHOOKS: &str = "/* list_deliveries.webhooks */ SELECT w.number FROM organizations o \
    JOIN webhooks w ON w.organization_number = o.number WHERE o.id = ?1 AND (?2 IS NULL OR w.id = ?2)";

pub(crate) const WALK: &str = "/* list_deliveries.walk */ SELECT id, number FROM deliveries \
    INDEXED BY deliveries_by_id WHERE webhook_number = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3";

/// Those that failed or were cancelled have an index of their own: among many that succeeded they are found at once.
pub(crate) const WALK_LOST: &str = "/* list_deliveries.walk_lost */ SELECT id, number FROM deliveries \
    INDEXED BY deliveries_lost WHERE webhook_number = ?1 AND (state = 'failed' OR state = 'cancelled') \
    AND id < ?2 ORDER BY id DESC LIMIT ?3";

pub(crate) const PASSES: &str = concat!(
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

/// The most ids that are fetched of a webhook at a time.
const FETCHED_MAX: u32 = 256;

/// Beyond every id.
const LAST: [u8; 17] = [0xff; 17];

/// An id, which the merge goes by, then the position of its webhook, then the delivery's number.
type Candidate = ([u8; 16], usize, i64);

/// What of a webhook's deliveries is fetched and not yet in the heap.
struct Lane {
    webhook_number: i64,
    /// Newest last.
    fetched: Vec<([u8; 16], i64)>,
    fetch_next: u32,
}

/// Deliveries of several webhooks, newest first.
struct Merge<'connection> {
    walk: CachedStatement<'connection>,
    lanes: Vec<Lane>,
    heap: BinaryHeap<Candidate>,
}

impl<'connection> Merge<'connection> {
    fn begin(
        connection: &'connection Connection,
        webhook_numbers: Vec<i64>,
        state: Option<StateKind>,
        before: &[u8],
    ) -> Result<Self, Fault> {
        let walk = match state {
            Some(StateKind::Failed | StateKind::Cancelled) => WALK_LOST,
            Some(StateKind::Pending | StateKind::Succeeded) | None => WALK,
        };
        // One webhook will be asked for more; of many, most have nothing among the newest.
        let fetch_next = if webhook_numbers.len() == 1 { FETCHED_MAX } else { 1 };
        let lane = |webhook_number| Lane { webhook_number, fetched: Vec::new(), fetch_next };
        let lanes: Vec<Lane> = webhook_numbers.into_iter().map(lane).collect();
        let mut merge = Self { walk: connection.prepare_cached(walk)?, lanes, heap: BinaryHeap::new() };
        for position in 0..merge.lanes.len() {
            merge.refill(position, before)?;
        }
        Ok(merge)
    }

    /// Brings a webhook's next into the heap, if it has one beyond `before`.
    fn refill(&mut self, position: usize, before: &[u8]) -> Result<(), Fault> {
        let lane = &mut self.lanes[position];
        if lane.fetched.is_empty() {
            let mut rows = self.walk.query(params![lane.webhook_number, before, lane.fetch_next])?;
            while let Some(row) = rows.next()? {
                lane.fetched.push((row.get(0)?, row.get(1)?));
            }
            lane.fetched.reverse();
            lane.fetch_next = (lane.fetch_next * 2).min(FETCHED_MAX);
        }
        if let Some((id, number)) = lane.fetched.pop() {
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

/// What [`stackbell_store::history::History::list_deliveries`] answers.
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
    let webhook_numbers = list(connection, WEBHOOKS, webhooks, "webhooks", |cursor| cursor.get("number"))?;
    let before: &[u8] = before.as_ref().map_or(&LAST, |before| before.bytes());
    let mut merge = Merge::begin(connection, webhook_numbers, filter.state, before)?;
    let mut page = DeliveryPage::default();
    let (limit, mut may_look_at) = (usize::try_from(limit).unwrap_or(usize::MAX), looked_at_max.max(1));
    while page.deliveries.len() < limit && may_look_at > 0 {
        let Some((id, number)) = merge.next()? else { return Ok(DeliveryPage { next: None, ..page }) };
        page.deliveries.extend(find_passing(connection, number, filter)?);
        page.next = Some(DeliveryId::from_uuid(Uuid::from_bytes(id)));
        may_look_at -= 1;
    }
    if merge.heap.is_empty() {
        page.next = None;
    }
    Ok(page)
}

fn find_passing(
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
    first_of(&mut *connection.prepare_cached(PASSES)?, parameters, "deliveries", |cursor| {
        read_overview(cursor)
    })
}

/// The number of an organization's delivery: one step into an index for each of its webhooks.
pub(crate) fn find_number(
    connection: &Connection,
    organization: OrganizationId,
    id: DeliveryId,
) -> Result<Option<i64>, Fault> {
    let ids = [organization.bytes(), id.bytes()];
    first(connection, FIND_NUMBER, ids, "deliveries", |cursor| cursor.get("number"))
}
