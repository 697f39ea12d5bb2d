-- Lists of pending deliveries read this index, so that they step over no finished delivery. SQLite maintains the index for
-- programs that do not know it, so they can use this file.
CREATE INDEX deliveries_pending_by_id ON deliveries (webhook_number, id) WHERE state = 'pending';
