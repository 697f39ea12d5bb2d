-- The lists of pending deliveries use this index, so that they step over no finished delivery. A program that does not know the
-- index keeps it up to date all the same, and can work with this file.
CREATE INDEX deliveries_pending_by_id ON deliveries (webhook_number, id) WHERE state = 'pending';
