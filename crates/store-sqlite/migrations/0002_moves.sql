-- Where the store is being moved to, or was: by `move_id` the other store knows the copy. What is in this one is the other's
-- to send from then on; a program that does not look here would send it again, and so cannot work with this file any more.
ALTER TABLE meta ADD COLUMN move_id BLOB CHECK (length(move_id) = 16);
ALTER TABLE meta ADD COLUMN move_target TEXT CHECK ((move_target IS NULL) = (move_id IS NULL));
ALTER TABLE meta ADD COLUMN move_begun_at INTEGER CHECK ((move_begun_at IS NULL) = (move_id IS NULL));
ALTER TABLE meta ADD COLUMN move_ended_at INTEGER CHECK (move_ended_at IS NULL OR move_id IS NOT NULL);
UPDATE meta SET oldest_reader = 2;
