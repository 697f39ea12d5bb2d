-- The store to which this one is or was moved. The other store knows the copy by `move_id`, and sends its deliveries from then
-- on. A program that does not read these columns would send them again, so it must not use this file.
ALTER TABLE meta ADD COLUMN move_id BLOB CHECK (length(move_id) = 16);
ALTER TABLE meta ADD COLUMN move_target TEXT CHECK ((move_target IS NULL) = (move_id IS NULL));
ALTER TABLE meta ADD COLUMN move_begun_at INTEGER CHECK ((move_begun_at IS NULL) = (move_id IS NULL));
ALTER TABLE meta ADD COLUMN move_ended_at INTEGER CHECK (move_ended_at IS NULL OR move_id IS NOT NULL);
UPDATE meta SET oldest_reader = 2;
