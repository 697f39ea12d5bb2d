//! Row counts and digests of tables, by which two copies can be compared even if their files differ.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use sha2::{Digest as _, Sha256};
use stackbell_store::backup::TableReport;

/// Reports all tables, ordered by name. Reads every row.
pub(super) fn reports(connection: &Connection) -> Result<Vec<TableReport>, rusqlite::Error> {
    let mut names = connection.prepare(
        "/* tables.names */ SELECT name FROM sqlite_schema WHERE type = 'table' \
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )?;
    let names = names.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    names.into_iter().map(|table| report(connection, table)).collect()
}

fn report(connection: &Connection, table: String) -> Result<TableReport, rusqlite::Error> {
    let key = primary_key(connection, &table)?;
    // The names come from our schema. Rows are stored in the order of their key, so SQLite does not sort them.
    let sql = format!("/* tables.rows */ SELECT * FROM \"{table}\" ORDER BY {key}");
    let mut statement = connection.prepare(&sql)?;
    let mut sha256 = Sha256::new();
    for column in statement.column_names() {
        add(&mut sha256, b'c', column.as_bytes());
    }
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        add_row(&mut sha256, row, columns)?;
        count += 1;
    }
    Ok(TableReport { table, rows: count, sha256: sha256.finalize().into() })
}

/// The columns of a table's primary key, for `ORDER BY`.
fn primary_key(connection: &Connection, table: &str) -> Result<String, rusqlite::Error> {
    let mut columns = connection
        .prepare("/* tables.key */ SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk")?;
    let names = columns.query_map([table], |row| Ok(format!("\"{}\"", row.get::<_, String>(0)?)))?;
    Ok(names.collect::<Result<Vec<_>, _>>()?.join(", "))
}

fn add_row(sha256: &mut Sha256, row: &Row<'_>, columns: usize) -> Result<(), rusqlite::Error> {
    for column in 0..columns {
        match row.get_ref(column)? {
            ValueRef::Null => add(sha256, b'n', &[]),
            ValueRef::Integer(value) => add(sha256, b'i', &value.to_le_bytes()),
            ValueRef::Real(value) => add(sha256, b'r', &value.to_le_bytes()),
            ValueRef::Text(value) => add(sha256, b't', value),
            ValueRef::Blob(value) => add(sha256, b'b', value),
        }
    }
    Ok(())
}

/// Adds a value with its type and length, so that different rows never have the same encoding.
fn add(sha256: &mut Sha256, kind: u8, bytes: &[u8]) {
    sha256.update([kind]);
    sha256.update((bytes.len() as u64).to_le_bytes());
    sha256.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The report about the table `a` after these statements.
    fn report_after(statements: &str) -> TableReport {
        let connection = Connection::open_in_memory().expect("a database");
        connection.execute_batch(statements).expect("statements");
        reports(&connection).expect("a report").remove(0)
    }

    const TABLE: &str = "CREATE TABLE a (number INTEGER PRIMARY KEY, x ANY, y ANY) STRICT;";
    const ROWS: &str = "INSERT INTO a VALUES (1, 'ab', 'c'), (2, x'00', NULL);";

    #[test]
    fn equal_content_has_an_equal_digest() {
        let first = report_after(&format!("{TABLE}{ROWS}"));
        assert_eq!((first.table.as_str(), first.rows), ("a", 2));
        let detour = "INSERT INTO a VALUES (2, x'00', NULL), (3, 1, 1), (1, 'ab', 'c');\
                      DELETE FROM a WHERE number = 3; CREATE INDEX b ON a (x);";
        assert_eq!(report_after(&format!("{TABLE}{detour}")), first);
        let by_words = "CREATE TABLE a (x TEXT, y TEXT, PRIMARY KEY (y, x)) STRICT, WITHOUT ROWID;";
        let ordered = report_after(&format!("{by_words}INSERT INTO a VALUES ('a', 'b'), ('b', 'a');"));
        let reversed = report_after(&format!("{by_words}INSERT INTO a VALUES ('b', 'a'), ('a', 'b');"));
        assert_eq!(reversed, ordered);
    }

    #[test]
    fn different_content_has_a_different_digest() {
        let first = report_after(&format!("{TABLE}{ROWS}"));
        let differs = |statements: &str| {
            let other = report_after(statements);
            assert_ne!(other.sha256, first.sha256, "{statements}");
        };
        for change in [
            "UPDATE a SET x = 'a', y = 'bc' WHERE number = 1",
            "UPDATE a SET x = CAST('ab' AS BLOB) WHERE number = 1",
            "UPDATE a SET x = '' WHERE number = 2",
            "UPDATE a SET y = '' WHERE number = 2",
            "UPDATE a SET y = 0 WHERE number = 2",
            "UPDATE a SET number = 3 WHERE number = 2",
            "DELETE FROM a WHERE number = 2",
            "ALTER TABLE a RENAME COLUMN y TO z",
        ] {
            differs(&format!("{TABLE}{ROWS}{change}"));
        }
    }
}
