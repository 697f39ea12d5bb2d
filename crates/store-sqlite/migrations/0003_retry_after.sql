-- The last wait that an endpoint requested (`Retry-After`), and its end. A program that does not read these columns sends sooner,
-- and can otherwise use this file.
ALTER TABLE webhooks ADD COLUMN retry_asked_at INTEGER;
ALTER TABLE webhooks ADD COLUMN retry_until INTEGER CHECK ((retry_until IS NULL) = (retry_asked_at IS NULL));
