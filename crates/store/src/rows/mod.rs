//! Stored rows to types: what a store's columns mean, the same in every dialect of SQL.
//!
//! A store reads a row's columns from left to right through its own [`Columns`]; each function here names the columns that
//! it reads, in their order, so that a list of columns in SQL can be held against it.
//! Times are UTC milliseconds, durations milliseconds, words those of the model, lists of words joined by commas.
//! A row that does not make sense is reported by table, column and row, and never by its content: it may be a credential.

pub mod attempt;
pub mod audit;
pub mod delivery;
pub mod event;
pub mod identity;
pub mod key;
pub mod ledger;
pub mod overview;
pub mod recovery;
pub mod transfer;
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

/// An id, as the UUID that is stored.
pub trait Id: Sized {
    /// From a stored one.
    fn from_uuid(uuid: Uuid) -> Self;

    /// What is stored.
    fn uuid(&self) -> Uuid;

    /// The same as its 16 bytes.
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

/// A row, read from left to right: each call takes the next column, whose name is for what is reported.
pub trait Columns<'row> {
    /// Why a column could not be read.
    type Fault;

    /// The next columns are those of `table`, and the first of them names its row.
    fn enter(&mut self, table: &'static str);

    /// Passes over the next column.
    ///
    /// # Errors
    /// When there is none.
    fn skip(&mut self, column: &'static str) -> Result<(), Self::Fault>;

    /// A whole number.
    ///
    /// # Errors
    /// When it is none.
    fn integer_or_null(&mut self, column: &'static str) -> Result<Option<i64>, Self::Fault>;

    /// Yes or no.
    ///
    /// # Errors
    /// When it is neither.
    fn flag(&mut self, column: &'static str) -> Result<bool, Self::Fault>;

    /// A text.
    ///
    /// # Errors
    /// When it is none.
    fn text_or_null(&mut self, column: &'static str) -> Result<Option<&'row str>, Self::Fault>;

    /// Bytes, as they are stored.
    ///
    /// # Errors
    /// When they are none.
    fn bytes_or_null(&mut self, column: &'static str) -> Result<Option<&'row [u8]>, Self::Fault>;

    /// A UUID.
    ///
    /// # Errors
    /// When it is none.
    fn uuid_or_null(&mut self, column: &'static str) -> Result<Option<Uuid>, Self::Fault>;

    /// Bytes of a payload, a body or headers, as they were before the store packed them in its own way.
    ///
    /// # Errors
    /// When they cannot be unpacked.
    fn unpacked_or_null(&mut self, column: &'static str) -> Result<Option<Bytes>, Self::Fault>;

    /// What to report about a column of the table. `problem` must not hold the value.
    fn fault(&self, column: &'static str, problem: &dyn Display) -> Self::Fault;

    /// A whole number that is there.
    ///
    /// # Errors
    /// When it is not.
    fn integer(&mut self, column: &'static str) -> Result<i64, Self::Fault> {
        let found = self.integer_or_null(column)?;
        found.ok_or_else(|| self.fault(column, &IS_NULL))
    }

    /// A number of a type with fewer of them.
    ///
    /// # Errors
    /// When it is out of its range.
    fn number<T: TryFrom<i64>>(&mut self, column: &'static str) -> Result<T, Self::Fault> {
        let number = self.integer(column)?;
        T::try_from(number).map_err(|_| self.fault(column, &"is out of range"))
    }

    /// The same, or nothing.
    ///
    /// # Errors
    /// When it is out of its range.
    fn number_or_null<T: TryFrom<i64>>(&mut self, column: &'static str) -> Result<Option<T>, Self::Fault> {
        let number = self.integer_or_null(column)?;
        let number = number.map(T::try_from).transpose();
        number.map_err(|_| self.fault(column, &"is out of range"))
    }

    /// A number that is never negative.
    ///
    /// # Errors
    /// When it is.
    fn count(&mut self, column: &'static str) -> Result<u64, Self::Fault> {
        self.number(column)
    }

    /// A text that is there.
    ///
    /// # Errors
    /// When it is not.
    fn text(&mut self, column: &'static str) -> Result<&'row str, Self::Fault> {
        let found = self.text_or_null(column)?;
        found.ok_or_else(|| self.fault(column, &IS_NULL))
    }

    /// Bytes that are there.
    ///
    /// # Errors
    /// When they are not.
    fn bytes(&mut self, column: &'static str) -> Result<&'row [u8], Self::Fault> {
        let found = self.bytes_or_null(column)?;
        found.ok_or_else(|| self.fault(column, &IS_NULL))
    }

    /// A digest of 32 bytes.
    ///
    /// # Errors
    /// When it has another length.
    fn digest_or_null(&mut self, column: &'static str) -> Result<Option<[u8; 32]>, Self::Fault> {
        let found = self.bytes_or_null(column)?.map(<[u8; 32]>::try_from).transpose();
        found.map_err(|error| self.fault(column, &error))
    }

    /// An id.
    ///
    /// # Errors
    /// When it is none.
    fn id<I: Id>(&mut self, column: &'static str) -> Result<I, Self::Fault> {
        let found = self.id_or_null(column)?;
        found.ok_or_else(|| self.fault(column, &IS_NULL))
    }

    /// An id, or nothing.
    ///
    /// # Errors
    /// When it is something else.
    fn id_or_null<I: Id>(&mut self, column: &'static str) -> Result<Option<I>, Self::Fault> {
        Ok(self.uuid_or_null(column)?.map(I::from_uuid))
    }

    /// A moment.
    ///
    /// # Errors
    /// When it is none.
    fn time(&mut self, column: &'static str) -> Result<Timestamp, Self::Fault> {
        self.integer(column).map(Timestamp::from_millis)
    }

    /// A moment, or nothing.
    ///
    /// # Errors
    /// When it is something else.
    fn time_or_null(&mut self, column: &'static str) -> Result<Option<Timestamp>, Self::Fault> {
        Ok(self.integer_or_null(column)?.map(Timestamp::from_millis))
    }

    /// A length of time.
    ///
    /// # Errors
    /// When it is none.
    fn duration(&mut self, column: &'static str) -> Result<Duration, Self::Fault> {
        self.number(column).map(Duration::from_millis)
    }

    /// A length of time, or nothing.
    ///
    /// # Errors
    /// When it is something else.
    fn duration_or_null(&mut self, column: &'static str) -> Result<Option<Duration>, Self::Fault> {
        Ok(self.number_or_null(column)?.map(Duration::from_millis))
    }

    /// What [`Self::unpacked_or_null`] gives, of what must be text.
    ///
    /// # Errors
    /// When it is none.
    fn unpacked_text(&mut self, column: &'static str) -> Result<Option<Box<str>>, Self::Fault> {
        let bytes = self.unpacked_or_null(column)?.map(Vec::from);
        let text = bytes.map(String::from_utf8).transpose().map_err(|error| self.fault(column, &error))?;
        Ok(text.map(Into::into))
    }

    /// A text that is to be parsed.
    ///
    /// # Errors
    /// When it cannot be.
    fn parsed<T, E: Display>(
        &mut self,
        column: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Self::Fault> {
        let text = self.text(column)?;
        parse(text).map_err(|error| self.fault(column, &error))
    }

    /// A text that is one of a closed list.
    ///
    /// # Errors
    /// When it is none of them.
    fn word<T>(
        &mut self,
        column: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Self::Fault> {
        self.parsed(column, |text| parse(text).ok_or("is none of the words that it may be"))
    }

    /// Words of a closed list, as [`join`] joined them.
    ///
    /// # Errors
    /// When one is none of them.
    fn words<T, L: FromIterator<T>>(
        &mut self,
        column: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<L, Self::Fault> {
        self.word(column, |text| split(text).map(parse).collect())
    }
}

const IS_NULL: &str = "is null";

/// Counters of ours, far below the limit.
pub fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Three hundred million years at the most.
pub fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Joins words for one column; [`split`] takes them apart.
pub fn join<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(",")
}

/// The words of a column.
pub fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|word| !word.is_empty())
}
