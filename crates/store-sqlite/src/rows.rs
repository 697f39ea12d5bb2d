//! Columns to types, and back.
//!
//! A [`Cursor`] reads a row's columns from left to right, so that each list of columns (a macro, for `concat!`)
//! stands beside the function that reads it. What cannot be read is reported by table, column and row.

pub(crate) mod attempt;
pub(crate) mod audit;
pub(crate) mod delivery;
pub(crate) mod event;
pub(crate) mod identity;
pub(crate) mod key;
pub(crate) mod overview;
pub(crate) mod packed;
pub(crate) mod recovery;
pub(crate) mod webhook;

use std::fmt::Display;

use bytes::Bytes;
use rusqlite::types::{FromSql, ValueRef};
use rusqlite::{Connection, Params, Row};
use stackbell_model::Timestamp;
use stackbell_model::ids::{
    AuditId, DataKeyId, DeliveryId, EventId, EventKey, OrganizationId, RecoveryId, TokenId, UserId, WebhookId,
};
use uuid::Uuid;

use crate::error::Fault;

/// An id, as its 16 bytes.
pub(crate) trait Id: Sized {
    fn from_uuid(uuid: Uuid) -> Self;
    fn bytes(&self) -> &[u8; 16];
}

macro_rules! ids {
    ($($id:ident)+) => {$(
        impl Id for $id {
            fn from_uuid(uuid: Uuid) -> Self {
                Self::from_uuid(uuid)
            }

            fn bytes(&self) -> &[u8; 16] {
                self.as_uuid().as_bytes()
            }
        }
    )+};
}

ids!(AuditId DataKeyId DeliveryId EventId EventKey OrganizationId RecoveryId TokenId UserId WebhookId);

/// Counters of ours, far below the limit.
pub(crate) fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Reads a row from left to right.
pub(crate) struct Cursor<'row> {
    row: &'row Row<'row>,
    table: &'static str,
    /// The column by which the table's row is named in errors: its first.
    first: usize,
    next: usize,
}

impl<'row> Cursor<'row> {
    /// The next columns are those of `table`, and the first of them names its row.
    pub(crate) fn enter(&mut self, table: &'static str) {
        self.table = table;
        self.first = self.next;
    }

    /// The next column, as it is.
    pub(crate) fn raw(&mut self, column: &'static str) -> Result<ValueRef<'row>, Fault> {
        let value = self.row.get_ref(self.next).map_err(|error| self.fault(column, &error));
        self.next += 1;
        value
    }

    pub(crate) fn get<T: FromSql>(&mut self, column: &'static str) -> Result<T, Fault> {
        let value = self.raw(column)?;
        T::column_result(value).map_err(|error| self.fault(column, &error))
    }

    /// A number that is never negative.
    pub(crate) fn count(&mut self, column: &'static str) -> Result<u64, Fault> {
        let number: i64 = self.get(column)?;
        u64::try_from(number).map_err(|error| self.fault(column, &error))
    }

    pub(crate) fn count_or_null(&mut self, column: &'static str) -> Result<Option<u64>, Fault> {
        let number: Option<i64> = self.get(column)?;
        number.map(u64::try_from).transpose().map_err(|error| self.fault(column, &error))
    }

    pub(crate) fn id<I: Id>(&mut self, column: &'static str) -> Result<I, Fault> {
        self.get::<[u8; 16]>(column).map(|bytes| I::from_uuid(Uuid::from_bytes(bytes)))
    }

    pub(crate) fn id_or_null<I: Id>(&mut self, column: &'static str) -> Result<Option<I>, Fault> {
        let bytes = self.get::<Option<[u8; 16]>>(column)?;
        Ok(bytes.map(|bytes| I::from_uuid(Uuid::from_bytes(bytes))))
    }

    pub(crate) fn time(&mut self, column: &'static str) -> Result<Timestamp, Fault> {
        self.get(column).map(Timestamp::from_millis)
    }

    pub(crate) fn time_or_null(&mut self, column: &'static str) -> Result<Option<Timestamp>, Fault> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp::from_millis))
    }

    /// Bytes that [`packed::pack`] made.
    pub(crate) fn unpacked_or_null(&mut self, column: &'static str) -> Result<Option<Bytes>, Fault> {
        match self.raw(column)? {
            ValueRef::Null => Ok(None),
            ValueRef::Blob(packed) => match packed::unpack(packed) {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(problem) => Err(self.fault(column, &problem)),
            },
            ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Text(_) => {
                Err(self.fault(column, &"is no blob"))
            }
        }
    }

    /// The same of what must be text.
    pub(crate) fn unpacked_text(&mut self, column: &'static str) -> Result<Option<Box<str>>, Fault> {
        let bytes = self.unpacked_or_null(column)?.map(Vec::from);
        let text = bytes.map(String::from_utf8).transpose().map_err(|error| self.fault(column, &error))?;
        Ok(text.map(Into::into))
    }

    pub(crate) fn text(&mut self, column: &'static str) -> Result<&'row str, Fault> {
        let value = self.raw(column)?;
        value.as_str().map_err(|error| self.fault(column, &error))
    }

    pub(crate) fn text_or_null(&mut self, column: &'static str) -> Result<Option<&'row str>, Fault> {
        let value = self.raw(column)?;
        value.as_str_or_null().map_err(|error| self.fault(column, &error))
    }

    /// A text that is to be parsed.
    pub(crate) fn parsed<T, E: Display>(
        &mut self,
        column: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Fault> {
        let text = self.text(column)?;
        parse(text).map_err(|error| self.fault(column, &error))
    }

    /// A text that is one of a closed list.
    pub(crate) fn word<T>(
        &mut self,
        column: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Fault> {
        self.parsed(column, |text| parse(text).ok_or("is none of the words that it may be"))
    }

    /// Words of a closed list, separated by commas; none when empty.
    pub(crate) fn words<T, C: FromIterator<T>>(
        &mut self,
        column: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<C, Fault> {
        self.word(column, |text| split(text).map(parse).collect())
    }

    /// What to report about a column of the table. `problem` must not hold the value: it may be a credential.
    pub(crate) fn fault(&self, column: &'static str, problem: &dyn Display) -> Fault {
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

/// Joins words for one column; [`split`] takes them apart.
pub(crate) fn join<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(",")
}

pub(crate) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|word| !word.is_empty())
}

/// All rows of a query, each read from its column on that are `table`'s.
pub(crate) fn list<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    table: &'static str,
    read: impl Fn(&mut Cursor<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    list_while(connection, sql, parameters, table, read, |_| true)
}

/// The same up to and with the first of which `goes_on` is false; what is behind it is not read.
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

/// The first row of a query, if there is one.
pub(crate) fn first<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    table: &'static str,
    read: impl FnOnce(&mut Cursor<'_>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    first_of(&mut *connection.prepare_cached(sql)?, parameters, table, read)
}

/// The same for a statement that is kept at hand.
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

/// Runs a statement that answers no rows; how many rows it changed.
pub(crate) fn change(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
) -> Result<usize, rusqlite::Error> {
    connection.prepare_cached(sql)?.execute(parameters)
}
