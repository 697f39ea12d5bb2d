-- The position of each source of events. It advances in the transaction that accepts the source's events. A program that does
-- not know the table has no sources, and can otherwise use this file.
CREATE TABLE source_cursors (
    organization_number INTEGER NOT NULL REFERENCES organizations (number),
    source BLOB NOT NULL CHECK (length(source) = 16),
    cursor TEXT NOT NULL CHECK (cursor <> ''),
    PRIMARY KEY (organization_number, source)
) STRICT, WITHOUT ROWID;
