-- A copy is one transaction, so an interrupted copy has no position to resume from. Nodes read none of these columns, so older
-- ones can run.
ALTER TABLE copies
    DROP COLUMN noun,
    DROP COLUMN after_numbers,
    DROP COLUMN after_id;
