//! Conversion of stored rows to types. The meaning of the columns is equal in every SQL dialect.
//!
//! A store reads the columns of a row from left to right through its own [`Columns`]. Each function here
//! names the columns that it reads, in their order, so that they can be compared with the column list in SQL.
//! Times are UTC milliseconds, durations are milliseconds, words are those of the model, and lists of words
//! are joined by commas.
//! An error about a row names table, column and row, but never the content, because it may be a credential.

pub mod attempt;
pub mod audit;
pub mod delivery;
pub mod event;
pub mod identity;
pub mod key;
pub mod ledger;
pub mod overview;
pub mod recovery;
pub mod webhook;

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use stackbell_model::Timestamp;
use stackbell_model::ids::{
    AuditId, BatchId, DataKeyId, DeliveryId, EventId, EventKey, LeaseToken, NodeId, OrganizationId,
    RecoveryId, SourceId, TokenId, UserId, WebhookId,
};
use uuid::Uuid;

/// An id, stored as a UUID.
pub trait Id: Sized {
    /// Converts a stored UUID.
    fn from_uuid(uuid: Uuid) -> Self;

    /// Returns the UUID to store.
    fn uuid(&self) -> Uuid;

    /// Returns the 16 bytes of the UUID.
    fn bytes(&self) -> &[u8; 16];
}

macro_rules! ids {
    ($($id:ident)+) => {$(
        impl Id for $id {
            fn from_uuid(uuid: Uuid) -> Self {
                Self::from_uuid(uuid)
            }

            fn uuid(&self) -> Uuid {
                *self.as_uuid()
            }

            fn bytes(&self) -> &[u8; 16] {
                self.as_uuid().as_bytes()
            }
        }
    )+};
}

ids!(AuditId BatchId DataKeyId DeliveryId EventId EventKey LeaseToken NodeId OrganizationId RecoveryId SourceId TokenId UserId WebhookId);

/// A row, read from left to right. Each call reads the next column; its name is for errors.
pub trait Columns<'row> {
    /// The reason why a column could not be read.
    type Fault;

    /// Starts the columns of `table`. The first of them identifies the row.
    fn enter(&mut self, table: &'static str);

    /// Skips the next column.
    ///
    /// # Errors
    /// If there is none.
    fn skip(&mut self, column: &'static str) -> Result<(), Self::Fault>;

    /// Reads a whole number or null.
    ///
    /// # Errors
    /// If the value is of another type.
    fn integer_or_null(&mut self, column: &'static str) -> Result<Option<i64>, Self::Fault>;

    /// Reads a boolean.
    ///
    /// # Errors
    /// If the value is not a boolean.
    fn flag(&mut self, column: &'static str) -> Result<bool, Self::Fault>;

    /// Reads a text or null.
    ///
    /// # Errors
    /// If the value is of another type.
    fn text_or_null(&mut self, column: &'static str) -> Result<Option<&'row str>, Self::Fault>;

    /// Reads bytes as they are stored, or null.
    ///
    /// # Errors
    /// If the value is of another type.
    fn bytes_or_null(&mut self, column: &'static str) -> Result<Option<&'row [u8]>, Self::Fault>;

    /// Reads a UUID or null.
    ///
    /// # Errors
    /// If the value is not a UUID.
    fn uuid_or_null(&mut self, column: &'static str) -> Result<Option<Uuid>, Self::Fault>;

    /// Reads the bytes of a payload, a body or headers, or null. The store's compression is removed.
    ///
    /// # Errors
    /// If they cannot be decompressed.
    fn decompressed_or_null(&mut self, column: &'static str) -> Result<Option<Bytes>, Self::Fault>;

    /// Makes an error about a column of the table. `problem` must not contain the value.
    fn fault(&self, column: &'static str, problem: &dyn Display) -> Self::Fault;

    /// Reads a whole number.
    ///
    /// # Errors
    /// If it is null.
    fn integer(&mut self, column: &'static str) -> Result<i64, Self::Fault> {
        let found = self.integer_or_null(column)?;
        found.ok_or_else(|| self.fault(column, &IS_NULL))
    }

    /// Reads a number of a smaller type.
    ///
    /// # Errors
    /// If it is out of range.
    fn number<T: TryFrom<i64>>(&mut self, column: &'static str) -> Result<T, Self::Fault> {
        let number = self.integer(column)?;
        T::try_from(number).map_err(|_| self.fault(column, &"is out of range"))
    }

    /// Reads a number of a smaller type, or null.
    ///
    /// # Errors
    /// If it is out of range.
    fn number_or_null<T: TryFrom<i64>>(&mut self, column: &'static str) -> Result<Option<T>, Self::Fault> {
        let number = self.integer_or_null(column)?;
        let number = number.map(T::try_from).transpose();
        number.map_err(|_| self.fault(column, &"is out of range"))
    }

    /// Reads a number that is never negative.
    ///
    /// # Errors
    /// If it is negative.
    fn count(&mut self, column: &'static str) -> Result<u64, Self::Fault> {
        self.number(column)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// If it is null.
    fn text(&mut self, column: &'static str) -> Result<&'row str, Self::Fault> {
        let found = self.text_or_null(column)?;
        found.ok_or_else(|| self.fault(column, &IS_NULL))
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// If they are null.
    fn bytes(&mut self, column: &'static str) -> Result<&'row [u8], Self::Fault> {
        let found = self.bytes_or_null(column)?;
        found.ok_or_else(|| self.fault(column, &IS_NULL))
    }

    /// Reads a digest of 32 bytes, or null.
    ///
    /// # Errors
    /// If it has another length.
    fn digest_or_null(&mut self, column: &'static str) -> Result<Option<[u8; 32]>, Self::Fault> {
        let found = self.bytes_or_null(column)?.map(<[u8; 32]>::try_from).transpose();
        found.map_err(|error| self.fault(column, &error))
    }

    /// Reads an id.
    ///
    /// # Errors
    /// If it is null or not an id.
    fn id<I: Id>(&mut self, column: &'static str) -> Result<I, Self::Fault> {
        let found = self.id_or_null(column)?;
        found.ok_or_else(|| self.fault(column, &IS_NULL))
    }

    /// Reads an id or null.
    ///
    /// # Errors
    /// If it is not an id.
    fn id_or_null<I: Id>(&mut self, column: &'static str) -> Result<Option<I>, Self::Fault> {
        Ok(self.uuid_or_null(column)?.map(I::from_uuid))
    }

    /// Reads a time.
    ///
    /// # Errors
    /// If it is null or not a number.
    fn time(&mut self, column: &'static str) -> Result<Timestamp, Self::Fault> {
        self.integer(column).map(Timestamp::from_millis)
    }

    /// Reads a time or null.
    ///
    /// # Errors
    /// If it is not a number.
    fn time_or_null(&mut self, column: &'static str) -> Result<Option<Timestamp>, Self::Fault> {
        Ok(self.integer_or_null(column)?.map(Timestamp::from_millis))
    }

    /// Reads a duration.
    ///
    /// # Errors
    /// If it is not a valid duration.
    fn duration(&mut self, column: &'static str) -> Result<Duration, Self::Fault> {
        self.number(column).map(Duration::from_millis)
    }

    /// Reads a duration or null.
    ///
    /// # Errors
    /// If it is not a valid duration.
    fn duration_or_null(&mut self, column: &'static str) -> Result<Option<Duration>, Self::Fault> {
        Ok(self.number_or_null(column)?.map(Duration::from_millis))
    }

    /// Reads a text by [`Self::decompressed_or_null`].
    ///
    /// # Errors
    /// If it is not UTF-8.
    fn decompressed_text(&mut self, column: &'static str) -> Result<Option<Box<str>>, Self::Fault> {
        let bytes = self.decompressed_or_null(column)?.map(Vec::from);
        let text = bytes.map(String::from_utf8).transpose().map_err(|error| self.fault(column, &error))?;
        Ok(text.map(Into::into))
    }

    /// Reads a text and parses it.
    ///
    /// # Errors
    /// If it cannot be parsed.
    fn parsed<T, E: Display>(
        &mut self,
        column: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Self::Fault> {
        let text = self.text(column)?;
        parse(text).map_err(|error| self.fault(column, &error))
    }

    /// Reads a word of a closed list.
    ///
    /// # Errors
    /// If it is not in the list.
    fn word<T>(
        &mut self,
        column: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Self::Fault> {
        self.parsed(column, |text| parse(text).ok_or("is none of the words that it may be"))
    }

    /// Reads words of a closed list that [`join`] joined.
    ///
    /// # Errors
    /// If one of them is not in the list.
    fn words<T, L: FromIterator<T>>(
        &mut self,
        column: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<L, Self::Fault> {
        self.word(column, |text| split(text).map(parse).collect())
    }
}

const IS_NULL: &str = "is null";

/// Converts one of our counters, which are far below the limit.
pub fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Converts a duration to milliseconds; saturates at three hundred million years.
pub fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Joins words for one column; [`split`] splits them.
pub fn join<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(",")
}

/// Splits the words of a column.
pub fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|word| !word.is_empty())
}
