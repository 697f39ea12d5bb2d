-- The store that is being copied into this database, or was: none where it began by itself. No node works until all is there.
-- `noun`, `after_numbers` and `after_id` say behind which of its rows to go on, and `rows` how many are in.
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

-- A program that does not look here would begin to work with half a copy.
UPDATE meta SET oldest_reader = 2;
