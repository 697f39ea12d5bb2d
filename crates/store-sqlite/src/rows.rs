//! Reads and writes SQLite rows. `stackbell_store::rows` defines the meaning of their columns.

pub(crate) mod attempt;
pub(crate) mod audit;
pub(crate) mod compression;
pub(crate) mod delivery;
pub(crate) mod event;
pub(crate) mod overview;

pub(crate) mod webhook;

use std::fmt::Display;

use bytes::Bytes;
use rusqlite::types::{FromSql, ValueRef};
use rusqlite::{Connection, Params, Row};
use stackbell_store::rows::Columns;
use uuid::Uuid;

use crate::error::Fault;

/// Reads a row from left to right.
pub(crate) struct Cursor<'row> {
    row: &'row Row<'row>,
    table: &'static str,
    /// The first column of the table, which identifies the row in errors.
    first: usize,
    next: usize,
}

impl<'row> Cursor<'row> {
    /// Reads the next column without conversion.
    fn raw(&mut self, column: &'static str) -> Result<ValueRef<'row>, Fault> {
        let value = self.row.get_ref(self.next).map_err(|error| self.fault(column, &error));
        self.next += 1;
        value
    }

    pub(crate) fn get<T: FromSql>(&mut self, column: &'static str) -> Result<T, Fault> {
        let value = self.raw(column)?;
        T::column_result(value).map_err(|error| self.fault(column, &error))
    }
}

impl<'row> Columns<'row> for Cursor<'row> {
    type Fault = Fault;

    fn enter(&mut self, table: &'static str) {
        self.table = table;
        self.first = self.next;
    }

    fn skip(&mut self, column: &'static str) -> Result<(), Fault> {
        self.raw(column).map(|_| ())
    }

    fn integer_or_null(&mut self, column: &'static str) -> Result<Option<i64>, Fault> {
        self.get(column)
    }

    fn flag(&mut self, column: &'static str) -> Result<bool, Fault> {
        self.get(column)
    }

    fn text_or_null(&mut self, column: &'static str) -> Result<Option<&'row str>, Fault> {
        let value = self.raw(column)?;
        value.as_str_or_null().map_err(|error| self.fault(column, &error))
    }

    fn bytes_or_null(&mut self, column: &'static str) -> Result<Option<&'row [u8]>, Fault> {
        let value = self.raw(column)?;
        value.as_blob_or_null().map_err(|error| self.fault(column, &error))
    }

    fn uuid_or_null(&mut self, column: &'static str) -> Result<Option<Uuid>, Fault> {
        Ok(self.get::<Option<[u8; 16]>>(column)?.map(Uuid::from_bytes))
    }

    /// Decompresses a value that [`compression::compress`] compressed.
    fn decompressed_or_null(&mut self, column: &'static str) -> Result<Option<Bytes>, Fault> {
        let bytes = self.bytes_or_null(column)?.map(compression::decompress).transpose();
        Ok(bytes.map_err(|problem| self.fault(column, &problem))?.map(Into::into))
    }

    fn fault(&self, column: &'static str, problem: &dyn Display) -> Fault {
        let id = match self.row.get_ref(self.first) {
            Ok(ValueRef::Blob(bytes)) => match Uuid::from_slice(bytes) {
                Ok(uuid) => uuid.to_string(),
                Err(_) => format!("with an id of {} bytes", bytes.len()),
            },
            Ok(ValueRef::Integer(number)) => number.to_string(),
            Ok(ValueRef::Null | ValueRef::Real(_) | ValueRef::Text(_)) | Err(_) => "without an id".to_owned(),
        };
        Fault::Unreadable { table: self.table, column, id, problem: problem.to_string() }
    }
}

/// Reads all rows of a query, whose first columns belong to `table`.
pub(crate) fn list<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    table: &'static str,
    read: impl Fn(&mut Cursor<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    list_while(connection, sql, parameters, table, read, |_| true)
}

/// Reads the rows of a query up to and including the first one for which `goes_on` is false.
pub(crate) fn list_while<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    table: &'static str,
    read: impl Fn(&mut Cursor<'_>) -> Result<T, Fault>,
    mut goes_on: impl FnMut(&T) -> bool,
) -> Result<Vec<T>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let next = read(&mut Cursor { row, table, first: 0, next: 0 })?;
        let is_last = !goes_on(&next);
        list.push(next);
        if is_last {
            break;
        }
    }
    Ok(list)
}

/// Reads the first row of a query.
pub(crate) fn first<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    table: &'static str,
    read: impl FnOnce(&mut Cursor<'_>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    first_of(&mut *connection.prepare_cached(sql)?, parameters, table, read)
}

/// Reads the first row of a prepared query.
pub(crate) fn first_of<T>(
    statement: &mut rusqlite::Statement<'_>,
    parameters: impl Params,
    table: &'static str,
    read: impl FnOnce(&mut Cursor<'_>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    let mut rows = statement.query(parameters)?;
    match rows.next()? {
        Some(row) => read(&mut Cursor { row, table, first: 0, next: 0 }).map(Some),
        None => Ok(None),
    }
}

/// Runs a statement without results. Returns the number of changed rows.
pub(crate) fn change(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
) -> Result<usize, rusqlite::Error> {
    connection.prepare_cached(sql)?.execute(parameters)
}
