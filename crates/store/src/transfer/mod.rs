//! Moving a store: all that one holds, copied into another that is empty.
//!
//! - [`Export`]: reading everything, page by page, in an order of the store's own
//! - [`Import`]: taking it in; each page commits together with how far the copy is, so that one that was cut goes on
//! - [`Copying`]: from one into the other, a page at a time
//! - [`rows`]: what is copied; [`digest`]: how two stores are seen to hold the same
//!
//! Ids stay, and whatever refers to them; the numbers by which rows refer to each other within a store are its own.
//! Not copied are leases, which end with the processes that hold them, and what an organization keeps
//! ([`crate::statistics::Usage`]): stores count their bytes differently, and the one that imports counts anew.
//! Nobody may write to either store meanwhile.

mod copy;
pub mod digest;
pub mod rows;

use async_trait::async_trait;
use stackbell_model::Timestamp;
use uuid::Uuid;

pub use copy::{Adding, Copying, Step};
pub use rows::Rows;

use crate::StoreError;
use crate::audit::AuditEntry;
use crate::instance::SendingHold;

macro_rules! nouns {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)+) => {
        /// A kind of rows. Each refers to those before it alone, and so they are copied in this order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Noun {
            $($(#[$doc])* $variant,)+
        }

        impl Noun {
            /// All of them, in their order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// Reads that word; `None` when there is no such noun.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|noun| noun.as_str() == text)
            }
        }
    };
}

nouns! {
    /// With their versions.
    Organizations = "organizations",
    /// Users.
    Users = "users",
    /// Memberships.
    Memberships = "memberships",
    /// With their hashes.
    Tokens = "tokens",
    /// Sealed as they are.
    DataKeys = "data_keys",
    /// Credentials for starting deployments.
    DeploymentsCredentials = "deployments_credentials",
    /// Cursors of sources.
    SourceCursors = "source_cursors",
    /// Deleted ones too.
    Webhooks = "webhooks",
    /// With what a producer who comes again is answered.
    Events = "events",
    /// Of all states, without leases.
    Deliveries = "deliveries",
    /// In the order in which they were recorded.
    Attempts = "attempts",
    /// With where they are.
    Recoveries = "recoveries",
    /// Of organizations, and of the webhooks that are there: nobody can ask for another's.
    Tallies = "tallies",
    /// The audit log.
    Audit = "audit",
}

impl Noun {
    /// The first of all.
    pub const FIRST: Self = Self::ALL[0];

    /// The one after it; `None` after the last.
    pub fn next(self) -> Option<Self> {
        Self::ALL.iter().copied().find(|noun| *noun > self)
    }
}

/// Where a store is in its rows of a noun. What the numbers and the id are, the store knows that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Numbers of the store's own.
    pub numbers: [i64; 3],
    /// An id.
    pub id: Uuid,
}

impl Place {
    /// Before the first row of any noun.
    pub const BEGINNING: Self = Self { numbers: [i64::MIN; 3], id: Uuid::nil() };
}

/// How large a page may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimits {
    /// The most rows.
    pub rows_max: u32,
    /// No row comes behind the one at which they have so many bytes of payloads, bodies, headers and answers.
    pub bytes_max: u64,
}

impl Default for PageLimits {
    /// Large enough that a commit is worth its sync, small enough to be made in a moment and to be held twice.
    fn default() -> Self {
        Self { rows_max: 2000, bytes_max: 4 * 1024 * 1024 }
    }
}

/// Some rows, and where the next ones begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The rows. When there are none, there are no more of their noun.
    pub rows: Rows,
    /// Behind the last of them.
    pub end: Place,
}

/// Reading everything.
#[async_trait]
pub trait Export: Send + Sync {
    /// How many rows of a noun there are.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn count_rows(&self, noun: Noun) -> Result<u64, StoreError>;

    /// The next rows of a noun behind `after`: each row is in one page, as long as nobody writes.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn export_page(&self, noun: Noun, after: Place, limits: PageLimits) -> Result<Page, StoreError>;
}

/// Which copy of which store: random, and known to both sides.
pub type CopyId = Uuid;

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being copied.
    pub noun: Noun,
    /// Behind which of the source's rows to go on.
    pub after: Place,
    /// How many rows are in, of all nouns.
    pub rows: u64,
}

impl Progress {
    /// That of a copy that has not begun.
    pub const BEGINNING: Self = Self { noun: Noun::FIRST, after: Place::BEGINNING, rows: 0 };
}

/// A copy, as the store knows it that it goes into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyState {
    /// Which.
    pub id: CopyId,
    /// What is copied, in words for people.
    pub source: String,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// How far it is.
    pub progress: Progress,
    /// When it was finished; `None` while it is not, and nobody may use the store.
    pub finished_at: Option<Timestamp>,
}

/// What became of a copy that was to be begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyBegun {
    /// It may begin.
    Done,
    /// The store holds something.
    NotEmpty {
        /// What was found first, in words for people.
        what: String,
    },
}

/// Taking everything in.
#[async_trait]
pub trait Import: Send + Sync {
    /// The copy that the store has or had; `None` for one that began by itself. A page that is on its way is waited for.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn copy_state(&self) -> Result<Option<CopyState>, StoreError>;

    /// Begins a copy, when the store is empty, has no other copy, and no node at work on it.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn begin_copy(&self, id: CopyId, source: &str, now: Timestamp) -> Result<CopyBegun, StoreError>;

    /// Inserts rows, and notes that the copy, which was at `before`, is at `after`: all of it, or nothing.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was done, unless it is [`StoreError::Unknown`]. Also when the copy is not at `before`, as
    /// another process is at it.
    async fn import_rows(
        &self,
        id: CopyId,
        rows: &Rows,
        before: Progress,
        after: Progress,
    ) -> Result<(), StoreError>;

    /// Gets ready for being read, once all rows are in.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn settle(&self) -> Result<(), StoreError>;

    /// Ends a copy at `audit.at`: from now on the store may be used. Sending is held from the beginning where `hold` says so.
    ///
    /// # Errors
    /// [`StoreError`]; also when there is no such copy that is not finished.
    async fn finish_copy(
        &self,
        id: CopyId,
        hold: Option<&SendingHold>,
        audit: AuditEntry,
    ) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nouns_follow_each_other() {
        let mut noun = Noun::FIRST;
        let mut passed = vec![noun];
        while let Some(next) = noun.next() {
            passed.push(next);
            noun = next;
        }
        assert_eq!(passed, Noun::ALL);
        assert!(Noun::ALL.iter().all(|noun| Noun::parse(noun.as_str()) == Some(*noun)));
    }
}
