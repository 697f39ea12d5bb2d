-- The position of each source of events. It advances in the transaction that accepts the source's events. A node that does not
-- know the table has no sources, and can otherwise use this database.
CREATE TABLE source_cursors (
    organization_number bigint NOT NULL REFERENCES organizations (number),
    source uuid NOT NULL,
    cursor text NOT NULL CHECK (cursor <> ''),
    PRIMARY KEY (organization_number, source)
);
