//! Reads all rows of a file, table by table, for a copy.

use async_trait::async_trait;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use stackbell_store::StoreError;
use stackbell_store::rows::Columns as _;
use stackbell_store::transfer::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, Batches, Export, Kind, Table, Value};
use uuid::Uuid;

use crate::SqliteStore;
use crate::error::Fault;
use crate::rows::{compression, first, list};

/// The compressed columns. Other stores do not compress them.
const COMPRESSED: &[&str] = &["payload", "body", "request_headers", "response_headers", "response_body"];

const DAYS: &str = "/* export.days */ SELECT accepted_at / 86400000 FROM events \
    UNION SELECT created_at / 86400000 FROM deliveries";

/// The SQL expression of a column. Rows refer to events and deliveries by rowid here, and by id in other stores.
fn expression(table: &'static str, column: &'static str) -> &'static str {
    match (table, column) {
        ("deliveries", "organization_number") => {
            "(SELECT w.organization_number FROM webhooks w WHERE w.number = webhook_number)"
        }
        ("deliveries", "event_key") => "(SELECT e.key FROM events e WHERE e.number = event_number)",
        ("attempts", "delivery_id") => "(SELECT d.id FROM deliveries d WHERE d.number = delivery_number)",
        // A recovery before its first step has the empty id here, and the least id in other stores.
        ("recoveries", "after_id") => "iif(after_id = x'', zeroblob(16), after_id)",
        ("tallies", "slot") => "0",
        _ => column,
    }
}

/// The query for every row of a table, in the order of the file: without joins and sorting.
pub(crate) fn select(table: &'static Table) -> String {
    let columns: Vec<_> = table.columns().map(|(column, _)| expression(table.name, column)).collect();
    format!("/* export.{} */ SELECT {} FROM {}", table.name, columns.join(", "), table.name)
}

#[async_trait]
impl Export for SqliteStore {
    async fn count_rows(&self, table: &'static Table) -> Result<u64, StoreError> {
        self.read("count_rows", move |connection| {
            let sql = format!("/* count.{} */ SELECT COUNT(*) FROM {}", table.name, table.name);
            let counted = first(connection, &sql, [], table.name, |cursor| cursor.count("count"))?;
            Ok(counted.unwrap_or_default())
        })
        .await
    }

    async fn days(&self) -> Result<Vec<i64>, StoreError> {
        self.read("days", |connection| list(connection, DAYS, [], "events", |cursor| cursor.integer("day")))
            .await
    }

    async fn export(&self, table: &'static Table, batches: Batches) -> Result<(), StoreError> {
        self.read("export", move |connection| export(connection, table, batches)).await
    }
}

fn export(connection: &Connection, table: &'static Table, mut batches: Batches) -> Result<(), Fault> {
    let columns: Vec<_> = table.columns().collect();
    let mut statement = connection.prepare(&select(table))?;
    let mut rows = statement.query([])?;
    let (mut batch, mut bytes, mut position) = (Vec::new(), 0, 0_u64);
    while let Some(row) = rows.next()? {
        position += 1;
        let read = |(index, (column, kind)): (usize, &(&'static str, Kind))| {
            value(row, index, column, *kind).map_err(|problem| Fault::Unreadable {
                table: table.name,
                column,
                id: format!("{position} of the table"),
                problem,
            })
        };
        let values = columns.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        bytes += values.iter().map(Value::size).sum::<usize>();
        batch.push(values);
        if batch.len() >= BATCH_ROWS_MAX || bytes >= BATCH_BYTES_MAX {
            bytes = 0;
            if !batches(std::mem::take(&mut batch)) {
                return Ok(());
            }
        }
    }
    if !batch.is_empty() {
        batches(batch);
    }
    Ok(())
}

fn value(row: &Row<'_>, index: usize, column: &str, kind: Kind) -> Result<Value, String> {
    match (kind, row.get_ref(index).map_err(|error| error.to_string())?) {
        (_, ValueRef::Null) => Ok(Value::Null),
        (Kind::Integer, ValueRef::Integer(number)) => Ok(Value::Integer(number)),
        (Kind::Flag, ValueRef::Integer(number)) => Ok(Value::Flag(number != 0)),
        (Kind::Text, ValueRef::Text(text)) => std::str::from_utf8(text)
            .map(|text| Value::Text(text.to_owned()))
            .map_err(|error| error.to_string()),
        (Kind::Id, ValueRef::Blob(bytes)) => {
            Uuid::from_slice(bytes).map(Value::Id).map_err(|error| error.to_string())
        }
        (Kind::Bytes, ValueRef::Blob(bytes)) if COMPRESSED.contains(&column) => {
            compression::decompress(bytes).map(Value::Bytes).map_err(|error| error.to_string())
        }
        (Kind::Bytes, ValueRef::Blob(bytes)) => Ok(Value::Bytes(bytes.to_vec())),
        (_, value) => Err(format!("is {} and not {kind:?}", value.data_type())),
    }
}
