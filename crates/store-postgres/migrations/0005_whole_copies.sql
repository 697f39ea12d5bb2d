-- A copy is one transaction, so that an interrupted one has no position to resume from. Nodes read neither column, and go on.
ALTER TABLE copies
    DROP COLUMN noun,
    DROP COLUMN after_numbers,
    DROP COLUMN after_id;
