//! Reads PostgreSQL rows. `stackbell_store::rows` defines the meaning of their columns.

use std::fmt::Display;

use bytes::Bytes;
use stackbell_store::rows::Columns;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use crate::error::Fault;

/// Reads a row from left to right.
pub(crate) struct Cursor<'row> {
    row: &'row Row,
    table: &'static str,
    /// The first column of the table, which identifies the row in errors.
    first: usize,
    next: usize,
}

impl<'row> Cursor<'row> {
    /// Starts with the columns of `table`.
    pub(crate) fn new(row: &'row Row, table: &'static str) -> Self {
        Self { row, table, first: 0, next: 0 }
    }

    fn get<T: FromSql<'row>>(&mut self, column: &'static str) -> Result<T, Fault> {
        let value = self.row.try_get(self.next).map_err(|error| self.fault(column, &error));
        self.next += 1;
        value
    }
}

impl<'row> Columns<'row> for Cursor<'row> {
    type Fault = Fault;

    fn enter(&mut self, table: &'static str) {
        self.table = table;
        self.first = self.next;
    }

    fn skip(&mut self, _column: &'static str) -> Result<(), Fault> {
        self.next += 1;
        Ok(())
    }

    fn integer_or_null(&mut self, column: &'static str) -> Result<Option<i64>, Fault> {
        self.get(column)
    }

    fn flag(&mut self, column: &'static str) -> Result<bool, Fault> {
        self.get(column)
    }

    fn text_or_null(&mut self, column: &'static str) -> Result<Option<&'row str>, Fault> {
        self.get(column)
    }

    fn bytes_or_null(&mut self, column: &'static str) -> Result<Option<&'row [u8]>, Fault> {
        self.get(column)
    }

    fn uuid_or_null(&mut self, column: &'static str) -> Result<Option<Uuid>, Fault> {
        self.get(column)
    }

    /// Reads the bytes as they are: PostgreSQL compresses large values itself.
    fn decompressed_or_null(&mut self, column: &'static str) -> Result<Option<Bytes>, Fault> {
        Ok(self.bytes_or_null(column)?.map(Bytes::copy_from_slice))
    }

    fn fault(&self, column: &'static str, problem: &dyn Display) -> Fault {
        let uuid = self.row.try_get::<_, Option<Uuid>>(self.first).ok().flatten().map(|id| id.to_string());
        let number =
            || self.row.try_get::<_, Option<i64>>(self.first).ok().flatten().map(|id| id.to_string());
        let id = uuid.or_else(number).unwrap_or_else(|| "without an id".to_owned());
        Fault::Unreadable { table: self.table, column, id, problem: problem.to_string() }
    }
}
