//! Copying one store into another that is empty.
//!
//! - [`TABLES`]: the tables that are copied, and the type of each column
//! - [`Export`]: reads all rows of a table
//! - [`Digester`]: row count and checksum of a table, for comparing two stores
//!
//! Rows keep their ids and the numbers by which they refer to each other.
//! Leases are not copied: they end with the process that holds them.
//! [`crate::statistics::Usage`] is not copied either: stores count bytes differently, so the target counts its own.

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use stackbell_model::Timestamp;
use uuid::Uuid;

use crate::StoreError;

/// A random id of one copy of one store. Both sides store it.
pub type CopyId = Uuid;

/// A copy, as its target stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyState {
    /// The id that the source is marked with.
    pub id: CopyId,
    /// The source, for users.
    pub source: String,
    /// When the copy was completed; `None` for one that is running or was interrupted.
    pub finished_at: Option<Timestamp>,
}

/// The result of claiming a target for a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyBegun {
    /// The copy can begin.
    Done,
    /// The target is not empty, and was not changed.
    NotEmpty {
        /// The first data that was found, for users.
        what: String,
    },
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the variant of `Value` with its name")]
pub enum Kind {
    Integer,
    Id,
    Text,
    Bytes,
    Flag,
}

/// A value of a column. It is the same in every store, however the store encodes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// No value.
    Null,
    /// A number, a time or a duration in milliseconds.
    Integer(i64),
    /// A UUID.
    Id(Uuid),
    /// A text.
    Text(String),
    /// Bytes, uncompressed.
    Bytes(Vec<u8>),
    /// A boolean.
    Flag(bool),
}

/// A row: the values of [`Table::columns`], in their order.
pub type Row = Vec<Value>;

/// A table and its columns, by type.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// The name, which is the same in every store.
    pub name: &'static str,
    integers: &'static [&'static str],
    ids: &'static [&'static str],
    texts: &'static [&'static str],
    bytes: &'static [&'static str],
    flags: &'static [&'static str],
}

impl Table {
    const EMPTY: Self = Self { name: "", integers: &[], ids: &[], texts: &[], bytes: &[], flags: &[] };

    /// All columns.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, Kind)> {
        let of = |names: &'static [&'static str], kind| names.iter().map(move |name| (*name, kind));
        of(self.integers, Kind::Integer)
            .chain(of(self.ids, Kind::Id))
            .chain(of(self.texts, Kind::Text))
            .chain(of(self.bytes, Kind::Bytes))
            .chain(of(self.flags, Kind::Flag))
    }
}

/// All tables that are copied. A table refers only to tables before it.
///
/// The copy of a new column or table starts with an entry here; a test compares this list with the schema.
pub const TABLES: &[Table] = &[
    Table {
        name: "organizations",
        integers: &["number", "created_at", "version"],
        ids: &["id"],
        texts: &["name", "display_name", "avatar_url"],
        ..Table::EMPTY
    },
    Table {
        name: "users",
        integers: &["number", "created_at"],
        ids: &["id"],
        texts: &["login", "name", "email", "avatar_url"],
        flags: &["is_operator"],
        ..Table::EMPTY
    },
    Table {
        name: "memberships",
        integers: &["organization_number", "user_number"],
        texts: &["role"],
        ..Table::EMPTY
    },
    Table {
        name: "tokens",
        integers: &[
            "number",
            "user_number",
            "organization_number",
            "created_at",
            "expires_at",
            "last_used_at",
        ],
        ids: &["id"],
        texts: &["name", "role"],
        bytes: &["hash"],
        flags: &["is_operator"],
    },
    Table {
        name: "data_keys",
        integers: &["created_at"],
        ids: &["id"],
        texts: &["purpose"],
        bytes: &["bytes"],
        ..Table::EMPTY
    },
    Table {
        name: "deployments_credentials",
        integers: &["organization_number", "set_at"],
        ids: &["token_key"],
        texts: &["api_url", "stacks"],
        bytes: &["token"],
        ..Table::EMPTY
    },
    Table {
        name: "source_cursors",
        integers: &["organization_number"],
        ids: &["source"],
        texts: &["cursor"],
        ..Table::EMPTY
    },
    Table {
        name: "webhooks",
        integers: &[
            "number",
            "organization_number",
            "previous_secret_until",
            "pace",
            "created_at",
            "revision",
            "failures",
            "failing_since",
            "suspended_since",
            "probe_at",
            "hold_ended_at",
            "retry_asked_at",
            "retry_until",
            "deleted_at",
        ],
        ids: &["id", "secret_key", "previous_secret_key"],
        texts: &[
            "scope_kind",
            "scope_project",
            "scope_name",
            "name",
            "display_name",
            "payload_url",
            "format",
            "filters",
            "groups",
            "pause_reason",
            "suspension_reason",
            "deleted_by",
        ],
        bytes: &["secret", "secret_fingerprint", "previous_secret"],
        flags: &["active", "standard_headers"],
    },
    Table {
        name: "events",
        integers: &["organization_number", "accepted_at", "deliveries"],
        ids: &["key", "id", "token"],
        texts: &["kind", "filters", "subject_kind", "subject_project", "subject_name", "source"],
        bytes: &["digest", "payload"],
        ..Table::EMPTY
    },
    Table {
        name: "deliveries",
        integers: &[
            "organization_number",
            "webhook_number",
            "created_at",
            "rearmed_at",
            "attempts_spent",
            "due_at",
            "finished_at",
        ],
        ids: &["id", "event_key", "ping_id"],
        texts: &["format", "state", "fail_reason", "cancel_reason", "cancelled_by"],
        bytes: &["body"],
        ..Table::EMPTY
    },
    Table {
        name: "attempts",
        integers: &["number", "webhook_number", "started_at", "duration", "status", "retry_after"],
        ids: &["delivery_id"],
        texts: &["trigger", "request_url", "outcome", "silence", "text"],
        bytes: &["request_headers", "response_headers", "response_body"],
        ..Table::EMPTY
    },
    Table {
        name: "recoveries",
        integers: &[
            "organization_number",
            "since",
            "created_at",
            "total",
            "rearmed",
            "after_created_at",
            "ended_at",
        ],
        ids: &["id", "webhook", "after_id"],
        texts: &["created_by", "state"],
        ..Table::EMPTY
    },
    Table {
        name: "tallies",
        integers: &[
            "hour",
            "organization_number",
            "webhook_number",
            "slot",
            "events",
            "made",
            "succeeded",
            "failed",
            "cancelled",
            "attempts",
            "attempts_failed",
            "attempts_took",
        ],
        ..Table::EMPTY
    },
    Table {
        name: "audit",
        integers: &["at"],
        ids: &["id", "organization", "token"],
        texts: &["actor", "remote", "action", "target", "fields"],
        ..Table::EMPTY
    },
];

/// Rows of a batch, at most: one `INSERT` per batch, small enough that a few batches in memory do not matter.
pub const BATCH_ROWS_MAX: usize = 2000;

/// Bytes of texts and payloads after which a batch ends.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Takes the batches of an export; `false` stops it. It can block until the rows before are written.
pub type Batches = Box<dyn FnMut(Vec<Row>) -> bool + Send>;

/// Reads a store. No one may write to it meanwhile.
#[async_trait]
pub trait Export: Send + Sync {
    /// The number of rows of a table.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn count_rows(&self, table: &'static Table) -> Result<u64, StoreError>;

    /// The days since 1970 UTC on which events were accepted or deliveries created, each once.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn days(&self) -> Result<Vec<i64>, StoreError>;

    /// Reads all rows of a table, each once, in batches of at most [`BATCH_ROWS_MAX`] rows.
    ///
    /// # Errors
    /// [`StoreError`]; some batches may have been passed on by then.
    async fn export(&self, table: &'static Table, batches: Batches) -> Result<(), StoreError>;
}

/// Row count and checksum of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableDigest {
    /// The number of rows.
    pub rows: u64,
    /// The SHA-256 of the row count and the sum of the SHA-256 of all rows. The order of rows does not matter.
    ///
    /// It reveals lost, duplicated and changed rows. It is no protection against rows that are forged on purpose.
    pub sha256: [u8; 32],
}

/// One table on both sides of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The table.
    pub table: &'static Table,
    /// The rows that were read from the source.
    pub source: TableDigest,
    /// The rows that the target holds.
    pub target: TableDigest,
}

impl Compared {
    /// Whether both sides hold the same rows.
    pub fn is_same(&self) -> bool {
        self.source == self.target
    }
}

/// Computes a [`TableDigest`].
#[derive(Debug, Default)]
pub struct Digester {
    rows: u64,
    sum: [u64; 4],
    buffer: Vec<u8>,
}

impl Digester {
    /// Adds a row.
    pub fn add(&mut self, row: &[Value]) {
        self.buffer.clear();
        row.iter().for_each(|value| value.encode(&mut self.buffer));
        let hash: [u8; 32] = Sha256::digest(&self.buffer).into();
        let mut carry = false;
        for (part, bytes) in self.sum.iter_mut().zip(hash.as_chunks::<8>().0) {
            (*part, carry) = add_with_carry(*part, u64::from_le_bytes(*bytes), carry);
        }
        self.rows += 1;
    }

    /// The rows that were added so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The digest of all rows that were added.
    pub fn digest(&self) -> TableDigest {
        let mut sha256 = Sha256::new();
        sha256.update(self.rows.to_be_bytes());
        self.sum.iter().for_each(|part| sha256.update(part.to_be_bytes()));
        TableDigest { rows: self.rows, sha256: sha256.finalize().into() }
    }
}

fn add_with_carry(one: u64, other: u64, carry: bool) -> (u64, bool) {
    let (sum, first) = one.overflowing_add(other);
    let (sum, second) = sum.overflowing_add(u64::from(carry));
    (sum, first | second)
}

impl Value {
    /// Appends type, length and bytes, so that two different rows never have the same encoding.
    fn encode(&self, to: &mut Vec<u8>) {
        let number;
        let (kind, bytes): (u8, &[u8]) = match self {
            Self::Null => (b'n', &[]),
            Self::Integer(integer) => {
                number = integer.to_le_bytes();
                (b'i', &number)
            }
            Self::Id(id) => (b'u', id.as_bytes()),
            Self::Text(text) => (b't', text.as_bytes()),
            Self::Bytes(bytes) => (b'b', bytes),
            Self::Flag(flag) => (b'f', if *flag { &[1] } else { &[0] }),
        };
        to.push(kind);
        to.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        to.extend_from_slice(bytes);
    }

    /// The bytes of a value that has no small limit: [`BATCH_BYTES_MAX`] counts these.
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Null | Self::Integer(_) | Self::Id(_) | Self::Flag(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[&[Value]]) -> TableDigest {
        let mut digester = Digester::default();
        rows.iter().for_each(|row| digester.add(row));
        digester.digest()
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn the_order_of_rows_does_not_matter_and_everything_else_does() {
        let (one, other): (&[_], &[_]) = (&[text("a"), Value::Null], &[text("b"), Value::Flag(true)]);
        let whole = digest(&[one, other]);
        assert_eq!(digest(&[other, one]), whole);
        for rows in [
            &[one][..],
            &[one, one, other],
            &[one, one],
            &[one, &[Value::Flag(true), text("b")]],
            &[one, &[text("b"), Value::Flag(false)]],
            &[one, &[text("b"), Value::Integer(1)]],
            &[&[text("a"), text("")], other],
            &[&[Value::Bytes(b"a".to_vec()), Value::Null], other],
        ] {
            assert_ne!(digest(rows), whole, "{rows:?}");
        }
        assert_ne!(digest(&[&[text("ab"), text("c")]]), digest(&[&[text("a"), text("bc")]]));
    }

    #[test]
    fn no_carry_is_lost() {
        assert_eq!(add_with_carry(u64::MAX, u64::MAX, true), (u64::MAX, true));
        assert_eq!(add_with_carry(u64::MAX, 0, true), (0, true));
        assert_eq!(add_with_carry(1, 2, true), (4, false));
    }
}
