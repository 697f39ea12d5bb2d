-- An endpoint asked to be left alone (`Retry-After`): when it last did, and until when. A program that does not look here sends
-- sooner than it was asked to, and can otherwise work with this file.
ALTER TABLE webhooks ADD COLUMN retry_asked_at INTEGER;
ALTER TABLE webhooks ADD COLUMN retry_until INTEGER CHECK ((retry_until IS NULL) = (retry_asked_at IS NULL));
