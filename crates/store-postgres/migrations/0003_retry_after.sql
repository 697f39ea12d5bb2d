-- An endpoint asked to be left alone (`Retry-After`): when it last did, and until when. A node that does not look here sends
-- sooner than it was asked to, and can otherwise work with this database.
ALTER TABLE webhooks
    ADD COLUMN retry_asked_at bigint,
    ADD COLUMN retry_until bigint,
    ADD CHECK ((retry_until IS NULL) = (retry_asked_at IS NULL));
