-- The last wait that an endpoint requested (`Retry-After`), and its end. A node that does not read these columns sends sooner,
-- and can otherwise use this database.
ALTER TABLE webhooks
    ADD COLUMN retry_asked_at bigint,
    ADD COLUMN retry_until bigint,
    ADD CHECK ((retry_until IS NULL) = (retry_asked_at IS NULL));
