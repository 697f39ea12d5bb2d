//! The contents of a store, read from its file with SQL, because the server's own reports would prove less.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

/// A copy of a store's files.
pub(crate) struct Stored {
    connection: Connection,
    _folder: TempDir,
}

impl Stored {
    /// Copies the store at `path`, which must not be in use, with the write-ahead log that a kill has left.
    pub(crate) fn copy_of(path: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let copy = folder.path().join("store.db");
        std::fs::copy(path, &copy).expect("copied");
        let log = path.with_extension("db-wal");
        if log.exists() {
            std::fs::copy(log, copy.with_extension("db-wal")).expect("copied");
        }
        let connection =
            Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("a store");
        Self { connection, _folder: folder }
    }

    /// The single number that the query returns.
    pub(crate) fn number(&self, sql: &str) -> usize {
        let number: i64 = self.connection.query_row(sql, [], |row| row.get(0)).expect(sql);
        usize::try_from(number).expect("a count")
    }

    /// The single text that the query returns.
    pub(crate) fn text(&self, sql: &str) -> String {
        self.connection.query_row(sql, [], |row| row.get(0)).expect(sql)
    }

    /// The ids that the query returns, of 16 bytes each.
    pub(crate) fn ids(&self, sql: &str) -> BTreeSet<Box<str>> {
        let mut statement = self.connection.prepare(sql).expect(sql);
        let ids = statement.query_map([], |row| row.get::<_, [u8; 16]>(0)).expect(sql);
        ids.map(|id| uuid(id.expect("an id"))).collect()
    }

    /// The ids of events whose delivery is recorded as succeeded.
    pub(crate) fn succeeded(&self) -> BTreeSet<Box<str>> {
        self.ids(
            "SELECT e.id FROM deliveries d JOIN events e ON e.number = d.event_number WHERE d.state = 'succeeded'",
        )
    }

    /// The tables whose rows differ.
    pub(crate) fn tables_unlike(&self, other: &Self) -> Vec<String> {
        let path = other.connection.path().expect("a file");
        self.connection.execute("ATTACH ?1 AS other", [path]).expect("attached");
        let names = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name";
        let mut statement = self.connection.prepare(names).expect(names);
        let tables = statement.query_map([], |row| row.get(0)).expect(names);
        let differs = |table: &String| {
            let beyond = |one, two| {
                format!(
                    "SELECT COUNT(*) FROM (SELECT * FROM {one}.{table} EXCEPT SELECT * FROM {two}.{table})"
                )
            };
            self.number(&beyond("main", "other")) + self.number(&beyond("other", "main")) > 0
        };
        tables.map(|table| table.expect("a name")).filter(differs).collect()
    }

    /// Checks that the file is intact and its rows are consistent.
    #[track_caller]
    pub(crate) fn assert_consistent(&self) {
        assert_eq!(self.text("PRAGMA integrity_check"), "ok");
        for broken in [
            "SELECT COUNT(*) FROM pragma_foreign_key_check",
            // An event has its deliveries, and each delivery has its event.
            "SELECT COUNT(*) FROM events e WHERE deliveries <> deliveries_left OR deliveries_left <> \
             (SELECT COUNT(*) FROM deliveries d WHERE d.event_number = e.number)",
            "SELECT COUNT(*) FROM deliveries WHERE event_number NOT IN (SELECT number FROM events)",
            // A succeeded delivery has a successful attempt.
            "SELECT COUNT(*) FROM deliveries d WHERE state = 'succeeded' AND NOT EXISTS \
             (SELECT 1 FROM attempts a WHERE a.delivery_number = d.number AND a.status BETWEEN 200 AND 299)",
            // The counts equal the rows.
            "SELECT COUNT(*) FROM organizations o WHERE pending <> (SELECT COUNT(*) FROM deliveries d \
             JOIN webhooks w ON w.number = d.webhook_number \
             WHERE w.organization_number = o.number AND d.state = 'pending')",
        ] {
            assert_eq!(self.number(broken), 0, "{broken}");
        }
    }
}

/// The text of a UUID.
fn uuid(bytes: [u8; 16]) -> Box<str> {
    let digits = hex::encode(bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-").into()
}
