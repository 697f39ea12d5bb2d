-- The store that is or was copied into this database; empty if there was none. No node starts before the copy is complete.
-- `noun`, `after_numbers` and `after_id` are the position of the copy, and `rows` is the number of copied rows.
CREATE TABLE copies (
    one integer PRIMARY KEY CHECK (one = 1),
    id uuid NOT NULL,
    source text NOT NULL,
    begun_at bigint NOT NULL,
    noun text NOT NULL,
    after_numbers bigint[] NOT NULL CHECK (cardinality(after_numbers) = 3),
    after_id uuid NOT NULL,
    rows bigint NOT NULL CHECK (rows >= 0),
    finished_at bigint
);

-- A program that does not read this table would start with an incomplete copy.
UPDATE meta SET oldest_reader = 2;
