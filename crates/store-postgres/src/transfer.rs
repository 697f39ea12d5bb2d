//! Copies another store into an empty database.
//!
//! The copy has two steps. [`PostgresStore::begin_copy`] commits a row in `copies`, which keeps nodes out of the database.
//! [`PostgresStore::copy`] then is one transaction: it inserts all rows, reads them back, compares them with the source,
//! and completes the copy. An interrupted copy therefore leaves no rows, and can simply start again.

use std::pin::pin;
use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;
use futures_util::TryStreamExt as _;
use futures_util::future::try_join;
use stackbell_model::Timestamp;
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::instance::SendingHold;
use stackbell_store::rows::{Columns as _, integer};
use stackbell_store::transfer::{
    Compared, CopyBegun, CopyId, CopyState, Digester, Export, Kind, Row, TABLES, Table, TableDigest, Value,
};
use tokio::sync::mpsc;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type};

use crate::PostgresStore;
use crate::audit::insert_audit;
use crate::error::Fault;
use crate::instance;
use crate::partitions;
use crate::session::{Access, Transaction};
use crate::statement::statement;

statement!(FIND = "/* copy_state */ SELECT id, source, finished_at FROM copies";);

// Waits until the server has rolled back the transaction of a copy whose process has ended.
statement!(LOCK = "/* begin_copy.lock */ LOCK TABLE copies IN EXCLUSIVE MODE";);

// A running node has a heartbeat every few seconds.
statement!(FIND_ANYTHING = "/* begin_copy.find */ SELECT CASE \
    WHEN EXISTS (SELECT FROM copies WHERE finished_at IS NOT NULL) THEN (SELECT 'a copy of ' || source FROM copies) \
    WHEN EXISTS (SELECT FROM organizations) THEN 'organizations' \
    WHEN EXISTS (SELECT FROM users) THEN 'users' \
    WHEN EXISTS (SELECT FROM data_keys) THEN 'data keys' \
    WHEN EXISTS (SELECT FROM audit) THEN 'an audit log' \
    WHEN EXISTS (SELECT FROM nodes WHERE seen_at > now_ms() - 60000) THEN 'a running node' END";);

statement!(BEGIN = "/* begin_copy */ INSERT INTO copies (one, id, source, begun_at, rows) VALUES (1, $1, $2, $3, 0) \
    ON CONFLICT (one) DO UPDATE SET id = excluded.id, source = excluded.source, begun_at = excluded.begun_at";
    UUID, TEXT, INT8);

statement!(CLAIM = "/* copy.claim */ SELECT id FROM copies WHERE id = $1 AND finished_at IS NULL FOR UPDATE"; UUID);

statement!(FINISH = "/* copy.finish */ UPDATE copies SET finished_at = now_ms(), rows = $1"; INT8);

/// Computes the data that follows from the copied rows: the ids of events, the usage of organizations, and the next numbers. A
/// webhook's number must not be used again, because tallies outlive their webhook.
const DERIVE: &str = "/* copy.derive */ \
    INSERT INTO event_ids (organization_number, id, key, digest, deliveries) \
        SELECT organization_number, id, key, digest, deliveries FROM events; \
    INSERT INTO usage (organization_number, slot, pending, stored_bytes) \
        SELECT organization_number, 0, sum(pending), sum(bytes) FROM ( \
            SELECT organization_number, 0 AS pending, octet_length(payload)::bigint AS bytes FROM events \
            UNION ALL SELECT organization_number, (state = 'pending')::integer, coalesce(octet_length(body), 0) \
                FROM deliveries \
            UNION ALL SELECT w.organization_number, 0, octet_length(a.request_headers) \
                + coalesce(octet_length(a.response_headers), 0) + coalesce(octet_length(a.response_body), 0) \
                FROM attempts a JOIN webhooks w ON w.number = a.webhook_number \
        ) kept GROUP BY organization_number; \
    SELECT setval(pg_get_serial_sequence('organizations', 'number'), max(number)) FROM organizations; \
    SELECT setval(pg_get_serial_sequence('users', 'number'), max(number)) FROM users; \
    SELECT setval(pg_get_serial_sequence('tokens', 'number'), max(number)) FROM tokens; \
    SELECT setval(pg_get_serial_sequence('webhooks', 'number'), nullif(greatest((SELECT max(number) FROM webhooks), \
        (SELECT max(webhook_number) FROM tallies)), 0)); \
    SELECT setval('attempt_numbers', max(number)) FROM attempts; \
    ANALYZE organizations, usage, users, memberships, tokens, webhooks, event_ids, events, deliveries, attempts, \
        recoveries, tallies, audit";

/// The maximum number of days that one transaction creates: each locks about twenty tables and indexes.
const DAYS_MAX: usize = 16;

/// The progress of a copy, in rows over all tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyProgress {
    /// The number of inserted rows.
    Copied(u64),
    /// The number of rows that were read back.
    Compared(u64),
}

impl PostgresStore {
    /// Returns the copy whose target the database is or was; `None` if there was none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn copy_state(&self) -> Result<Option<CopyState>, StoreError> {
        self.read("copy_state", |tx| async move {
            tx.first(&FIND, &[], "copies", |cursor| {
                Ok(CopyState {
                    id: cursor.uuid_or_null("id")?.ok_or_else(|| cursor.fault("id", &"is null"))?,
                    source: cursor.text("source")?.to_owned(),
                    finished_at: cursor.time_or_null("finished_at")?,
                })
            })
            .await
        })
        .await
    }

    /// Claims an empty database that no node uses for a copy. An unfinished copy, which has no rows, loses its claim.
    /// Nodes refuse the database from now on, until the copy is complete.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_copy(
        &self,
        id: CopyId,
        source: &str,
        now: Timestamp,
    ) -> Result<CopyBegun, StoreError> {
        self.shared_pool
            .run(Access::Copy, "begin_copy", |tx| async move {
                tx.change(&LOCK, &[]).await?;
                let found = tx.first(&FIND_ANYTHING, &[], "copies", |cursor| {
                    Ok(cursor.text_or_null("one")?.map(str::to_owned))
                });
                if let Some(what) = found.await?.flatten() {
                    return Ok(CopyBegun::NotEmpty { what });
                }
                tx.change(&BEGIN, &[&id, &source, &now.as_millis()]).await?;
                Ok(CopyBegun::Done)
            })
            .await
    }

    /// Copies all rows, compares both sides table by table, and completes the copy; all of it, or nothing.
    ///
    /// If a table differs, nothing is kept, and the result names the table. `hold` is the sending hold that the database
    /// starts with.
    ///
    /// # Errors
    /// [`StoreError`], also when the source cannot be read or another process has claimed the database.
    /// Nothing was done, unless it is [`StoreError::Unknown`].
    pub async fn copy(
        &self,
        source: &dyn Export,
        id: CopyId,
        hold: Option<&SendingHold>,
        audit: &AuditEntry,
        progress: &dyn Fn(CopyProgress),
    ) -> Result<Vec<Compared>, StoreError> {
        self.make_days(&source.days().await?).await?;
        let compared = Mutex::new(Vec::new());
        let copied = self.shared_pool.run(Access::Copy, "copy", |tx| {
            let compared = &compared;
            async move {
                let claimed = tx.rows(&CLAIM, &[&id]).await?;
                if claimed.is_empty() {
                    return Err(Fault::missing("copies", &id));
                }
                let tables = copy_rows(&tx, source, progress).await?;
                let rows: u64 = tables.iter().map(|table| table.source.rows).sum();
                let is_same = tables.iter().all(Compared::is_same);
                *compared.lock().unwrap_or_else(PoisonError::into_inner) = tables;
                if !is_same {
                    return Err(Fault::Differs);
                }
                tx.change(&FINISH, &[&integer(rows)]).await?;
                if let Some(hold) = hold {
                    tx.change(&instance::HOLD, &[&hold.since.as_millis(), &hold.reason]).await?;
                }
                insert_audit(&tx, audit).await
            }
        });
        let copied = copied.await;
        let compared = compared.into_inner().unwrap_or_else(PoisonError::into_inner);
        match copied {
            Err(_) if compared.iter().any(|table| !table.is_same()) => Ok(compared),
            copied => copied.map(|()| compared),
        }
    }

    /// Creates the partitions of these days. A partition without rows does no harm.
    async fn make_days(&self, days: &[i64]) -> Result<(), StoreError> {
        let missing = self.shared_pool.run(Access::LongMaintenance, "copy.days", |tx| async move {
            partitions::missing_days(&tx, days).await
        });
        for days in missing.await?.chunks(DAYS_MAX) {
            self.shared_pool
                .run(Access::LongMaintenance, "copy.make_days", |tx| async move {
                    partitions::make_past_days(&tx, days).await
                })
                .await?;
        }
        Ok(())
    }
}

async fn copy_rows(
    tx: &Transaction,
    source: &dyn Export,
    progress: &dyn Fn(CopyProgress),
) -> Result<Vec<Compared>, Fault> {
    let (mut sources, mut done) = (Vec::new(), 0);
    for table in TABLES {
        let digest = insert(tx, source, table, &|rows| progress(CopyProgress::Copied(done + rows))).await?;
        done += digest.rows;
        sources.push(digest);
    }
    tx.define(DERIVE).await?;
    let (mut compared, mut done) = (Vec::new(), 0);
    for (table, source) in TABLES.iter().zip(sources) {
        let target = digest(tx, table, &|rows| progress(CopyProgress::Compared(done + rows))).await?;
        done += target.rows;
        compared.push(Compared { table, source, target });
    }
    Ok(compared)
}

/// Inserts all rows of a table. The next batch is read while one is inserted.
async fn insert(
    tx: &Transaction,
    source: &dyn Export,
    table: &'static Table,
    progress: &dyn Fn(u64),
) -> Result<TableDigest, Fault> {
    let sql = insert_sql(table);
    let (sender, mut batches) = mpsc::channel::<Vec<Row>>(1);
    let read = async {
        let sent = Box::new(move |batch| sender.blocking_send(batch).is_ok());
        source.export(table, sent).await.map_err(Fault::Source)
    };
    let write = async {
        let mut digester = Digester::default();
        while let Some(batch) = batches.recv().await {
            batch.iter().for_each(|row| digester.add(row));
            let columns = transposed(table, batch);
            let parameters: Vec<(&(dyn ToSql + Sync), Type)> = columns
                .iter()
                .zip(table.columns())
                .map(|(column, (_, kind))| (column as &(dyn ToSql + Sync), array(kind).1))
                .collect();
            tx.load(&sql, &parameters).await?;
            progress(digester.rows());
        }
        Ok(digester.digest())
    };
    try_join(read, write).await.map(|((), digest)| digest)
}

fn transposed(table: &'static Table, rows: Vec<Row>) -> Vec<Vec<Cell>> {
    let mut columns: Vec<Vec<Cell>> = table.columns().map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        columns.iter_mut().zip(row).for_each(|(column, value)| column.push(Cell(value)));
    }
    columns
}

/// The statement that inserts a batch of rows. It keeps the rows' numbers, even where the database usually generates them.
fn insert_sql(table: &'static Table) -> String {
    let arrays = table.columns().zip(1..).map(|((_, kind), place)| format!("${place}::{}[]", array(kind).0));
    format!(
        "/* copy.{} */ INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT * FROM unnest({})",
        table.name,
        table.name,
        names(table),
        arrays.collect::<Vec<_>>().join(", ")
    )
}

fn names(table: &'static Table) -> String {
    table.columns().map(|(name, _)| name).collect::<Vec<_>>().join(", ")
}

/// The type of a column in SQL, and the type of an array of it.
fn array(kind: Kind) -> (&'static str, Type) {
    match kind {
        Kind::Integer => ("bigint", Type::INT8_ARRAY),
        Kind::Id => ("uuid", Type::UUID_ARRAY),
        Kind::Text => ("text", Type::TEXT_ARRAY),
        Kind::Bytes => ("bytea", Type::BYTEA_ARRAY),
        Kind::Flag => ("boolean", Type::BOOL_ARRAY),
    }
}

/// Reads all rows of a table back, and computes their digest.
async fn digest(
    tx: &Transaction,
    table: &'static Table,
    progress: &dyn Fn(u64),
) -> Result<TableDigest, Fault> {
    let sql = format!("/* compare.{} */ SELECT {} FROM {}", table.name, names(table), table.name);
    let mut rows = pin!(tx.stream(&sql).await?);
    let mut digester = Digester::default();
    while let Some(row) = rows.try_next().await? {
        let values = (0..row.len()).map(|column| row.try_get::<_, Cell>(column).map(|cell| cell.0));
        digester.add(&values.collect::<Result<Row, _>>()?);
        progress(digester.rows());
    }
    Ok(digester.digest())
}

/// A value to write or read.
#[derive(Debug)]
struct Cell(Value);

type ConversionError = Box<dyn std::error::Error + Sync + Send>;

impl Cell {
    fn accepts_type(ty: &Type) -> bool {
        matches!(*ty, Type::INT2 | Type::INT8 | Type::UUID | Type::TEXT | Type::BYTEA | Type::BOOL)
    }
}

impl ToSql for Cell {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, ConversionError> {
        match &self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Integer(number) => number.to_sql(ty, out),
            Value::Id(id) => id.to_sql(ty, out),
            Value::Text(text) => text.to_sql(ty, out),
            Value::Bytes(bytes) => bytes.to_sql(ty, out),
            Value::Flag(flag) => flag.to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        Self::accepts_type(ty)
    }

    tokio_postgres::types::to_sql_checked!();
}

impl<'raw> FromSql<'raw> for Cell {
    fn from_sql(ty: &Type, raw: &'raw [u8]) -> Result<Self, ConversionError> {
        Ok(Self(match *ty {
            Type::INT2 => Value::Integer(i16::from_sql(ty, raw)?.into()),
            Type::INT8 => Value::Integer(i64::from_sql(ty, raw)?),
            Type::UUID => Value::Id(FromSql::from_sql(ty, raw)?),
            Type::BYTEA => Value::Bytes(FromSql::from_sql(ty, raw)?),
            Type::BOOL => Value::Flag(FromSql::from_sql(ty, raw)?),
            _ => Value::Text(FromSql::from_sql(ty, raw)?),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, ConversionError> {
        Ok(Self(Value::Null))
    }

    fn accepts(ty: &Type) -> bool {
        Self::accepts_type(ty)
    }
}
