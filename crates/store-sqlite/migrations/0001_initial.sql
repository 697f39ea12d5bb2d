-- Rows refer to each other by `number`, a small integer of this file alone; `id` is what the program knows them by:
-- 16 bytes of a UUID. A reference of one to four bytes instead of sixteen is a third of what a delivered event costs
-- beside its payload. Times are milliseconds since 1970 UTC, durations milliseconds.
-- Payloads, bodies and headers are packed: see src/rows/packed.rs.
-- Lists of words are spelled with OR: for IN with more than two, SQLite fills a temporary tree at each insert.

-- `oldest_reader` is the oldest schema version whose programs can still work with this file.
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    oldest_reader INTEGER NOT NULL CHECK (oldest_reader >= 1),
    checks INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO meta (one, oldest_reader) VALUES (1, 1);

CREATE TABLE organizations (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    name TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    avatar_url TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1)
) STRICT;

CREATE TABLE users (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    login TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    email TEXT NOT NULL,
    avatar_url TEXT NOT NULL,
    is_operator INTEGER NOT NULL CHECK (is_operator IN (0, 1)),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE memberships (
    organization_number INTEGER NOT NULL REFERENCES organizations (number),
    user_number INTEGER NOT NULL REFERENCES users (number),
    role TEXT NOT NULL CHECK (role = 'admin' OR role = 'member' OR role = 'publisher' OR role = 'viewer'),
    PRIMARY KEY (organization_number, user_number)
) STRICT, WITHOUT ROWID;
CREATE INDEX memberships_by_user ON memberships (user_number);

CREATE TABLE tokens (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    user_number INTEGER REFERENCES users (number),
    organization_number INTEGER REFERENCES organizations (number),
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role = 'admin' OR role = 'member' OR role = 'publisher' OR role = 'viewer'),
    is_operator INTEGER NOT NULL CHECK (is_operator IN (0, 1)),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    CHECK ((user_number IS NULL) <> (organization_number IS NULL))
) STRICT;
CREATE INDEX tokens_by_user ON tokens (user_number, id) WHERE user_number IS NOT NULL;
CREATE INDEX tokens_by_organization ON tokens (organization_number, id) WHERE organization_number IS NOT NULL;

CREATE TABLE data_keys (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    purpose TEXT NOT NULL,
    bytes BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A deleted webhook stays, out of sight, as long as it has deliveries: they say whose they were and who deleted it.
-- `scope_project` and `scope_name` are empty for an organization's own.
CREATE TABLE webhooks (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    organization_number INTEGER NOT NULL REFERENCES organizations (number),
    scope_kind TEXT NOT NULL CHECK (
        scope_kind = 'organization' OR scope_kind = 'stack' OR scope_kind = 'environment'
    ),
    scope_project TEXT NOT NULL,
    scope_name TEXT NOT NULL,
    name TEXT NOT NULL,
    display_name TEXT NOT NULL,
    payload_url TEXT NOT NULL,
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    format TEXT NOT NULL,
    filters TEXT NOT NULL,
    groups TEXT NOT NULL,
    secret_key BLOB CHECK (length(secret_key) = 16),
    secret BLOB,
    secret_fingerprint BLOB CHECK (length(secret_fingerprint) = 32),
    previous_secret_key BLOB CHECK (length(previous_secret_key) = 16),
    previous_secret BLOB,
    previous_secret_until INTEGER,
    standard_headers INTEGER NOT NULL CHECK (standard_headers IN (0, 1)),
    created_at INTEGER NOT NULL,
    revision INTEGER NOT NULL CHECK (revision >= 1),
    failures INTEGER NOT NULL CHECK (failures >= 0),
    failing_since INTEGER,
    suspended_since INTEGER,
    suspension_reason TEXT CHECK (suspension_reason IN ('gone', 'failing')),
    probe_at INTEGER,
    hold_ended_at INTEGER,
    deleted_at INTEGER,
    deleted_by TEXT,
    CHECK ((scope_kind = 'organization') = (scope_project = '')),
    CHECK ((scope_kind = 'organization') = (scope_name = '')),
    CHECK ((secret_key IS NULL) = (secret IS NULL)),
    CHECK ((secret_key IS NULL) = (secret_fingerprint IS NULL)),
    CHECK ((previous_secret_key IS NULL) = (previous_secret IS NULL)),
    CHECK ((previous_secret_key IS NULL) = (previous_secret_until IS NULL)),
    CHECK (secret_key IS NOT NULL OR previous_secret_key IS NULL),
    CHECK ((suspended_since IS NULL) = (suspension_reason IS NULL)),
    CHECK ((suspended_since IS NULL) = (probe_at IS NULL)),
    CHECK ((deleted_at IS NULL) = (deleted_by IS NULL))
) STRICT;
CREATE UNIQUE INDEX webhooks_by_name
    ON webhooks (organization_number, scope_kind, scope_project, scope_name, name) WHERE deleted_at IS NULL;
CREATE INDEX webhooks_deleted ON webhooks (deleted_at) WHERE deleted_at IS NOT NULL;

-- `token` names no row for good: a token may be revoked while its events are kept.
-- `deliveries` is how many there were, `deliveries_left` how many there are: an event goes with its last delivery.
CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    organization_number INTEGER NOT NULL REFERENCES organizations (number),
    key BLOB NOT NULL CHECK (length(key) = 16),
    id BLOB NOT NULL CHECK (length(id) = 16),
    kind TEXT NOT NULL,
    filters TEXT NOT NULL,
    subject_kind TEXT NOT NULL CHECK (subject_kind IN ('stack', 'environment')),
    subject_project TEXT NOT NULL,
    subject_name TEXT NOT NULL,
    digest BLOB CHECK (length(digest) = 32),
    accepted_at INTEGER NOT NULL,
    source TEXT NOT NULL,
    token BLOB CHECK (length(token) = 16),
    deliveries INTEGER NOT NULL CHECK (deliveries >= 0),
    deliveries_left INTEGER NOT NULL CHECK (deliveries_left BETWEEN 0 AND deliveries),
    payload BLOB NOT NULL,
    UNIQUE (organization_number, id),
    UNIQUE (organization_number, key)
) STRICT;
CREATE INDEX events_done ON events (accepted_at) WHERE deliveries_left = 0;

-- `event_number` is no foreign key: removing an event would then look for its deliveries, which would need one more
-- index on the hottest table. `deliveries_left` keeps an event as long as it has any.
-- A ping has an id and bytes of its own instead of an event.
CREATE TABLE deliveries (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    webhook_number INTEGER NOT NULL REFERENCES webhooks (number),
    event_number INTEGER,
    ping_id BLOB CHECK (length(ping_id) = 16),
    format TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    attempts_spent INTEGER NOT NULL CHECK (attempts_spent >= 0),
    state TEXT NOT NULL CHECK (state = 'pending' OR state = 'succeeded' OR state = 'failed' OR state = 'cancelled'),
    due_at INTEGER,
    finished_at INTEGER,
    fail_reason TEXT CHECK (
        fail_reason = 'attempts_exhausted' OR fail_reason = 'expired' OR fail_reason = 'undeliverable'
    ),
    cancelled_by TEXT,
    body BLOB,
    CHECK ((event_number IS NULL) <> (ping_id IS NULL)),
    CHECK (event_number IS NOT NULL OR body IS NOT NULL),
    CHECK ((state = 'pending') = (due_at IS NOT NULL)),
    CHECK ((state = 'pending') = (finished_at IS NULL)),
    CHECK ((state = 'failed') = (fail_reason IS NOT NULL)),
    CHECK ((state = 'cancelled') = (cancelled_by IS NOT NULL))
) STRICT;
-- One delivery for each event and webhook; and what is left of a webhook.
CREATE UNIQUE INDEX deliveries_by_event ON deliveries (webhook_number, event_number);
CREATE UNIQUE INDEX deliveries_by_ping ON deliveries (webhook_number, ping_id) WHERE ping_id IS NOT NULL;
-- The queue.
CREATE INDEX deliveries_pending ON deliveries (webhook_number, due_at, id) WHERE state = 'pending';
-- What may have grown too old: a retried delivery is due long after it was made.
CREATE INDEX deliveries_pending_by_age ON deliveries (webhook_number, created_at) WHERE state = 'pending';
CREATE INDEX deliveries_finished ON deliveries (finished_at) WHERE finished_at IS NOT NULL;

-- `webhook_number` is its delivery's, and so no foreign key of its own.
CREATE TABLE attempts (
    number INTEGER PRIMARY KEY,
    delivery_number INTEGER NOT NULL REFERENCES deliveries (number) ON DELETE CASCADE,
    webhook_number INTEGER NOT NULL,
    trigger TEXT NOT NULL CHECK (
        trigger = 'schedule' OR trigger = 'probe' OR trigger = 'redeliver' OR trigger = 'ping'
    ),
    started_at INTEGER NOT NULL,
    duration INTEGER NOT NULL CHECK (duration >= 0),
    request_url TEXT NOT NULL,
    request_headers BLOB NOT NULL,
    outcome TEXT NOT NULL CHECK (
        outcome = 'answered' OR outcome = 'unanswered' OR outcome = 'our_fault' OR outcome = 'undeliverable'
    ),
    status INTEGER,
    retry_after INTEGER,
    response_headers BLOB,
    response_body BLOB,
    silence TEXT CHECK (
        silence = 'forbidden' OR silence = 'unresolved' OR silence = 'unreachable' OR silence = 'timed_out'
        OR silence = 'broken'
    ),
    text TEXT,
    CHECK ((outcome = 'answered') = (status IS NOT NULL)),
    CHECK ((outcome = 'answered') = (response_headers IS NOT NULL)),
    CHECK ((outcome = 'answered') = (response_body IS NOT NULL)),
    CHECK ((outcome = 'answered') = (text IS NULL)),
    CHECK (outcome = 'answered' OR retry_after IS NULL),
    CHECK ((outcome = 'unanswered') = (silence IS NOT NULL))
) STRICT;
-- Newest first: by when they started, then (an index ends with the row's number) as they were recorded.
CREATE INDEX attempts_by_webhook ON attempts (webhook_number, started_at);
CREATE INDEX attempts_by_delivery ON attempts (delivery_number);

-- Outlives what it speaks of, and so refers to nothing.
CREATE TABLE audit (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    at INTEGER NOT NULL,
    organization BLOB CHECK (length(organization) = 16),
    actor TEXT NOT NULL,
    token BLOB CHECK (length(token) = 16),
    remote TEXT,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    fields TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_by_organization ON audit (organization, id);
CREATE INDEX audit_by_age ON audit (at);
